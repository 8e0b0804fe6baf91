package config

import (
	"bytes"
	"fmt"
	"strings"
)

// commands are the flags that are no options.
const commands = `  -config.file=FILE   read options from a YAML file
  -config.check       say whether the configuration is valid, and end
  -config.print       print every option with its value and where it came from, and end
  -version            print the version, and end
  -help               print this, and end
`

// Count returns how many options root has, a pointer to a struct like Load's.
func Count(root any) (int, error) {
	t, err := newTree(root, "")
	if err != nil {
		return 0, err
	}
	return len(t.options), nil
}

// Usage returns the text for -help: every option of root with its default.
func Usage(root any) ([]byte, error) {
	t, err := newTree(root, "")
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString(commands)
	for _, s := range t.sections {
		if len(s.options) > 0 {
			b.WriteByte('\n')
		}
		for _, o := range s.options {
			fmt.Fprintf(&b, "  -%s=%s\n        %s: %s\n", o.name, o.text(), typeName(o.value), o.help)
		}
	}
	return b.Bytes(), nil
}

// Reference returns the page of all options in Markdown, a table per section.
// root is a pointer to a struct like Load's and holds the defaults.
func Reference(root any) ([]byte, error) {
	t, err := newTree(root, defaultEnvPrefix)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString(referenceHead)
	for _, s := range t.sections {
		if len(s.options) == 0 {
			continue
		}
		title := s.name
		if title == "" {
			title = "General"
		}
		fmt.Fprintf(&b, "\n## %s\n\n", title)
		if s.help != "" {
			fmt.Fprintf(&b, "%s\n\n", s.help)
		}
		b.WriteString("| Option | Type | Default | Environment | Meaning |\n|---|---|---|---|---|\n")
		for _, o := range s.options {
			fmt.Fprintf(&b, "| `%s` | %s | %s | `%s` | %s |\n", o.name, typeName(o.value), code(o.text()), o.env, cell(o.help))
		}
	}
	return b.Bytes(), nil
}

const referenceHead = `# Configuration

<!-- Generated from the structs; a test fails when it is stale. Do not edit. -->

Every option has one name. It is set in the YAML file of ` + "`-config.file`" + ` (nested, or with its dots), in the
environment, or as a flag ` + "`-name=value`" + `; the later of these wins, and all win over the default.
Unknown names are errors. Durations are written ` + "`30s`, `2h`, `1d`" + `; sizes ` + "`64MiB`, `1GiB`" + `; lists with commas or as
YAML lists. Secrets are never flags. ` + "`-config.check`" + ` validates, ` + "`-config.print`" + ` shows each value and where it came from.
`

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + cell(s) + "`"
}

func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ").Replace(s)
}

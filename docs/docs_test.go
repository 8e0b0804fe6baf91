// Package docs_test holds the pages to what is there: files, options, metrics, tests and examples.
package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/varve-io/varve/pkg/tenant"
)

const root = ".."

// pages is every page by its path from docs/.
func pages(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, pattern := range []string{"*.md", "formats/*.md"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all[name] = string(text)
		}
	}
	if len(all) < 5 {
		t.Fatalf("only %d pages found", len(all))
	}
	return all
}

// code is the text of all Go files, tests included, by their path from the root.
func code(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && (strings.HasPrefix(name, ".") && name != root || name == "docs" || name == "_artifacts" || name == "data") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		text, err := os.ReadFile(path)
		all[filepath.ToSlash(strings.TrimPrefix(path, root+string(filepath.Separator)))] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestFilesThatPagesNameAreThere(t *testing.T) {
	cited := regexp.MustCompile("`([a-z_]+(?:/[a-zA-Z0-9_.-]+)+)`|`([a-z_]+\\.go)`")
	for page, text := range pages(t) {
		for _, m := range cited.FindAllStringSubmatch(text, -1) {
			path := m[1] + m[2]
			if strings.HasPrefix(path, "varve/") || !strings.HasSuffix(path, ".go") && !strings.HasPrefix(path, "pkg/") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, path)); err != nil {
				t.Errorf("%s names %s: %v", page, path, err)
			}
		}
	}
}

// A function is named with its file as `Type.Function` in `dir/file.go`, or in a table of hops. It must be defined there.
func TestFunctionsThatPagesNameAreThere(t *testing.T) {
	inText := regexp.MustCompile("((?:`[A-Za-z_.]+`(?:, | and )?)+)\\s+in\\s+(`[a-z_/]+\\.go`)")
	inTable := regexp.MustCompile(`(?m)^\| [0-9]+ \| (.*) \| (.*) \|$`)
	quoted := regexp.MustCompile("`([A-Za-z_./]+)`")
	sources, found := code(t), 0
	for page, text := range pages(t) {
		for _, m := range append(inText.FindAllStringSubmatch(text, -1), inTable.FindAllStringSubmatch(text, -1)...) {
			var files strings.Builder
			for _, file := range quoted.FindAllStringSubmatch(m[2], -1) {
				files.WriteString(sources[file[1]])
			}
			for _, name := range quoted.FindAllStringSubmatch(m[1], -1) {
				found++
				if !defines(files.String(), name[1]) {
					t.Errorf("%s: %s is not defined in %s", page, name[1], m[2])
				}
			}
		}
	}
	if found < 30 {
		t.Errorf("only %d functions found", found)
	}
}

// defines tells whether a source defines the name: a function, a Type.method, a package's function, a type, constant or variable.
func defines(source, name string) bool {
	of, last, dotted := strings.Cut(name, ".")
	if !dotted {
		last = name
	}
	if dotted && regexp.MustCompile(`(?m)^func \(\w+ \*?`+of+`(?:\[\w+\])?\) `+last+`\b`).MatchString(source) {
		return true
	}
	pattern := `(?m)^(?:func(?: \([^)]*\))?|type|const|var|\t) ?` + last + `\b`
	if dotted {
		pattern = `(?m)^(?:package ` + of + `$[\s\S]*^func|type|\t) ?` + last + `\b`
	}
	return regexp.MustCompile(pattern).MatchString(source)
}

func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]*)(#[^)]*)?\)`)
	all := pages(t)
	for page, text := range all {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target := page
			if m[1] != "" {
				target = filepath.Join(filepath.Dir(page), m[1])
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s: %v", page, m[1], err)
				continue
			}
			if m[2] != "" && !slices.Contains(anchors(all[target]), m[2]) {
				t.Errorf("%s links to %s, which has no heading %s", page, target, m[2])
			}
		}
	}
}

// anchors are the headings of a page as links name them.
func anchors(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		if title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
			title = regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), "")
			all = append(all, "#"+strings.ReplaceAll(title, " ", "-"))
		}
	}
	return all
}

func TestOptionsThatPagesNameAreThere(t *testing.T) {
	all := pages(t)
	options := map[string]bool{"config.file": true, "config.check": true, "config.print": true}
	sections := map[string]bool{"config": true}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9_.]+)` \\|").FindAllStringSubmatch(all["configuration.md"], -1) {
		options[m[1]] = true
		for dot, c := range m[1] {
			if c == '.' {
				options[m[1][:dot]], sections[m[1][:strings.Index(m[1], ".")]] = true, true
			}
		}
	}
	cited := regexp.MustCompile("(?:`| )-?([a-z0-9_]+(?:\\.[a-z0-9_]+)+)(?:=[^` ]*)?(?:`| |\n)")
	files := regexp.MustCompile(`\.(go|md|json|ya?ml|txt|svg|key|crt|csr|varve|internal)$`)
	for page, text := range all {
		for _, m := range cited.FindAllStringSubmatch(text, -1) {
			section, _, _ := strings.Cut(m[1], ".")
			if sections[section] && !options[m[1]] && !files.MatchString(m[1]) {
				t.Errorf("%s names the option %s, which is not in configuration.md", page, m[1])
			}
		}
	}
}

func TestLimitsThatPagesNameAreThere(t *testing.T) {
	limits, err := os.ReadFile(filepath.Join(root, "pkg/tenant/limits.go"))
	if err != nil {
		t.Fatal(err)
	}
	others := []string{"query_range", "query_exemplars", "partial_success"} // of the API and of OTLP
	cited := regexp.MustCompile("`((?:max|query|past|future|partial)_[a-z_]+)`")
	for page, text := range pages(t) {
		for _, m := range cited.FindAllStringSubmatch(text, -1) {
			if !strings.HasSuffix(page, "formats/catalog.md") && !strings.Contains(string(limits), `yaml:"`+m[1]+`"`) && !slices.Contains(others, m[1]) {
				t.Errorf("%s names the limit %s, which pkg/tenant doesn't have", page, m[1])
			}
		}
	}
}

// A metric's name stands in the code whole, or as its component's prefix and the rest.
func TestMetricsThatPagesNameAreThere(t *testing.T) {
	var text strings.Builder
	for name, c := range code(t) {
		if !strings.HasSuffix(name, "_test.go") {
			text.WriteString(c)
		}
	}
	for page, content := range pages(t) {
		for _, name := range regexp.MustCompile(`\bvarve_[a-z]+_[a-z_]+\b`).FindAllString(content, -1) {
			base := strings.TrimSuffix(name, "_count")
			_, rest, _ := strings.Cut(strings.TrimPrefix(base, "varve_"), "_")
			if !strings.Contains(text.String(), `"`+base+`"`) && !strings.Contains(text.String(), `"`+rest+`"`) {
				t.Errorf("%s names the metric %s, which no code makes", page, name)
			}
		}
	}
}

func TestTestsThatPagesNameAreThere(t *testing.T) {
	var tests strings.Builder
	for name, c := range code(t) {
		if strings.HasSuffix(name, "_test.go") {
			tests.WriteString(c)
		}
	}
	for page, content := range pages(t) {
		for _, m := range regexp.MustCompile("`(Test[A-Z][A-Za-z0-9]+)`").FindAllStringSubmatch(content, -1) {
			if !strings.Contains(tests.String(), "func "+m[1]+"(") {
				t.Errorf("%s names %s, which is no test", page, m[1])
			}
		}
	}
}

// The examples of the files about tenants are read as the process reads them.
func TestExamplesAreValid(t *testing.T) {
	text := pages(t)["operations.md"]
	deps := func(name string) tenant.Dependencies {
		m := regexp.MustCompile("(?s)```yaml\n# " + regexp.QuoteMeta(name) + "\n(.*?)```").FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("operations.md has no example of %s", name)
		}
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(m[1]), 0o600); err != nil {
			t.Fatal(err)
		}
		return tenant.Dependencies{File: file, Registerer: prometheus.NewRegistry()}
	}
	if _, err := tenant.NewOverrides(tenant.DefaultLimits(tenant.Machine{}), deps("limits.yaml")); err != nil {
		t.Error(err)
	}
	if _, err := tenant.NewTokens(time.Now, deps("tokens.yaml")); err != nil {
		t.Error(err)
	}
}

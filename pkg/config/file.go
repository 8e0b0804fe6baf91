package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// ParseYAML parses a file of exactly one YAML document and returns its top
// node, nil for an empty file. file is only for errors.
func ParseYAML(file string, data []byte) (*yaml.Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, yamlError(file, err)
	}
	if err := dec.Decode(&more); err == nil {
		return nil, fmt.Errorf("%s:%d: more than one YAML document", file, more.Line)
	} else if !errors.Is(err, io.EOF) {
		return nil, yamlError(file, err)
	}
	return doc.Content[0], nil
}

func yamlError(file string, err error) error {
	return fmt.Errorf("%s: %s", file, strings.TrimPrefix(err.Error(), "yaml: "))
}

// DecodeYAML sets the options of dst, a pointer to a struct like Load's, that
// node names, leaves the others, and validates. The error joins every unknown,
// repeated, malformed or refused value with its file and line.
func DecodeYAML(file string, node *yaml.Node, dst any) error {
	t, err := newTree(dst, "")
	if err != nil {
		return err
	}
	l := &Loaded{tree: t, origin: map[string]string{}}
	errs := l.applyNode(file, node)
	return errors.Join(append(errs, l.validate()...)...)
}

func (l *Loaded) applyFile(file string) []error {
	data, err := os.ReadFile(file)
	if err != nil {
		return []error{fmt.Errorf("read configuration: %w", err)}
	}
	node, err := ParseYAML(file, data)
	if err != nil {
		return []error{err}
	}
	return l.applyNode(file, node)
}

func (l *Loaded) applyNode(file string, node *yaml.Node) []error {
	d := fileDecoder{file: file, tree: l.tree, lines: map[string]int{}}
	d.mapping("", node)
	for name, line := range d.lines {
		l.origin[name] = fmt.Sprintf("file %s:%d", file, line)
	}
	return d.errs
}

// fileDecoder walks a YAML document beside the tree of options. The recursion
// is as deep as the sections are, whatever the document.
type fileDecoder struct {
	file  string
	tree  *tree
	lines map[string]int // where each option was set
	errs  []error
}

func (d *fileDecoder) errorf(node *yaml.Node, format string, args ...any) {
	d.errs = append(d.errs, fmt.Errorf("%s:%d: %w", d.file, node.Line, fmt.Errorf(format, args...)))
}

func (d *fileDecoder) mapping(name string, node *yaml.Node) {
	if node = resolve(node); node == nil || node.Tag == "!!null" {
		return
	}
	if node.Kind != yaml.MappingNode {
		what := "the file"
		if name != "" {
			what = name
		}
		d.errorf(node, "%s must hold options, as name: value", what)
		return
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		full := join(name, key.Value)
		switch o := d.tree.byName[full]; {
		case o != nil:
			d.option(o, key, resolve(value))
		case d.tree.isSect[full] && key.Value != "":
			d.mapping(full, value)
		default:
			d.errorf(key, "unknown option %q%s", full, d.tree.suggest(full))
		}
	}
}

func (d *fileDecoder) option(o *option, key, value *yaml.Node) {
	if line, twice := d.lines[o.name]; twice {
		d.errorf(key, "%s is already set in line %d", o.name, line)
		return
	}
	d.lines[o.name] = key.Line
	list, isList := reflect.TypeAssert[*StringList](o.value.Addr())
	own, isOwn := reflect.TypeAssert[yaml.Unmarshaler](o.value.Addr())
	switch {
	case isOwn && value.Tag != "!!null":
		if err := own.UnmarshalYAML(value); err != nil {
			d.errorf(value, "%s: %w", o.name, err)
		}
	case value.Kind == yaml.SequenceNode && isList:
		items := make([]string, 0, len(value.Content))
		for _, item := range value.Content {
			if item = resolve(item); item.Kind != yaml.ScalarNode {
				d.errorf(item, "%s must be a list of plain values", o.name)
				return
			}
			items = append(items, item.Value)
		}
		*list = items
	case value.Kind != yaml.ScalarNode:
		d.errorf(value, "%s must be one %s", o.name, typeName(o.value))
	case value.Tag == "!!null":
		d.errorf(key, "%s has no value", o.name)
	default:
		if err := o.set(value.Value); err != nil {
			d.errorf(value, "%s: %w", o.name, err)
		}
	}
}

// resolve follows an alias to what its anchor marks.
func resolve(node *yaml.Node) *yaml.Node {
	if node != nil && node.Kind == yaml.AliasNode {
		return node.Alias
	}
	return node
}

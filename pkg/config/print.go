package config

import (
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// WriteYAML writes the effective values as a file that Load would read, each
// with where it came from; secrets are masked.
func (l *Loaded) WriteYAML(w io.Writer) error {
	sections := map[string]*yaml.Node{"": {Kind: yaml.MappingNode}}
	for _, s := range l.tree.sections {
		if s.name != "" {
			sections[s.name] = &yaml.Node{Kind: yaml.MappingNode}
			add(sections, s.name, sections[s.name])
		}
		for _, o := range s.options {
			value := &yaml.Node{}
			if err := value.Encode(o.value.Interface()); err != nil {
				return fmt.Errorf("print %s: %w", o.name, err)
			}
			value.Style |= map[bool]yaml.Style{true: yaml.FlowStyle}[value.Kind == yaml.SequenceNode]
			value.LineComment = l.originOf(o.name)
			add(sections, o.name, value)
		}
	}
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(sections[""]); err != nil {
		return fmt.Errorf("print configuration: %w", err)
	}
	return enc.Close()
}

// add puts value under the last part of name into the section of the rest.
func add(sections map[string]*yaml.Node, name string, value *yaml.Node) {
	dot := strings.LastIndexByte(name, '.')
	parent := sections[name[:max(dot, 0)]]
	parent.Content = append(parent.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: name[dot+1:]}, value)
}

package tenant

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"go.yaml.in/yaml/v3"
)

// RelabelRules change or drop series before they are stored: relabel_configs as Prometheus has them, applied in their
// order (https://prometheus.io/docs/prometheus/latest/configuration/configuration/#relabel_config).
type RelabelRules []*relabel.Config

// Apply changes the labels by the rules; false if a rule drops the series, or leaves it no label.
func (r RelabelRules) Apply(b *labels.Builder) bool {
	if !relabel.ProcessBuilder(b, r...) {
		return false
	}
	some := false
	b.Range(func(labels.Label) { some = true })
	return some
}

// ruleFields are the keys that a rule may have.
var ruleFields = []string{"source_labels", "separator", "regex", "modulus", "target_label", "replacement", "action"}

// UnmarshalYAML reads rules from a limits file. The error joins what is wrong with each, by its line.
func (r *RelabelRules) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind != yaml.SequenceNode {
		return errors.New("must be a list of relabel_configs")
	}
	rules := make(RelabelRules, 0, len(node.Content))
	var errs []error
	for i, n := range node.Content {
		rule, err := parseRule(n)
		if err != nil {
			errs = append(errs, fmt.Errorf("rule %d in line %d: %w", i+1, n.Line, err))
		}
		rules = append(rules, rule)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	*r = rules
	return nil
}

func parseRule(n *yaml.Node) (*relabel.Config, error) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.MappingNode {
		return nil, errors.New("must hold options, as name: value")
	}
	for i := 0; i < len(n.Content); i += 2 {
		if key := n.Content[i].Value; !slices.Contains(ruleFields, key) {
			return nil, fmt.Errorf("unknown option %q, must be one of %s", key, strings.Join(ruleFields, ", "))
		}
	}
	var c relabel.Config
	if err := n.Decode(&c); err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := c.Validate(model.UTF8Validation); err != nil {
		return nil, err
	}
	return &c, nil
}

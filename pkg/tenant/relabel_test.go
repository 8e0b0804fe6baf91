package tenant

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
)

func loadRules(t *testing.T, rules string) (*Limits, error) {
	t.Helper()
	f := newTestFile(t, "overrides:\n  a:\n    write_relabel:\n"+rules)
	o, err := NewOverrides(DefaultLimits(Machine{}), f.Dependencies)
	if err != nil {
		return nil, err
	}
	if len(o.For(mustParse(t, "b")).WriteRelabel) > 0 {
		t.Error("one tenant's rules hold for another")
	}
	return o.For(mustParse(t, "a")), nil
}

func TestRelabelRules(t *testing.T) {
	in := labels.FromStrings("__name__", "up", "job", "api", "pod", "api-7f9")
	for _, tc := range []struct {
		name, rules string
		want        labels.Labels // empty if dropped
	}{
		{"none", "      []", in},
		{"change", "    - {source_labels: [pod], regex: '(.*)-.*', target_label: app}", labels.FromStrings("__name__", "up", "app", "api", "job", "api", "pod", "api-7f9")},
		{"drop", "    - {source_labels: [__name__], regex: up, action: drop}", labels.EmptyLabels()},
		{"in order", "    - {target_label: job, replacement: web}\n    - {source_labels: [job], regex: web, action: keep}", labels.FromStrings("__name__", "up", "job", "web", "pod", "api-7f9")},
		{"lose a label", "    - {regex: pod, action: labeldrop}", labels.FromStrings("__name__", "up", "job", "api")},
		{"lose all labels", "    - {regex: '.*', action: labeldrop}", labels.EmptyLabels()},
		{"lose the name", "    - {regex: '__name__', action: labeldrop}", labels.FromStrings("job", "api", "pod", "api-7f9")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, err := loadRules(t, tc.rules)
			if err != nil {
				t.Fatal(err)
			}
			b := labels.NewBuilder(in)
			got := labels.EmptyLabels()
			if l.WriteRelabel.Apply(b) {
				got = b.Labels()
			}
			if diff := cmp.Diff(tc.want.String(), got.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A rule that can't be meant is refused when the file is read, with its place.
func TestRelabelRulesErrors(t *testing.T) {
	for _, tc := range []struct{ name, rules, want string }{
		{"no list", "      action: drop", "write_relabel: must be a list of relabel_configs"},
		{"no rule", "    - drop", "rule 1 in line 4: must hold options, as name: value"},
		{"unknown option", "    - {sourcelabels: [a], action: drop}", `rule 1 in line 4: unknown option "sourcelabels", must be one of source_labels, `},
		{"unknown action", "    - {action: dorp}", `rule 1 in line 4: unknown relabel action "dorp"`},
		{"regular expression", "    - {action: keep}\n    - {regex: '(', action: drop}", "rule 2 in line 5: error parsing regexp: missing closing )"},
		{"no target", "    - {replacement: x}", "requires 'target_label' value"},
		{"no modulus", "    - {target_label: x, action: hashmod}", "requires non-zero modulus"},
		{"type", "    - {modulus: many, target_label: x, action: hashmod}", "line 4: cannot unmarshal"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := loadRules(t, tc.rules)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

package tenant

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/varve-io/varve/pkg/config"
)

// Overrides are the limits of all tenants: the defaults, and a file over them
// that is read again when it changes.
//
//	defaults:
//	  retention: 1y
//	overrides:
//	  team-a:
//	    max_active_series: 5000000
//
// What it says under defaults holds for every tenant of which it says nothing
// else. Unknown limits and tenants' names that can't be are errors. A file that
// turns bad changes nothing. All methods may be called at once.
type Overrides struct {
	file *watched[limitsSnapshot]
}

// limitsSnapshot is one content of the file. It is never changed.
type limitsSnapshot struct {
	generation uint64
	defaults   Limits
	tenants    map[ID]*Limits
	set        map[ID][]string // the limits that the file sets for a tenant
	setForAll  []string        // under defaults
}

// NewOverrides reads the file, if one is named; defaults hold below it. Run must
// be called for changes to be seen.
func NewOverrides(defaults Limits, d Dependencies) (*Overrides, error) {
	generation := uint64(0)
	w, err := newWatched("limits", d, func(data []byte) (*limitsSnapshot, error) {
		s, err := parseOverrides(d.File, data, defaults)
		if err != nil {
			return nil, err
		}
		generation++ // reloads are one at a time
		s.generation = generation
		return s, nil
	})
	if err != nil {
		return nil, fmt.Errorf("load limits: %w", err)
	}
	return &Overrides{w}, nil
}

// For returns the limits of the tenant as they are now. The caller must not
// change them, and should not keep them for longer than a request.
func (o *Overrides) For(id ID) *Limits {
	s := o.file.current.Load()
	if l, ok := s.tenants[id]; ok {
		return l
	}
	return &s.defaults
}

// Source says where a limit of the tenant is set: in the file for this tenant, in the file for all, or nowhere.
func (o *Overrides) Source(id ID, l LimitName) string {
	s := o.file.current.Load()
	switch {
	case slices.Contains(s.set[id], string(l)):
		return "overrides of " + id.String() + " in the limits file"
	case slices.Contains(s.setForAll, string(l)):
		return "defaults in the limits file"
	}
	return "built in, by the machine's cores and memory"
}

// Generation moves whenever limits may have: what was decided by limits that
// were taken after a look at Generation holds until it moves.
func (o *Overrides) Generation() uint64 { return o.file.current.Load().generation }

// Reload looks at the file now. If it can't be read or is not valid, the error
// says why, and the limits stay as they were.
func (o *Overrides) Reload() error { return o.file.reload() }

// Run looks at the file every few seconds until ctx ends; then it returns nil.
func (o *Overrides) Run(ctx context.Context) error { return o.file.run(ctx) }

func parseOverrides(file string, data []byte, defaults Limits) (*limitsSnapshot, error) {
	top, err := config.ParseYAML(file, data)
	if err != nil {
		return nil, err
	}
	sections, err := entries(file, top)
	if err != nil {
		return nil, err
	}
	var errs []error
	s := &limitsSnapshot{defaults: defaults, tenants: map[ID]*Limits{}, set: map[ID][]string{}}
	var tenants *yaml.Node
	for _, e := range sections {
		switch e.key.Value {
		case "defaults":
			errs = append(errs, config.DecodeYAML(file, e.value, &s.defaults))
			s.setForAll = keys(e.value)
		case "overrides":
			tenants = e.value
		default:
			errs = append(errs, fmt.Errorf("%s:%d: unknown key %q, must be defaults or overrides", file, e.key.Line, e.key.Value))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err // and not again for every tenant
	}
	if err := s.decodeTenants(file, tenants); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *limitsSnapshot) decodeTenants(file string, node *yaml.Node) error {
	list, err := entries(file, node)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range list {
		id, err := Parse(e.key.Value)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", file, e.key.Line, err))
			continue
		}
		limits := s.defaults
		errs = append(errs, config.DecodeYAML(file, e.value, &limits))
		s.tenants[id], s.set[id] = &limits, keys(e.value)
	}
	return errors.Join(errs...)
}

// keys are those of a mapping.
func keys(node *yaml.Node) []string {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	var all []string
	for i := 0; i+1 < len(node.Content); i += 2 {
		all = append(all, node.Content[i].Value)
	}
	return all
}

// entry is a key and its value in a YAML mapping.
type entry struct{ key, value *yaml.Node }

// entries returns what a mapping holds, nothing for one that is absent or empty.
func entries(file string, node *yaml.Node) ([]entry, error) {
	if node == nil || node.Tag == "!!null" {
		return nil, nil
	}
	if node.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s:%d: must be names with values", file, node.Line)
	}
	var all []entry
	seen := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		if line, twice := seen[key.Value]; twice {
			return nil, fmt.Errorf("%s:%d: %q is already in line %d", file, key.Line, key.Value, line)
		}
		seen[key.Value] = key.Line
		all = append(all, entry{key, node.Content[i+1]})
	}
	return all, nil
}

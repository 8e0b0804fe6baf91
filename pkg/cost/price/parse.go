package price

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/varve-io/varve/pkg/cost/money"
)

// Limits of a book.
const (
	MaxBytes    = 1 << 20
	MaxLists    = 1000
	MaxRules    = 10_000 // in all lists
	MaxPatterns = 1000   // of a field
	maxString   = 256
)

// Parse reads a book from YAML or JSON. Errors name the field and its line. Unknown fields are errors, and so are anchors and aliases.
func Parse(data []byte) (*Book, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("price book: %d bytes are more than %d", len(data), MaxBytes)
	}
	p := parser{book: Book{text: bytes.Clone(data), standard: Default().standard}}
	if json.Valid(data) { // YAML refuses tabs that JSON may have
		var compact bytes.Buffer
		if err := json.Compact(&compact, data); err == nil {
			data = compact.Bytes()
		}
	}
	if err := p.read(data); err != nil {
		return nil, fmt.Errorf("price book: %w", err)
	}
	return &p.book, nil
}

type parser struct {
	book  Book
	rules int
}

// value reads a field. path is its name for errors.
type value func(n *yaml.Node, path string) error

type fields map[string]value

func (p *parser) read(data []byte) error {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return err
	}
	if len(doc.Content) != 1 {
		return errors.New("it is empty")
	}
	return p.parse(doc.Content[0])
}

func (p *parser) parse(n *yaml.Node) error {
	err := mapping(n, "", fields{
		"currency": p.currency,
		"prices":   func(n *yaml.Node, path string) error { return sequence(n, path, MaxLists, p.list) },
	})
	if err != nil {
		return err
	}
	if p.book.Currency == "" {
		return errors.New("currency is missing")
	}
	if len(p.book.Lists) == 0 {
		return errors.New("prices has no list")
	}
	slices.SortStableFunc(p.book.Lists, func(a, b List) int { return int(a.From/1000 - b.From/1000) })
	for i := 1; i < len(p.book.Lists); i++ {
		if from := p.book.Lists[i].From; from == p.book.Lists[i-1].From {
			return fmt.Errorf("two of prices are from %s", time.UnixMilli(from).UTC().Format(time.RFC3339))
		}
	}
	return nil
}

func (p *parser) currency(n *yaml.Node, path string) error {
	s, err := scalar(n, path)
	if err != nil {
		return err
	}
	if len(s) != 3 || strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return invalid(n, path, errors.New("not a currency like USD"))
	}
	p.book.Currency = s
	return nil
}

func (p *parser) list(n *yaml.Node, path string) error {
	var l List
	var dated bool
	err := mapping(n, path, fields{
		"from": func(n *yaml.Node, path string) (err error) {
			l.From, err = hour(n, path)
			dated = true
			return err
		},
		"nodes":          rules(p, &l.Nodes, (*Node).parse),
		"volumes":        rules(p, &l.Volumes, flat("gib_hour")),
		"load_balancers": rules(p, &l.LoadBalancers, flat("hour")),
		"network":        rules(p, &l.Network, traffic),
		"overheads":      rules(p, &l.Overheads, (*Overhead).parse),
		"discounts":      rules(p, &l.Discounts, (*Discount).parse),
	})
	if err != nil {
		return err
	}
	if !dated {
		return invalid(n, path, errors.New("from is missing"))
	}
	p.book.Lists = append(p.book.Lists, l)
	return nil
}

// rules reads a section into to.
func rules[R any](p *parser, to *[]R, parse func(r *R, n *yaml.Node, path string) error) value {
	return func(n *yaml.Node, path string) error {
		return sequence(n, path, MaxRules, func(n *yaml.Node, path string) error {
			if p.rules++; p.rules > MaxRules {
				return invalid(n, path, fmt.Errorf("there are more than %d rules", MaxRules))
			}
			var r R
			if err := parse(&r, n, path); err != nil {
				return err
			}
			*to = append(*to, r)
			return nil
		})
	}
}

func (r *Node) parse(n *yaml.Node, path string) error {
	var resources bool
	price := func(to *money.Decimal, given *bool) value {
		return func(n *yaml.Node, path string) error {
			*given = true
			return decimal(to)(n, path)
		}
	}
	err := mapping(n, path, fields{
		"match":         r.Match.parse,
		"cpu_core_hour": price(&r.CPUCoreHour, &resources),
		"ram_gib_hour":  price(&r.RAMGiBHour, &resources),
		"gpu_hour":      price(&r.GPUHour, &resources),
		"node_hour":     price(&r.NodeHour, &r.Whole),
	})
	if err == nil && !resources && !r.Whole {
		err = invalid(n, path, errors.New("it has none of cpu_core_hour, ram_gib_hour, gpu_hour and node_hour"))
	}
	return err
}

func flat(name string) func(r *Flat, n *yaml.Node, path string) error {
	return func(r *Flat, n *yaml.Node, path string) error {
		var given bool
		err := mapping(n, path, fields{
			"match": r.Match.parse,
			name: func(n *yaml.Node, path string) error {
				given = true
				return decimal(&r.Price)(n, path)
			},
		})
		if err == nil && !given {
			err = invalid(n, path, fmt.Errorf("%s is missing", name))
		}
		return err
	}
}

// traffic reads a rule of network.
func traffic(r *Flat, n *yaml.Node, path string) error {
	if err := flat("gib")(r, n, path); err != nil {
		return err
	}
	return r.Match.ofTraffic(n, path)
}

// ofTraffic refuses what no traffic has: a misspelt class would be no money.
func (m Match) ofTraffic(n *yaml.Node, path string) error {
	for field, known := range map[string][]string{"class": TrafficClasses(), "direction": {"received", "sent"}} {
		for i := range m {
			for _, pattern := range m[i].Patterns {
				one := Field{Patterns: []string{pattern}}
				if m[i].Name == field && !slices.ContainsFunc(known, one.of) {
					return invalid(n, path+".match."+field, fmt.Errorf("there is no %q, but %s", pattern, strings.Join(known, ", ")))
				}
			}
		}
	}
	return nil
}

func (r *Overhead) parse(n *yaml.Node, path string) error {
	err := mapping(n, path, fields{
		"name":         text(&r.Name),
		"match":        r.Match.parse,
		"cluster_hour": decimal(&r.ClusterHour),
		"percent":      percent(&r.Percent),
	})
	if err == nil && (r.ClusterHour == 0) == (r.Percent == 0) {
		err = invalid(n, path, errors.New("it needs one of cluster_hour and percent"))
	}
	return err
}

func (r *Discount) parse(n *yaml.Node, path string) error {
	var on string
	err := mapping(n, path, fields{"on": text(&on), "match": r.Match.parse, "percent": percent(&r.Percent)})
	if err != nil {
		return err
	}
	r.On = Section(on)
	switch r.On {
	case Network:
		return r.Match.ofTraffic(n, path)
	case "", Nodes, Volumes, LoadBalancers:
		return nil
	}
	return invalid(n, path, fmt.Errorf("on is %q, and not nodes, volumes, load_balancers or network", on))
}

func (m *Match) parse(n *yaml.Node, path string) error {
	return pairs(n, path, func(name string, n *yaml.Node, path string) error {
		f := Field{Name: name}
		one := func(n *yaml.Node, path string) error {
			s, err := scalar(n, path)
			f.Patterns = append(f.Patterns, s)
			return err
		}
		var err error
		if n.Kind == yaml.SequenceNode {
			err = sequence(n, path, MaxPatterns, one)
		} else {
			err = one(n, path)
		}
		*m = append(*m, f)
		return err
	})
}

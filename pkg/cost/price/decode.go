package price

import (
	"errors"
	"fmt"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/varve-io/varve/pkg/cost/money"
)

// invalid says where an error is.
func invalid(n *yaml.Node, path string, err error) error {
	if path == "" {
		return fmt.Errorf("line %d: %w", n.Line, err)
	}
	return fmt.Errorf("%s (line %d): %w", path, n.Line, err)
}

// pairs reads the fields of a mapping in their order. None comes twice.
func pairs(n *yaml.Node, path string, each func(name string, n *yaml.Node, path string) error) error {
	if n.Kind != yaml.MappingNode || n.Anchor != "" {
		return invalid(n, path, errors.New("it must be fields with values"))
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, err := scalar(n.Content[i], path)
		if err != nil {
			return err
		}
		if seen[name] {
			return invalid(n.Content[i], path, fmt.Errorf("%s is there twice", name))
		}
		seen[name] = true
		below := name
		if path != "" {
			below = path + "." + name
		}
		if err := each(name, n.Content[i+1], below); err != nil {
			return err
		}
	}
	return nil
}

// mapping reads a mapping that has only the given fields.
func mapping(n *yaml.Node, path string, of fields) error {
	return pairs(n, path, func(name string, n *yaml.Node, path string) error {
		read := of[name]
		if read == nil {
			return invalid(n, path, errors.New("there is no such field"))
		}
		return read(n, path)
	})
}

func sequence(n *yaml.Node, path string, limit int, each value) error {
	if n.Kind != yaml.SequenceNode || n.Anchor != "" {
		return invalid(n, path, errors.New("it must be a list"))
	}
	if len(n.Content) > limit {
		return invalid(n, path, fmt.Errorf("%d are more than %d", len(n.Content), limit))
	}
	for i, c := range n.Content {
		if err := each(c, fmt.Sprintf("%s[%d]", path, i)); err != nil {
			return err
		}
	}
	return nil
}

func scalar(n *yaml.Node, path string) (string, error) {
	if n.Kind != yaml.ScalarNode || n.Anchor != "" || n.Tag == "!!null" {
		return "", invalid(n, path, errors.New("it must be one value"))
	}
	if len(n.Value) > maxString {
		return "", invalid(n, path, fmt.Errorf("%d bytes are more than %d", len(n.Value), maxString))
	}
	return n.Value, nil
}

func text(to *string) value {
	return func(n *yaml.Node, path string) (err error) {
		*to, err = scalar(n, path)
		return err
	}
}

func decimal(to *money.Decimal) value {
	return func(n *yaml.Node, path string) error {
		s, err := scalar(n, path)
		if err != nil {
			return err
		}
		if *to, err = money.ParseDecimal(s); err != nil {
			return invalid(n, path, err)
		}
		return nil
	}
}

func percent(to *money.Percent) value {
	return func(n *yaml.Node, path string) error {
		s, err := scalar(n, path)
		if err != nil {
			return err
		}
		if *to, err = money.ParsePercent(s); err != nil {
			return invalid(n, path, err)
		}
		return nil
	}
}

// hour reads a date, or a time on a whole UTC hour.
func hour(n *yaml.Node, path string) (int64, error) {
	s, err := scalar(n, path)
	if err != nil {
		return 0, err
	}
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		if t, err = time.Parse(time.RFC3339, s); err != nil {
			return 0, invalid(n, path, fmt.Errorf("%q is not a date like 2025-01-31 or a time like 2025-01-31T08:00:00Z", s))
		}
	}
	if t.UnixMilli()%3_600_000 != 0 {
		return 0, invalid(n, path, fmt.Errorf("%q is not on a whole UTC hour", s))
	}
	return t.UnixMilli(), nil
}

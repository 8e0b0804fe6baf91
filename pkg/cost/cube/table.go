package cube

import (
	"fmt"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"

	"github.com/varve-io/varve/pkg/cost"
)

// Table is one kind of rows. Each has files of its own.
type Table string

// table is how the rows R are stored.
type table[R any] struct {
	name    Table
	columns []column[R]
	numbers int   // the columns from there on are quantities
	first   []int // the first leaf of each column
	leaves  int
	schema  *parquet.Schema
}

func newTable[R any](name Table, columns ...[]column[R]) *table[R] {
	t := &table[R]{name: name, columns: slices.Concat(columns...)}
	var fields cost.Columns
	t.numbers = len(t.columns)
	for i, c := range t.columns {
		if c.number {
			t.numbers = min(t.numbers, i)
		}
		t.first = append(t.first, t.leaves)
		t.leaves += c.leaves
		fields = append(fields, cost.Column{Name: c.name, Node: c.node})
	}
	t.schema = parquet.NewSchema(string(name), fields.Node())
	return t
}

// compare orders rows by all their columns.
func (t *table[R]) compare(a, b *R) int {
	for i := range t.columns {
		if order := t.columns[i].compare(a, b); order != 0 {
			return order
		}
	}
	return 0
}

// sorted is rows in order; they stay where they are, since they are large.
func (t *table[R]) sorted(rows []R) []*R {
	order := make([]*R, len(rows))
	for i := range rows {
		order[i] = &rows[i]
	}
	if !slices.IsSortedFunc(order, t.compare) {
		slices.SortFunc(order, t.compare)
	}
	return order
}

// choice is a column that is read, by its place in the table; of one with labels only those of some names, or all where there are none.
type choice struct {
	column int
	labels []string
}

// choose is the columns with these names, in the table's order; nil chooses all. The period is never read.
func (t *table[R]) choose(names []string) ([]choice, error) {
	for _, name := range names {
		base, _, part := strings.Cut(name, ":")
		if !slices.ContainsFunc(t.columns, func(c column[R]) bool { return c.name == base && (!part || c.labels) }) {
			return nil, fmt.Errorf("cost cube: table %s has no column %q", t.name, name)
		}
	}
	var out []choice
	for i, c := range t.columns {
		if c.read == nil {
			continue
		}
		all, chosen := names == nil || slices.Contains(names, c.name), choice{column: i}
		for _, name := range names {
			if base, label, part := strings.Cut(name, ":"); part && base == c.name && !all {
				chosen.labels = append(chosen.labels, label)
			}
		}
		if all || len(chosen.labels) > 0 {
			out = append(out, chosen)
		}
	}
	return out, nil
}

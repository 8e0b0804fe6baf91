package cube

import (
	"context"
	"fmt"
)

// Files are the tables of one day of hours, or of one month or year of roll-ups.
type Files map[Table]Source

// Columns chooses what is read: the tables that it has, and of each the named columns, or all where there are no names. Nil chooses
// everything. Of a column of labels, "column:label" chooses those of one name; several may be chosen.
type Columns map[Table][]string

// filler reads one table into an H, period after period.
type filler[H any] interface {
	next() (Span, bool)
	// fill reads the span, if it is the table's next one, and empties the table's part of the H otherwise.
	fill(ctx context.Context, span Span, into *H) error
	// upcoming is where the bytes lie, by row group, that fill asks for until a time; fill can't be called after it.
	upcoming(until int64) [][]bytesAt
	close()
}

type tableFiller[H, R any] struct {
	*cursor[R]
	rows []R
	set  func(*H, []R) error
}

func fillerOf[H, R any](f *File, names []string, t *table[R], set func(*H, []R) error) (filler[H], error) {
	c, err := newCursor(t, f, names)
	return &tableFiller[H, R]{cursor: c, set: set}, err
}

func (t *tableFiller[H, R]) fill(ctx context.Context, span Span, into *H) error {
	t.rows = t.rows[:0]
	if next, ok := t.next(); ok && next.Start == span.Start {
		rows, err := t.read(ctx, t.rows)
		if err != nil {
			return fmt.Errorf("read cost cube: table %s: %w", t.table.name, err)
		}
		t.rows = rows
	}
	return t.set(into, t.rows)
}

func (t *tableFiller[H, R]) upcoming(until int64) [][]bytesAt { return t.groupsBefore(until, t.all) }

func fillAll[H any](ctx context.Context, tables []filler[H], span Span, into *H) error {
	for _, t := range tables {
		if err := t.fill(ctx, span, into); err != nil {
			return err
		}
	}
	return nil
}

// eachPeriod calls do with each period that any of the tables has, in order, until it returns false; then it closes them.
func eachPeriod[H any](tables []filler[H], do func(Span) bool) {
	defer func() {
		for _, t := range tables {
			t.close()
		}
	}()
	for {
		var first Span
		found := false
		for _, t := range tables {
			if span, ok := t.next(); ok && (!found || span.Start < first.Start) {
				first, found = span, true
			}
		}
		if !found || !do(first) {
			return
		}
	}
}

// openAll opens those of the tables that are chosen and have a file.
func openAll[H any](ctx context.Context, tables []Table, files Files, columns Columns, of func(*File, []string) (filler[H], error)) ([]filler[H], error) {
	var out []filler[H]
	for _, name := range tables {
		names, chosen := columns[name]
		src, ok := files[name]
		if !ok || (columns != nil && !chosen) {
			continue
		}
		f, err := Open(ctx, name, src)
		if err != nil {
			return nil, err
		}
		t, err := of(f, names)
		if err != nil {
			return nil, fmt.Errorf("open cost cube: table %s: %w", name, err)
		}
		out = append(out, t)
	}
	return out, nil
}

func openOld(ctx context.Context, name Table, old Source) (*File, error) {
	if old == nil {
		return nil, nil
	}
	return Open(ctx, name, old)
}

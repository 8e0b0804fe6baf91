package cube

import (
	"context"
	"fmt"
	"io"
	"iter"

	"github.com/varve-io/varve/pkg/cost"
)

// Files are the tables of one day.
type Files map[Table]Source

// Columns chooses what is read: the tables that it has, and of each the named columns, or all where there are no names. Nil chooses
// everything.
type Columns map[Table][]string

// Hours reads a day's hours in order. The rows of an hour are valid until the next; their strings, labels and sketches stay.
// Columns that were not chosen are zero. Errors of a file wrap ErrDamaged or ErrVersion, or are its source's.
func Hours(ctx context.Context, files Files, columns Columns) iter.Seq2[*cost.Hour, error] {
	return func(yield func(*cost.Hour, error) bool) {
		tables, err := openHours(ctx, files, columns)
		if err != nil {
			yield(nil, err)
			return
		}
		defer func() {
			for _, t := range tables {
				t.close()
			}
		}()
		var hour cost.Hour
		for {
			start, ok := earliest(tables)
			if !ok {
				return
			}
			hour.Start = start
			for _, t := range tables {
				if err := t.fill(ctx, &hour); err != nil {
					yield(nil, err)
					return
				}
			}
			if !yield(&hour, nil) {
				return
			}
		}
	}
}

// hourTable is one table of level 0, as rows of an Hour.
type hourTable interface {
	next() (Span, bool)
	fill(ctx context.Context, hour *cost.Hour) error
	close()
}

type hourCursor[R any] struct {
	*cursor[R]
	rows func(*cost.Hour) *[]R
}

// fill reads the hour's rows, if the file's next period is that hour.
func (c hourCursor[R]) fill(ctx context.Context, hour *cost.Hour) error {
	into := c.rows(hour)
	*into = (*into)[:0]
	if span, ok := c.next(); !ok || span.Start != hour.Start {
		return nil
	}
	rows, err := c.read(ctx, *into)
	if err != nil {
		return fmt.Errorf("read cost cube: table %s: %w", c.table.name, err)
	}
	*into = rows
	return nil
}

func earliest(tables []hourTable) (start int64, ok bool) {
	for _, t := range tables {
		if span, has := t.next(); has && (!ok || span.Start < start) {
			start, ok = span.Start, true
		}
	}
	return start, ok
}

func openHours(ctx context.Context, files Files, columns Columns) ([]hourTable, error) {
	var out []hourTable
	for _, name := range HourTables() {
		names, chosen := columns[name]
		src, ok := files[name]
		if !ok || (columns != nil && !chosen) {
			continue
		}
		f, err := Open(ctx, name, src)
		if err != nil {
			return nil, err
		}
		t, err := openHourTable(f, names)
		if err != nil {
			return nil, fmt.Errorf("open cost cube: table %s: %w", name, err)
		}
		out = append(out, t)
	}
	return out, nil
}

func openHourTable(f *File, names []string) (hourTable, error) {
	switch f.Table {
	case Workloads:
		return hourCursorOf(f, names, workloadTable(), func(h *cost.Hour) *[]cost.Workload { return &h.Workloads })
	case Nodes:
		return hourCursorOf(f, names, nodeTable(), func(h *cost.Hour) *[]cost.Node { return &h.Nodes })
	case Assets:
		return hourCursorOf(f, names, assetTable(), func(h *cost.Hour) *[]cost.Asset { return &h.Assets })
	case Shares:
		return hourCursorOf(f, names, shareTable(), func(h *cost.Hour) *[]cost.Share { return &h.Shares })
	case Scalings:
		return hourCursorOf(f, names, scalingTable(), func(h *cost.Hour) *[]cost.Scaling { return &h.Scalings })
	case Warnings:
		return hourCursorOf(f, names, warningTable(), func(h *cost.Hour) *[]cost.Warning { return &h.Warnings })
	}
	return nil, fmt.Errorf("level 0 has no such table")
}

func hourCursorOf[R any](f *File, names []string, t *table[R], rows func(*cost.Hour) *[]R) (hourTable, error) {
	c, err := newCursor(t, f, names)
	return hourCursor[R]{c, rows}, err
}

// WriteHours writes one table of a day: the hours of the older file, or none if old is nil, and the new ones, which replace those
// of the same start. The same hours give the same bytes, in whatever order and portions they came.
func WriteHours(ctx context.Context, out io.Writer, name Table, old Source, hours []*cost.Hour) error {
	var f *File
	if old != nil {
		var err error
		if f, err = Open(ctx, name, old); err != nil {
			return err
		}
	}
	switch name {
	case Workloads:
		return writeHours(ctx, out, workloadTable(), f, hours, func(h *cost.Hour) []cost.Workload { return h.Workloads })
	case Nodes:
		return writeHours(ctx, out, nodeTable(), f, hours, func(h *cost.Hour) []cost.Node { return h.Nodes })
	case Assets:
		return writeHours(ctx, out, assetTable(), f, hours, func(h *cost.Hour) []cost.Asset { return h.Assets })
	case Shares:
		return writeHours(ctx, out, shareTable(), f, hours, func(h *cost.Hour) []cost.Share { return h.Shares })
	case Scalings:
		return writeHours(ctx, out, scalingTable(), f, hours, func(h *cost.Hour) []cost.Scaling { return h.Scalings })
	case Warnings:
		return writeHours(ctx, out, warningTable(), f, hours, func(h *cost.Hour) []cost.Warning { return h.Warnings })
	}
	return fmt.Errorf("write cost cube: level 0 has no table %q", name)
}

func writeHours[R any](ctx context.Context, out io.Writer, t *table[R], old *File, hours []*cost.Hour, rows func(*cost.Hour) []R) error {
	parts := make([]rowsOf[R], len(hours))
	for i, h := range hours {
		parts[i] = rowsOf[R]{h.Start, rows(h)}
	}
	return rewrite(ctx, t, out, old, parts)
}

package cube

import (
	"context"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/varve-io/varve/pkg/cost"
)

// Hours reads a day's hours in order. The rows of an hour are valid until the next; their strings, labels and sketches stay.
// Columns that were not chosen are zero. Errors of a file wrap ErrDamaged or ErrVersion, or are its source's.
func Hours(ctx context.Context, files Files, columns Columns) iter.Seq2[*cost.Hour, error] {
	return func(yield func(*cost.Hour, error) bool) {
		tables, err := openAll(ctx, HourTables(), files, columns, openHourTable)
		if err != nil {
			yield(nil, err)
			return
		}
		var hour cost.Hour
		eachPeriod(tables, func(span Span) bool {
			hour.Start = span.Start
			if err := fillAll(ctx, tables, span, &hour); err != nil {
				yield(nil, err)
				return false
			}
			return yield(&hour, nil)
		})
	}
}

func openHourTable(f *File, names []string) (filler[cost.Hour], error) {
	switch f.Table {
	case Workloads:
		return fillerOf(f, names, workloadTable(), func(h *cost.Hour, rows []cost.Workload) error { h.Workloads = rows; return nil })
	case Nodes:
		return fillerOf(f, names, nodeTable(), func(h *cost.Hour, rows []cost.Node) error { h.Nodes = rows; return nil })
	case Assets:
		return fillerOf(f, names, assetTable(), func(h *cost.Hour, rows []cost.Asset) error { h.Assets = rows; return nil })
	case Shares:
		return fillerOf(f, names, shareTable(), func(h *cost.Hour, rows []cost.Share) error { h.Shares = rows; return nil })
	case Scalings:
		return fillerOf(f, names, scalingTable("hour"), func(h *cost.Hour, rows []cost.Scaling) error { h.Scalings = rows; return nil })
	case Scalers:
		return fillerOf(f, names, scalerTable("hour"), func(h *cost.Hour, rows []cost.Autoscaler) error { h.Scalers = rows; return nil })
	case Warnings:
		return fillerOf(f, names, warningTable("hour"), func(h *cost.Hour, rows []cost.Warning) error { h.Warnings = rows; return nil })
	}
	return nil, fmt.Errorf("level 0 has no table %q", f.Table)
}

// WriteHours writes one table of a day: the hours of the older file, or none if old is nil, and the new ones, which replace those
// of the same start. The same hours give the same bytes, in whatever order and portions they came.
func WriteHours(ctx context.Context, out io.Writer, name Table, old Source, hours []*cost.Hour) error {
	f, err := openOld(ctx, name, old)
	if err != nil {
		return err
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
		return writeHours(ctx, out, scalingTable("hour"), f, hours, func(h *cost.Hour) []cost.Scaling { return h.Scalings })
	case Scalers:
		return writeHours(ctx, out, scalerTable("hour"), f, hours, func(h *cost.Hour) []cost.Autoscaler { return h.Scalers })
	case Warnings:
		return writeHours(ctx, out, warningTable("hour"), f, hours, func(h *cost.Hour) []cost.Warning { return h.Warnings })
	}
	return fmt.Errorf("write cost cube: level 0 has no table %q", name)
}

func writeHours[R any](ctx context.Context, out io.Writer, t *table[R], old *File, hours []*cost.Hour, rows func(*cost.Hour) []R) error {
	parts := make([]rowsOf[R], len(hours))
	for i, h := range hours {
		parts[i] = rowsOf[R]{h.Start, h.Start + int64(time.Hour/time.Millisecond), rows(h)}
	}
	return rewrite(ctx, t, out, old, parts)
}

package cube

import (
	"context"
	"fmt"
	"io"
	"iter"

	"github.com/varve-io/varve/pkg/cost"
)

// RollUps reads the days or months of roll-ups in order. A ledger's rows are valid until the next one; its names are those that are
// passed in, and more are added to them. Columns that were not chosen are zero; rows of a period that differ in
// nothing else are added up. Errors of a file wrap ErrDamaged or ErrVersion, or are its source's.
func RollUps(ctx context.Context, files Files, columns Columns, names *cost.Names) iter.Seq2[*cost.Ledger, error] {
	return func(yield func(*cost.Ledger, error) bool) {
		tables, err := openAll(ctx, RollUpTables(), files, columns, openRollUpTable)
		if err != nil {
			yield(nil, err)
			return
		}
		ledger := cost.Ledger{Names: names}
		eachPeriod(tables, func(span Span) bool {
			ledger.From, ledger.To = span.Start, span.End
			ledger.Items, ledger.Assets = ledger.Items[:0], ledger.Assets[:0]
			if err := fillAll(ctx, tables, span, &ledger); err != nil {
				yield(nil, err)
				return false
			}
			return yield(&ledger, nil)
		})
	}
}

func openRollUpTable(f *File, names []string) (filler[cost.Ledger], error) {
	switch f.Table {
	case Items:
		return rollUpOf(f, names, itemTable(), rollUpRow[itemRow]{itemNames, addItem})
	case Bill:
		return rollUpOf(f, names, billTable(), rollUpRow[billRow]{assetNames, addAsset})
	case Lives:
		return fillerOf(f, names, lifeTable(), func(l *cost.Ledger, rows []cost.NodeLife) error { l.Lives = rows; return nil })
	case Scalings:
		return fillerOf(f, names, scalingTable("period"), func(l *cost.Ledger, rows []cost.Scaling) error { l.Scalings = rows; return nil })
	case Scalers:
		return fillerOf(f, names, scalerTable("period"), func(l *cost.Ledger, rows []cost.Autoscaler) error { l.Scalers = rows; return nil })
	case Warnings:
		return fillerOf(f, names, warningTable("period"), func(l *cost.Ledger, rows []cost.Warning) error { l.Warnings = rows; return nil })
	}
	return nil, fmt.Errorf("a roll-up has no table %q", f.Table)
}

// WriteRollUp writes one table of roll-ups: the periods of the older file, or none if old is nil, and the ledgers, which replace those of
// the same start. Ledgers must be roll-ups: pods are not written, names of nodes only as lives. Bytes are as of WriteHours.
func WriteRollUp(ctx context.Context, out io.Writer, name Table, old Source, ledgers []*cost.Ledger) error {
	for _, l := range ledgers {
		if l.Method != "" && l.Method != cost.MaxRequestUsage {
			return fmt.Errorf("write cost cube: a roll-up of the method %s can't be kept", l.Method)
		}
	}
	f, err := openOld(ctx, name, old)
	if err != nil {
		return err
	}
	switch name {
	case Items:
		return writeLedgers(ctx, out, itemTable(), f, ledgers, itemRows)
	case Bill:
		return writeLedgers(ctx, out, billTable(), f, ledgers, billRows)
	case Lives:
		return writeLedgers(ctx, out, lifeTable(), f, ledgers, func(l *cost.Ledger) ([]cost.NodeLife, error) { return l.Lives, nil })
	case Scalings:
		return writeLedgers(ctx, out, scalingTable("period"), f, ledgers, func(l *cost.Ledger) ([]cost.Scaling, error) { return l.Scalings, nil })
	case Scalers:
		return writeLedgers(ctx, out, scalerTable("period"), f, ledgers, func(l *cost.Ledger) ([]cost.Autoscaler, error) { return l.Scalers, nil })
	case Warnings:
		return writeLedgers(ctx, out, warningTable("period"), f, ledgers, func(l *cost.Ledger) ([]cost.Warning, error) { return l.Warnings, nil })
	}
	return fmt.Errorf("write cost cube: a roll-up has no table %q", name)
}

func writeLedgers[R any](ctx context.Context, out io.Writer, t *table[R], old *File, ledgers []*cost.Ledger, rows func(*cost.Ledger) ([]R, error)) error {
	parts := make([]rowsOf[R], len(ledgers))
	for i, l := range ledgers {
		if l.Method != "" && l.Method != cost.MaxRequestUsage {
			return fmt.Errorf("write cost cube: table %s: a roll-up of method %s", t.name, l.Method)
		}
		of, err := rows(l)
		if err != nil {
			return fmt.Errorf("write cost cube: table %s: %w", t.name, err)
		}
		parts[i] = rowsOf[R]{l.From, l.To, of}
	}
	return rewrite(ctx, t, out, old, parts)
}

func itemRows(l *cost.Ledger) ([]itemRow, error) {
	rows := make([]itemRow, 0, len(l.Items))
	for i := range l.Items {
		rest := l.Items[i]
		quantities := itemQuantities(&rest)
		r := itemRow{Kind: rest.Kind.String(), Subject: *l.Names.SubjectOf(rest.Subject), Place: *l.Names.PlaceOf(rest.Place)}
		r.Times = [4]int64{rest.Alive, rest.CPUKnown, rest.RAMKnown, rest.GPUKnown}
		for n, more := 0, true; more; n++ {
			if n == maxSpread {
				return nil, errSpread
			}
			more = spread(quantities[:], r.Quantities[:])
			rows = append(rows, r)
			r.Times = [4]int64{}
		}
	}
	return rows, nil
}

func billRows(l *cost.Ledger) ([]billRow, error) {
	rows := make([]billRow, 0, len(l.Assets))
	for i := range l.Assets {
		rest := l.Assets[i]
		quantities := billQuantities(&rest)
		r := billRow{Subject: *l.Names.SubjectOf(rest.Subject), Place: *l.Names.PlaceOf(rest.Place), Times: [2]int64{rest.Up, rest.Blind}}
		for n, more := 0, true; more; n++ {
			if n == maxSpread {
				return nil, errSpread
			}
			more = spread(quantities[:], r.Quantities[:])
			rows = append(rows, r)
			r.Times = [2]int64{}
		}
	}
	return rows, nil
}

package cube

import (
	"context"
	"fmt"
	"math"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/money"
)

// rollUpFiller reads the periods of a roll-up's table, of rows with the names R, into ledgers.
type rollUpFiller[R any] struct {
	*cursor[R]
	rollUpRow[R]

	gathered gathered
	group    int // 1 + that which was gathered
	item     int // the next one
	names    *cost.Names
	numbered []numbered       // by the names' numbers in the group
	row      R                // has the names that were numbered last
	sums     []money.Quantity // of the last item, by the table's columns of numbers
}

// rollUpRow is what becomes of rows with the names R.
type rollUpRow[R any] struct {
	number func(*cost.Names, *R) (numbered, error)
	add    func(*cost.Ledger, numbered, []money.Quantity) error
}

// numbered are the names of an item; it is empty until they are looked up.
type numbered struct {
	known          bool
	kind           cost.Kind
	subject, place uint32
}

func rollUpOf[R any](f *File, names []string, t *table[R], row rollUpRow[R]) (filler[cost.Ledger], error) {
	c, err := newCursor(t, f, names)
	if err != nil {
		return nil, err
	}
	return &rollUpFiller[R]{
		cursor: c, rollUpRow: row,
		gathered: gathered{names: make([]codes, len(c.columns)), sums: make([][]money.Quantity, len(c.columns))},
		sums:     make([]money.Quantity, len(t.columns)-t.numbers),
	}, nil
}

// fill implements filler.
func (f *rollUpFiller[R]) fill(ctx context.Context, span Span, into *cost.Ledger) (err error) {
	defer recoverDamage(&err)
	next, ok := f.next()
	if !ok || next.Start != span.Start {
		return nil
	}
	period := f.at
	f.at++
	if next.Rows == 0 {
		return nil
	}
	if err := f.load(ctx, into.Names); err != nil {
		return fmt.Errorf("read cost cube: table %s: %w", f.table.name, err)
	}
	for end := int(f.gathered.runs.ends[period]); f.item < end; f.item++ {
		if err := f.fillItem(into); err != nil {
			return fmt.Errorf("read cost cube: table %s: %w", f.table.name, err)
		}
	}
	return nil
}

func (f *rollUpFiller[R]) upcoming(until int64) [][]bytesAt {
	return f.groupsBefore(until, func() []int {
		_, others := f.constants()
		return others
	})
}

// load gathers the current group, unless it is there already.
func (f *rollUpFiller[R]) load(ctx context.Context, names *cost.Names) error {
	if f.group != f.cursor.group+1 {
		if err := f.gather(ctx, &f.gathered); err != nil {
			return err
		}
		f.group, f.item, f.names = f.cursor.group+1, 0, nil
	}
	if f.names != names {
		f.names, f.numbered = names, make([]numbered, len(f.gathered.runs.names))
	}
	return nil
}

func (f *rollUpFiller[R]) fillItem(into *cost.Ledger) (err error) {
	r := &f.gathered.runs
	n := &f.numbered[r.items[f.item]]
	if !n.known {
		for i, column := range f.columns {
			if t := &f.table.columns[column]; !t.number {
				values := &f.gathered.names[i]
				t.set(&f.row, values, values.of(r.names[r.items[f.item]]))
			}
		}
		if *n, err = f.number(into.Names, &f.row); err != nil {
			return err
		}
		n.known = true
	}
	for i, column := range f.columns {
		if !f.table.columns[column].number {
			continue
		}
		sum := &f.sums[column-f.table.numbers]
		if *sum = (money.Quantity{}); f.gathered.sums[i] != nil {
			*sum = f.gathered.sums[i][f.item]
		}
	}
	return f.add(into, *n, f.sums)
}

func itemNames(names *cost.Names, r *itemRow) (n numbered, err error) {
	if r.Kind != "" { // it is empty if it wasn't chosen
		if n.kind, err = kindOf(r.Kind); err != nil {
			return n, err
		}
	}
	n.subject, n.place = names.Subject(r.Subject), names.Place(r.Place)
	return n, nil
}

func assetNames(names *cost.Names, r *billRow) (numbered, error) {
	return numbered{subject: names.Subject(r.Subject), place: names.Place(r.Place)}, nil
}

func addItem(l *cost.Ledger, n numbered, sums []money.Quantity) error {
	l.Items = append(l.Items, cost.Item{Kind: n.kind, Subject: n.subject, Place: n.place})
	item := &l.Items[len(l.Items)-1]
	quantities := itemQuantities(item)
	for i, q := range quantities {
		*q = sums[i]
	}
	return takeTimes(sums[len(quantities):], &item.Alive, &item.CPUKnown, &item.RAMKnown, &item.GPUKnown)
}

func addAsset(l *cost.Ledger, n numbered, sums []money.Quantity) error {
	l.Assets = append(l.Assets, cost.AssetItem{Subject: n.subject, Place: n.place})
	asset := &l.Assets[len(l.Assets)-1]
	quantities := billQuantities(asset)
	for i, q := range quantities {
		*q = sums[i]
	}
	return takeTimes(sums[len(quantities):], &asset.Up, &asset.Blind)
}

// takeTimes makes times of sums, which fit.
func takeTimes(sums []money.Quantity, times ...*int64) error {
	for i, t := range times {
		if sums[i].Hi != 0 || sums[i].Lo > math.MaxInt64 {
			return damaged("a time of %v ms", sums[i])
		}
		*t = int64(sums[i].Lo)
	}
	return nil
}

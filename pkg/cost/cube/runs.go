package cube

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/bits"
	"runtime"

	"github.com/parquet-go/parquet-go/format"
	"golang.org/x/sync/errgroup"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/money"
)

// runs are the rows of a row group of a roll-up, those added up that come one after the other in a period and have the same names. They are
// made column by column, by all processors: rows never are.
type runs struct {
	starts []int32            // the first row of each run, and after the last one the number of rows
	names  []codes            // by column; empty for one of numbers
	sums   [][]money.Quantity // by column and run; nil for one of names, and where all are 0
}

// codes are a column's values, numbered: they are compared and kept by number.
type codes struct {
	rows   []uint32 // the number of each row; nil if all have the first value
	texts  []string // the values
	ints   []int64
	labels []cost.Labels
	breaks []uint64 // a bit for each row whose number is another one than that of the row before
}

// of is the number of a row's value.
func (c *codes) of(row int32) uint32 {
	if c.rows == nil {
		return 0
	}
	return c.rows[row]
}

// runFiller reads the periods of a roll-up's table into ledgers.
type runFiller[R any] struct {
	*cursor[R]
	add    func(l *cost.Ledger, n *numbered, names *R, sums []money.Quantity) error
	names  numbered
	loaded int // 1 + the group that runs are of
	runs   runs
	run    int // the next one
	row    R   // with the names of the last run
	codes  []uint32
	sums   []money.Quantity // of the last run, by number column of the table
}

func runsOf[R any](f *File, names []string, t *table[R], add func(*cost.Ledger, *numbered, *R, []money.Quantity) error) (filler[cost.Ledger], error) {
	c, err := newCursor(t, f, names)
	if err != nil {
		return nil, err
	}
	return &runFiller[R]{
		cursor: c, add: add,
		runs:  runs{names: make([]codes, len(c.columns)), sums: make([][]money.Quantity, len(c.columns))},
		codes: make([]uint32, len(c.columns)),
		sums:  make([]money.Quantity, len(t.columns)-t.numbers),
	}, nil
}

// fill implements filler.
func (f *runFiller[R]) fill(ctx context.Context, span Span, into *cost.Ledger) (err error) {
	defer recoverDamage(&err)
	next, ok := f.next()
	if !ok || next.Start != span.Start {
		return nil
	}
	if next.Rows > 0 && f.loaded != f.group+1 {
		if err = f.readRuns(ctx, &f.runs); err != nil {
			return fmt.Errorf("read cost cube: table %s: %w", f.table.name, err)
		}
		f.loaded, f.run = f.group+1, 0
		f.setNames(true)
	}
	f.at++
	if f.names.names != into.Names {
		f.names = numbered{names: into.Names}
	}
	for left := next.Rows; left > 0; f.run++ {
		f.setNames(false)
		f.setSums()
		if err := f.add(into, &f.names, &f.row, f.sums); err != nil {
			return fmt.Errorf("read cost cube: table %s: %w", f.table.name, err)
		}
		left -= int64(f.runs.starts[f.run+1] - f.runs.starts[f.run])
	}
	return nil
}

// setNames makes the row's names those of the run. Of a new group all are set, since its numbers are others.
func (f *runFiller[R]) setNames(all bool) {
	for i, column := range f.columns {
		t := &f.table.columns[column]
		if t.number {
			continue
		}
		values := &f.runs.names[i]
		if code := values.of(f.runs.starts[f.run]); all || code != f.codes[i] {
			t.set(&f.row, values, code)
			f.codes[i] = code
		}
	}
}

func (f *runFiller[R]) setSums() {
	for i, column := range f.columns {
		if !f.table.columns[column].number {
			continue
		}
		sum := &f.sums[column-f.table.numbers]
		if *sum = (money.Quantity{}); f.runs.sums[i] != nil {
			*sum = f.runs.sums[i][f.run]
		}
	}
}

// readRuns reads the current group into g, whose memory is used again.
func (c *cursor[R]) readRuns(ctx context.Context, g *runs) error {
	spans := c.file.Groups[c.group]
	rows := int(groupRows(spans))
	if rows > groupLimit+maxRows {
		return damaged("a row group of %d rows", rows)
	}
	constants := make([]*constant, len(c.columns))
	var wanted []int
	for i, column := range c.columns {
		if constants[i] = c.constant(column); constants[i] == nil {
			wanted = append(wanted, i)
		}
	}
	if err := c.open(ctx, wanted); err != nil {
		return err
	}
	defer c.close()
	err := c.each(func(i int, t *column[R]) (err error) {
		switch {
		case t.number:
		case constants[i] != nil:
			g.names[i] = constants[i].codes()
		case t.leaves == 2:
			err = g.names[i].readPairs(c.leaves[i], rows)
		default:
			err = g.names[i].read(c.leaves[i][0], rows)
		}
		return err
	})
	if err != nil {
		return err
	}
	g.starts = startsOf(g.names, spans)
	return c.each(func(i int, t *column[R]) (err error) {
		switch {
		case !t.number:
		case constants[i] != nil:
			g.sums[i] = constants[i].sums(g.starts)
		default:
			g.sums[i], err = c.leaves[i][0].sums(g.sums[i], g.starts)
		}
		return err
	})
}

// each calls do for all columns that are read, several at once.
func (c *cursor[R]) each(do func(i int, t *column[R]) error) error {
	var all errgroup.Group
	all.SetLimit(runtime.GOMAXPROCS(0))
	for i, column := range c.columns {
		all.Go(func() (err error) {
			defer recoverDamage(&err)
			t := &c.table.columns[column]
			if err := do(i, t); err != nil {
				return damaged("column %s: %w", t.name, err)
			}
			return nil
		})
	}
	return all.Wait()
}

// startsOf are the rows at which a name changes or a period begins, and their number.
func startsOf(names []codes, spans []Span) []int32 {
	rows := groupRows(spans)
	breaks := make([]uint64, rows/64+1)
	for i := range names {
		for w, bits := range names[i].breaks {
			breaks[w] |= bits
		}
	}
	at := int64(0)
	for _, s := range spans {
		breaks[at/64] |= 1 << (at % 64)
		at += s.Rows
	}
	breaks[rows/64] |= 1 << (rows % 64)
	count := 0
	for _, w := range breaks {
		count += bits.OnesCount64(w)
	}
	starts := make([]int32, 0, count)
	for i, w := range breaks {
		for ; w != 0; w &= w - 1 {
			starts = append(starts, int32(i*64+bits.TrailingZeros64(w)))
		}
	}
	return starts
}

// constant is what all rows of a group have in a column, as the footer says.
type constant struct {
	text   string
	number int64
}

// constant is nil if rows have several values, or the footer doesn't say.
func (c *cursor[R]) constant(column int) *constant {
	t := &c.table.columns[column]
	m := &c.meta()[c.index(column, 0)].MetaData
	s := &m.Statistics
	if t.leaves == 2 { // without a single pair, there are only empty lists
		if s.NullCount == m.NumValues && m.NumValues > 0 && s.MinValue == nil {
			return &constant{}
		}
		return nil
	}
	switch {
	case len(s.MinValue) == 0 || !bytes.Equal(s.MinValue, s.MaxValue):
		return nil
	case m.Type == format.ByteArray:
		return &constant{text: string(s.MinValue)}
	case m.Type == format.Int64 && len(s.MinValue) == 8:
		return &constant{number: int64(binary.LittleEndian.Uint64(s.MinValue))}
	case m.Type == format.Boolean && len(s.MinValue) == 1:
		return &constant{number: int64(s.MinValue[0] & 1)}
	}
	return nil
}

func (k *constant) codes() codes {
	return codes{texts: []string{k.text}, ints: []int64{k.number}, labels: []cost.Labels{nil}}
}

func (k *constant) sums(starts []int32) []money.Quantity {
	if k.number == 0 {
		return nil
	}
	sums := make([]money.Quantity, len(starts)-1)
	for i := range sums {
		sums[i] = money.Units(k.number).Times(uint64(starts[i+1] - starts[i]))
	}
	return sums
}

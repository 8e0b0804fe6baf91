package cube

import (
	"bytes"
	"context"
	"encoding/binary"
	"runtime"

	"github.com/parquet-go/parquet-go/format"
	"golang.org/x/sync/errgroup"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/money"
)

// gathered is a row group of a roll-up, its rows added up by period and names. It is made column by column, by all processors: rows never are.
type gathered struct {
	names []codes // by column; empty for one of numbers
	runs  runs
	sums  [][]money.Quantity // by column and item; nil for one of names, and where all are 0
}

// gather reads the current group into g, whose memory is used again.
func (c *cursor[R]) gather(ctx context.Context, g *gathered) error {
	spans := c.file.Groups[c.group]
	rows := int(groupRows(spans))
	if rows > groupLimit+maxRows {
		return damaged("a row group of %d rows", rows)
	}
	constants, wanted := c.constants()
	if err := c.open(ctx, wanted); err != nil {
		return err
	}
	defer c.close()
	err := c.each(func(i int, t *column[R]) error {
		switch {
		case t.number:
			return nil
		case constants[i] != nil:
			g.names[i] = constants[i].codes()
			return nil
		case t.leaves == 2:
			return g.names[i].readPairs(c.leaves[i], rows)
		}
		return g.names[i].read(c.leaves[i][0], rows)
	})
	if err != nil {
		return err
	}
	g.runs.find(g.names, spans)
	return c.each(func(i int, t *column[R]) (err error) {
		switch {
		case !t.number:
		case constants[i] != nil:
			g.sums[i] = constants[i].sums(&g.runs)
		default:
			g.sums[i], err = c.leaves[i][0].sums(g.sums[i], &g.runs)
		}
		return err
	})
}

// constants are the columns of the current group that have one value, and the places of all others among those that are read.
func (c *cursor[R]) constants() (constants []*constant, others []int) {
	constants = make([]*constant, len(c.columns))
	for i, column := range c.columns {
		if constants[i] = c.constant(column); constants[i] == nil {
			others = append(others, i)
		}
	}
	return constants, others
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

func (k *constant) sums(r *runs) []money.Quantity {
	if k.number == 0 {
		return nil
	}
	sums := make([]money.Quantity, len(r.items))
	for i, item := range r.itemOf {
		sums[item] = sums[item].Plus(money.Units(k.number).Times(uint64(r.starts[i+1] - r.starts[i])))
	}
	return sums
}

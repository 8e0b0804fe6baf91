package cube

import (
	"context"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

const (
	// batch is how many rows are allocated or written at once: what grows in steps of it is never much larger than what was found.
	batch = 1 << 14
	// block is how many rows all columns are read for, one after the other: they stay in the processor's cache.
	block = 1 << 10
)

// cursor reads the periods of a file in order, some columns of them.
type cursor[R any] struct {
	table   *table[R]
	file    *File
	columns []int      // of the table, that the file has
	only    [][]string // by column, the names of the labels that are read; nil for all

	group  int // in the description, of the next period
	at     int // the next period in the group
	rowed  int // row groups before this one
	leaves [][]*leaf
}

func newCursor[R any](t *table[R], f *File, names []string) (_ *cursor[R], err error) {
	defer recoverDamage(&err)
	choices, err := t.choose(names)
	if err != nil {
		return nil, err
	}
	c := &cursor[R]{table: t, file: f}
	for _, choice := range choices {
		ok, err := c.has(choice.column)
		if err != nil {
			return nil, err
		}
		if ok { // files of before a column was added leave it empty
			c.columns, c.only = append(c.columns, choice.column), append(c.only, choice.labels)
		}
	}
	return c, nil
}

// has tells whether the file has a column. One of the same name and another type is damage.
func (c *cursor[R]) has(column int) (bool, error) {
	paths := c.table.schema.Columns()
	for k := range c.table.columns[column].leaves {
		path := paths[c.table.first[column]+k]
		want, _ := c.table.schema.Lookup(path...)
		got, ok := c.file.parquet.Schema().Lookup(path...)
		if !ok && k == 0 {
			return false, nil
		}
		if !ok || got.Node.Type().Kind() != want.Node.Type().Kind() ||
			got.MaxRepetitionLevel != want.MaxRepetitionLevel || got.MaxDefinitionLevel != want.MaxDefinitionLevel {
			return false, damaged("column %s is of another type", strings.Join(path, "."))
		}
	}
	return true, nil
}

// next is the period that read returns; ok is false after the last.
func (c *cursor[R]) next() (span Span, ok bool) {
	for c.group < len(c.file.Groups) && c.at == len(c.file.Groups[c.group]) {
		c.leave()
	}
	if c.group == len(c.file.Groups) {
		return Span{}, false
	}
	return c.file.Groups[c.group][c.at], true
}

// leave goes to the next group.
func (c *cursor[R]) leave() {
	c.close()
	if groupRows(c.file.Groups[c.group]) > 0 {
		c.rowed++
	}
	c.group++
	c.at = 0
}

func (c *cursor[R]) close() {
	for _, leaves := range c.leaves {
		for _, l := range leaves {
			l.close()
		}
	}
	c.leaves = nil
}

func groupRows(spans []Span) (rows int64) {
	for _, s := range spans {
		rows += s.Rows
	}
	return rows
}

// seek goes to the period that begins then, which must be ahead. Groups before its own are not read.
func (c *cursor[R]) seek(ctx context.Context, start int64) error {
	for {
		span, ok := c.next()
		switch {
		case !ok || span.Start > start:
			return damaged("period %d is gone", start)
		case span.Start == start:
			return nil
		}
		if spans := c.file.Groups[c.group]; spans[len(spans)-1].Start < start {
			c.leave()
			continue
		}
		if _, err := c.read(ctx, nil); err != nil {
			return err
		}
	}
}

// read appends the rows of the next period to into. Columns that are not read stay as they are in rows that into has room for.
func (c *cursor[R]) read(ctx context.Context, into []R) (_ []R, err error) {
	defer recoverDamage(&err)
	span, ok := c.next()
	if !ok {
		return nil, damaged("it has no more periods")
	}
	c.at++
	if span.Rows == 0 {
		return into, nil
	}
	if c.leaves == nil {
		if err := c.open(ctx, c.all()); err != nil {
			return nil, err
		}
	}
	for left := int(span.Rows); left > 0; {
		n := min(left, block)
		from := len(into)
		if cap(into)-from < n {
			into = slices.Grow(into, min(left, batch))
		}
		into = into[:from+n]
		for i, column := range c.columns {
			if err := c.table.columns[column].read(into[from:], c.leaves[i]); err != nil {
				return nil, err
			}
		}
		left -= n
	}
	return into, nil
}

// all are the places of the columns that are read.
func (c *cursor[R]) all() []int {
	all := make([]int, len(c.columns))
	for i := range all {
		all[i] = i
	}
	return all
}

// index is the place of a leaf of a column in the file.
func (c *cursor[R]) index(column, leaf int) int {
	path := c.table.schema.Columns()[c.table.first[column]+leaf]
	found, _ := c.file.parquet.Schema().Lookup(path...)
	return found.ColumnIndex
}

// extents are the places in the file of columns of the current group, leaf by leaf, and where their bytes lie.
func (c *cursor[R]) extents(wanted []int) (places []int, ranges []bytesAt) {
	meta := c.meta()
	for _, i := range wanted {
		for k := range c.table.columns[c.columns[i]].leaves {
			place := c.index(c.columns[i], k)
			off, n := extent(&meta[place])
			places = append(places, place)
			ranges = append(ranges, bytesAt{off, n})
		}
	}
	return places, ranges
}

// groupsBefore is where the columns lie that are wanted of each group with a period that begins before until. The cursor is of no use after it.
func (c *cursor[R]) groupsBefore(until int64, wanted func() []int) (all [][]bytesAt) {
	for ; c.group < len(c.file.Groups); c.leave() {
		spans := c.file.Groups[c.group]
		if len(spans) > 0 && spans[0].Start >= until {
			break
		}
		if groupRows(spans) > 0 {
			_, ranges := c.extents(wanted())
			all = append(all, ranges)
		}
	}
	return all
}

// meta is what the footer says of the current group's columns.
func (c *cursor[R]) meta() []format.ColumnChunk {
	return c.file.parquet.Metadata().RowGroups[c.rowed].Columns
}

// open fetches columns of the current group, by their places among those that are read.
func (c *cursor[R]) open(ctx context.Context, wanted []int) error {
	chunks, meta := c.file.parquet.RowGroups()[c.rowed].ColumnChunks(), c.meta()
	places, ranges := c.extents(wanted)
	data, err := c.file.src.Ranges(ctx, ranges)
	if err != nil {
		return err
	}
	c.leaves = make([][]*leaf, len(c.columns))
	for _, i := range wanted {
		column := &c.table.columns[c.columns[i]]
		for range column.leaves {
			l, err := openLeaf(chunks[places[0]], &meta[places[0]], ranges[0].Off, data[0])
			if err != nil {
				return damaged("column %s: %w", column.name, err)
			}
			l.only = c.only[i]
			c.leaves[i] = append(c.leaves[i], l)
			places, ranges, data = places[1:], ranges[1:], data[1:]
		}
	}
	return nil
}

func openLeaf(chunk parquet.ColumnChunk, meta *format.ColumnChunk, off int64, data []byte) (*leaf, error) {
	if err := checkChunk(data, &meta.MetaData); err != nil {
		return nil, err
	}
	file, ok := chunk.(*parquet.FileColumnChunk)
	if !ok {
		return nil, damaged("it is a %T", chunk)
	}
	return &leaf{
		pages: file.PagesFrom(&held{parts: []part{{off, data}}, src: nothing{}}),
		kind:  chunk.Type().Kind(),
	}, nil
}

// nothing is the source of what must be in memory.
type nothing struct{}

func (nothing) Size() int64 { return 0 }

func (nothing) Ranges(context.Context, []struct{ Off, Len int64 }) ([][]byte, error) {
	return nil, damaged("a column reaches beyond its bytes")
}

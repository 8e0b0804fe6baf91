package cube

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
)

// groupLimit closes a row group: the period that reaches it is the last one. So a large cluster has few hours in a group, and a small
// one has its day in one, whose names are stored once.
const groupLimit = 1 << 17

// rowsOf is the rows of one period.
type rowsOf[R any] struct {
	start, end int64
	rows       []R
}

// plan is the row groups of periods: it depends on their rows alone.
func plan(spans []Span) [][]Span {
	var groups [][]Span
	from, rows := 0, int64(0)
	for i, s := range spans {
		if rows += s.Rows; rows >= groupLimit {
			groups = append(groups, spans[from:i+1])
			from, rows = i+1, 0
		}
	}
	if from == len(spans) {
		return groups
	}
	return append(groups, spans[from:])
}

// writer writes one file of a table: periods from an older file, and new ones.
type writer[R any] struct {
	table  *table[R]
	old    *File // or nil
	cursor *cursor[R]
	parts  []rowsOf[*R] // by start; they replace those of old
	out    *parquet.Writer
	values [][]parquet.Value
	rows   []R
}

// rewrite writes the file that has the periods of old, if there is one, and parts, which replace those of the same start.
func rewrite[R any](ctx context.Context, t *table[R], out io.Writer, old *File, parts []rowsOf[R]) error {
	w := &writer[R]{table: t, old: old, values: make([][]parquet.Value, t.leaves)}
	for _, p := range parts {
		w.parts = append(w.parts, rowsOf[*R]{p.start, p.end, t.sorted(p.rows)})
	}
	slices.SortFunc(w.parts, func(a, b rowsOf[*R]) int { return int(a.start - b.start) })
	spans := w.spans()
	if err := checkSpans(spans); err != nil {
		return fmt.Errorf("write cost cube: table %s: %w", t.name, err)
	}
	groups := plan(spans)
	text, err := json.Marshal(description{formatVersion, t.name, noSum, groups})
	if err != nil {
		return err
	}
	if old != nil {
		if w.cursor, err = newCursor(t, old, nil); err != nil {
			return err
		}
		defer w.cursor.close()
	}
	end := &tail{out: out}
	w.out = parquet.NewWriter(end, t.schema, parquet.Compression(&zstd.Codec{}), parquet.DataPageVersion(2),
		parquet.CreatedBy("varve", "1", "cost"), parquet.KeyValueMetadata(metadataKey, string(text)))
	for _, spans := range groups {
		if err := w.group(ctx, spans); err != nil {
			return fmt.Errorf("write cost cube: table %s: %w", t.name, err)
		}
	}
	end.keep = true
	if err := w.out.Close(); err != nil {
		return err
	}
	return end.seal()
}

// tail passes on what is written, until it keeps the rest: the page indexes and the footer, which gets its checksum.
type tail struct {
	out  io.Writer
	keep bool
	rest []byte
}

func (t *tail) Write(p []byte) (int, error) {
	if !t.keep {
		return t.out.Write(p)
	}
	t.rest = append(t.rest, p...)
	return len(p), nil
}

// seal writes the rest.
func (t *tail) seal() error {
	end := len(t.rest) - 8
	footer := t.rest[end-int(binary.LittleEndian.Uint32(t.rest[end:])) : end]
	at, ok := findSum(footer)
	if !ok {
		return errors.New("its footer has no place for a checksum")
	}
	copy(footer[at:], footerSum(footer, at))
	_, err := t.out.Write(t.rest)
	return err
}

// part is the new rows of a period.
func (w *writer[R]) part(start int64) (rowsOf[*R], bool) {
	i, ok := slices.BinarySearchFunc(w.parts, start, func(p rowsOf[*R], start int64) int { return int(p.start - start) })
	if !ok {
		return rowsOf[*R]{}, false
	}
	return w.parts[i], true
}

func (w *writer[R]) spans() []Span {
	var spans []Span
	if w.old != nil {
		for _, s := range w.old.Spans() {
			if _, ok := w.part(s.Start); !ok {
				spans = append(spans, s)
			}
		}
	}
	for _, p := range w.parts {
		spans = append(spans, Span{p.start, p.end, int64(len(p.rows))})
	}
	slices.SortFunc(spans, func(a, b Span) int { return int(a.Start - b.Start) })
	return spans
}

func (w *writer[R]) group(ctx context.Context, spans []Span) error {
	if copied, err := w.copy(ctx, spans); copied || err != nil {
		return err
	}
	for _, s := range spans {
		p, ok := w.part(s.Start)
		if !ok {
			if err := w.cursor.seek(ctx, s.Start); err != nil {
				return err
			}
			var err error
			if w.rows, err = w.cursor.read(ctx, w.rows[:0]); err != nil {
				return err
			}
			p = rowsOf[*R]{s.Start, s.End, w.table.sorted(w.rows)}
		}
		if err := w.encode(p); err != nil {
			return err
		}
	}
	return w.out.Flush()
}

// copy writes a group that the older file has just so, as it is there.
func (w *writer[R]) copy(ctx context.Context, spans []Span) (_ bool, err error) {
	defer recoverDamage(&err)
	if w.old == nil || groupRows(spans) == 0 || !parquet.EqualNodes(w.table.schema, w.old.parquet.Schema()) {
		return false, nil
	}
	row := 0
	for _, old := range w.old.Groups {
		if slices.Equal(old, spans) {
			break
		}
		if groupRows(old) > 0 {
			row++
		}
	}
	groups := w.old.parquet.RowGroups()
	if row == len(groups) || slices.ContainsFunc(spans, func(s Span) bool { _, isNew := w.part(s.Start); return isNew }) {
		return false, nil
	}
	if err := w.old.hold(ctx, row); err != nil {
		return false, err
	}
	_, err = w.out.WriteRowGroup(groups[row])
	return true, err
}

// encode writes the rows of a period to the current group.
func (w *writer[R]) encode(p rowsOf[*R]) error {
	columns := w.out.ColumnWriters()
	for rows := range slices.Chunk(p.rows, batch) {
		for i := range w.table.columns {
			c := &w.table.columns[i]
			leaves := w.values[w.table.first[i]:][:c.leaves]
			for k := range leaves {
				leaves[k] = leaves[k][:0]
			}
			for r := range rows {
				c.put(leaves, rows[r], p.start)
			}
			for k := range leaves {
				if _, err := columns[w.table.first[i]+k].WriteRowValues(leaves[k]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

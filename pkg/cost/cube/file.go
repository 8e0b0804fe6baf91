package cube

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

const (
	formatVersion = 2
	// metadataKey is where a file's description stands among Parquet's key-value metadata.
	metadataKey = "varve.cost"
	// maxRows bounds the rows of one period in one table.
	maxRows = 1 << 24
	// maxPeriods bounds the hours or days in one file.
	maxPeriods = 1 << 10
	// firstRead is read of a file's end at once; footers are mostly smaller.
	firstRead = 64 << 10
)

// Source is a file in the bucket; bucket.File is one.
type Source interface {
	Size() int64
	// Ranges returns the bytes of each range.
	Ranges(ctx context.Context, ranges []struct{ Off, Len int64 }) ([][]byte, error)
}

// Span is how many rows a table has of one period.
type Span struct {
	// [Start, End) is the hour, day or month, in Unix milliseconds.
	Start int64 `json:"start"`
	End   int64 `json:"end"`
	Rows  int64 `json:"rows"`
}

// description is what a file says of itself in its metadata.
type description struct {
	Version int      `json:"version"`
	Table   Table    `json:"table"`
	Footer  string   `json:"footer"` // checksum
	Groups  [][]Span `json:"groups"` // the periods of each row group; the last group may have no rows and then is none
}

// File is one table of some periods, opened.
type File struct {
	description
	src     Source
	parquet *parquet.File
	held    *held
}

// Open reads a file's footer. A file of another table is an error that wraps ErrDamaged.
func Open(ctx context.Context, table Table, src Source) (f *File, err error) {
	defer recoverDamage(&err)
	if a, ok := src.(*ahead); ok && a.file.Table == table {
		return a.file, nil
	}
	f, err = open(ctx, table, src)
	if err != nil {
		return nil, fmt.Errorf("open cost cube: table %s: %w", table, err)
	}
	return f, nil
}

func open(ctx context.Context, table Table, src Source) (*File, error) {
	h := &held{ctx: ctx, src: src}
	if err := h.footer(); err != nil {
		return nil, err
	}
	p, err := parquet.OpenFile(h, src.Size(), parquet.SkipMagicBytes(true), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, damaged("%w", err)
	}
	f := &File{src: src, parquet: p, held: h}
	text, ok := p.Lookup(metadataKey)
	if !ok {
		return nil, damaged("it has no %s in its metadata", metadataKey)
	}
	if err := json.Unmarshal([]byte(text), &f.description); err != nil {
		return nil, damaged("%s: %w", metadataKey, err)
	}
	if f.Version > 0 && f.Version != formatVersion {
		return nil, fmt.Errorf("%w: format %d, %d is supported", ErrVersion, f.Version, formatVersion)
	}
	return f, f.check(table)
}

// check compares the description with what Parquet says.
func (f *File) check(table Table) error {
	switch {
	case f.Version < 1:
		return damaged("format %d", f.Version)
	case f.Table != table:
		return damaged("it is of table %q", f.Table)
	}
	if err := checkSpans(f.Spans()); err != nil {
		return damaged("%w", err)
	}
	groups := f.parquet.RowGroups()
	for _, spans := range f.Groups {
		rows := groupRows(spans)
		if rows == 0 {
			continue
		}
		if len(groups) == 0 || groups[0].NumRows() != rows {
			return damaged("its row groups are not those of its description")
		}
		groups = groups[1:]
	}
	if len(groups) != 0 {
		return damaged("%d row groups too many", len(groups))
	}
	return f.checkChunks()
}

// checkSpans tells whether periods follow one another and have not too many rows.
func checkSpans(spans []Span) error {
	if len(spans) > maxPeriods {
		return fmt.Errorf("%d periods, at most %d are allowed", len(spans), maxPeriods)
	}
	last := int64(0)
	for _, s := range spans {
		if s.Start < last || s.End <= s.Start {
			return fmt.Errorf("a period from %d to %d, after %d", s.Start, s.End, last)
		}
		if s.Rows < 0 || s.Rows > maxRows {
			return fmt.Errorf("%d rows at %d, at most %d are allowed", s.Rows, s.Start, maxRows)
		}
		last = s.End
	}
	return nil
}

func (f *File) checkChunks() error {
	for _, g := range f.parquet.Metadata().RowGroups {
		for i := range g.Columns {
			if off, n := extent(&g.Columns[i]); off < 0 || n < 0 || off > f.src.Size() || n > f.src.Size()-off {
				return damaged("a column of %d bytes from %d", n, off)
			}
			m := &g.Columns[i].MetaData
			if m.Codec != format.Zstd {
				return damaged("compressed with %s", m.Codec)
			}
		}
	}
	return nil
}

// extent is where a column of a row group lies.
func extent(c *format.ColumnChunk) (off, n int64) {
	off = c.MetaData.DataPageOffset
	if d := c.MetaData.DictionaryPageOffset; d != 0 {
		off = min(off, d)
	}
	return off, c.MetaData.TotalCompressedSize
}

// Spans are the file's periods in order.
func (f *File) Spans() []Span { return slices.Concat(f.Groups...) }

// recoverDamage makes an error of a panic: the library meets some kinds of damage with one.
func recoverDamage(err *error) {
	if r := recover(); r != nil {
		*err = damaged("%v", r)
	}
}

// held is the parts of a source that are in memory, as an io.ReaderAt; the rest is fetched when it is asked for.
type held struct {
	ctx   context.Context // of the call that reads
	src   Source
	parts []part
}

type part struct {
	off  int64
	data []byte
}

// footer fetches the file's end and checks it.
func (h *held) footer() error {
	size := h.src.Size()
	if size < 12 {
		return damaged("%d bytes", size)
	}
	tail, err := h.fetch(max(size-firstRead, 0), min(size, firstRead))
	if err != nil {
		return err
	}
	end := tail[len(tail)-8:]
	if string(end[4:]) != "PAR1" {
		return damaged("it doesn't end like a Parquet file")
	}
	n := int64(binary.LittleEndian.Uint32(end))
	if n > min(maxFooter, size-8) {
		return damaged("a footer of %d bytes", n)
	}
	if n+8 > int64(len(tail)) {
		h.parts = nil
		if tail, err = h.fetch(size-n-8, n+8); err != nil {
			return err
		}
	}
	return checkFooter(tail[int64(len(tail))-8-n : len(tail)-8])
}

func (h *held) fetch(off, n int64) ([]byte, error) {
	out, err := h.src.Ranges(h.ctx, []struct{ Off, Len int64 }{{off, n}})
	if err != nil {
		return nil, err
	}
	h.parts = append(h.parts, part{off, out[0]})
	return out[0], nil
}

func (h *held) ReadAt(p []byte, off int64) (int, error) {
	for _, part := range h.parts {
		if at := off - part.off; at >= 0 && at < int64(len(part.data)) {
			n := copy(p, part.data[at:])
			if n == len(p) {
				return n, nil
			}
		}
	}
	n := min(int64(len(p)), h.src.Size()-off)
	if n <= 0 {
		return 0, io.EOF
	}
	out, err := h.src.Ranges(h.ctx, []struct{ Off, Len int64 }{{off, n}})
	if err != nil {
		return 0, err
	}
	if copy(p, out[0]); n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

// hold fetches a row group and the page indexes, checks the pages, and keeps both until the next call, to be copied.
func (f *File) hold(ctx context.Context, group int) error {
	f.held.ctx = ctx
	f.held.parts = nil
	columns := f.parquet.Metadata().RowGroups[group].Columns
	from, to := f.src.Size(), int64(0)
	for i := range columns {
		off, n := extent(&columns[i])
		from, to = min(from, off), max(to, off+n)
	}
	data, err := f.held.fetch(from, to-from)
	if err != nil {
		return err
	}
	for i := range columns {
		off, n := extent(&columns[i])
		if err := checkChunk(data[off-from:][:n], &columns[i].MetaData); err != nil {
			return damaged("column %d: %w", i, err)
		}
	}
	var ends int64
	for _, g := range f.parquet.Metadata().RowGroups {
		for i := range g.Columns {
			off, n := extent(&g.Columns[i])
			ends = max(ends, off+n)
		}
	}
	_, err = f.held.fetch(ends, f.src.Size()-ends)
	return err
}

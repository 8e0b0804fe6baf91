package block

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/oklog/ulid/v2"
)

// Of the index's format: https://github.com/prometheus/prometheus/blob/main/tsdb/docs/format/index.md
const (
	indexMagic     = 0xBAAAD700
	indexVersion   = 2
	indexHeaderLen = 5
	seriesAlign    = 16
)

// buildHeader makes the header of an index by one pass over its symbols and its postings offset table. Both are
// checked against the index's own checksums.
func buildHeader(ctx context.Context, id ulid.ULID, f File) (*header, error) {
	b := headerBuilder{h: &header{block: id, indexSize: f.Size()}, f: f}
	if err := b.readTOC(ctx); err != nil {
		return nil, b.wrap(err)
	}
	if err := b.readSymbols(ctx); err != nil {
		return nil, b.wrap(err)
	}
	if err := b.readEntries(ctx); err != nil {
		return nil, b.wrap(err)
	}
	if err := b.h.check(); err != nil {
		return nil, b.corrupt(0, "%v", err)
	}
	return b.h, nil
}

type headerBuilder struct {
	h   *header
	f   File
	pos int64 // where the work stands, for errors
}

func (b *headerBuilder) corrupt(off int64, format string, args ...any) error {
	return &CorruptError{Block: b.h.block, File: IndexName, Offset: off, Reason: fmt.Sprintf(format, args...)}
}

// wrap turns a table that ends too early into damage, and leaves errors of reading as they are.
func (b *headerBuilder) wrap(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return b.corrupt(b.pos, "table ends too early")
	}
	return err
}

func (b *headerBuilder) readTOC(ctx context.Context) error {
	size := b.f.Size()
	if size < indexHeaderLen+tocLen {
		return b.corrupt(0, "%d bytes", size)
	}
	head, err := b.f.Range(ctx, 0, indexHeaderLen)
	if err != nil {
		return err
	}
	c := cursor{b: head}
	if m := c.be32(); m != indexMagic {
		return b.corrupt(0, "magic %#x", m)
	}
	if v := c.b[0]; v != indexVersion {
		return b.corrupt(4, "index version %d, %d is supported", v, indexVersion)
	}
	tail, err := b.f.Range(ctx, size-tocLen, tocLen)
	if err != nil {
		return err
	}
	c = cursor{b: tail}
	for _, off := range b.h.toc.offsets() {
		*off = c.be64()
	}
	if c.be32() != checksum(tail[:tocLen-4]) {
		return b.corrupt(size-tocLen, "bad checksum of the table of contents")
	}
	if t := b.h.toc; t.symbols == 0 || t.postingsTable == 0 || t.symbols > uint64(size) || t.postingsTable > uint64(size) {
		return b.corrupt(size-tocLen, "table of contents points outside: %+v", t)
	}
	return nil
}

func (b *headerBuilder) readSymbols(ctx context.Context) error {
	h := b.h
	b.pos = int64(h.toc.symbols)
	t, err := openTable(ctx, b.f, h.toc.symbols, uint64(h.indexSize))
	if err != nil {
		return err
	}
	h.numSymbols = t.left
	for i := 0; t.left > 0; i++ {
		b.pos = t.pos()
		if i%groupSize == 0 {
			h.symbols = append(h.symbols, symbolGroup{off: uint64(b.pos)})
		}
		raw, err := t.next(func(c *cursor) { c.str() })
		if err != nil {
			return err
		}
		g := &h.symbols[len(h.symbols)-1]
		g.crc = crc32.Update(g.crc, castagnoli(), raw)
	}
	h.symbolsEnd = uint64(t.pos())
	return b.closeTable(t, h.toc.symbols)
}

func (b *headerBuilder) closeTable(t *table, off uint64) error {
	switch ok, err := t.close(); {
	case err != nil:
		return err
	case !ok:
		return b.corrupt(int64(off), "bad checksum of the table")
	}
	return nil
}

// tableEntry is one entry of the postings offset table; name and value are parts of what was read.
type tableEntry struct {
	name, value []byte
	postings    uint64
}

func (e *tableEntry) parse(c *cursor) {
	if c.uvarint() != 2 {
		c.fail()
		return
	}
	e.name, e.value, e.postings = c.str(), c.str(), c.uvarint()
}

func (b *headerBuilder) readEntries(ctx context.Context) error {
	h := b.h
	b.pos = int64(h.toc.postingsTable)
	t, err := openTable(ctx, b.f, h.toc.postingsTable, uint64(h.indexSize))
	if err != nil {
		return err
	}
	inGroup := 0
	for t.left > 0 {
		b.pos = t.pos()
		var e tableEntry
		raw, err := t.next(e.parse)
		if err != nil {
			return err
		}
		if inGroup, err = b.addEntry(e, inGroup); err != nil {
			return err
		}
		g := &h.groups[len(h.groups)-1]
		g.crc = crc32.Update(g.crc, castagnoli(), raw)
	}
	h.tableEnd = uint64(t.pos())
	return b.closeTable(t, h.toc.postingsTable)
}

// addEntry puts the entry into the last group, which has inGroup entries, or into a new one, and gives how many
// entries that group has then.
func (b *headerBuilder) addEntry(e tableEntry, inGroup int) (int, error) {
	h := b.h
	last := len(h.names) - 1
	newName := last < 0 || h.names[last].name != string(e.name)
	switch {
	case newName && last >= 0 && h.names[last].name >= string(e.name):
		return 0, b.corrupt(b.pos, "label %q out of order", e.name)
	case !newName && h.names[last].last >= string(e.value):
		return 0, b.corrupt(b.pos, "value %q of label %q out of order", e.value, e.name)
	case newName:
		h.names = append(h.names, labelName{name: string(e.name), first: len(h.groups)})
		last++
	}
	h.names[last].last = string(e.value)
	if newName || inGroup == groupSize {
		h.groups = append(h.groups, entryGroup{value: string(e.value), entry: uint64(b.pos), postings: e.postings})
		h.names[last].n++
		inGroup = 0
	}
	return inGroup + 1, nil
}

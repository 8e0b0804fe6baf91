package block

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/oklog/ulid/v2"
)

const (
	headerMagic   = 0x56525648 // "VRVH"
	headerVersion = 1
	// groupSize is how many symbols, or table entries of one label, share a checksum and an offset in the header.
	groupSize = 32
)

// toc is the index's table of contents, and the end of what it describes.
type toc struct {
	symbols, series, labelIndices, labelTable, postings, postingsTable uint64
}

const tocLen = 6*8 + 4

// header is what lets a reader find anything in an index without scanning its tables: it knows every 32nd symbol and
// every 32nd entry of the postings offset table, and the checksum of all that lies between.
type header struct {
	block     ulid.ULID
	indexSize int64
	toc       toc

	numSymbols uint32
	symbols    []symbolGroup
	symbolsEnd uint64 // where the last symbol ends

	names    []labelName // sorted; the first is "", the list of all series
	groups   []entryGroup
	tableEnd uint64 // where the last entry of the postings offset table ends
}

// symbolGroup is up to groupSize successive symbols.
type symbolGroup struct {
	off uint64 // in the index
	crc uint32
}

// labelName is one label's groups, groups[first:first+n of the header], at least one.
type labelName struct {
	name  string
	last  string // the greatest value
	first int
	n     int
}

// entryGroup is up to groupSize successive entries of the postings offset table, all of one label.
type entryGroup struct {
	value    string // of the first entry
	entry    uint64 // where the first entry stands in the index
	postings uint64 // where the first entry's list stands in the index
	crc      uint32
}

// encode gives the header's bytes; docs/formats/block.md describes them.
func (h *header) encode() []byte {
	b := binary.BigEndian.AppendUint32(nil, headerMagic)
	b = append(b, headerVersion)
	b = append(b, h.block[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(h.indexSize))
	for _, off := range h.toc.offsets() {
		b = binary.BigEndian.AppendUint64(b, *off)
	}
	b = h.encodeSymbols(b)
	b = h.encodeNames(b)
	return binary.BigEndian.AppendUint32(b, checksum(b))
}

func (t *toc) offsets() [6]*uint64 {
	return [...]*uint64{&t.symbols, &t.series, &t.labelIndices, &t.labelTable, &t.postings, &t.postingsTable}
}

func (h *header) encodeSymbols(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(h.numSymbols))
	prev := uint64(0)
	for _, g := range h.symbols {
		b = binary.AppendUvarint(b, g.off-prev)
		b = binary.BigEndian.AppendUint32(b, g.crc)
		prev = g.off
	}
	return binary.AppendUvarint(b, h.symbolsEnd-prev)
}

func (h *header) encodeNames(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(h.names)))
	b = binary.AppendUvarint(b, uint64(len(h.groups)))
	entry, postings := uint64(0), uint64(0)
	for _, n := range h.names {
		b = appendString(b, n.name)
		b = appendString(b, n.last)
		b = binary.AppendUvarint(b, uint64(n.n))
		for _, g := range h.groups[n.first : n.first+n.n] {
			b = appendString(b, g.value)
			b = binary.AppendUvarint(b, g.entry-entry)
			b = binary.AppendVarint(b, int64(g.postings-postings))
			b = binary.BigEndian.AppendUint32(b, g.crc)
			entry, postings = g.entry, g.postings
		}
	}
	return binary.AppendUvarint(b, h.tableEnd-entry)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

var errHeader = errors.New("malformed")

// decodeHeader reads what encode gave. It holds no reference to b.
func decodeHeader(b []byte) (*header, error) {
	if len(b) < 4+1+16+8+6*8+4 {
		return nil, fmt.Errorf("%w: %d bytes", errHeader, len(b))
	}
	body, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	c := cursor{b: body}
	if m := c.be32(); m != headerMagic {
		return nil, fmt.Errorf("%w: magic %#x", errHeader, m)
	}
	if v := c.bytes(1); v[0] != headerVersion {
		return nil, fmt.Errorf("%w: version %d, %d is supported", errHeader, v[0], headerVersion)
	}
	if checksum(body) != sum {
		return nil, fmt.Errorf("%w: bad checksum", errHeader)
	}
	h := &header{}
	copy(h.block[:], c.bytes(16))
	h.indexSize = int64(c.be64())
	for _, off := range h.toc.offsets() {
		*off = c.be64()
	}
	h.decodeSymbols(&c)
	// Every string of the names is a part of this one.
	text := textCursor{cursor: &c, all: string(c.b), len: len(c.b)}
	h.decodeNames(&text)
	if c.bad || len(c.b) != 0 {
		return nil, errHeader
	}
	return h, h.check()
}

func (h *header) decodeSymbols(c *cursor) {
	h.numSymbols = c.uvarint32()
	n := (uint64(h.numSymbols) + groupSize - 1) / groupSize
	if n > uint64(len(c.b))/5 {
		c.fail()
		return
	}
	h.symbols = make([]symbolGroup, n)
	off := uint64(0)
	for i := range h.symbols {
		off += c.uvarint()
		h.symbols[i] = symbolGroup{off: off, crc: c.be32()}
	}
	h.symbolsEnd = off + c.uvarint()
}

func (h *header) decodeNames(c *textCursor) {
	names, groups := c.uvarint(), c.uvarint()
	if names > uint64(len(c.b))/3 || groups > uint64(len(c.b))/7 {
		c.fail()
		return
	}
	h.names = make([]labelName, 0, names)
	h.groups = make([]entryGroup, 0, groups)
	entry, postings := uint64(0), uint64(0)
	for range names {
		n := labelName{name: c.text(), last: c.text(), first: len(h.groups)}
		count := c.uvarint()
		if count > groups-uint64(len(h.groups)) {
			c.fail()
			return
		}
		n.n = int(count)
		for range count {
			value := c.text()
			entry += c.uvarint()
			postings += uint64(c.varint())
			h.groups = append(h.groups, entryGroup{value: value, entry: entry, postings: postings, crc: c.be32()})
		}
		h.names = append(h.names, n)
	}
	if uint64(len(h.groups)) != groups {
		c.fail()
	}
	h.tableEnd = entry + c.uvarint()
}

// textCursor takes strings without copying each: they are parts of one copy of all bytes.
type textCursor struct {
	*cursor
	all string
	len int
}

func (c *textCursor) text() string {
	n := len(c.str())
	end := c.len - len(c.b)
	if c.bad {
		return ""
	}
	return c.all[end-n : end]
}

// check tells whether the header's offsets make sense, so that readers may rely on their order.
func (h *header) check() error {
	size := uint64(h.indexSize)
	t := h.toc
	if h.indexSize < indexHeaderLen+tocLen || size > 1<<40 || t.symbols < indexHeaderLen || t.symbols > t.series ||
		t.series > t.labelIndices || t.labelIndices > t.postings || t.postings > t.postingsTable ||
		t.postingsTable > size-tocLen {
		return fmt.Errorf("%w: table of contents %+v of an index with %d bytes", errHeader, t, size)
	}
	prev := t.symbols + 8
	for _, g := range h.symbols {
		if g.off < prev {
			return fmt.Errorf("%w: symbols out of order", errHeader)
		}
		prev = g.off
	}
	if h.symbolsEnd < prev || h.symbolsEnd > t.series {
		return fmt.Errorf("%w: end of symbols", errHeader)
	}
	return h.checkNames()
}

func (h *header) checkNames() error {
	prev, next := h.toc.postingsTable+8, 0
	for i, n := range h.names {
		if i > 0 && n.name <= h.names[i-1].name {
			return fmt.Errorf("%w: label %q out of order", errHeader, n.name)
		}
		if n.n == 0 || n.first != next {
			return fmt.Errorf("%w: label %q has no values", errHeader, n.name)
		}
		next += n.n
		for j, g := range h.groups[n.first : n.first+n.n] {
			if g.entry < prev || j > 0 && g.value <= h.groups[n.first+j-1].value || g.value > n.last {
				return fmt.Errorf("%w: values of label %q out of order", errHeader, n.name)
			}
			prev = g.entry + 1
		}
	}
	if next != len(h.groups) || h.tableEnd < prev || h.tableEnd > uint64(h.indexSize)-tocLen {
		return fmt.Errorf("%w: end of the postings offset table", errHeader)
	}
	return nil
}

// name gives a label's groups.
func (h *header) name(name string) (labelName, bool) {
	i, ok := slices.BinarySearchFunc(h.names, name, func(n labelName, s string) int { return strings.Compare(n.name, s) })
	if !ok {
		return labelName{}, false
	}
	return h.names[i], true
}

// find gives the group that holds the value of the label, if any does.
func (h *header) find(n labelName, value string) (int, bool) {
	if value > n.last {
		return 0, false
	}
	groups := h.groups[n.first : n.first+n.n]
	i, ok := slices.BinarySearchFunc(groups, value, func(g entryGroup, s string) int { return strings.Compare(g.value, s) })
	if ok {
		return n.first + i, true
	}
	return n.first + i - 1, i > 0
}

// groupEnd is where the entries of a group end.
func (h *header) groupEnd(i int) uint64 {
	if i+1 < len(h.groups) {
		return h.groups[i+1].entry
	}
	return h.tableEnd
}

// listBound is where the lists that a group's entries point to end, as far as the header knows.
func (h *header) listBound(i int) uint64 {
	if i+1 < len(h.groups) && h.groups[i+1].postings > h.groups[i].postings {
		return h.groups[i+1].postings
	}
	return h.toc.postingsTable
}

// symbolEnd is where the symbols of a group end.
func (h *header) symbolEnd(i int) uint64 {
	if i+1 < len(h.symbols) {
		return h.symbols[i+1].off
	}
	return h.symbolsEnd
}

// bytes is about how much memory the header takes.
func (h *header) bytes() int64 {
	n := int64(len(h.symbols))*16 + int64(len(h.names))*48 + int64(len(h.groups))*40
	for _, l := range h.names {
		n += int64(len(l.name) + len(l.last))
	}
	for _, g := range h.groups {
		n += int64(len(g.value))
	}
	return n
}

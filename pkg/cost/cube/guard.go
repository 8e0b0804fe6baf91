package cube

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// The library believes the sizes that a file tells, and allocates by them. So they are checked here before it sees them.

// Bounds of what a file may say.
const (
	maxFooter   = 32 << 20  // bytes
	maxElements = 1 << 20   // of all lists in a footer together
	maxPage     = 256 << 20 // bytes before compression; dictionaries are the largest
	maxDepth    = 32        // of structures in structures
)

// Errors of files.
var (
	// ErrDamaged is wrapped by errors about a file that can't be what was written, or is something else.
	ErrDamaged = errors.New("damaged cost cube")
	// ErrVersion is wrapped by errors about a file in the format of another Varve.
	ErrVersion = errors.New("cost cube written by another version")
)

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrDamaged, fmt.Errorf(format, args...))
}

// walker steps over a structure in Thrift's compact protocol, as Parquet's footer and page headers are, and believes no size in it.
type walker struct {
	rest     []byte
	elements int
}

var errThrift = errors.New("its description is not sound")

// Types of Thrift's compact protocol: github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md.
const (
	thriftTrue   = 1
	thriftFalse  = 2
	thriftByte   = 3
	thriftI64    = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftStruct = 12
)

func (w *walker) skip(n uint64) error {
	if n > uint64(len(w.rest)) {
		return errThrift
	}
	w.rest = w.rest[n:]
	return nil
}

func (w *walker) uvarint() (uint64, error) {
	v, n := binary.Uvarint(w.rest)
	if n <= 0 {
		return 0, errThrift
	}
	w.rest = w.rest[n:]
	return v, nil
}

func (w *walker) octet() (byte, error) {
	if len(w.rest) == 0 {
		return 0, errThrift
	}
	b := w.rest[0]
	w.rest = w.rest[1:]
	return b, nil
}

func (w *walker) structure(depth int) error {
	if depth > maxDepth {
		return errThrift
	}
	for {
		head, err := w.octet()
		if err != nil || head == 0 {
			return err
		}
		if head>>4 == 0 { // the field's number follows
			if _, err := w.uvarint(); err != nil {
				return err
			}
		}
		if t := head & 15; t == thriftTrue || t == thriftFalse {
			continue // the value is in the type
		}
		if err := w.value(head&15, depth); err != nil {
			return err
		}
	}
}

func (w *walker) value(t byte, depth int) error {
	switch {
	case t <= thriftByte && t > 0:
		return w.skip(1)
	case t > thriftByte && t <= thriftI64:
		_, err := w.uvarint()
		return err
	case t == thriftDouble:
		return w.skip(8)
	case t == thriftBinary:
		n, err := w.uvarint()
		if err != nil {
			return err
		}
		return w.skip(n)
	case t == thriftList || t == thriftSet:
		return w.list(depth)
	case t == thriftStruct:
		return w.structure(depth + 1)
	}
	return errThrift // Parquet has no maps
}

func (w *walker) list(depth int) error {
	head, err := w.octet()
	if err != nil {
		return err
	}
	n := uint64(head >> 4)
	if n == 15 {
		if n, err = w.uvarint(); err != nil {
			return err
		}
	}
	if n > uint64(len(w.rest)) || n > uint64(maxElements-w.elements) {
		return errThrift
	}
	w.elements += int(n)
	for range n {
		if err := w.value(head&15, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// checkFooter tells whether a footer is as it was written, and its sizes are sound.
func checkFooter(footer []byte) error {
	at, ok := findSum(footer)
	if !ok {
		return damaged("footer: it has no checksum of ours")
	}
	if sum := footerSum(footer, at); sum != string(footer[at:at+len(noSum)]) {
		return damaged("footer: checksum %s, expected %s", sum, footer[at:at+len(noSum)])
	}
	w := walker{rest: footer}
	if err := w.structure(0); err != nil {
		return damaged("footer: %w", err)
	}
	if len(w.rest) != 0 {
		return damaged("footer: %d bytes too many", len(w.rest))
	}
	return nil
}

// A footer has its own checksum in its metadata, since Parquet has none for it: CRC-32C in hexadecimal, computed with noSum in its place.
const (
	noSum  = "00000000"
	sumKey = `"footer":"`
)

func findSum(footer []byte) (at int, ok bool) {
	at = bytes.LastIndex(footer, []byte(sumKey)) + len(sumKey)
	return at, at >= len(sumKey) && at+len(noSum) <= len(footer)
}

func footerSum(footer []byte, at int) string {
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(0, castagnoli, footer[:at])
	sum = crc32.Update(sum, castagnoli, []byte(noSum))
	return fmt.Sprintf("%08x", crc32.Update(sum, castagnoli, footer[at+len(noSum):]))
}

// checkChunk tells whether the pages of a column in one row group are sound: their sizes, checksums, encodings, and the sum of their
// values.
func checkChunk(chunk []byte, meta *format.ColumnMetaData) error {
	values := meta.NumValues
	for page := 0; len(chunk) > 0; page++ {
		w := walker{rest: chunk}
		if err := w.structure(0); err != nil {
			return damaged("page %d: %w", page, err)
		}
		var header format.PageHeader
		if err := thrift.Unmarshal(&thrift.CompactProtocol{}, chunk[:len(chunk)-len(w.rest)], &header); err != nil {
			return damaged("page %d: %w", page, err)
		}
		size := int(header.CompressedPageSize)
		if size < 0 || size > len(w.rest) {
			return damaged("page %d: %d bytes of %d", page, size, len(w.rest))
		}
		n, err := checkPage(&header, meta.Encoding, w.rest[:size])
		if err != nil {
			return damaged("page %d: %w", page, err)
		}
		values -= n
		chunk = w.rest[size:]
	}
	if values != 0 {
		return damaged("its pages have %d values too few", values)
	}
	return nil
}

// checkPage returns how many values of the column the page has.
func checkPage(header *format.PageHeader, encodings []format.Encoding, body []byte) (int64, error) {
	if sum := crc32.ChecksumIEEE(body); sum != uint32(header.CRC) {
		return 0, fmt.Errorf("checksum %08x, expected %08x", sum, uint32(header.CRC))
	}
	size := int64(header.UncompressedPageSize)
	if size < 0 || size > maxPage {
		return 0, fmt.Errorf("%d bytes before compression, at most %d are allowed", size, maxPage)
	}
	switch {
	case header.Type == format.DictionaryPage && header.DictionaryPageHeader.Valid:
		h := &header.DictionaryPageHeader.V
		if h.NumValues < 0 || int64(h.NumValues) > size || h.Encoding != format.Plain {
			return 0, fmt.Errorf("a dictionary of %d values in %d bytes", h.NumValues, size)
		}
		return 0, checkZstd(body, size)
	case header.Type == format.DataPageV2 && header.DataPageHeaderV2.Valid:
		return checkData(&header.DataPageHeaderV2.V, encodings, body, size)
	}
	return 0, fmt.Errorf("of type %s", header.Type)
}

func checkData(h *format.DataPageHeaderV2, encodings []format.Encoding, body []byte, size int64) (int64, error) {
	levels := int64(h.DefinitionLevelsByteLength) + int64(h.RepetitionLevelsByteLength)
	switch {
	case h.DefinitionLevelsByteLength < 0 || h.RepetitionLevelsByteLength < 0 || levels > int64(len(body)) || levels > size:
		return 0, fmt.Errorf("%d bytes of levels in %d", levels, len(body))
	case h.NumNulls < 0 || h.NumNulls > h.NumValues || h.NumRows < 0 || h.NumRows > h.NumValues:
		return 0, fmt.Errorf("%d values, %d rows, %d nulls", h.NumValues, h.NumRows, h.NumNulls)
	case !slices.Contains(encodings, h.Encoding):
		return 0, fmt.Errorf("encoded as %s, not as the footer says", h.Encoding)
	case h.IsCompressed.Valid && !h.IsCompressed.V:
		return 0, fmt.Errorf("not compressed")
	}
	return int64(h.NumValues), checkZstd(body[levels:], size-levels)
}

// checkZstd tells whether a compressed body says that it has that size.
func checkZstd(body []byte, size int64) error {
	if len(body) == 0 && size == 0 {
		return nil
	}
	var h zstd.Header
	if err := h.Decode(body); err != nil {
		return err
	}
	if !h.HasFCS && size < 256 { // the encoder leaves out what is so small
		return nil
	}
	if h.FrameContentSize != uint64(size) {
		return fmt.Errorf("%d bytes compressed, expected %d", h.FrameContentSize, size)
	}
	return nil
}

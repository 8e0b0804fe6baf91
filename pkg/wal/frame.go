package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/klauspost/compress/s2"
)

const (
	frameHeaderBytes = 48
	frameTarget      = 256 << 10 // a frame is closed before it grows beyond this, unless one record alone does
	maxFrameRaw      = frameTarget + MaxRecordBytes + binary.MaxVarintLen64

	flagCompressed = 1 << 0
	knownFlags     = flagCompressed
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	errBadHeader  = errors.New("bad frame header")
	errBadPayload = errors.New("bad frame checksum")
)

// marker is a segment's random sync marker: every frame of the segment begins with it. A sender can't know it, so no
// record can hold something that a scan past damage would take for a frame.
type marker [8]byte

// frameHeader describes the payload that follows it. A frame without records is a mark: it only says that the records
// below base are synced.
type frameHeader struct {
	flags  uint8
	stored uint32 // bytes of payload in the file
	raw    uint32 // bytes of payload before compression
	count  uint32 // records
	base   uint64 // number of the first record of the frame's group: all below it were synced before this was written
	first  uint64 // number of the frame's first record
	crc    uint32 // CRC-32C of the stored payload
}

// length is the frame's length in the file.
func (h frameHeader) length() int64 { return frameHeaderBytes + int64(h.stored) }

// put writes the header of a frame that begins at off in its segment. The checksum covers the offset too, so that a
// frame which a disk returns in the wrong place is no frame.
func (h frameHeader) put(b []byte, m marker, off int64) {
	copy(b, m[:])
	b[8], b[9], b[10], b[11] = h.flags, 0, 0, 0
	binary.LittleEndian.PutUint32(b[12:], h.stored)
	binary.LittleEndian.PutUint32(b[16:], h.raw)
	binary.LittleEndian.PutUint32(b[20:], h.count)
	binary.LittleEndian.PutUint64(b[24:], h.base)
	binary.LittleEndian.PutUint64(b[32:], h.first)
	binary.LittleEndian.PutUint32(b[40:], h.crc)
	binary.LittleEndian.PutUint32(b[44:], headerChecksum(b, off))
}

func headerChecksum(b []byte, off int64) uint32 {
	return crc32.Checksum(b[:44], castagnoli) ^ uint32(off) ^ uint32(off>>32)
}

// parseFrameHeader reads the 48 bytes of b, which stand at off. The lengths of a header that it accepts are within the limits.
func parseFrameHeader(b []byte, m marker, off int64) (frameHeader, error) {
	if marker(b[:8]) != m || headerChecksum(b, off) != binary.LittleEndian.Uint32(b[44:]) {
		return frameHeader{}, errBadHeader
	}
	h := frameHeader{
		flags:  b[8],
		stored: binary.LittleEndian.Uint32(b[12:]),
		raw:    binary.LittleEndian.Uint32(b[16:]),
		count:  binary.LittleEndian.Uint32(b[20:]),
		base:   binary.LittleEndian.Uint64(b[24:]),
		first:  binary.LittleEndian.Uint64(b[32:]),
		crc:    binary.LittleEndian.Uint32(b[40:]),
	}
	ok := h.flags&^knownFlags == 0 && h.raw <= maxFrameRaw && h.stored <= h.raw && h.count <= h.raw &&
		h.base <= h.first && h.first+uint64(h.count) >= h.first
	if !ok {
		return frameHeader{}, errBadHeader
	}
	return h, nil
}

// frameWriter makes the frames of one group.
type frameWriter struct {
	marker   marker
	off      int64 // where the next frame will stand in the segment
	compress bool
}

// append appends a frame that holds raw to dst. It sets the header's flags, lengths and checksum.
func (w *frameWriter) append(dst []byte, h frameHeader, raw []byte) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, frameHeaderBytes)...)
	h.raw, h.flags = uint32(len(raw)), 0
	if w.compress && len(raw) >= 128 {
		dst = appendCompressed(dst, raw)
		h.flags = flagCompressed
	}
	if stored := len(dst) - start - frameHeaderBytes; h.flags == 0 || stored > len(raw)-len(raw)/16 {
		dst = append(dst[:start+frameHeaderBytes], raw...)
		h.flags = 0
	}
	payload := dst[start+frameHeaderBytes:]
	h.stored = uint32(len(payload))
	h.crc = crc32.Checksum(payload, castagnoli)
	h.put(dst[start:], w.marker, w.off)
	w.off += h.length()
	return dst
}

func appendCompressed(dst, raw []byte) []byte {
	n, most := len(dst), s2.MaxEncodedLen(len(raw))
	if cap(dst)-n < most {
		dst = append(dst, make([]byte, most)...)
	}
	out := s2.Encode(dst[n:n+most:n+most], raw)
	return dst[:n+len(out)]
}

// decodePayload checks the stored payload and returns it uncompressed, in scratch where it had to be decompressed.
func decodePayload(h frameHeader, payload, scratch []byte) ([]byte, error) {
	if crc32.Checksum(payload, castagnoli) != h.crc {
		return nil, errBadPayload
	}
	if h.flags&flagCompressed == 0 {
		return payload, nil
	}
	if n, err := s2.DecodedLen(payload); err != nil || n != int(h.raw) {
		return nil, fmt.Errorf("%w: wrong length", errBadPayload)
	}
	raw, err := s2.Decode(scratch[:cap(scratch)], payload)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBadPayload, err)
	}
	return raw, nil
}

// eachRecord calls fn with each of the count records in raw, which they must fill.
func eachRecord(raw []byte, count uint32, fn func(rec []byte) error) error {
	for ; count > 0; count-- {
		n, size := binary.Uvarint(raw)
		if size <= 0 || n > uint64(len(raw)-size) {
			return errBadPayload
		}
		raw = raw[size:]
		if err := fn(raw[:n:n]); err != nil {
			return err
		}
		raw = raw[n:]
	}
	if len(raw) > 0 {
		return errBadPayload
	}
	return nil
}

package ingester

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"sync"

	"github.com/klauspost/compress/s2"
)

// What the frames of a snapshot's files hold; docs/formats/snapshot.md has the format.
const (
	frameBegin = 1 + iota
	frameSeries
	frameSealed
	frameOpen
	frameShared
	frameStream
	frameRecord
	frameEnd
)

const (
	frameHead     = 13      // kind, stored length, length, checksum
	frameTarget   = 1 << 20 // where a frame ends
	frameMaxBytes = 1 << 30 // what a damaged length may cost
)

var (
	castagnoli  = crc32.MakeTable(crc32.Castagnoli)
	errSnapshot = errors.New("snapshot is damaged")
)

// frameWriter appends frames to a file.
type frameWriter struct {
	file   *os.File
	length int64
	packed []byte
}

// write appends one frame. What is read more slowly than it is packed goes in as it is.
func (w *frameWriter) write(kind byte, payload []byte, pack bool) error {
	stored := payload
	if pack {
		w.packed = s2.Encode(w.packed[:cap(w.packed)], payload)
		stored = w.packed
	}
	head := make([]byte, 1, frameHead)
	head[0] = kind
	if pack {
		head[0] |= framePacked
	}
	head = binary.LittleEndian.AppendUint32(head, uint32(len(stored)))
	head = binary.LittleEndian.AppendUint32(head, uint32(len(payload)))
	sum := crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, stored)
	head = binary.LittleEndian.AppendUint32(head, sum)
	for _, p := range [][]byte{head, stored} {
		n, err := w.file.Write(p)
		w.length += int64(n)
		if err != nil {
			return err
		}
	}
	return nil
}

const framePacked = 0x80

// end writes the last frame, and how long it is, for those who read the file from its end.
func (w *frameWriter) end(payload []byte) error {
	if err := w.write(frameEnd, payload, false); err != nil {
		return err
	}
	_, err := w.file.Write(binary.LittleEndian.AppendUint32(nil, uint32(frameHead+len(payload))))
	return err
}

// frame is one that was read.
type frame struct {
	kind    byte
	payload []byte // from framePool, to which done gives it back
}

var framePool = sync.Pool{New: func() any { return new([]byte) }}

// frameBuffer is n bytes from the pool.
func frameBuffer(n int64) []byte {
	b := *framePool.Get().(*[]byte)
	return slices.Grow(b[:0], int(n))[:n]
}

func (f frame) done() { framePool.Put(&f.payload) }

// frameReader reads the frames of a file up to a length.
type frameReader struct {
	in     *bufio.Reader
	left   int64
	wanted func(kind byte) bool // others are passed over
}

// next is the next frame that is wanted, io.EOF at the end.
func (r *frameReader) next() (frame, error) {
	if r.left == 0 {
		return frame{}, io.EOF
	}
	var head [frameHead]byte
	if err := r.read(head[:]); err != nil {
		return frame{}, err
	}
	stored, length := int64(binary.LittleEndian.Uint32(head[1:])), int64(binary.LittleEndian.Uint32(head[5:]))
	if stored > r.left || length > frameMaxBytes {
		return frame{}, fmt.Errorf("%w: a frame of %d bytes where %d are left", errSnapshot, stored, r.left)
	}
	if !r.wanted(head[0] &^ framePacked) {
		n, err := r.in.Discard(int(stored))
		r.left -= int64(n)
		if err != nil {
			return frame{}, fmt.Errorf("%w: %w", errSnapshot, err)
		}
		return r.next()
	}
	payload := frameBuffer(stored)
	if err := r.read(payload); err != nil {
		return frame{}, err
	}
	if crc32.Update(crc32.Checksum(head[:9], castagnoli), castagnoli, payload) != binary.LittleEndian.Uint32(head[9:]) {
		return frame{}, fmt.Errorf("%w: wrong checksum", errSnapshot)
	}
	f := frame{kind: head[0] &^ framePacked, payload: payload}
	if head[0]&framePacked != 0 {
		n, err := s2.DecodedLen(payload)
		if err != nil || int64(n) != length {
			return frame{}, fmt.Errorf("%w: packed frame", errSnapshot)
		}
		if f.payload, err = s2.Decode(frameBuffer(length), payload); err != nil {
			return frame{}, fmt.Errorf("%w: %w", errSnapshot, err)
		}
		framePool.Put(&payload)
	}
	return f, nil
}

func (r *frameReader) read(p []byte) error {
	if int64(len(p)) > r.left {
		return fmt.Errorf("%w: cut off", errSnapshot)
	}
	n, err := io.ReadFull(r.in, p)
	r.left -= int64(n)
	if err != nil {
		return fmt.Errorf("%w: %w", errSnapshot, err)
	}
	return nil
}

// fields reads the numbers and strings of a frame. After the first that isn't there, all are empty.
type fields struct {
	p   []byte
	bad bool
}

func (f *fields) uvarint() uint64 {
	v, n := binary.Uvarint(f.p)
	if n <= 0 {
		f.p, f.bad = nil, true
		return 0
	}
	f.p = f.p[n:]
	return v
}

// count is a number of things that take a byte each at least.
func (f *fields) count() int {
	n := f.uvarint()
	if n > uint64(len(f.p)) {
		f.p, f.bad = nil, true
		return 0
	}
	return int(n)
}

func (f *fields) bytes() []byte {
	n := f.count()
	b := f.p[:n]
	f.p = f.p[n:]
	return b
}

func (f *fields) uint64() uint64 {
	if len(f.p) < 8 {
		f.p, f.bad = nil, true
		return 0
	}
	v := binary.LittleEndian.Uint64(f.p)
	f.p = f.p[8:]
	return v
}

func (f *fields) err(what string) error {
	if f.bad {
		return fmt.Errorf("%w: %s", errSnapshot, what)
	}
	return nil
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// snapshotEnd is what a snapshot's last frame says.
type snapshotEnd struct {
	record  uint64 // at which it was taken
	chunks  string // the name of the file with what doesn't change
	length  int64  // so much of which counts
	started int64  // when the epoch began, Unix milliseconds
	size    int64  // of the frames before
}

func readEnd(f *os.File) (e snapshotEnd, err error) {
	info, err := f.Stat()
	if err != nil {
		return e, err
	}
	var tail [4]byte
	if _, err := f.ReadAt(tail[:], info.Size()-4); err != nil {
		return e, fmt.Errorf("%w: %w", errSnapshot, err)
	}
	n := int64(binary.LittleEndian.Uint32(tail[:]))
	if e.size = info.Size() - 4 - n; e.size < 0 {
		return e, fmt.Errorf("%w: no end", errSnapshot)
	}
	r := frameReader{in: bufio.NewReader(io.NewSectionReader(f, e.size, n)), left: n, wanted: func(byte) bool { return true }}
	fr, err := r.next()
	if err != nil || fr.kind != frameEnd {
		return e, errors.Join(fmt.Errorf("%w: no end", errSnapshot), err)
	}
	p := fields{p: fr.payload}
	e.record, e.chunks, e.length, e.started = p.uvarint(), string(p.bytes()), int64(p.uvarint()), int64(p.uint64())
	return e, p.err("end")
}

package block

import (
	"context"
	"hash/crc32"
	"io"
	"slices"
)

// streamStep is how many bytes a stream reads at once.
const streamStep = 1 << 20

// stream reads a file forwards, from off to end, with a window that holds at least one item.
type stream struct {
	ctx      context.Context
	f        File
	off, end int64  // of what was not read yet
	buf      []byte // what was read and not yet taken
}

// fill reads on, until at least n bytes are in the window.
func (s *stream) fill(n int) error {
	for len(s.buf) < n {
		step := min(max(streamStep, int64(n-len(s.buf))), s.end-s.off)
		if step <= 0 {
			return io.ErrUnexpectedEOF
		}
		b, err := s.f.Range(s.ctx, s.off, step)
		if err != nil {
			return err
		}
		s.off += step
		s.buf = append(slices.Clip(s.buf), b...)
	}
	return nil
}

// take gives the next n bytes, valid until the next call.
func (s *stream) take(n int) ([]byte, error) {
	if err := s.fill(n); err != nil {
		return nil, err
	}
	b := s.buf[:n:n]
	s.buf = s.buf[n:]
	return b, nil
}

// pos is the offset of the next byte.
func (s *stream) pos() int64 { return s.off - int64(len(s.buf)) }

// item takes what parse reads; parse is given a longer window until it has enough.
func (s *stream) item(parse func(c *cursor)) ([]byte, error) {
	for {
		c := cursor{b: s.buf}
		if parse(&c); !c.bad {
			return s.take(len(s.buf) - len(c.b))
		}
		if len(s.buf) > maxItemBytes {
			return nil, io.ErrUnexpectedEOF
		}
		if err := s.fill(len(s.buf) + 1); err != nil {
			return nil, err
		}
	}
}

// maxItemBytes bounds one symbol or table entry that is streamed.
const maxItemBytes = 16 << 20

// table reads a table of the index: a length, what step takes, and a checksum of that.
type table struct {
	stream
	crc  uint32
	left uint32 // entries that were not taken yet
}

func openTable(ctx context.Context, f File, off, limit uint64) (*table, error) {
	if off > limit || limit-off < 12 {
		return nil, io.ErrUnexpectedEOF
	}
	b, err := f.Range(ctx, int64(off), 8)
	if err != nil {
		return nil, err
	}
	c := cursor{b: b}
	n := int64(c.be32())
	t := &table{left: c.be32(), crc: checksum(b[4:])}
	if n < 4 || int64(off)+4+n+4 > int64(limit) {
		return nil, io.ErrUnexpectedEOF
	}
	t.stream = stream{ctx: ctx, f: f, off: int64(off) + 8, end: int64(off) + 4 + n}
	return t, nil
}

// next takes one entry.
func (t *table) next(parse func(c *cursor)) ([]byte, error) {
	b, err := t.item(parse)
	if err != nil {
		return nil, err
	}
	t.left--
	t.crc = crc32.Update(t.crc, castagnoli(), b)
	return b, nil
}

// close tells whether all bytes were taken and match the table's checksum.
func (t *table) close() (bool, error) {
	if t.pos() != t.end {
		return false, nil
	}
	b, err := t.f.Range(t.ctx, t.end, 4)
	if err != nil {
		return false, err
	}
	c := cursor{b: b}
	return c.be32() == t.crc, nil
}

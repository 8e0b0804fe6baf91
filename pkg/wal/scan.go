package wal

import (
	"bytes"
	"errors"
	"io"
)

const readAhead = 1 << 20

var errCutOff = errors.New("frame cut off")

// segmentReader reads the frames of one segment in order, past any damage.
type segmentReader struct {
	in      io.ReaderAt
	id      segmentID
	marker  marker
	limit   int64  // bytes that count
	open    bool   // nothing follows the segment: its last group may be one that a crash tore
	next    uint64 // number of the next record
	end     int64  // end of the last good frame
	synced  uint64 // all records below were synced; known once looked is true
	looked  bool
	damage  *Damage
	emit    func(h frameHeader, payload []byte, off int64) error // returns errBadPayload for a frame that is no good
	buf     []byte
	bufFrom int64
}

// read calls emit with each good frame in turn. It returns an error only if emit does.
func (r *segmentReader) read() error {
	r.end = headerBytes
	hole := Hole{Offset: -1}
	for off := int64(headerBytes); off < r.limit; {
		h, payload, err := r.frame(off)
		if err == nil {
			if r.suspect(h) && !r.looked {
				r.lookAhead(off)
				continue
			}
			if r.suspect(h) && r.synced <= r.next {
				break
			}
			err = r.accept(h, payload, off, &hole)
		}
		if err != nil && !isDamage(err) {
			return err
		}
		if err == nil {
			off += h.length()
			r.end = off
			continue
		}
		if hole.Offset < 0 {
			hole = Hole{Epoch: r.id.epoch, Segment: r.id.number, Offset: off, Reason: err.Error()}
		}
		if errors.Is(err, errBadPayload) {
			off += h.length()
		} else {
			off = r.resync(off + 1)
		}
	}
	r.close(hole)
	return nil
}

// suspect tells that h may belong to a group of an open segment that was never synced, and of which an earlier frame is
// missing. It does unless a later frame says that the group was synced.
func (r *segmentReader) suspect(h frameHeader) bool {
	return r.open && h.first > r.next && h.base <= r.next
}

// lookAhead finds out from the frames at and behind off up to which record the segment was synced.
func (r *segmentReader) lookAhead(off int64) {
	r.looked = true
	for off < r.limit {
		h, _, err := r.frame(off)
		if err != nil {
			off = r.resync(off + 1)
			continue
		}
		r.synced = max(r.synced, h.base)
		off += h.length()
	}
}

// accept counts what is missing before the frame, and hands it on if its records were not seen yet.
func (r *segmentReader) accept(h frameHeader, payload []byte, off int64, hole *Hole) error {
	if h.first+uint64(h.count) > r.next || h.count == 0 {
		if err := r.emit(h, payload, off); err != nil {
			return err
		}
	}
	var lost uint64
	if h.first > r.next {
		lost = h.first - r.next
	}
	if hole.Offset < 0 && lost > 0 {
		*hole = Hole{Epoch: r.id.epoch, Segment: r.id.number, Offset: off, Reason: "records missing"}
	}
	if hole.Offset >= 0 {
		hole.Bytes, hole.Records = off-hole.Offset, lost
		r.damage.add(*hole)
		*hole = Hole{Offset: -1}
	}
	r.next = max(r.next, h.first+uint64(h.count))
	return nil
}

// close judges what lies behind the last good frame.
func (r *segmentReader) close(hole Hole) {
	switch {
	case r.end >= r.limit:
	case r.open:
		r.damage.Tail = true
		r.damage.TailBytes += r.limit - r.end
	case hole.Offset >= 0:
		hole.Bytes, hole.last = r.limit-hole.Offset, true
		r.damage.add(hole)
	}
}

func isDamage(err error) bool {
	return errors.Is(err, errBadHeader) || errors.Is(err, errBadPayload) || errors.Is(err, errCutOff)
}

// frame returns the frame at off with its payload as stored, which is valid until the next call.
func (r *segmentReader) frame(off int64) (frameHeader, []byte, error) {
	b, err := r.peek(off, frameHeaderBytes)
	if err != nil {
		return frameHeader{}, nil, err
	}
	h, err := parseFrameHeader(b, r.marker, off)
	if err != nil {
		return frameHeader{}, nil, err
	}
	b, err = r.peek(off, h.length())
	if err != nil {
		return frameHeader{}, nil, err
	}
	return h, b[frameHeaderBytes:], nil
}

// peek returns n bytes at off, valid until the next call.
func (r *segmentReader) peek(off, n int64) ([]byte, error) {
	if off+n > r.limit {
		return nil, errCutOff
	}
	if off >= r.bufFrom && off+n <= r.bufFrom+int64(len(r.buf)) {
		return r.buf[off-r.bufFrom:][:n], nil
	}
	if err := r.fill(off, min(max(n, readAhead), r.limit-off)); err != nil {
		if err := r.fill(off, n); err != nil {
			return nil, err
		}
	}
	return r.buf[:n], nil
}

// fill reads n bytes at off into the buffer. A sector that can't be read is damage like any other.
func (r *segmentReader) fill(off, n int64) error {
	if int64(cap(r.buf)) < n {
		r.buf = make([]byte, n)
	}
	r.buf, r.bufFrom = r.buf[:n], off
	if got, err := r.in.ReadAt(r.buf, off); int64(got) < n {
		r.buf = r.buf[:0]
		return errors.Join(errCutOff, err)
	}
	return nil
}

// resync returns the first offset at or after off where the marker stands, or the limit.
func (r *segmentReader) resync(off int64) int64 {
	const sector = 4096
	for off+frameHeaderBytes <= r.limit {
		n := min(int64(readAhead), r.limit-off)
		b, err := r.peek(off, n)
		if err != nil {
			n = min(sector-off%sector+int64(len(r.marker))-1, r.limit-off)
			if b, err = r.peek(off, n); err != nil {
				off += sector - off%sector
				continue
			}
		}
		if i := bytes.Index(b, r.marker[:]); i >= 0 {
			return off + int64(i)
		}
		off += n - int64(len(r.marker)) + 1
	}
	return r.limit
}

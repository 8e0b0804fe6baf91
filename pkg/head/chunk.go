package head

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/varve-io/varve/pkg/series"
)

// What things take on the heap beside their data, in bytes.
const (
	seriesSize = 160
	chunkSize  = 40
	openSize   = 80
)

// chunk is a sealed chunk: read-only, of exactly the size of its data. Its times are both included.
type chunk struct {
	minT, maxT int64
	data       []byte // the encoding, then the chunk's bytes
}

func (c chunk) samples() int { return int(binary.BigEndian.Uint16(c.data[1:])) }

// meta is the chunk for readers.
func (c chunk) meta() chunks.Meta {
	ck, _ := chunkenc.FromData(chunkenc.Encoding(c.data[0]), c.data[1:len(c.data):len(c.data)]) // known encodings
	return chunks.Meta{MinTime: c.minT, MaxTime: c.maxT, Chunk: ck}
}

func sealChunk(c chunkenc.Chunk, minT, maxT int64) chunk {
	b := c.Bytes()
	data := make([]byte, 1+len(b))
	data[0] = byte(c.Encoding())
	copy(data[1:], b)
	return chunk{minT: minT, maxT: maxT, data: data}
}

// sealFloats seals floats of any order; of several of one time the winner stays. It sorts them in place.
func sealFloats(late []sample) chunk {
	slices.SortFunc(late, func(a, b sample) int {
		switch {
		case a.t != b.t:
			return cmp.Compare(a.t, b.t)
		case series.Wins(a.v, b.v):
			return -1
		case series.Wins(b.v, a.v):
			return 1
		}
		return 0
	})
	late = slices.CompactFunc(late, func(a, b sample) bool { return a.t == b.t })
	c := &chunkenc.XORChunk{}
	c.Reset(make([]byte, 2, 2+8*len(late)))
	app, _ := c.Appender() // can't fail: the chunk is empty
	for _, l := range late {
		app.Append(0, l.t, l.v)
	}
	return sealChunk(c, late[0].t, late[len(late)-1].t)
}

// chunks appends to dst the series' chunks that overlap mint to maxt, both included, ordered by time. What isn't
// sealed yet is copied.
func (s *Series) chunks(mint, maxt int64, dst []chunks.Meta) []chunks.Meta {
	s.mtx.Lock()
	defer s.mtx.Unlock()
	n := len(dst)
	dst = slices.Grow(dst, len(s.sealed)+2)
	for _, c := range s.sealed {
		if c.minT <= maxt && mint <= c.maxT {
			dst = append(dst, c.meta())
		}
	}
	if s.openOverlaps(mint, maxt) {
		dst = append(dst, sealChunk(s.open, s.openMinT, s.lastT).meta())
	}
	if late := s.lateBetween(mint, maxt); len(late) > 0 {
		dst = append(dst, sealFloats(late).meta())
	}
	slices.SortFunc(dst[n:], func(a, b chunks.Meta) int {
		return cmp.Or(cmp.Compare(a.MinTime, b.MinTime), cmp.Compare(a.MaxTime, b.MaxTime))
	})
	return dst
}

// lateBetween is a copy of the late floats between mint and maxt.
func (s *Series) lateBetween(mint, maxt int64) []sample {
	if len(s.late) == 0 {
		return nil
	}
	out := make([]sample, 0, len(s.late))
	for _, l := range s.late {
		if mint <= l.t && l.t <= maxt {
			out = append(out, l)
		}
	}
	return out
}

// ranges gathers which aligned ranges have samples, by number.
type ranges struct {
	width int64
	seen  map[int64]struct{}
	buf   []chunks.Meta
	it    chunkenc.Iterator
}

func (w *ranges) number(t int64) int64 {
	n := t / w.width
	if t%w.width < 0 {
		n--
	}
	return n
}

func (s *Series) visit(w *ranges) error {
	w.buf = s.chunks(math.MinInt64, math.MaxInt64, w.buf[:0])
	for _, c := range w.buf {
		first, last := w.number(c.MinTime), w.number(c.MaxTime)
		w.seen[first] = struct{}{}
		w.seen[last] = struct{}{}
		if last-first < 2 {
			continue
		}
		w.it = c.Chunk.Iterator(w.it)
		for w.it.Next() != chunkenc.ValNone {
			w.seen[w.number(w.it.AtT())] = struct{}{}
		}
		if err := w.it.Err(); err != nil {
			return err
		}
	}
	return nil
}

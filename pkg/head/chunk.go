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
	seriesSize = 128
	moreSize   = 112
	chunkSize  = 48
	openSize   = 80
)

// chunk is a sealed chunk: read-only, of exactly the size of its data. Its times are both included.
type chunk struct {
	prev       *chunk // the one of the series that was sealed before it
	minT, maxT int64
	data       []byte // the encoding, then the chunk's bytes
}

func (c *chunk) samples() int { return int(binary.BigEndian.Uint16(c.data[1:])) }

func (c *chunk) overlaps(mint, maxt int64) bool { return c.minT <= maxt && mint <= c.maxT }

// meta is the chunk for readers.
func (c *chunk) meta() chunks.Meta {
	ck, _ := chunkenc.FromData(chunkenc.Encoding(c.data[0]), c.data[1:len(c.data):len(c.data)]) // known encodings
	return chunks.Meta{MinTime: c.minT, MaxTime: c.maxT, Chunk: ck}
}

// sealChunk copies a chunk of Prometheus.
func sealChunk(c chunkenc.Chunk, minT, maxT int64) *chunk {
	b := c.Bytes()
	data := make([]byte, 1+len(b))
	data[0] = byte(c.Encoding())
	copy(data[1:], b)
	return &chunk{minT: minT, maxT: maxT, data: data}
}

// seal copies the chunk so far. There must be samples.
func (x *xor) seal() *chunk {
	data := make([]byte, 1, 1+x.size())
	data[0] = byte(chunkenc.EncXOR)
	return &chunk{minT: x.minT(), maxT: x.t, data: x.appendTo(data)}
}

// copyOpen is a copy of the open chunk, nil if it has no samples.
func (s *Series) copyOpen() *chunk {
	switch {
	case !s.hasOpen():
		return nil
	case s.kind == chunkenc.ValFloat:
		return s.open.seal()
	}
	return sealChunk(s.more.open, s.more.openMinT, s.open.t)
}

// sealFloats seals floats of any order; of several of one time the winner stays. It sorts them in place.
func sealFloats(late []sample) *chunk {
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
	var x xor
	x.reset()
	for _, l := range late {
		x.append(l.t, l.v)
	}
	return x.seal()
}

// metas appends to dst the series' chunks that overlap mint to maxt, both included, ordered by time. What isn't
// sealed yet is copied.
func (s *Series) metas(mint, maxt int64, dst []chunks.Meta) []chunks.Meta {
	s.mtx.Lock()
	defer s.mtx.Unlock()
	n := len(dst)
	dst = slices.Grow(dst, int(s.chunks)+2)
	for c := s.sealed; c != nil; c = c.prev {
		if c.overlaps(mint, maxt) {
			dst = append(dst, c.meta())
		}
	}
	if s.openOverlaps(mint, maxt) {
		dst = append(dst, s.copyOpen().meta())
	}
	if s.more != nil {
		dst = s.more.metas(mint, maxt, dst)
	}
	slices.SortFunc(dst[n:], func(a, b chunks.Meta) int {
		return cmp.Or(cmp.Compare(a.MinTime, b.MinTime), cmp.Compare(a.MaxTime, b.MaxTime))
	})
	return dst
}

// metas appends what came late and isn't sealed yet.
func (m *more) metas(mint, maxt int64, dst []chunks.Meta) []chunks.Meta {
	for _, c := range m.tiny {
		if c.overlaps(mint, maxt) {
			dst = append(dst, c.meta())
		}
	}
	var late []sample
	for _, l := range m.late {
		if mint <= l.t && l.t <= maxt {
			late = append(late, l)
		}
	}
	if len(late) > 0 {
		dst = append(dst, sealFloats(late).meta())
	}
	return dst
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
	w.buf = s.metas(math.MinInt64, math.MaxInt64, w.buf[:0])
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

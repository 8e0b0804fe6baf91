package block

import (
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/varve-io/varve/pkg/series"
)

// room is where series are that are given together, with their labels and chunks.
type room struct {
	series   []series.Chunked
	builders []labels.ScratchBuilder // one for each series, whose labels it has; only of rooms that are used again
	metas    []chunks.Meta
	xor      []chunkenc.XORChunk
	slabs    [][]byte // of chunks' bytes
	slab     int      // that is being filled
}

// roomOf is room for n series, used before if anything is recycled.
func roomOf(rec *series.Recycler, n int) *room {
	m := &room{}
	if rec != nil {
		if used, ok := rec.Take().(*room); ok {
			m = used
		}
		m.builders = slices.Grow(m.builders[:0], n)[:n]
	}
	m.series = slices.Grow(m.series[:0], n)[:n]
	clear(m.series)
	m.metas, m.slab = m.metas[:0], 0
	for i := range m.slabs {
		m.slabs[i] = m.slabs[i][:0]
	}
	return m
}

// builder is the one to make the i-th series' labels with.
func (m *room) builder(i int, other *labels.ScratchBuilder) *labels.ScratchBuilder {
	if m.builders == nil {
		return other
	}
	return &m.builders[i]
}

// label gives the i-th series its labels, which the builder has.
func (m *room) label(i int, b *labels.ScratchBuilder) {
	if m.builders == nil {
		m.series[i].Labels = b.Labels()
		return
	}
	b.Overwrite(&m.series[i].Labels)
}

// expect makes room for so many chunks.
func (m *room) expect(chunks int) {
	m.xor = slices.Grow(m.xor[:0], chunks)
}

// slabBytes is the most bytes of chunks that share an array.
const slabBytes = 256 << 10

// keep copies b; left is about how many bytes there are to come, with those of b.
func (m *room) keep(b []byte, left int64) []byte {
	for m.slab < len(m.slabs) && cap(m.slabs[m.slab])-len(m.slabs[m.slab]) < len(b) {
		m.slab++
	}
	if m.slab == len(m.slabs) {
		m.slabs = append(m.slabs, make([]byte, 0, max(int64(len(b)), min(left, slabBytes))))
	}
	s := m.slabs[m.slab]
	from := len(s)
	s = append(s, b...)
	m.slabs[m.slab] = s
	return s[from:len(s):len(s)]
}

// xorChunk is a chunk of the encoding that most have. Room for it was expected.
func (m *room) xorChunk(data []byte) chunkenc.Chunk {
	m.xor = append(m.xor, chunkenc.XORChunk{})
	c := &m.xor[len(m.xor)-1]
	c.Reset(data)
	return c
}

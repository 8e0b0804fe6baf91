package block

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

var allTime = timeRange{math.MinInt64, math.MaxInt64}

const (
	// chunkGuess is how long a chunk is expected to be if nothing tells.
	chunkGuess = 512
	// maxChunkBytes is the most that a chunk may have.
	maxChunkBytes = 64 << 20
)

// chunkSpan is where a chunk is expected, and which of the metas it belongs to.
type chunkSpan struct {
	segment uint32
	span
	meta int
}

// spanOf gives the place of a chunk. next is the reference of the one behind it, 0 if that isn't known.
func spanOf(ref, next chunks.ChunkRef, meta int) chunkSpan {
	s := chunkSpan{segment: uint32(ref >> 32), span: span{off: int64(uint32(ref))}, meta: meta}
	s.end = s.off + chunkGuess
	if next > ref && next>>32 == ref>>32 {
		s.end = int64(uint32(next))
	}
	return s
}

// load reads the chunks of the given places into metas, and their bytes into the room.
func (r *reader) load(spans []chunkSpan, metas []chunks.Meta, to *room) error {
	order := func(a, b chunkSpan) int {
		return cmp.Or(cmp.Compare(a.segment, b.segment), cmp.Compare(a.off, b.off))
	}
	if !slices.IsSortedFunc(spans, order) {
		slices.SortFunc(spans, order)
	}
	bytes := int64(0)
	for _, s := range spans {
		bytes += s.end - s.off
	}
	to.expect(len(spans))
	d := chunkDecoder{r: r, to: to, left: bytes}
	for len(spans) > 0 {
		n := 1
		for n < len(spans) && spans[n].segment == spans[0].segment {
			n++
		}
		part := spans[:n]
		spans = spans[n:]
		plain := r.spans[:0]
		for _, s := range part {
			plain = append(plain, s.span)
		}
		r.spans = plain
		f, err := r.b.segment(r.ctx, part[0].segment)
		if err != nil {
			return err
		}
		name := SegmentName(int(part[0].segment))
		err = fetcher{ctx: r.ctx, b: r.b, f: f, name: name, room: &r.room}.each(plain, func(i int, b []byte) error {
			c, err := d.decode(name, part[i].off, b)
			metas[part[i].meta].Chunk = c
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// chunkDecoder makes chunks of bytes. Their bytes are copied into room of their own, so that no chunk keeps
// a page in memory.
type chunkDecoder struct {
	r    *reader
	to   *room
	left int64 // about how many bytes there are to come
}

// decode checks the chunk at the front of b.
func (d *chunkDecoder) decode(file string, off int64, b []byte) (chunkenc.Chunk, error) {
	n, k := binary.Uvarint(b)
	switch {
	case k == 0 && len(b) < chunks.MaxChunkLengthFieldSize:
		return nil, errShort{chunks.MaxChunkLengthFieldSize}
	case k <= 0 || n > maxChunkBytes:
		return nil, d.r.b.corrupt(file, off, "malformed length of a chunk")
	}
	end := int64(k) + 1 + int64(n)
	if int64(len(b)) < end+4 {
		return nil, errShort{end + 4}
	}
	body := b[k:end:end]
	if binary.BigEndian.Uint32(b[end:]) != checksum(body) {
		return nil, d.r.b.corrupt(file, off, "bad checksum of a chunk")
	}
	if n < minChunkBytes {
		return nil, d.r.b.corrupt(file, off, "chunk of %d bytes", n)
	}
	enc, data := chunkenc.Encoding(body[0]), d.to.keep(body[1:], d.left)
	d.left -= int64(len(data))
	if enc == chunkenc.EncXOR {
		return d.to.xorChunk(data), nil
	}
	c, err := chunkenc.FromData(enc, data)
	if err != nil {
		return nil, d.r.b.corrupt(file, off, "%v", err)
	}
	return c, nil
}

// minChunkBytes is the header that every encoding has at least.
const minChunkBytes = 2

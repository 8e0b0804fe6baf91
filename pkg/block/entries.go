package block

import (
	"encoding/binary"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// entry is one series of the index: its labels as pairs of symbols, and its chunks.
type entry struct {
	ref    uint32
	pairs  []uint32
	chunks []chunks.Meta // only those in the range that was asked for, without data
	// after is the reference of the chunk that follows the last one of chunks, 0 if none does.
	after chunks.ChunkRef
}

// timeRange is a range of time, both ends included.
type timeRange struct{ min, max int64 }

// entries reads the entries of the given series, in ascending order, with the chunks that overlap the range. What they
// refer to is overwritten by the next call.
func (r *reader) entries(to []entry, refs []uint32, t timeRange) ([]entry, error) {
	h := r.b.header
	guess := r.b.entryGuess()
	spans := r.spans[:0]
	for _, ref := range refs {
		off := int64(ref) * seriesAlign
		if off < int64(h.toc.series) || off >= int64(h.toc.labelIndices) {
			return to, r.b.corrupt(IndexName, off, "reference to a series outside of the series section")
		}
		spans = append(spans, span{off, off + guess})
	}
	r.spans = spans
	pairs, metas := r.pairs[:0], r.metas[:0]
	err := r.passing().each(spans, func(i int, b []byte) error {
		body, err := r.entryBody(spans[i].off, b)
		if err != nil {
			return err
		}
		e := entry{ref: refs[i]}
		p, m := len(pairs), len(metas)
		c := cursor{b: body}
		pairs = appendPairs(pairs, &c)
		metas, e.after = appendChunks(metas, &c, t)
		if c.bad || len(c.b) > 0 {
			return r.b.corrupt(IndexName, spans[i].off, "malformed series entry")
		}
		e.pairs, e.chunks = pairs[p:len(pairs):len(pairs)], metas[m:len(metas):len(metas)]
		to = append(to, e)
		return nil
	})
	r.pairs, r.metas = pairs, metas
	return to, err
}

// entryGuess is how long a series entry is expected to be.
func (b *Block) entryGuess() int64 {
	n := int64(b.meta.Stats.NumSeries)
	if n <= 0 {
		return 512
	}
	section := int64(b.header.toc.labelIndices - b.header.toc.series)
	return min(max(section/n*3/2, 64), 64<<10)
}

// entryBody checks a series entry and gives what stands between its length and its checksum.
func (r *reader) entryBody(off int64, b []byte) ([]byte, error) {
	n, k := binary.Uvarint(b)
	switch {
	case k == 0 && len(b) < binary.MaxVarintLen64:
		return nil, errShort{binary.MaxVarintLen64}
	case k <= 0 || n > uint64(r.b.header.indexSize):
		return nil, r.b.corrupt(IndexName, off, "malformed length of a series entry")
	}
	end := int64(k) + int64(n)
	if int64(len(b)) < end+4 {
		return nil, errShort{end + 4}
	}
	body := b[k:end]
	if binary.BigEndian.Uint32(b[end:]) != checksum(body) {
		return nil, r.b.corrupt(IndexName, off, "bad checksum of a series entry")
	}
	return body, nil
}

func appendPairs(to []uint32, c *cursor) []uint32 {
	n := c.uvarint()
	if n > uint64(len(c.b))/2 {
		c.fail()
		return to
	}
	for range 2 * n {
		to = append(to, c.uvarint32())
	}
	return to
}

// appendChunks reads the chunks of a series and keeps those that overlap t. after is the chunk behind the last kept.
func appendChunks(to []chunks.Meta, c *cursor, t timeRange) (_ []chunks.Meta, after chunks.ChunkRef) {
	n := c.uvarint()
	if n > uint64(len(c.b))/3 {
		c.fail()
		return to, 0
	}
	var m chunks.Meta
	kept := false
	for i := range n {
		if i == 0 {
			m.MinTime = c.varint()
			m.MaxTime = m.MinTime + int64(c.uvarint())
			m.Ref = chunks.ChunkRef(c.uvarint())
		} else {
			m.MinTime = m.MaxTime + int64(c.uvarint())
			m.MaxTime = m.MinTime + int64(c.uvarint())
			m.Ref += chunks.ChunkRef(c.varint())
		}
		in := m.MaxTime >= t.min && m.MinTime <= t.max
		if in {
			to = append(to, m)
		} else if kept && after == 0 {
			after = m.Ref
		}
		if in {
			kept, after = true, 0
		}
	}
	return to, after
}

// learn reads the symbols of entries, and notes the places of their texts in r.places, entry by entry.
func (r *reader) learn(entries []entry) error {
	if len(r.symbols.texts) > maxSymbols {
		r.symbols.reset()
	}
	r.places = r.places[:0]
	for _, e := range entries {
		for _, s := range e.pairs {
			r.places = append(r.places, r.want(s))
		}
	}
	return r.readSymbols()
}

// labelsOf puts the labels of an entry into the builder. The places of its symbols are the first of some, which are given without them.
func (r *reader) labelsOf(e entry, places []uint32, to *labels.ScratchBuilder) []uint32 {
	to.Reset()
	texts := r.symbols.texts
	for j := 0; j < len(e.pairs); j += 2 {
		to.Add(texts[places[j]], texts[places[j+1]])
	}
	return places[len(e.pairs):]
}

// resolve gives the labels of entries.
func (r *reader) resolve(entries []entry) ([]labels.Labels, error) {
	if err := r.learn(entries); err != nil {
		return nil, err
	}
	out, places := make([]labels.Labels, len(entries)), r.places
	for i, e := range entries {
		places = r.labelsOf(e, places, &r.builder)
		out[i] = r.builder.Labels()
	}
	return out, nil
}

package head

import (
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/varve-io/varve/pkg/series"
)

// maxTiny is how many late histograms a series gathers, each in a chunk of its own, before they are put together.
const maxTiny = 32

// AppendHistogram adds a histogram with integer counts, at any time. It may add empty buckets to h; it keeps none
// of h's slices.
func (s *Series) AppendHistogram(t int64, h *histogram.Histogram) Outcome {
	return s.appendHistogram(t, integers{h})
}

// AppendFloatHistogram is AppendHistogram for float counts.
func (s *Series) AppendFloatHistogram(t int64, h *histogram.FloatHistogram) Outcome {
	return s.appendHistogram(t, floats{h})
}

// anyHistogram is a histogram of either kind.
type anyHistogram interface {
	kind() chunkenc.ValueType
	wellFormed() bool
	// appendTo appends to a chunk of this kind, as chunkenc.Appender does. A new chunk isn't told of the one before:
	// a late sample may come between them, and "no reset since" would be a lie then.
	appendTo(app chunkenc.Appender, t int64) (chunkenc.Chunk, bool, chunkenc.Appender, error)
	// equals compares with the sample that it, an iterator of this kind, stands on.
	equals(it chunkenc.Iterator) bool
}

func (s *Series) appendHistogram(t int64, x anyHistogram) Outcome {
	if !x.wellFormed() {
		return Malformed
	}
	s.mtx.Lock()
	defer s.mtx.Unlock()
	h := s.page.head
	switch {
	case h.sealed.Load():
		return Sealed
	case s.kind == chunkenc.ValNone || t > s.open.t:
		return s.appendNewest(t, x)
	case t < s.open.t:
		o := s.keepHistogram(t, x)
		if o == Stored {
			h.late.Add(1)
		}
		return o
	case s.lastEquals(x):
		return Duplicate
	}
	if o := s.keepHistogram(t, x); o != Stored {
		return o
	}
	return Conflict
}

// appendNewest adds to the open chunk, or to a new one: if the kind changes, the chunk is full, or the appender says so.
func (s *Series) appendNewest(t int64, x anyHistogram) Outcome {
	if s.kind != x.kind() || s.full() {
		c, err := x.kind().NewChunk(false, false)
		if err != nil {
			return Malformed
		}
		s.sealOpen()
		s.begin(c, x.kind())
	}
	m := s.more
	c, recoded, app, err := x.appendTo(m.app, t)
	if err != nil {
		return Malformed
	}
	if c != nil && !recoded {
		s.sealOpen()
	}
	if c != nil {
		m.open = c
	}
	m.app = app
	if m.open.NumSamples() == 1 {
		m.openMinT = t
	}
	s.open.t = t
	s.page.head.extend(t)
	return Stored
}

// full tells whether the open chunk, of histograms, takes no more.
func (s *Series) full() bool {
	n := s.more.open.NumSamples()
	return s.more.app == nil || n >= s.page.head.chunkSamples ||
		n >= chunkenc.MinSamplesPerHistogramChunk && len(s.more.open.Bytes()) >= chunkenc.TargetBytesPerHistogramChunk
}

// lastEquals tells whether x is the newest sample in the open chunk.
func (s *Series) lastEquals(x anyHistogram) bool {
	if s.kind != x.kind() {
		return false
	}
	it := s.more.open.Iterator(nil)
	return it.Seek(s.open.t) != chunkenc.ValNone && x.equals(it)
}

// keepHistogram keeps a histogram that isn't the newest sample.
func (s *Series) keepHistogram(t int64, x anyHistogram) Outcome {
	c, err := x.kind().NewChunk(false, false)
	if err != nil {
		return Malformed
	}
	app, err := c.Appender()
	if err != nil {
		return Malformed
	}
	if _, _, _, err := x.appendTo(app, t); err != nil {
		return Malformed
	}
	m := s.rest()
	m.tiny = append(m.tiny, sealChunk(c, t, t))
	s.page.head.extend(t)
	if len(m.tiny) >= maxTiny {
		s.sealTiny()
	}
	return Stored
}

// sealTiny puts the late histograms together and seals them. If that fails each stays in its chunk.
func (s *Series) sealTiny() {
	tiny := s.more.tiny
	s.more.tiny = nil
	metas := make([]chunks.Meta, len(tiny))
	for i, c := range tiny {
		metas[i] = c.meta()
	}
	if flat, err := series.Compact(metas); err == nil {
		tiny = tiny[:0]
		for _, m := range flat {
			tiny = append(tiny, sealChunk(m.Chunk, m.MinTime, m.MaxTime))
		}
	}
	for _, c := range tiny {
		s.seal(c)
	}
}

type integers struct{ h *histogram.Histogram }

func (x integers) kind() chunkenc.ValueType { return chunkenc.ValHistogram }

func (x integers) wellFormed() bool {
	return value.IsStaleNaN(x.h.Sum) || histogram.IsValidSchema(x.h.Schema) &&
		fits(x.h.PositiveSpans, len(x.h.PositiveBuckets)) && fits(x.h.NegativeSpans, len(x.h.NegativeBuckets))
}

func (x integers) appendTo(app chunkenc.Appender, t int64) (chunkenc.Chunk, bool, chunkenc.Appender, error) {
	return app.AppendHistogram(nil, 0, t, x.h, false)
}

func (x integers) equals(it chunkenc.Iterator) bool {
	_, h := it.AtHistogram(nil)
	return series.CompareHistograms(x.h, h) == 0
}

type floats struct{ h *histogram.FloatHistogram }

func (x floats) kind() chunkenc.ValueType { return chunkenc.ValFloatHistogram }

func (x floats) wellFormed() bool {
	return value.IsStaleNaN(x.h.Sum) || histogram.IsValidSchema(x.h.Schema) &&
		fits(x.h.PositiveSpans, len(x.h.PositiveBuckets)) && fits(x.h.NegativeSpans, len(x.h.NegativeBuckets))
}

func (x floats) appendTo(app chunkenc.Appender, t int64) (chunkenc.Chunk, bool, chunkenc.Appender, error) {
	return app.AppendFloatHistogram(nil, 0, t, x.h, false)
}

func (x floats) equals(it chunkenc.Iterator) bool {
	_, h := it.AtFloatHistogram(nil)
	return series.CompareFloatHistograms(x.h, h) == 0
}

// fits tells whether spans have room for exactly n buckets, one after the other.
func fits(spans []histogram.Span, n int) bool {
	for i, s := range spans {
		if i > 0 && s.Offset < 0 || int64(s.Length) > int64(n) {
			return false
		}
		n -= int(s.Length)
	}
	return n == 0
}

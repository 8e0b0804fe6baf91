package querier

import (
	"context"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/varve-io/varve/pkg/series"
)

// seriesSet is a selection as Prometheus' engine takes it.
type seriesSet struct {
	*selection
	mint, maxt int64
	at         *chunkedSeries
	failure    error
}

// Next implements storage.SeriesSet.
func (s *seriesSet) Next() bool {
	<-s.done
	if s.err != nil || s.failure != nil {
		return false
	}
	if !s.set.Next() {
		s.failure = s.budget.failed(storageError(s.set.Err()))
		return false
	}
	c := s.set.At()
	if s.failure = s.budget.failed(s.budget.take(c)); s.failure != nil {
		return false
	}
	s.at = &chunkedSeries{Chunked: c, mint: s.mint, maxt: s.maxt, budget: s.budget}
	return true
}

// At implements storage.SeriesSet.
func (s *seriesSet) At() storage.Series { return s.at }

// Err implements storage.SeriesSet.
func (s *seriesSet) Err() error {
	<-s.done
	if s.err != nil {
		return s.err
	}
	return s.failure
}

// Warnings implements storage.SeriesSet.
func (s *seriesSet) Warnings() annotations.Annotations {
	<-s.done
	return s.warnings
}

// chunkedSeries is one series within a range.
type chunkedSeries struct {
	series.Chunked
	mint, maxt int64
	budget     *budget
}

// Labels implements storage.Series.
func (s *chunkedSeries) Labels() labels.Labels { return s.Chunked.Labels }

// Iterator implements storage.Series.
func (s *chunkedSeries) Iterator(reuse chunkenc.Iterator) chunkenc.Iterator {
	c, ok := reuse.(*cutIterator)
	if !ok {
		c = &cutIterator{}
	}
	*c = cutIterator{Iterator: series.NewIterator(s.Chunks, c.Iterator), mint: s.mint, maxt: s.maxt, budget: s.budget}
	return c
}

// cutIterator reads the samples within the range only, and counts them.
type cutIterator struct {
	chunkenc.Iterator
	mint, maxt int64
	budget     *budget
	started    bool
	ended      bool
	read       int64
}

// Next implements chunkenc.Iterator.
func (c *cutIterator) Next() chunkenc.ValueType {
	if !c.started {
		return c.Seek(c.mint)
	}
	if c.ended {
		return chunkenc.ValNone
	}
	return c.cut(c.Iterator.Next())
}

// Seek implements chunkenc.Iterator.
func (c *cutIterator) Seek(t int64) chunkenc.ValueType {
	if c.ended {
		return chunkenc.ValNone
	}
	c.started = true
	return c.cut(c.Iterator.Seek(max(t, c.mint)))
}

func (c *cutIterator) cut(v chunkenc.ValueType) chunkenc.ValueType {
	if v == chunkenc.ValNone || c.AtT() > c.maxt {
		c.ended = true
		c.budget.samples.Add(c.read)
		return chunkenc.ValNone
	}
	c.read++
	return v
}

// chunkQuerier is a querier whose series come as chunks.
type chunkQuerier struct{ *querier }

// Select implements storage.ChunkQuerier.
func (r chunkQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, ms ...*labels.Matcher) storage.ChunkSeriesSet {
	return chunkSet{r.querier.Select(ctx, sorted, hints, ms...).(*seriesSet)}
}

// chunkSet is a seriesSet as chunks.
type chunkSet struct{ *seriesSet }

// At implements storage.ChunkSeriesSet.
func (s chunkSet) At() storage.ChunkSeries {
	if s.at.plain() {
		return plainSeries{s.at}
	}
	return storage.NewSeriesToChunkEncoder(s.at)
}

// plain tells whether the chunks can be passed on as they are: within the range, one after the other.
func (s *chunkedSeries) plain() bool {
	last := s.mint - 1
	for _, c := range s.Chunks {
		if c.MinTime <= last || c.MaxTime > s.maxt {
			return false
		}
		last = c.MaxTime
	}
	return true
}

// plainSeries passes its chunks on as they are.
type plainSeries struct{ *chunkedSeries }

// Iterator implements storage.ChunkSeries.
func (s plainSeries) Iterator(chunks.Iterator) chunks.Iterator {
	return storage.NewListChunkSeriesIterator(s.Chunks...)
}

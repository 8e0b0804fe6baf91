package querier_test

import (
	"context"
	"testing"

	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/varve-io/varve/pkg/head"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/series/sourcetest"
	"github.com/varve-io/varve/querier"
)

// TestSource asks through Prometheus' interfaces: every second sample is recent, every third one older, so that some
// are both.
func TestSource(t *testing.T) {
	sourcetest.Run(t, func(t *testing.T, all []sourcetest.Series) series.Source {
		recent, older := newHeads(), head.New(head.Options{})
		for i, s := range all {
			for n, x := range s.Samples {
				n += i // so that some series are only here and some only there
				if n%2 == 0 {
					addSample(t, recent.of(sourcetest.Tenant), s, x)
				}
				if n%2 != 0 || n%3 == 0 {
					addSample(t, older, s, x)
				}
			}
		}
		q, err := querier.New(querier.Default(), querier.Dependencies{Recent: recent, Older: sourcesOf{older}, Limits: defaultLimits()})
		if err != nil {
			t.Fatal(err)
		}
		return queryable{q.Queryable()}
	})
}

func addSample(t *testing.T, h *head.Head, s sourcetest.Series, x sourcetest.Sample) {
	t.Helper()
	to, _, err := h.Series(s.Labels)
	if err != nil {
		t.Fatal(err)
	}
	switch x.Type() {
	case chunkenc.ValHistogram:
		to.AppendHistogram(x.T(), x.H())
	case chunkenc.ValFloatHistogram:
		to.AppendFloatHistogram(x.T(), x.FH())
	default:
		to.AppendFloat(x.T(), x.F())
	}
}

// queryable is a querier's storage as a source.
type queryable struct {
	storage.SampleAndChunkQueryable
}

func (s queryable) Select(ctx context.Context, q series.Query) (series.Set, error) {
	r, err := s.ChunkQuerier(q.MinTime, q.MaxTime)
	if err != nil {
		return nil, err
	}
	hints := &storage.SelectHints{Start: q.MinTime, End: q.MaxTime, Limit: q.Limit}
	if q.SkipChunks {
		hints.Func = "series"
	}
	return &chunkSet{from: r, set: r.Select(ctx, true, hints, q.Matchers...), skip: q.SkipChunks}, nil
}

func (s queryable) LabelNames(ctx context.Context, q series.Query) ([]string, error) {
	r, err := s.Querier(q.MinTime, q.MaxTime)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	names, _, err := r.LabelNames(ctx, &storage.LabelHints{Limit: q.Limit}, q.Matchers...)
	return names, err
}

func (s queryable) LabelValues(ctx context.Context, name string, q series.Query) ([]string, error) {
	r, err := s.Querier(q.MinTime, q.MaxTime)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	values, _, err := r.LabelValues(ctx, name, &storage.LabelHints{Limit: q.Limit}, q.Matchers...)
	return values, err
}

// chunkSet is Prometheus' set of chunks as a series.Set.
type chunkSet struct {
	from storage.ChunkQuerier
	set  storage.ChunkSeriesSet
	skip bool
	at   series.Chunked
	err  error
}

func (s *chunkSet) Next() bool {
	for s.err == nil && s.set.Next() {
		at := s.set.At()
		s.at = series.Chunked{Labels: at.Labels()}
		if s.skip {
			return true
		}
		var it chunks.Iterator
		for it = at.Iterator(nil); it.Next(); {
			s.at.Chunks = append(s.at.Chunks, it.At())
		}
		s.err = it.Err()
		if s.err == nil && len(s.at.Chunks) > 0 { // chunks that reach into the range may have no sample in it
			return true
		}
	}
	return false
}

func (s *chunkSet) At() series.Chunked { return s.at }

func (s *chunkSet) Err() error {
	if s.err != nil {
		return s.err
	}
	return s.set.Err()
}

func (s *chunkSet) Close() error { return s.from.Close() }

package sourcetest

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/varve-io/varve/pkg/series"
)

// everything asks for all series of all times.
func everything(ms ...*labels.Matcher) series.Query {
	return series.Query{Tenant: Tenant, MinTime: math.MinInt64 / 4, MaxTime: math.MaxInt64 / 4, Matchers: ms}
}

// selectAll reads an answer and checks what holds for every one.
func selectAll(t *testing.T, s series.Source, q series.Query) []series.Chunked {
	t.Helper()
	set, err := s.Select(t.Context(), q)
	if err != nil {
		t.Fatalf("select %s: %v", text(q), err)
	}
	var all []series.Chunked
	for set.Next() {
		all = append(all, set.At())
	}
	if err := set.Err(); err != nil {
		t.Fatalf("select %s: %v", text(q), err)
	}
	if set.Next() {
		t.Errorf("select %s: a set that has ended goes on", text(q))
	}
	for n, c := range all {
		if n > 0 && labels.Compare(all[n-1].Labels, c.Labels) >= 0 {
			t.Errorf("select %s: %s comes before %s", text(q), all[n-1].Labels, c.Labels)
		}
		if q.SkipChunks != (len(c.Chunks) == 0) {
			t.Errorf("select %s: %s has %d chunks", text(q), c.Labels, len(c.Chunks))
		}
		checkChunks(t, q, c)
	}
	if err := set.Close(); err != nil {
		t.Errorf("select %s: close: %v", text(q), err)
	}
	return all
}

// checkChunks checks the order of chunks, and that their times are those of their samples.
func checkChunks(t *testing.T, q series.Query, c series.Chunked) {
	t.Helper()
	for n, m := range c.Chunks {
		switch {
		case n > 0 && c.Chunks[n-1].MinTime > m.MinTime:
			t.Errorf("%s: chunk from %d comes after one from %d", c.Labels, m.MinTime, c.Chunks[n-1].MinTime)
		case m.MinTime > q.MaxTime || m.MaxTime < q.MinTime:
			t.Errorf("select %s: %s has a chunk of [%d, %d]", text(q), c.Labels, m.MinTime, m.MaxTime)
		case m.Chunk == nil:
			t.Errorf("%s: a chunk without data", c.Labels)
			continue
		}
		it := m.Chunk.Iterator(nil)
		for it.Next() != chunkenc.ValNone {
			if at := it.AtT(); at < m.MinTime || at > m.MaxTime {
				t.Errorf("%s: a chunk of [%d, %d] has a sample at %d", c.Labels, m.MinTime, m.MaxTime, at)
			}
		}
		if it.Err() != nil {
			t.Errorf("%s: %v", c.Labels, it.Err())
		}
	}
}

// content is the samples of an answer within a range, as text, by series.
func content(t *testing.T, all []series.Chunked, mint, maxt int64) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	var it chunkenc.Iterator
	for _, c := range all {
		it = series.NewIterator(c.Chunks, it)
		var samples []string
		for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
			if at := it.AtT(); at >= mint && at <= maxt {
				samples = append(samples, read(it, kind))
			}
		}
		if it.Err() != nil {
			t.Errorf("%s: %v", c.Labels, it.Err())
		}
		if len(samples) > 0 {
			out[c.Labels.String()] = samples
		}
	}
	return out
}

// want is what content must be.
func (c *checker) want(q series.Query) map[string][]string {
	out := map[string][]string{}
	for _, s := range c.all {
		if !matches(s.Labels, q.Matchers) {
			continue
		}
		begin, _ := slices.BinarySearchFunc(s.Samples, q.MinTime, compareTime)
		end, _ := slices.BinarySearchFunc(s.Samples, q.MaxTime+1, compareTime)
		for _, x := range s.Samples[begin:max(begin, end)] {
			out[s.Labels.String()] = append(out[s.Labels.String()], x.text)
		}
	}
	return out
}

func compareTime(x Sample, t int64) int { return cmp.Compare(x.t, t) }

// newChecker expects the series of the source; their samples are put in the order of time.
func newChecker(s series.Source, all []Series) *checker {
	c := &checker{source: s}
	for _, x := range all {
		x.Samples = slices.Clone(x.Samples)
		slices.SortFunc(x.Samples, func(a, b Sample) int { return cmp.Compare(a.t, b.t) })
		for i := range x.Samples {
			x.Samples[i].text = x.Samples[i].String()
		}
		c.all = append(c.all, x)
	}
	return c
}

func matches(ls labels.Labels, ms []*labels.Matcher) bool {
	return !slices.ContainsFunc(ms, func(m *labels.Matcher) bool { return !m.Matches(ls.Get(m.Name)) })
}

func read(it chunkenc.Iterator, kind chunkenc.ValueType) string {
	var s Sample
	switch kind {
	case chunkenc.ValHistogram:
		s.t, s.h = it.AtHistogram(nil)
	case chunkenc.ValFloatHistogram:
		s.t, s.fh = it.AtFloatHistogram(nil)
	default:
		s.t, s.v = it.At()
	}
	return s.String()
}

// String is every bit of the sample but empty buckets, which a chunk may add, and counter-reset hints, which depend on
// what is before it in its chunk.
func (s Sample) String() string {
	switch {
	case s.h != nil && value.IsStaleNaN(s.h.Sum):
		return fmt.Sprintf("%d: stale histogram", s.t)
	case s.fh != nil && value.IsStaleNaN(s.fh.Sum):
		return fmt.Sprintf("%d: stale float histogram", s.t)
	case s.h != nil:
		h := s.h.Copy().Compact(0)
		return fmt.Sprintf("%d: %v schema %d sum %x count %d zero %d (%v) + %v %v - %v %v custom %v", s.t, h.CounterResetHint == histogram.GaugeType,
			h.Schema, math.Float64bits(h.Sum), h.Count, h.ZeroCount, h.ZeroThreshold,
			h.PositiveSpans, h.PositiveBuckets, h.NegativeSpans, h.NegativeBuckets, h.CustomValues)
	case s.fh != nil:
		h := s.fh.Copy().Compact(0)
		return fmt.Sprintf("%d: float %v schema %d sum %x count %v zero %v (%v) + %v %v - %v %v custom %v", s.t, h.CounterResetHint == histogram.GaugeType,
			h.Schema, math.Float64bits(h.Sum), h.Count, h.ZeroCount, h.ZeroThreshold,
			h.PositiveSpans, h.PositiveBuckets, h.NegativeSpans, h.NegativeBuckets, h.CustomValues)
	}
	return fmt.Sprintf("%d: %v (%x)", s.t, s.v, math.Float64bits(s.v))
}

func text(q series.Query) string {
	return fmt.Sprintf("%v [%d, %d] limit %d", q.Matchers, q.MinTime, q.MaxTime, q.Limit)
}

// finish reads a set to its end, and tells how it ended.
func finish(ctx context.Context, s series.Source, q series.Query, each func()) (chunked []series.Chunked, err error) {
	set, err := s.Select(ctx, q)
	if err != nil {
		return nil, err
	}
	for set.Next() {
		chunked = append(chunked, set.At())
		each()
	}
	err = set.Err()
	if cerr := set.Close(); err == nil {
		err = cerr
	}
	return chunked, err
}

// chunkTimes are where chunks begin and end.
func chunkTimes(all []series.Chunked) []int64 {
	var times []int64
	for _, c := range all {
		for _, m := range c.Chunks {
			times = append(times, m.MinTime, m.MaxTime)
		}
	}
	return times
}

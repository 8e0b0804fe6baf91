package head

import (
	"context"
	"errors"
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"

	"github.com/varve-io/varve/pkg/series"
)

// TestAppendSelectAndCutAtOnce has writers that append until the head is sealed under them, readers meanwhile, and
// a cut afterwards: what was acknowledged is exactly what the blocks hold.
func TestAppendSelectAndCutAtOnce(t *testing.T) {
	const writers, perWriter = 4, 25
	h := New(Options{ChunkSamples: 10, MaxExemplars: 50})
	var stored atomic.Int64
	var writing, reading sync.WaitGroup
	done := make(chan struct{})
	for w := range writers {
		writing.Go(func() { stored.Add(int64(write(t, h, w, perWriter))) })
	}
	for range 2 {
		reading.Go(func() { readUntil(t, h, done) })
	}
	for h.Stats().Samples < 20_000 {
	}
	h.Seal()
	writing.Wait()
	blocks := cut(t, h, t.TempDir())
	close(done)
	var got int64
	for _, b := range blocks {
		got += int64(b.Meta().Stats.NumSamples)
	}
	if got != stored.Load() {
		t.Errorf("blocks hold %d samples, %d were stored", got, stored.Load())
	}
	h.Free()
	reading.Wait()
	if h.readers != 0 || h.NumSeries() != 0 {
		t.Errorf("after Free: %d readers, %d series", h.readers, h.NumSeries())
	}
}

// write appends until the head is sealed: in order, late by one step every third time, histograms to every fifth series.
func write(t *testing.T, h *Head, w, n int) (stored int) {
	for ts := int64(0); ; ts += 2 {
		for i := range n {
			s, _, err := h.Series(labels.FromStrings("w", strconv.Itoa(w), "i", strconv.Itoa(i)))
			if err != nil {
				return stored
			}
			s.AppendExemplar(exemplar.Exemplar{Ts: ts, Value: float64(i), Labels: labels.FromStrings("trace", "x")})
			at := ts
			if ts%3 == 0 && ts > 0 {
				at = ts - 3
			}
			var o Outcome
			if i%5 == 0 {
				o = s.AppendHistogram(at, tsdbutil.GenerateTestHistogram(at))
			} else {
				o = s.AppendFloat(at, float64(at))
			}
			switch o {
			case Stored:
				stored++
			case Sealed:
				return stored
			default:
				t.Errorf("append: %v", o)
			}
		}
	}
}

func readUntil(t *testing.T, h *Head, done chan struct{}) {
	var it chunkenc.Iterator
	ctx := context.Background()
	for {
		select {
		case <-done:
			return
		default:
		}
		set, err := h.Select(ctx, series.Query{MinTime: math.MinInt64, MaxTime: math.MaxInt64, Matchers: []*labels.Matcher{
			labels.MustNewMatcher(labels.MatchRegexp, "i", "1.*"),
		}})
		if errors.Is(err, ErrFreed) {
			return
		}
		if err != nil {
			t.Error(err)
			return
		}
		for set.Next() {
			last := int64(math.MinInt64)
			it = series.NewIterator(set.At().Chunks, it)
			for it.Next() != chunkenc.ValNone {
				if it.AtT() <= last {
					t.Errorf("%d after %d", it.AtT(), last)
				}
				last = it.AtT()
			}
			if it.Err() != nil {
				t.Error(it.Err())
			}
		}
		if set.Err() != nil || set.Close() != nil {
			t.Error(set.Err())
		}
		if _, err := h.Exemplars(ctx, 0, math.MaxInt64); err != nil && !errors.Is(err, ErrFreed) {
			t.Error(err)
		}
		h.Stats()
	}
}

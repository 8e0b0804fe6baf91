package head

import (
	"context"
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/varve-io/varve/pkg/series"
)

// answer is what a selection says of one series.
type answer struct {
	Labels string
	Floats []point
}

type point struct {
	T int64
	V float64
}

func everything() series.Query {
	return series.Query{MinTime: math.MinInt64, MaxTime: math.MaxInt64}
}

func selectFloats(t *testing.T, h *Head, q series.Query) []answer {
	t.Helper()
	set, err := h.Select(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	var out []answer
	for set.Next() {
		a := answer{Labels: set.At().Labels.String()}
		it := series.NewIterator(set.At().Chunks, nil)
		for it.Next() != chunkenc.ValNone {
			ts, v := it.At()
			a.Floats = append(a.Floats, point{ts, v})
		}
		if it.Err() != nil {
			t.Fatal(it.Err())
		}
		out = append(out, a)
	}
	if set.Err() != nil {
		t.Fatal(set.Err())
	}
	return out
}

func mustSeries(t testing.TB, h *Head, kv ...string) *Series {
	t.Helper()
	s, _, err := h.Series(labels.FromStrings(kv...))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSamplesComeBackInOrder(t *testing.T) {
	h := New(Options{ChunkSamples: 3})
	b := mustSeries(t, h, "__name__", "b")
	a := mustSeries(t, h, "__name__", "a", "x", "1")
	for _, ts := range []int64{10, 20, 5, 30, 40, 15, 50} {
		if o := b.AppendFloat(ts, float64(ts)); o != Stored {
			t.Errorf("append at %d: %v", ts, o)
		}
	}
	a.AppendFloat(7, 7)
	want := []answer{
		{`{__name__="a", x="1"}`, []point{{7, 7}}},
		{`{__name__="b"}`, []point{{5, 5}, {10, 10}, {15, 15}, {20, 20}, {30, 30}, {40, 40}, {50, 50}}},
	}
	if d := cmp.Diff(want, selectFloats(t, h, everything())); d != "" {
		t.Error(d)
	}
	if st := h.Stats(); st.Samples != 8 || st.Late != 2 || st.Series != 2 || st.MinTime != 5 || st.MaxTime != 50 {
		t.Errorf("stats: %+v", st)
	}
}

func TestOutcomes(t *testing.T) {
	h := New(Options{})
	s := mustSeries(t, h, "a", "b")
	steps := []struct {
		t    int64
		v    float64
		want Outcome
	}{
		{10, 1, Stored},
		{10, 1, Duplicate},
		{10, 2, Conflict},
		{10, 2, Duplicate},
		{10, 1, Conflict},
		{20, 5, Stored},
		{5, 1, Stored},
		{5, 1, Duplicate},
	}
	for i, st := range steps {
		if got := s.AppendFloat(st.t, st.v); got != st.want {
			t.Errorf("step %d: %v, want %v", i, got, st.want)
		}
	}
	want := []answer{{`{a="b"}`, []point{{5, 1}, {10, 2}, {20, 5}}}}
	if d := cmp.Diff(want, selectFloats(t, h, everything())); d != "" {
		t.Error(d)
	}
}

func TestSealAndFree(t *testing.T) {
	h := New(Options{})
	s := mustSeries(t, h, "a", "b")
	s.AppendFloat(1, 1)
	h.Seal()
	if o := s.AppendFloat(2, 2); o != Sealed {
		t.Errorf("append to a sealed head: %v", o)
	}
	if _, _, err := h.Series(labels.FromStrings("new", "one")); !errors.Is(err, ErrSealed) {
		t.Errorf("new series in a sealed head: %v", err)
	}
	set, err := h.Select(context.Background(), everything())
	if err != nil {
		t.Fatal(err)
	}
	h.Free()
	if !set.Next() || len(set.At().Chunks) != 1 {
		t.Error("an open set lost its data")
	}
	set.Close()
	set.Close()
	if s.open.buf != nil || s.sealed != nil || h.index.series.n != 0 {
		t.Error("the data stayed after the last reader")
	}
	if s.Labels().Get("a") != "b" {
		t.Error("labels are gone")
	}
	if _, err := h.Select(context.Background(), everything()); !errors.Is(err, ErrFreed) {
		t.Errorf("select from a freed head: %v", err)
	}
	if o := s.AppendFloat(3, 3); o != Sealed {
		t.Errorf("append to a freed head: %v", o)
	}
}

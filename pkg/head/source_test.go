package head

import (
	"context"
	"errors"
	"math"
	"strconv"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/pkg/series"
)

func matcher(kind labels.MatchType, name, value string) *labels.Matcher {
	return labels.MustNewMatcher(kind, name, value)
}

func labelledHead(t *testing.T) *Head {
	h := New(Options{MaxExemplars: 3})
	mustSeries(t, h, "__name__", "up", "job", "a", "i", "1").AppendFloat(10, 1)
	mustSeries(t, h, "__name__", "up", "job", "b", "i", "2").AppendFloat(20, 1)
	mustSeries(t, h, "__name__", "down", "job", "a").AppendFloat(30, 1)
	mustSeries(t, h, "zone", "nameless").AppendFloat(40, 1)
	mustSeries(t, h, "zone", "without samples")
	return h
}

func TestSelectByMatchers(t *testing.T) {
	h := labelledHead(t)
	const (
		up1, up2, down, none = `{__name__="up", i="1", job="a"}`, `{__name__="up", i="2", job="b"}`, `{__name__="down", job="a"}`, `{zone="nameless"}`
	)
	tests := []struct {
		name     string
		matchers []*labels.Matcher
		limit    int
		min, max int64
		want     []string
	}{
		{"all", nil, 0, 0, 100, []string{down, up1, up2, none}},
		{"limit", nil, 2, 0, 100, []string{down, up1}},
		{"range", nil, 0, 20, 30, []string{down, up2}},
		{"past", nil, 0, 41, 100, nil},
		{"equal", []*labels.Matcher{matcher(labels.MatchEqual, "__name__", "up")}, 0, 0, 100, []string{up1, up2}},
		{"two", []*labels.Matcher{matcher(labels.MatchEqual, "job", "a"), matcher(labels.MatchNotEqual, "i", "")}, 0, 0, 100, []string{up1}},
		{"not", []*labels.Matcher{matcher(labels.MatchNotEqual, "job", "a")}, 0, 0, 100, []string{up2, none}},
		{"regexp", []*labels.Matcher{matcher(labels.MatchRegexp, "job", "[ab]")}, 0, 0, 100, []string{down, up1, up2}},
		{"set", []*labels.Matcher{matcher(labels.MatchRegexp, "i", "2|3")}, 0, 0, 100, []string{up2}},
		{"nameless", []*labels.Matcher{matcher(labels.MatchEqual, "__name__", "")}, 0, 0, 100, []string{none}},
		{"any", []*labels.Matcher{matcher(labels.MatchRegexp, "i", ".+")}, 0, 0, 100, []string{up1, up2}},
		{"nothing", []*labels.Matcher{matcher(labels.MatchEqual, "no", "such")}, 0, 0, 100, nil},
	}
	for _, tc := range tests {
		for _, skip := range []bool{false, true} {
			q := series.Query{Matchers: tc.matchers, Limit: tc.limit, MinTime: tc.min, MaxTime: tc.max, SkipChunks: skip}
			var got []string
			for _, a := range selectFloats(t, h, q) {
				got = append(got, a.Labels)
				if skip != (len(a.Floats) == 0) {
					t.Errorf("%s: %v with SkipChunks %v", tc.name, a, skip)
				}
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("%s: %s", tc.name, d)
			}
		}
	}
}

func TestLabels(t *testing.T) {
	h, ctx := labelledHead(t), context.Background()
	all := everything()
	ups := everything()
	ups.Matchers = []*labels.Matcher{matcher(labels.MatchEqual, "__name__", "up"), matcher(labels.MatchNotEqual, "job", "b")}
	limited := everything()
	limited.Limit = 2
	past := series.Query{MinTime: 100, MaxTime: 200}
	check := func(what string, got []string, err error, want ...string) {
		t.Helper()
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("%s: %v %s", what, err, d)
		}
	}
	got, err := h.LabelNames(ctx, all)
	check("names", got, err, "__name__", "i", "job", "zone")
	got, err = h.LabelNames(ctx, limited)
	check("limited names", got, err, "__name__", "i")
	got, err = h.LabelNames(ctx, ups)
	check("names of some", got, err, "__name__", "i", "job")
	got, err = h.LabelNames(ctx, past)
	check("names of no samples", got, err)
	got, err = h.LabelValues(ctx, "job", all)
	check("values", got, err, "a", "b")
	got, err = h.LabelValues(ctx, "job", ups)
	check("values of some", got, err, "a")
	got, err = h.LabelValues(ctx, "job", past)
	check("values of no samples", got, err)
}

func TestSeriesIsFoundAgain(t *testing.T) {
	h := New(Options{})
	ls := labels.FromStrings("a", "b")
	first, created, err := h.Series(ls)
	if !created || err != nil {
		t.Fatal(created, err)
	}
	again, created, err := h.Series(ls)
	if created || err != nil || again != first {
		t.Error("a second series of the same labels")
	}
	if n := testing.AllocsPerRun(100, func() { h.Series(ls) }); n != 0 {
		t.Errorf("finding a series allocates %v times", n)
	}
	for _, like := range []labels.Labels{
		labels.EmptyLabels(), labels.FromStrings("a", "b", "c", "d"), labels.FromStrings("a", "c"), labels.FromStrings("b", "b"), labels.FromStrings("a", ""),
	} {
		s, created, err := h.Series(like)
		if !created || err != nil {
			t.Errorf("%s is not a series of its own: %v", like, err)
		}
		if got := s.Labels(); !labels.Equal(got, like) {
			t.Errorf("%s has become %s", like, got)
		}
	}
}

// A head keeps copies of the labels' strings, and none of what they are views of.
func TestLabelsAreCopied(t *testing.T) {
	h := New(Options{})
	buf := []byte("namevalue")
	view := unsafe.String(&buf[0], len(buf))
	s, _, err := h.Series(labels.FromStrings(view[:4], view[4:]))
	if err != nil {
		t.Fatal(err)
	}
	clear(buf)
	if got := s.Labels().String(); got != `{name="value"}` {
		t.Error(got)
	}
	for _, l := range h.index.scratch[:cap(h.index.scratch)] {
		if l != (labels.Label{}) {
			t.Error("a view is kept")
		}
	}
}

// Series of another head get the same labels, whether that one is freed or not, and whatever series there are already.
func TestSeriesLike(t *testing.T) {
	old, next := New(Options{}), New(Options{})
	mustSeries(t, next, "i", "7", "job", "x")
	for i := range 100 {
		mustSeries(t, old, "i", strconv.Itoa(i), "job", "x")
	}
	was := old.All()
	for i, from := range was.all {
		if i == 50 {
			old.Free()
		}
		s, created, err := next.SeriesLike(from)
		if err != nil || created != (i != 7) {
			t.Fatalf("series %d: created %t, %v", i, created, err)
		}
		if want := labels.FromStrings("i", strconv.Itoa(i), "job", "x"); !labels.Equal(s.Labels(), want) {
			t.Errorf("series %d is %s", i, s.Labels())
		}
		if again, created, err := next.SeriesLike(s); again != s || created || err != nil {
			t.Errorf("series %d is not like itself: %v", i, err)
		}
	}
}

func TestStatsOfASelection(t *testing.T) {
	h := labelledHead(t)
	var st series.Stats
	set, err := h.Select(series.WithStats(context.Background(), &st), everything())
	if err != nil {
		t.Fatal(err)
	}
	for set.Next() {
	}
	set.Close()
	if got := st.Load(); got.Chunks != 4 || got.Samples != 4 || got.ChunkBytes == 0 {
		t.Errorf("stats %+v", got)
	}
}

func TestSelectHeedsItsContext(t *testing.T) {
	h := labelledHead(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := h.Select(ctx, series.Query{MaxTime: 100, Matchers: []*labels.Matcher{matcher(labels.MatchEqual, "a", "b")}}); !errors.Is(err, context.Canceled) {
		t.Errorf("select with a cancelled context: %v", err)
	}
}

func TestExemplars(t *testing.T) {
	h := labelledHead(t)
	up := mustSeries(t, h, "__name__", "up", "job", "a", "i", "1")
	down := mustSeries(t, h, "__name__", "down", "job", "a")
	add := func(s *Series, ts int64, want Outcome) {
		t.Helper()
		e := exemplar.Exemplar{Ts: ts, HasTs: true, Value: float64(ts), Labels: labels.FromStrings("trace", "t")}
		if o := s.AppendExemplar(e); o != want {
			t.Errorf("exemplar at %d: %v, want %v", ts, o, want)
		}
	}
	add(up, 1, Stored)
	add(up, 4, Stored)
	add(up, 4, Duplicate)
	add(down, 3, Stored)
	add(up, 2, Stored) // takes the place of the first
	add(up, 4, Duplicate)
	times := func(min, max int64, groups ...[]*labels.Matcher) map[string][]int64 {
		found, err := h.Exemplars(context.Background(), min, max, groups...)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string][]int64{}
		for _, f := range found {
			for _, e := range f.Exemplars {
				name := f.Labels.Get("__name__")
				out[name] = append(out[name], e.Ts)
			}
		}
		return out
	}
	if d := cmp.Diff(map[string][]int64{"up": {2, 4}, "down": {3}}, times(0, 10)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string][]int64{"up": {2}, "down": {3}}, times(2, 3)); d != "" {
		t.Error(d)
	}
	none, downs := []*labels.Matcher{matcher(labels.MatchEqual, "i", "9")}, []*labels.Matcher{matcher(labels.MatchEqual, "__name__", "down")}
	if d := cmp.Diff(map[string][]int64{"down": {3}}, times(0, 10, none, downs)); d != "" {
		t.Error(d)
	}
	if h.Stats().Exemplars != 3 {
		t.Error("more exemplars than there may be")
	}
}

func TestMalformedHistogramsAreRefused(t *testing.T) {
	s := mustSeries(t, New(Options{}), "a", "b")
	bad := []*histogram.Histogram{
		{PositiveSpans: []histogram.Span{{Length: 2}}, PositiveBuckets: []int64{1}},
		{PositiveBuckets: []int64{1}},
		{NegativeSpans: []histogram.Span{{Length: math.MaxUint32}, {Length: 1}}},
		{NegativeSpans: []histogram.Span{{Length: 1}, {Offset: -1, Length: 1}}, NegativeBuckets: []int64{1, 1}},
		{Schema: 9},
		{Schema: -54},
	}
	for i, h := range bad {
		if o := s.AppendHistogram(int64(i), h); o != Malformed {
			t.Errorf("histogram %d: %v", i, o)
		}
		fh := &histogram.FloatHistogram{Schema: h.Schema, PositiveSpans: h.PositiveSpans, NegativeSpans: h.NegativeSpans}
		fh.PositiveBuckets, fh.NegativeBuckets = make([]float64, len(h.PositiveBuckets)), make([]float64, len(h.NegativeBuckets))
		if o := s.AppendFloatHistogram(int64(i), fh); o != Malformed {
			t.Errorf("float histogram %d: %v", i, o)
		}
	}
}

func TestLateHistogramsArePutTogether(t *testing.T) {
	s := mustSeries(t, New(Options{}), "a", "b")
	s.AppendHistogram(1_000_000, &histogram.Histogram{})
	for i := range int64(300) {
		if o := s.AppendHistogram(i, &histogram.Histogram{Count: uint64(i), ZeroCount: uint64(i)}); o != Stored {
			t.Fatal(o)
		}
	}
	if n := int(s.chunks) + len(s.more.tiny); n > 60 {
		t.Errorf("300 late histograms take %d chunks", n)
	}
}

func TestRangesSkipGaps(t *testing.T) {
	h := New(Options{})
	s := mustSeries(t, h, "a", "b")
	for _, ts := range []int64{-1, 0, 99, 1_000_000_000, -250} {
		s.AppendFloat(ts, 1)
	}
	got, err := h.Ranges(100)
	if d := cmp.Diff([]Range{{-300, -200}, {-100, 0}, {0, 100}, {1_000_000_000, 1_000_000_100}}, got); d != "" || err != nil {
		t.Error(err, d)
	}
	h.Free()
	if _, err := h.Ranges(100); !errors.Is(err, ErrFreed) {
		t.Errorf("ranges of a freed head: %v", err)
	}
	if _, err := h.Reader(got[0]).Index(); !errors.Is(err, ErrFreed) {
		t.Errorf("reader of a freed head: %v", err)
	}
}

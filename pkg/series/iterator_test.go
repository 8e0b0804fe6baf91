package series

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"pgregory.net/rapid"
)

// drawn is a sample as the model knows it.
type drawn struct {
	t    int64
	kind chunkenc.ValueType
	v    float64
	h    *histogram.Histogram
	fh   *histogram.FloatHistogram
}

func (d drawn) String() string {
	switch d.kind {
	case chunkenc.ValHistogram:
		return fmt.Sprintf("%d: %v", d.t, d.h)
	case chunkenc.ValFloatHistogram:
		return fmt.Sprintf("%d: float %v", d.t, d.fh)
	}
	return fmt.Sprintf("%d: %v (%x)", d.t, d.v, math.Float64bits(d.v))
}

// compare is the order in which samples of one time win, said in the plainest way.
func (d drawn) compare(e drawn) int {
	if a, b := d.class(), e.class(); a != b {
		return cmp.Compare(a, b)
	}
	switch d.kind {
	case chunkenc.ValHistogram:
		return CompareHistograms(d.h, e.h)
	case chunkenc.ValFloatHistogram:
		return CompareFloatHistograms(d.fh, e.fh)
	}
	return cmp.Compare(math.Float64bits(d.v), math.Float64bits(e.v))
}

func (d drawn) class() int {
	switch {
	case d.kind == chunkenc.ValFloat && value.IsStaleNaN(d.v):
		return 0
	case d.kind == chunkenc.ValHistogram && value.IsStaleNaN(d.h.Sum):
		return 1
	case d.kind == chunkenc.ValFloatHistogram && value.IsStaleNaN(d.fh.Sum):
		return 2
	case d.kind == chunkenc.ValFloat:
		return 3
	case d.kind == chunkenc.ValHistogram:
		return 4
	}
	return 5
}

var someFloats = []float64{
	1, 2, 0, math.Copysign(0, -1), math.Inf(1), math.Float64frombits(value.StaleNaN),
	math.Float64frombits(value.NormalNaN), math.Float64frombits(0x7ff8dead00000001), math.Float64frombits(0xfff8000000000001),
}

func drawHistogram(t *rapid.T) *histogram.Histogram {
	h := tsdbutil.GenerateTestHistogram(rapid.Int64Range(0, 5).Draw(t, "size"))
	switch rapid.IntRange(0, 7).Draw(t, "shape") {
	case 0:
		return &histogram.Histogram{Sum: math.Float64frombits(value.StaleNaN)}
	case 1:
		return &histogram.Histogram{}
	case 2:
		h.CounterResetHint = histogram.GaugeType
	case 3:
		h.PositiveSpans[1].Offset += 2 // other buckets
	case 4:
		return tsdbutil.GenerateTestCustomBucketsHistogram(rapid.Int64Range(0, 3).Draw(t, "size"))
	case 5:
		h.CounterResetHint = histogram.CounterReset
	case 6: // an empty bucket more, which says nothing
		h.PositiveSpans = append(h.PositiveSpans, histogram.Span{Offset: 3, Length: 1})
		var last int64
		for _, d := range h.PositiveBuckets {
			last += d
		}
		h.PositiveBuckets = append(h.PositiveBuckets, -last)
	}
	return h
}

func drawSample(t *rapid.T) drawn {
	d := drawn{t: rapid.Int64Range(-3, 40).Draw(t, "t")}
	switch rapid.IntRange(0, 3).Draw(t, "kind") {
	case 0:
		d.kind, d.h = chunkenc.ValHistogram, drawHistogram(t)
	case 1:
		d.kind, d.fh = chunkenc.ValFloatHistogram, drawHistogram(t).ToFloat(nil)
	default:
		d.kind, d.v = chunkenc.ValFloat, rapid.SampledFrom(someFloats).Draw(t, "v")
	}
	return d
}

// unique is one sample of each time, ordered: the winner.
func unique(all []drawn) []drawn {
	best := map[int64]drawn{}
	for _, d := range all {
		if old, ok := best[d.t]; !ok || d.compare(old) > 0 {
			best[d.t] = d
		}
	}
	out := make([]drawn, 0, len(best))
	for _, d := range best {
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b drawn) int { return cmp.Compare(a.t, b.t) })
	return out
}

// encodeRun makes chunks of at most size samples of ordered samples, with nothing but chunkenc.
func encodeRun(t testing.TB, run []drawn, size int) []chunks.Meta {
	t.Helper()
	var (
		out []chunks.Meta
		app chunkenc.Appender
		err error
	)
	for i, d := range run {
		var next chunkenc.Chunk
		if i == 0 || run[i-1].kind != d.kind || out[len(out)-1].Chunk.NumSamples() >= size {
			c, _ := d.kind.NewChunk(false, false)
			app, _ = c.Appender()
			out = append(out, chunks.Meta{MinTime: d.t, Chunk: c})
		}
		var recoded bool
		switch d.kind {
		case chunkenc.ValFloat:
			app.Append(0, d.t, d.v)
		case chunkenc.ValHistogram:
			next, recoded, app, err = app.AppendHistogram(nil, 0, d.t, d.h.Copy(), false)
		default:
			next, recoded, app, err = app.AppendFloatHistogram(nil, 0, d.t, d.fh.Copy(), false)
		}
		if err != nil {
			t.Fatal(err)
		}
		if next != nil && !recoded {
			out = append(out, chunks.Meta{MinTime: d.t})
		}
		if next != nil {
			out[len(out)-1].Chunk = next
		}
		out[len(out)-1].MaxTime = d.t
	}
	return out
}

// drawSources makes chunks of several sources; samples are all that they hold.
func drawSources(t *rapid.T, tb testing.TB) (samples []drawn, sources [][]chunks.Meta) {
	for range rapid.IntRange(0, 4).Draw(t, "sources") {
		run := unique(rapid.SliceOfN(rapid.Custom(drawSample), 0, 30).Draw(t, "run"))
		if len(samples) > 0 && rapid.Bool().Draw(t, "replica") {
			run = unique(samples)
		}
		samples = append(samples, run...)
		sources = append(sources, encodeRun(tb, run, rapid.SampledFrom([]int{1, 3, 120}).Draw(t, "chunk size")))
	}
	return samples, sources
}

func flatten(sources [][]chunks.Meta) []chunks.Meta {
	all := slices.Concat(sources...)
	slices.SortStableFunc(all, func(a, b chunks.Meta) int {
		return cmp.Or(cmp.Compare(a.MinTime, b.MinTime), cmp.Compare(a.MaxTime, b.MaxTime))
	})
	return all
}

func current(it chunkenc.Iterator, kind chunkenc.ValueType) drawn {
	d := drawn{kind: kind, t: it.AtT()}
	switch kind {
	case chunkenc.ValFloat:
		_, d.v = it.At()
	case chunkenc.ValHistogram:
		_, d.h = it.AtHistogram(nil)
	case chunkenc.ValFloatHistogram:
		_, d.fh = it.AtFloatHistogram(nil)
	}
	return d
}

func readAllSamples(t testing.TB, it chunkenc.Iterator) []drawn {
	t.Helper()
	var out []drawn
	for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
		out = append(out, current(it, kind))
	}
	if err := it.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func checkSame(t testing.TB, want, got []drawn) {
	t.Helper()
	for i := range min(len(want), len(got)) {
		if want[i].t != got[i].t || want[i].kind != got[i].kind || want[i].compare(got[i]) != 0 {
			t.Fatalf("sample %d:\nwant %v\ngot  %v", i, want[i], got[i])
		}
	}
	if len(want) != len(got) {
		t.Fatalf("%d samples, want %d:\nwant %v\ngot  %v", len(got), len(want), want, got)
	}
}

// checkHints: a hint may not say more than the sample before bears out.
func checkHints(t testing.TB, got []drawn) {
	t.Helper()
	for i, d := range got {
		if d.kind == chunkenc.ValFloat {
			continue
		}
		fh := d.fh
		if d.h != nil {
			fh = d.h.ToFloat(nil)
		}
		if fh.CounterResetHint != histogram.NotCounterReset {
			continue
		}
		if i == 0 || got[i-1].kind != d.kind {
			t.Fatalf("sample %d claims no reset, but follows nothing of its kind: %v", i, d)
		}
		prev := got[i-1].fh
		if prev == nil {
			prev = got[i-1].h.ToFloat(nil)
		}
		fh = fh.Copy()
		fh.CounterResetHint = histogram.UnknownCounterReset
		if fh.DetectReset(prev) {
			t.Fatalf("sample %d claims no reset:\n%v\n%v", i, got[i-1], d)
		}
	}
}

func TestIteratorAgreesWithTheModel(t *testing.T) {
	var reuse chunkenc.Iterator
	rapid.Check(t, func(rt *rapid.T) {
		samples, sources := drawSources(rt, t)
		reuse = NewIterator(flatten(sources), reuse)
		got := readAllSamples(t, reuse)
		checkSame(t, unique(samples), got)
		checkHints(t, got)
		if reuse.Next() != chunkenc.ValNone || reuse.Seek(math.MinInt64) != chunkenc.ValNone {
			t.Fatal("samples after the end")
		}
	})
}

func TestIteratorSeeksAsTheModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		samples, sources := drawSources(rt, t)
		model, at := unique(samples), -1
		it := NewIterator(flatten(sources), nil)
		for range rapid.IntRange(1, 20).Draw(rt, "steps") {
			var kind chunkenc.ValueType
			if rapid.Bool().Draw(rt, "next") {
				at++
				kind = it.Next()
			} else {
				to := rapid.Int64Range(-5, 45).Draw(rt, "seek")
				for at = max(at, 0); at < len(model) && model[at].t < to; at++ {
				}
				kind = it.Seek(to)
			}
			if at >= len(model) {
				if kind != chunkenc.ValNone {
					t.Fatalf("%v after the end", current(it, kind))
				}
				return
			}
			if kind == chunkenc.ValNone {
				t.Fatalf("the end came before %v", model[at])
			}
			checkSame(t, model[at:at+1], []drawn{current(it, kind)})
		}
	})
}

func TestCompactAgreesWithTheModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		samples, sources := drawSources(rt, t)
		flat, err := Compact(flatten(sources))
		if err != nil {
			t.Fatal(err)
		}
		var got []drawn
		for i, c := range flat {
			if i > 0 && c.MinTime <= flat[i-1].MaxTime {
				t.Fatalf("chunks %d and %d overlap", i-1, i)
			}
			run := readAllSamples(t, c.Chunk.Iterator(nil))
			if n := len(run); n == 0 || n > MaxChunkSamples || run[0].t != c.MinTime || run[n-1].t != c.MaxTime {
				t.Fatalf("chunk %d says %d to %d, but holds %v", i, c.MinTime, c.MaxTime, run)
			}
			got = append(got, run...)
		}
		checkSame(t, unique(samples), got)
		checkHintsWithin(t, flat)
	})
}

// checkHintsWithin applies checkHints to what readers of blocks see: each chunk's own hints, one chunk after the other.
func checkHintsWithin(t testing.TB, flat []chunks.Meta) {
	t.Helper()
	for _, c := range flat {
		run := readAllSamples(t, c.Chunk.Iterator(nil))
		if len(run) > 0 {
			checkHints(t, append([]drawn{run[0].unhinted()}, run[1:]...))
		}
	}
}

func (d drawn) unhinted() drawn {
	if d.h != nil {
		d.h = d.h.Copy()
		d.h.CounterResetHint = histogram.UnknownCounterReset
	}
	if d.fh != nil {
		d.fh = d.fh.Copy()
		d.fh.CounterResetHint = histogram.UnknownCounterReset
	}
	return d
}

func TestCompactCutsLongRuns(t *testing.T) {
	var a, b []drawn
	for i := range int64(500) {
		a = append(a, drawn{t: 2 * i, kind: chunkenc.ValFloat, v: float64(i)})
		b = append(b, drawn{t: 2*i + 1, kind: chunkenc.ValFloat, v: float64(i)})
	}
	flat, err := Compact(slices.Concat(encodeRun(t, a, 120), encodeRun(t, b, 120)))
	if err != nil {
		t.Fatal(err)
	}
	if len(flat) != 9 {
		t.Errorf("%d chunks of 1000 samples, want 9", len(flat))
	}
}

func TestCompactKeepsWhatDoesNotOverlap(t *testing.T) {
	var a []drawn
	for i := range int64(240) {
		a = append(a, drawn{t: i, kind: chunkenc.ValFloat, v: float64(i)})
	}
	in := encodeRun(t, a, 120)
	flat, err := Compact(in)
	if err != nil {
		t.Fatal(err)
	}
	if len(flat) != 2 || flat[0].Chunk != in[0].Chunk || flat[1].Chunk != in[1].Chunk {
		t.Error("chunks that don't overlap were encoded anew")
	}
}

func TestIteratorReportsBrokenChunks(t *testing.T) {
	good := encodeRun(t, []drawn{{t: 1, kind: chunkenc.ValFloat, v: 1}, {t: 9, kind: chunkenc.ValFloat, v: 1}}, 120)
	b := slices.Clone(good[0].Chunk.Bytes())
	b[1] = 9 // more samples than there are
	bad, err := chunkenc.FromData(chunkenc.EncXOR, b)
	if err != nil {
		t.Fatal(err)
	}
	it := NewIterator([]chunks.Meta{good[0], {MinTime: 1, MaxTime: 9, Chunk: bad}}, nil)
	for it.Next() != chunkenc.ValNone {
	}
	if it.Err() == nil {
		t.Error("no error")
	}
	if it.Next() != chunkenc.ValNone || it.Seek(3) != chunkenc.ValNone {
		t.Error("samples after an error")
	}
}

func TestWinnersAreATotalOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := rapid.SliceOfN(rapid.Custom(drawSample), 3, 3).Draw(rt, "samples")
		a, b, c := s[0], s[1], s[2]
		if x, y := a.compare(b), b.compare(a); sign(x) != -sign(y) {
			t.Fatalf("not antisymmetric: %v, %v", a, b)
		}
		if a.compare(b) >= 0 && b.compare(c) >= 0 && a.compare(c) < 0 {
			t.Fatalf("not transitive: %v, %v, %v", a, b, c)
		}
		if a.compare(a) != 0 {
			t.Fatalf("not equal to itself: %v", a)
		}
		if a.kind == chunkenc.ValFloat && b.kind == chunkenc.ValFloat && Wins(a.v, b.v) != (a.compare(b) > 0) {
			t.Fatalf("Wins(%v, %v) disagrees with the model", a, b)
		}
	})
}

func sign(n int) int { return cmp.Compare(n, 0) }

func TestEmptyBucketsSayNothing(t *testing.T) {
	a := &histogram.Histogram{Count: 3, PositiveSpans: []histogram.Span{{Offset: 1, Length: 2}}, PositiveBuckets: []int64{1, 1}}
	b := &histogram.Histogram{Count: 3, PositiveSpans: []histogram.Span{{Offset: 0, Length: 2}, {Offset: 0, Length: 2}}, PositiveBuckets: []int64{0, 1, 1, -2}}
	if CompareHistograms(a, b) != 0 || CompareFloatHistograms(a.ToFloat(nil), b.ToFloat(nil)) != 0 {
		t.Error("histograms that say the same differ")
	}
}

func benchmarkChunks(b *testing.B, sources int) []chunks.Meta {
	var all [][]chunks.Meta
	for range sources {
		var run []drawn
		for i := range int64(1200) {
			run = append(run, drawn{t: i * 15000, kind: chunkenc.ValFloat, v: float64(i % 37)})
		}
		all = append(all, encodeRun(b, run, 120))
	}
	return flatten(all)
}

func BenchmarkIterator(b *testing.B) {
	for _, sources := range []int{1, 3} {
		b.Run(fmt.Sprintf("sources=%d", sources), func(b *testing.B) {
			chks := benchmarkChunks(b, sources)
			var it chunkenc.Iterator
			b.ReportAllocs()
			for b.Loop() {
				it = NewIterator(chks, it)
				for it.Next() != chunkenc.ValNone {
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1200, "ns/sample")
		})
	}
}

func TestHintsAtHops(t *testing.T) {
	at := func(t int64, size int64, gauge bool) drawn {
		h := tsdbutil.GenerateTestHistogram(size)
		if gauge {
			h.CounterResetHint = histogram.GaugeType
		}
		return drawn{t: t, kind: chunkenc.ValHistogram, h: h}
	}
	hints := func(sources ...[]drawn) []histogram.CounterResetHint {
		var chks []chunks.Meta
		for _, run := range sources {
			chks = append(chks, encodeRun(t, run, 120)...)
		}
		got := readAllSamples(t, NewIterator(chks, nil))
		checkHints(t, got)
		var out []histogram.CounterResetHint
		for _, d := range got {
			out = append(out, d.h.CounterResetHint)
		}
		return out
	}
	const u, no, g = histogram.UnknownCounterReset, histogram.NotCounterReset, histogram.GaugeType
	a := []drawn{at(1, 5, false), at(2, 6, false), at(5, 7, false), at(6, 8, false)}
	tests := []struct {
		name    string
		sources [][]drawn
		want    []histogram.CounterResetHint
	}{
		{"one", [][]drawn{a}, []histogram.CounterResetHint{u, no, no, no}},
		{"replicas", [][]drawn{a, a, a}, []histogram.CounterResetHint{u, no, no, no}},
		{"interleaved", [][]drawn{a, {at(3, 1, false), at(4, 9, false)}}, []histogram.CounterResetHint{u, no, u, no, u, no}},
		{"chained", [][]drawn{a[:2], a[2:]}, []histogram.CounterResetHint{u, no, u, no}},
		{"gauges", [][]drawn{{at(1, 5, true), at(4, 5, true)}, {at(2, 3, true)}}, []histogram.CounterResetHint{g, g, g}},
	}
	for _, tc := range tests {
		if got := hints(tc.sources...); !slices.Equal(got, tc.want) {
			t.Errorf("%s: hints %v, want %v", tc.name, got, tc.want)
		}
	}
}

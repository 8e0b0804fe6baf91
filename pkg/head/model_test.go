package head

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"pgregory.net/rapid"

	"github.com/varve-io/varve/pkg/series"
)

// op is one append.
type op struct {
	n  int // the series
	t  int64
	v  float64
	h  *histogram.Histogram
	fh *histogram.FloatHistogram
}

func (o op) class() int {
	stale := func(v float64, class int) int {
		if value.IsStaleNaN(v) {
			return class
		}
		return class + 3
	}
	switch {
	case o.h != nil:
		return stale(o.h.Sum, 1)
	case o.fh != nil:
		return stale(o.fh.Sum, 2)
	}
	return stale(o.v, 0)
}

func (o op) compare(p op) int {
	switch {
	case o.class() != p.class():
		return cmp.Compare(o.class(), p.class())
	case o.h != nil:
		return series.CompareHistograms(o.h, p.h)
	case o.fh != nil:
		return series.CompareFloatHistograms(o.fh, p.fh)
	}
	return cmp.Compare(math.Float64bits(o.v), math.Float64bits(p.v))
}

func (o op) String() string {
	return fmt.Sprintf("series %d at %d: %v %v %v", o.n, o.t, o.v, o.h, o.fh)
}

func drawOp(t *rapid.T) op {
	o := op{n: rapid.IntRange(0, 3).Draw(t, "series"), t: rapid.Int64Range(-120, 250).Draw(t, "t")}
	h := tsdbutil.GenerateTestHistogram(rapid.Int64Range(0, 4).Draw(t, "size"))
	switch rapid.IntRange(0, 9).Draw(t, "kind") {
	case 0:
		o.h = h
	case 1:
		o.h = &histogram.Histogram{Sum: math.Float64frombits(value.StaleNaN)}
	case 2:
		o.fh = h.ToFloat(nil)
		o.fh.CounterResetHint = histogram.GaugeType
	case 3:
		o.fh = &histogram.FloatHistogram{}
	case 4:
		o.fh = tsdbutil.GenerateTestCustomBucketsFloatHistogram(rapid.Int64Range(0, 3).Draw(t, "size"))
	case 5:
		o.v = math.Float64frombits(value.StaleNaN)
	default:
		o.v = rapid.SampledFrom([]float64{0, 1, 2, math.NaN(), math.Inf(-1)}).Draw(t, "v")
	}
	return o
}

// drawOps appends in a likely order: runs of one series with time moving on, and single samples in between.
func drawOps(t *rapid.T) []op {
	ops := rapid.SliceOfN(rapid.Custom(drawOp), 0, 80).Draw(t, "ops")
	for i := range ops {
		if i > 0 && rapid.IntRange(0, 3).Draw(t, "jump") > 0 {
			ops[i].n, ops[i].t = ops[i-1].n, ops[i-1].t+rapid.Int64Range(0, 3).Draw(t, "step")
			if rapid.Bool().Draw(t, "like before") {
				ops[i].v, ops[i].h, ops[i].fh = ops[i-1].v, ops[i-1].h, ops[i-1].fh
			}
		}
	}
	return ops
}

var modelLabels = []labels.Labels{
	labels.FromStrings("__name__", "a", "x", "1"),
	labels.FromStrings("__name__", "a", "x", "2"),
	labels.FromStrings("b", "only"),
	labels.EmptyLabels(),
}

type model map[string]map[int64]op

func (m model) apply(o op) {
	key := modelLabels[o.n].String()
	if m[key] == nil {
		m[key] = map[int64]op{}
	}
	if old, ok := m[key][o.t]; !ok || o.compare(old) > 0 {
		m[key][o.t] = o
	}
}

func (o op) appendTo(t testing.TB, h *Head) Outcome {
	t.Helper()
	s, _, err := h.Series(modelLabels[o.n])
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case o.h != nil:
		return s.AppendHistogram(o.t, o.h.Copy())
	case o.fh != nil:
		return s.AppendFloatHistogram(o.t, o.fh.Copy())
	}
	return s.AppendFloat(o.t, o.v)
}

// readOps reads an iterator to the end.
func readOps(t testing.TB, it chunkenc.Iterator) []op {
	t.Helper()
	var out []op
	for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
		o := op{t: it.AtT()}
		switch kind {
		case chunkenc.ValFloat:
			_, o.v = it.At()
		case chunkenc.ValHistogram:
			_, o.h = it.AtHistogram(nil)
		case chunkenc.ValFloatHistogram:
			_, o.fh = it.AtFloatHistogram(nil)
		}
		out = append(out, o)
	}
	if it.Err() != nil {
		t.Fatal(it.Err())
	}
	return out
}

// check compares what was read of one series with the model, from mint up to, not including, maxt.
func (m model) check(t testing.TB, ls labels.Labels, got []op, r Range) {
	t.Helper()
	var want []op
	for _, o := range m[ls.String()] {
		if r.Min <= o.t && o.t < r.Max {
			want = append(want, o)
		}
	}
	slices.SortFunc(want, func(a, b op) int { return cmp.Compare(a.t, b.t) })
	same := slices.EqualFunc(want, got, func(a, b op) bool { return a.t == b.t && a.class() == b.class() && a.compare(b) == 0 })
	if !same {
		t.Fatalf("%v, %v:\nwant %v\ngot  %v", ls, r, want, got)
	}
}

func (m model) in(r Range) int {
	n := 0
	for _, samples := range m {
		for t := range samples {
			if r.Min <= t && t < r.Max {
				n++
				break
			}
		}
	}
	return n
}

func checkSelect(t testing.TB, m model, h *Head) {
	t.Helper()
	set, err := h.Select(context.Background(), everything())
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	n, last := 0, labels.Labels{}
	for ; set.Next(); n++ {
		at := set.At()
		if n > 0 && labels.Compare(last, at.Labels) >= 0 {
			t.Fatalf("%v after %v", at.Labels, last)
		}
		last = at.Labels
		m.check(t, at.Labels, readOps(t, series.NewIterator(at.Chunks, nil)), Range{math.MinInt64, math.MaxInt64})
	}
	if set.Err() != nil || n != len(m) {
		t.Fatalf("%d series, want %d: %v", n, len(m), set.Err())
	}
}

func TestHeadAgreesWithTheModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m, h := model{}, New(Options{ChunkSamples: rapid.SampledFrom([]int{2, 5, 120}).Draw(rt, "chunk samples")})
		for _, o := range drawOps(rt) {
			m.apply(o)
			if out := o.appendTo(t, h); out > Conflict {
				t.Fatalf("%v: %v", o, out)
			}
		}
		checkSelect(t, m, h)
		all := h.index.all()
		for _, s := range all.all {
			if s.more != nil {
				s.sealTiny()
			}
		}
		checkSelect(t, m, h)
	})
}

func TestReplicasAgreeWhateverTheOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ops := drawOps(rt)
		m, h := model{}, New(Options{ChunkSamples: 5})
		for _, o := range ops {
			m.apply(o)
		}
		for _, i := range rapid.Permutation(indexes(len(ops))).Draw(rt, "order") {
			ops[i].appendTo(t, h)
		}
		checkSelect(t, m, h)
	})
}

func indexes(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

const blockWidth = 100

// cut writes the head's blocks and opens them.
func cut(t testing.TB, h *Head, dir string) map[Range]*tsdb.Block {
	t.Helper()
	w, err := tsdb.NewLeveledCompactor(context.Background(), nil, slog.New(slog.DiscardHandler), []int64{blockWidth}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := h.Ranges(blockWidth)
	if err != nil {
		t.Fatal(err)
	}
	out := map[Range]*tsdb.Block{}
	for _, r := range rs {
		ids, err := w.Write(dir, h.Reader(r), r.Min, r.Max, nil)
		if err != nil || len(ids) != 1 {
			t.Fatalf("write block of %v: %v, %v", r, ids, err)
		}
		b, err := tsdb.OpenBlock(nil, filepath.Join(dir, ids[0].String()), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close() })
		out[r] = b
	}
	return out
}

func checkBlock(t testing.TB, m model, r Range, b *tsdb.Block) {
	t.Helper()
	q, err := tsdb.NewBlockQuerier(b, math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	set := q.Select(context.Background(), true, &storage.SelectHints{Start: math.MinInt64, End: math.MaxInt64}, labels.MustNewMatcher(labels.MatchRegexp, "x", ".*"))
	n := 0
	for ; set.Next(); n++ {
		m.check(t, set.At().Labels(), readOps(t, set.At().Iterator(nil)), r)
	}
	if set.Err() != nil || n != m.in(r) {
		t.Fatalf("block of %v: %d series, want %d: %v", r, n, m.in(r), set.Err())
	}
}

func TestBlocksAgreeWithTheModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m, h := model{}, New(Options{ChunkSamples: rapid.SampledFrom([]int{3, 120}).Draw(rt, "chunk samples")})
		for _, o := range rapid.SliceOfN(rapid.Custom(drawOp), 0, 30).Draw(rt, "ops") {
			if len(modelLabels[o.n].String()) > 2 { // a block refuses a series without labels
				m.apply(o)
				o.appendTo(t, h)
			}
		}
		h.Seal()
		blocks := cut(t, h, t.TempDir())
		want := map[Range]bool{}
		for _, samples := range m {
			for at := range samples {
				lo := int64(math.Floor(float64(at)/blockWidth)) * blockWidth
				want[Range{lo, lo + blockWidth}] = true
			}
		}
		if len(want) != len(blocks) {
			t.Fatalf("%d blocks, want those of %v", len(blocks), want)
		}
		for r, b := range blocks {
			checkBlock(t, m, r, b)
		}
	})
}

package head

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"pgregory.net/rapid"

	"github.com/varve-io/varve/pkg/series"
)

// snapshots are what a test stores of a head.
type snapshots struct {
	counts []int      // chunks of each series that are stored
	labels [][]byte   // of the series that were new, snapshot by snapshot
	sealed [][][]byte // of each series what was sealed, snapshot by snapshot
	open   [][]byte   // of each series, by the last snapshot
	shared []byte
}

func (st *snapshots) take(h *Head) {
	st.open, st.shared = nil, h.AppendShared(nil)
	all := h.All()
	for first := len(st.counts); first < all.Len(); {
		p, n := h.AppendSeries(nil, all, first, 30)
		st.labels, first = append(st.labels, p), first+n
	}
	for i, s := range all.all {
		if i == len(st.counts) {
			st.counts, st.sealed = append(st.counts, 0), append(st.sealed, nil)
		}
		p, n := s.AppendSealed(nil, st.counts[i])
		st.counts[i], st.sealed[i] = n, append(st.sealed[i], p)
		st.open = append(st.open, s.AppendOpen(nil))
	}
}

// restore makes a head like from of what is stored.
func (st *snapshots) restore(t testing.TB, from *Head, o Options) *Head {
	t.Helper()
	h := New(o)
	for range 2 { // the second time there are all
		var made []*Series
		for _, p := range st.labels {
			some, err := h.RestoreSeries(p)
			if err != nil {
				t.Fatal(err)
			}
			made = append(made, some...)
		}
		if all := h.All(); len(made) != len(st.counts) || !slices.Equal(made, all.slice()) {
			t.Fatalf("%d series restored, %d in the head, of %d", len(made), all.Len(), len(st.counts))
		}
	}
	all, were := h.All(), from.All()
	for i, s := range all.all {
		if want := were.At(i).Labels(); !labels.Equal(s.Labels(), want) {
			t.Fatalf("%s restored as %s", want, s.Labels())
		}
		for _, p := range st.sealed[i] {
			if rest, err := s.RestoreSealed(append(p, 7)); err != nil || len(rest) != 1 {
				t.Fatalf("sealed chunks: %v, %d bytes left", err, len(rest))
			}
		}
		if rest, err := s.RestoreOpen(append(st.open[i], 7)); err != nil || len(rest) != 1 {
			t.Fatalf("open chunk: %v, %d bytes left", err, len(rest))
		}
	}
	if rest, err := h.RestoreShared(append(st.shared, 7), all.slice()); err != nil || len(rest) != 1 {
		t.Fatalf("exemplars: %v, %d bytes left", err, len(rest))
	}
	return h
}

func answers(t testing.TB, h *Head) []string {
	t.Helper()
	set, err := h.Select(context.Background(), everything())
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	var out []string
	for set.Next() {
		out = append(out, set.At().Labels.String())
		for _, o := range readOps(t, series.NewIterator(set.At().Chunks, nil)) {
			out = append(out, fmt.Sprintf("%d %x %v %v", o.t, math.Float64bits(o.v), o.h, o.fh))
		}
	}
	return out
}

// checkSame compares two heads by all they say, but for the bytes and chunks they take.
func checkSame(t testing.TB, want, got *Head) {
	t.Helper()
	a, b := want.Stats(), got.Stats()
	a.Bytes, b.Bytes, a.Chunks, b.Chunks = 0, 0, 0, 0
	if d := cmp.Diff(a, b); d != "" {
		t.Fatal(d)
	}
	if d := cmp.Diff(answers(t, want), answers(t, got)); d != "" {
		t.Fatal(d)
	}
	exemplars := func(h *Head) []string {
		found, err := h.Exemplars(context.Background(), math.MinInt64, math.MaxInt64)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, f := range found {
			out = append(out, fmt.Sprint(f.Labels, f.Exemplars))
		}
		return out
	}
	if d := cmp.Diff(exemplars(want), exemplars(got)); d != "" {
		t.Fatal(d)
	}
}

// TestARestoredHeadGoesOn appends to a head, takes snapshots at any time, and compares it with what is restored of
// them: at once, and while the same is appended to both.
func TestARestoredHeadGoesOn(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		o := Options{ChunkSamples: rapid.SampledFrom([]int{2, 5, 120}).Draw(rt, "chunk samples"), MaxExemplars: 5}
		h := New(o)
		for _, ls := range modelLabels {
			if _, _, err := h.Series(ls); err != nil {
				t.Fatal(err)
			}
		}
		var st snapshots
		st.take(h)
		both := []*Head{h}
		for i, op := range drawOps(rt) {
			if len(both) == 1 && rapid.IntRange(0, 9).Draw(rt, "snapshot") == 0 {
				st.take(h)
				if rapid.Bool().Draw(rt, "restore") {
					both = append(both, st.restore(t, h, o))
					checkSame(t, h, both[1])
				}
			}
			e := exemplar.Exemplar{Ts: op.t, HasTs: i%2 == 0, Value: float64(i % 3), Labels: labels.FromStrings("trace", "t")}
			var outcomes [][2]Outcome
			for _, x := range both {
				outcomes = append(outcomes, [2]Outcome{op.appendTo(t, x), x.index.series.At(op.n).AppendExemplar(e)})
			}
			if len(both) == 2 && outcomes[0] != outcomes[1] {
				t.Fatalf("%v: %v, restored %v", op, outcomes[0], outcomes[1])
			}
		}
		if len(both) == 2 {
			checkSame(t, h, both[1])
		}
	})
}

// TestARestoredSeriesHasTheSameChunks: the encoder goes on in the middle of a word.
func TestARestoredSeriesHasTheSameChunks(t *testing.T) {
	for n := range 120 {
		h := New(Options{})
		a := mustSeries(t, h, "a", "b")
		for i := range n {
			a.AppendFloat(int64(i*i), float64(i%7)*0.3)
		}
		var st snapshots
		st.take(h)
		b := st.restore(t, h, Options{}).index.series.At(0)
		for i := n; i < 200; i++ {
			a.AppendFloat(int64(i*i), float64(i%7)*0.3)
			b.AppendFloat(int64(i*i), float64(i%7)*0.3)
		}
		want, got := a.metas(0, math.MaxInt64, nil), b.metas(0, math.MaxInt64, nil)
		if len(want) != len(got) {
			t.Fatalf("restored at %d: %d chunks, want %d", n, len(got), len(want))
		}
		for i := range want {
			if d := cmp.Diff(want[i].Chunk.Bytes(), got[i].Chunk.Bytes()); d != "" {
				t.Fatalf("restored at %d: %s", n, d)
			}
		}
	}
}

func TestRestoringWhereItCannotBe(t *testing.T) {
	h := New(Options{})
	s := mustSeries(t, h, "a", "b")
	s.AppendFloat(1, 1)
	if _, err := s.RestoreOpen(s.AppendOpen(nil)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("restore onto samples: %v", err)
	}
	h.Free()
	if _, err := s.RestoreOpen([]byte{0}); !errors.Is(err, ErrSealed) {
		t.Errorf("restore into a sealed head: %v", err)
	}
	if _, err := s.RestoreSealed([]byte{0}); !errors.Is(err, ErrSealed) {
		t.Errorf("restore into a sealed head: %v", err)
	}
}

// seedSnapshots are of a head with some of everything.
func seedSnapshots(t testing.TB) snapshots {
	h := New(Options{ChunkSamples: 4, MaxExemplars: 3})
	for i := range int64(11) {
		f, g, k := mustSeries(t, h, "kind", "float"), mustSeries(t, h, "kind", "histogram"), mustSeries(t, h, "kind", "mixed")
		f.AppendFloat(100+i*i, float64(i)*0.7)
		f.AppendFloat(i, 1)
		f.AppendFloat(100+i*i, 100)
		g.AppendHistogram(100+i, tsdbutil.GenerateTestHistogram(i))
		g.AppendHistogram(i, &histogram.Histogram{ZeroThreshold: 0.3, Sum: 1})
		k.AppendFloatHistogram(100+i*2, tsdbutil.GenerateTestCustomBucketsFloatHistogram(i))
		if i%4 == 3 {
			k.AppendFloat(101+i*2, 1)
		}
		g.AppendExemplar(exemplar.Exemplar{Ts: i, Value: 1, Labels: labels.FromStrings("trace", "t", "span", "s")})
	}
	var st snapshots
	st.take(h)
	return st
}

// FuzzRestore restores anything, appends to it, and reads it.
func FuzzRestore(f *testing.F) {
	st := seedSnapshots(f)
	for i := range st.open {
		for _, sealed := range append(st.sealed[i], []byte{0}) {
			f.Add(sealed, st.open[i], st.shared)
			f.Add(sealed, st.open[i][:len(st.open[i])-1], st.shared[:len(st.shared)/2])
		}
	}
	f.Fuzz(func(t *testing.T, sealed, open, shared []byte) {
		h := New(Options{MaxExemplars: 3})
		s := mustSeries(t, h, "a", "b")
		_, err1 := s.RestoreSealed(sealed)
		_, err2 := s.RestoreOpen(open)
		_, err3 := h.RestoreShared(shared, []*Series{s})
		for _, err := range []error{err1, err2, err3} {
			if err != nil && !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
		}
		if err1 != nil || err2 != nil || err3 != nil {
			return
		}
		at := s.open.t
		s.AppendFloat(at, 1)
		s.AppendHistogram(at, tsdbutil.GenerateTestHistogram(3))
		s.AppendHistogram(at+1, tsdbutil.GenerateTestHistogram(3))
		s.AppendFloatHistogram(at+2, tsdbutil.GenerateTestFloatHistogram(3))
		s.AppendFloat(at+3, 1)
		h.Stats()
		for it := range 2 {
			for _, c := range s.metas(math.MinInt64, math.MaxInt64, nil) {
				c.Chunk.NumSamples()
				if it == 1 && c.Chunk.Encoding() == chunkenc.EncXOR {
					for x := c.Chunk.Iterator(nil); x.Next() != chunkenc.ValNone; {
					}
				}
			}
		}
	})
}

// FuzzRestoreSeries restores any labels.
func FuzzRestoreSeries(f *testing.F) {
	for _, p := range seedSnapshots(f).labels {
		f.Add(p)
		f.Add(p[:len(p)-1])
		f.Add(append(p, 2, 1, 1)) // a label twice
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		h := New(Options{})
		if _, err := h.RestoreSeries(p); err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
			return
		}
		again, all := New(Options{}), h.All()
		written, n := h.AppendSeries(nil, all, 0, len(p)+1<<20)
		back, err := again.RestoreSeries(written)
		if err != nil || n != all.Len() || len(back) != n {
			t.Fatal(n, err)
		}
		for i, s := range all.all {
			if !labels.Equal(s.Labels(), back[i].Labels()) {
				t.Fatalf("%s comes back as %s", s.Labels(), back[i].Labels())
			}
		}
		if _, err := h.Select(context.Background(), everything()); err != nil {
			t.Fatal(err)
		}
	})
}

// BenchmarkSnapshot is for series whose open chunk has about 100 bytes.
func BenchmarkSnapshot(b *testing.B) {
	const n = 20_000
	h := New(Options{})
	for i, s := range benchSeries(n, h) {
		for round := range 60 {
			s.AppendFloat(int64(round)*15_000, float64(round*50+i*round%50))
		}
	}
	var st snapshots
	st.take(h)
	b.Logf("open chunk: %d bytes", len(st.open[n/2]))
	b.Run("capture", func(b *testing.B) {
		b.ReportAllocs()
		var sealed, open []byte
		for i := 0; b.Loop(); i++ {
			s := h.index.series.At(i % n)
			sealed, _ = s.AppendSealed(sealed[:0], 0)
			open = s.AppendOpen(open[:0])
		}
	})
	b.Run("labels", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; i < b.N; i += n {
			p, _ := h.AppendSeries(nil, h.All(), 0, math.MaxInt)
			b.SetBytes(int64(len(p)) / n)
			if _, err := New(Options{}).RestoreSeries(p); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("restore", func(b *testing.B) {
		b.ReportAllocs()
		var all []*Series
		for i := 0; b.Loop(); i++ {
			if i%n == 0 {
				b.StopTimer()
				all = benchSeries(n, New(Options{}))
				b.StartTimer()
			}
			if _, err := all[i%n].RestoreSealed(st.sealed[i%n][0]); err != nil {
				b.Fatal(err)
			}
			if _, err := all[i%n].RestoreOpen(st.open[i%n]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

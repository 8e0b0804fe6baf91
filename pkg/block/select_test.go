package block

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/varve-io/varve/pkg/series"
)

func matcher(t labels.MatchType, name, value string) *labels.Matcher {
	return labels.MustNewMatcher(t, name, value)
}

// selectors is every shape of matchers that asks a different question of the index.
func selectors() [][]*labels.Matcher {
	eq, neq, re, nre := labels.MatchEqual, labels.MatchNotEqual, labels.MatchRegexp, labels.MatchNotRegexp
	m := matcher
	return [][]*labels.Matcher{
		nil,
		{m(eq, "__name__", "metric_3")},
		{m(eq, "__name__", "missing")},
		{m(eq, "missing", "x")},
		{m(eq, "missing", "")},
		{m(neq, "missing", "")},
		{m(eq, "zone", "")},
		{m(neq, "zone", "")},
		{m(eq, "zone", ""), m(eq, "job", "db")},
		{m(neq, "zone", "a")},
		{m(neq, "job", "api"), m(neq, "job", "db")},
		{m(re, "__name__", "metric_1.*")},
		{m(re, "__name__", "metric_1|metric_16|metric_99|metric_1")},
		{m(nre, "__name__", "metric_1.*")},
		{m(nre, "__name__", "metric_1|metric_2")},
		{m(re, "zone", ".*")},
		{m(re, "zone", ".+")},
		{m(nre, "zone", ".+")},
		{m(nre, "zone", ".*")},
		{m(re, "zone", "a|")},
		{m(nre, "zone", "a|")},
		{m(re, "series", "0000(1|2).*"), m(eq, "job", "web")},
		{m(re, "series", "^$")},
		{m(eq, "series", "000033")},
		{m(eq, "series", "zzz")},
		{m(eq, "series", "")},
		{m(eq, "job", "api"), m(re, "instance", "10.0.[23].*"), m(neq, "zone", "b")},
		{m(eq, "", "x")},
		{m(eq, "__name__", "metric_3"), m(neq, "zone", "")},
		{m(eq, "__name__", "metric_3"), m(re, "zone", ".+"), m(neq, "job", ""), m(neq, "job", "db")},
		{m(eq, "__name__", "metric_3"), m(neq, "missing", "")},
		{m(eq, "job", "db"), m(neq, "zone", "")},
	}
}

func collect(t testing.TB, s series.Set) []series.Chunked {
	t.Helper()
	var out []series.Chunked
	for s.Next() {
		out = append(out, s.At())
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return out
}

func promSelect(t testing.TB, b tsdb.BlockReader, mint, maxt int64, ms []*labels.Matcher) []series.Chunked {
	t.Helper()
	q, err := tsdb.NewBlockChunkQuerier(b, mint, maxt)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if len(ms) == 0 {
		ms = []*labels.Matcher{matcher(labels.MatchEqual, "", "")}
	}
	hints := &storage.SelectHints{Start: mint, End: maxt, DisableTrimming: true}
	set := q.Select(context.Background(), true, hints, slices.Clone(ms)...)
	var out []series.Chunked
	for set.Next() {
		c := series.Chunked{Labels: set.At().Labels()}
		for it := set.At().Iterator(nil); it.Next(); {
			c.Chunks = append(c.Chunks, it.At())
		}
		out = append(out, c)
	}
	if err := set.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// chunkedEqual compares series, times and bytes of chunks.
var chunkedEqual = cmp.Options{
	cmp.Comparer(func(a, b labels.Labels) bool { return labels.Equal(a, b) }),
	cmp.Comparer(func(a, b chunks.Meta) bool {
		return a.MinTime == b.MinTime && a.MaxTime == b.MaxTime && a.Chunk.Encoding() == b.Chunk.Encoding() &&
			bytes.Equal(a.Chunk.Bytes(), b.Chunk.Bytes())
	}),
}

func TestSelectEqualsPrometheus(t *testing.T) {
	foreign := foreignBlock(t, testSeries(600, 0, 6*hour))
	for name, dir := range map[string]string{"foreign": foreign, "own": ownBlock(t, foreign)} {
		p, b := openProm(t, dir), openDir(t, dir)
		if _, built := b.Header(); built != (name == "foreign") {
			t.Errorf("%s: header built: %v", name, built)
		}
		for _, r := range [][2]int64{{0, 6 * hour}, {hour, 2 * hour}, {5 * hour, 5 * hour}, {-hour, 10_000}, {7 * hour, 8 * hour}} {
			for _, ms := range selectors() {
				t.Run(fmt.Sprintf("%s/%d-%d/%v", name, r[0], r[1], ms), func(t *testing.T) {
					set, err := b.Select(context.Background(), series.Query{MinTime: r[0], MaxTime: r[1], Matchers: ms})
					if err != nil {
						t.Fatal(err)
					}
					got, want := collect(t, set), promSelect(t, p, r[0], r[1], ms)
					if d := cmp.Diff(want, got, chunkedEqual); d != "" {
						t.Error(d)
					}
				})
			}
		}
	}
}

// What a selection answered stays as it is when others use its room.
func TestReuse(t *testing.T) {
	dir := foreignBlock(t, testSeries(600, 0, 2*hour))
	fresh, reused := openDir(t, dir), openDir(t, dir)
	reused.Reuse(2)
	all := func(b *Block) (out [][]series.Chunked) {
		for _, ms := range selectors() {
			for _, q := range []series.Query{{MaxTime: 2 * hour}, {MinTime: hour, MaxTime: hour}, {MaxTime: hour, SkipChunks: true}, {MaxTime: hour, Limit: 5}} {
				q.Matchers = ms
				set, err := b.Select(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, collect(t, set))
			}
		}
		return out
	}
	want, got := all(fresh), all(reused)
	if len(reused.idle) == 0 {
		t.Error("no reader is kept")
	}
	if d := cmp.Diff(want, got, chunkedEqual); d != "" {
		t.Error(d)
	}
}

func TestSelectLimitAndLabelsOnly(t *testing.T) {
	b := openDir(t, foreignBlock(t, testSeries(600, 0, 2*hour)))
	stats := &series.Stats{}
	ctx := series.WithStats(context.Background(), stats)
	q := series.Query{MinTime: 0, MaxTime: hour / 4, Limit: 7, SkipChunks: true, Matchers: []*labels.Matcher{matcher(labels.MatchEqual, "job", "db")}}
	set, err := b.Select(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	got := collect(t, set)
	q.SkipChunks = false
	set, err = b.Select(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	withChunks := collect(t, set)
	if len(got) != 7 || len(withChunks) != 7 {
		t.Fatalf("%d and %d series, want 7", len(got), len(withChunks))
	}
	samples := 0
	for i := range got {
		if !labels.Equal(got[i].Labels, withChunks[i].Labels) || len(got[i].Chunks) != 0 || len(withChunks[i].Chunks) == 0 {
			t.Errorf("series %d: %v with %d chunks, %v with %d", i, got[i].Labels, len(got[i].Chunks), withChunks[i].Labels, len(withChunks[i].Chunks))
		}
		for _, c := range withChunks[i].Chunks {
			samples += c.Chunk.NumSamples()
		}
	}
	if s := stats.Load(); s.Series != 14 || s.Blocks != 2 || s.Samples != int64(samples) || s.ChunkBytes == 0 {
		t.Errorf("stats %+v, want 14 series, 2 blocks, %d samples", s, samples)
	}
}

func TestLabelsEqualPrometheus(t *testing.T) {
	dir := ownBlock(t, foreignBlock(t, testSeries(600, 0, 2*hour)))
	p, b := openProm(t, dir), openDir(t, dir)
	pq, err := tsdb.NewBlockQuerier(p, 0, 2*hour)
	if err != nil {
		t.Fatal(err)
	}
	defer pq.Close()
	ctx := context.Background()
	for _, ms := range selectors() {
		q := series.Query{MinTime: 0, MaxTime: 2 * hour, Matchers: ms}
		want, _, err := pq.LabelNames(ctx, nil, slices.Clone(ms)...)
		if err != nil {
			t.Fatal(err)
		}
		got, err := b.LabelNames(ctx, q)
		if err != nil || !slices.Equal(want, got) {
			t.Errorf("names of %v: %v (%v), want %v", ms, got, err, want)
		}
		for _, name := range []string{"__name__", "series", "zone", "job", "missing"} {
			want, _, err := pq.LabelValues(ctx, name, nil, slices.Clone(ms)...)
			if err != nil {
				t.Fatal(err)
			}
			got, err := b.LabelValues(ctx, name, q)
			if err != nil || !slices.Equal(want, got) {
				t.Errorf("values of %s of %v: %v (%v), want %v", name, ms, got, err, want)
			}
			q.Limit = 3
			if got, err := b.LabelValues(ctx, name, q); err != nil || !slices.Equal(limited(want, 3), got) {
				t.Errorf("3 values of %s of %v: %v (%v), want %v", name, ms, got, err, want)
			}
			q.Limit = 0
		}
	}
}

// TestTSDB runs Prometheus' querier over our reader.
func TestTSDB(t *testing.T) {
	dir := ownBlock(t, foreignBlock(t, testSeries(100, 0, 2*hour)))
	p, b := openProm(t, dir), openDir(t, dir)
	for _, ms := range selectors() {
		want := promSelect(t, p, 0, hour, ms)
		got := promSelect(t, b.TSDB(context.Background()), 0, hour, ms)
		if d := cmp.Diff(want, got, chunkedEqual); d != "" {
			t.Error(d)
		}
	}
}

func TestRandomRanges(t *testing.T) {
	dir := foreignBlock(t, testSeries(60, 0, 4*hour))
	p, b := openProm(t, dir), openDir(t, dir)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		mint := rng.Int64N(5*hour) - hour/2
		maxt := mint + rng.Int64N(hour)
		ms := selectors()[rng.IntN(len(selectors()))]
		set, err := b.Select(context.Background(), series.Query{MinTime: mint, MaxTime: maxt, Matchers: ms})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(promSelect(t, p, mint, maxt, ms), collect(t, set), chunkedEqual); d != "" {
			t.Fatalf("[%d, %d] %v: %s", mint, maxt, ms, d)
		}
	}
}

// TestConcurrentSelects shares one block among goroutines that all open its segments.
func TestConcurrentSelects(t *testing.T) {
	files, m := smallBlock(t)
	b, err := Open(context.Background(), files, m)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var wg sync.WaitGroup
	for _, ms := range selectors() {
		want, err := b.Select(context.Background(), series.Query{MaxTime: hour, Matchers: ms})
		if err != nil {
			t.Fatal(err)
		}
		n := len(collect(t, want))
		for range 3 {
			wg.Go(func() {
				set, err := b.Select(context.Background(), series.Query{MaxTime: hour, Matchers: ms})
				if err != nil {
					t.Error(err)
					return
				}
				defer set.Close()
				got := 0
				for set.Next() {
					got++
				}
				if set.Err() != nil || got != n {
					t.Errorf("%d series (%v), want %d", got, set.Err(), n)
				}
			})
		}
	}
	wg.Wait()
}

func TestSamples(t *testing.T) {
	dir := foreignBlock(t, testSeries(60, 0, 2*hour))
	b := openDir(t, dir)
	got, n := model{}, int64(0)
	err := b.Samples(context.Background(), func(ls labels.Labels, it chunkenc.Iterator, kind chunkenc.ValueType) error {
		key := ls.String()
		if got[key] == nil {
			got[key] = map[int64]string{}
		}
		got[key][it.AtT()] = say(it, kind)
		n++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want, wantN := read(t, dir)
	if n != wantN {
		t.Errorf("%d samples, want %d", n, wantN)
	}
	compareModels(t, want, got)
}

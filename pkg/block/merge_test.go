package block

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/varve-io/varve/pkg/series"
)

// model is what a set of blocks must say: series, then time, then what the sample says.
type model map[string]map[int64]string

// say puts a sample into words, without what depends on its neighbours.
func say(it chunkenc.Iterator, kind chunkenc.ValueType) string {
	switch kind {
	case chunkenc.ValFloat:
		_, v := it.At()
		return fmt.Sprintf("%016x", math.Float64bits(v))
	case chunkenc.ValHistogram:
		_, h := it.AtHistogram(nil)
		return h.ToFloat(nil).Compact(0).String() + fmt.Sprint(h.CustomValues)
	default:
		_, h := it.AtFloatHistogram(nil)
		return h.Compact(0).String() + fmt.Sprint(h.CustomValues) + " float"
	}
}

// read gives what a block says in the eyes of Prometheus, and how many samples it holds.
func read(t *testing.T, dir string) (model, int64) {
	t.Helper()
	q, err := tsdb.NewBlockQuerier(openProm(t, dir), math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	m, n := model{}, int64(0)
	set := q.Select(context.Background(), true, nil, matcher(labels.MatchEqual, "", ""))
	var it chunkenc.Iterator
	for set.Next() {
		s := map[int64]string{}
		it = set.At().Iterator(it)
		for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
			s[it.AtT()] = say(it, kind)
			n++
		}
		if it.Err() != nil {
			t.Fatal(it.Err())
		}
		m[set.At().Labels().String()] = s
	}
	if set.Err() != nil {
		t.Fatal(set.Err())
	}
	return m, n
}

// randomBlocks writes blocks whose series overlap in every way, and gives what their union must say.
func randomBlocks(t *testing.T, rng *rand.Rand) (dirs []string, want model, in int64) {
	want = model{}
	floats := map[string]map[int64]float64{}
	for range 2 + rng.IntN(4) {
		var all []storage.Series
		for i := range 1 + rng.IntN(12) {
			ls := labels.FromStrings("__name__", fmt.Sprintf("m%d", i%3), "i", fmt.Sprint(i))
			key := ls.String()
			if want[key] == nil {
				want[key], floats[key] = map[int64]string{}, map[int64]float64{}
			}
			var samples []chunks.Sample
			at := rng.Int64N(4 * hour)
			for range 1 + rng.IntN(300) {
				at += 1000 * (1 + rng.Int64N(30))
				s := sampleOf(i%6, int(at/1000)%1000, at, rand.New(rand.NewPCG(uint64(at), 1)))
				if i%6 == 1 { // of one time there may be several values
					s.v = []float64{1, -1, math.Inf(1), math.Float64frombits(value.StaleNaN)}[rng.IntN(4)]
					if old, ok := floats[key][at]; !ok || series.Wins(s.v, old) {
						floats[key][at] = s.v
					}
				}
				it := storage.NewListSeriesIterator(oneSample{s})
				want[key][at] = say(it, it.Next())
				if i%6 == 1 {
					want[key][at] = fmt.Sprintf("%016x", math.Float64bits(floats[key][at]))
				}
				samples = append(samples, s)
				in++
			}
			all = append(all, storage.NewListSeries(ls, samples))
		}
		dirs = append(dirs, foreignBlock(t, all))
	}
	maps.DeleteFunc(want, func(_ string, s map[int64]string) bool { return len(s) == 0 })
	return dirs, want, in
}

type oneSample struct{ s chunks.Sample }

func (o oneSample) Get(int) chunks.Sample { return o.s }
func (o oneSample) Len() int              { return 1 }

func TestMergeIsUnion(t *testing.T) {
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 7))
		dirs, want, in := randomBlocks(t, rng)
		if seed%2 == 1 { // ours and foreign ones mix
			dirs[0] = ownBlock(t, dirs[0])
		}
		var spec MergeSpec
		if seed%3 > 0 {
			for at := -2 * hour; at < 12*hour; at += hour {
				spec.Ranges = append(spec.Ranges, TimeRange{at, at + hour})
			}
		}
		dest := t.TempDir()
		res, err := Merge(context.Background(), dest, dirs, spec)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		got, out := model{}, int64(0)
		for _, m := range res.Blocks {
			part, n := read(t, filepath.Join(dest, m.ULID.String()))
			out += n
			for s, samples := range part {
				if got[s] == nil {
					got[s] = map[int64]string{}
				}
				for at := range samples {
					if at < m.MinTime || at >= m.MaxTime {
						t.Errorf("seed %d: sample at %d in block [%d, %d)", seed, at, m.MinTime, m.MaxTime)
					}
				}
				maps.Copy(got[s], samples)
			}
			report, err := Verify(context.Background(), Dir(filepath.Join(dest, m.ULID.String())))
			if err != nil || report.Err() != nil {
				t.Errorf("seed %d: verify: %v, %v", seed, err, report.Err())
			}
		}
		compareModels(t, want, got)
		if res.In != in || res.Out != out || res.In-res.Duplicates != res.Out {
			t.Errorf("seed %d: %d in, %d read back, merge says %+v", seed, in, out, res)
		}
	}
}

func compareModels(t *testing.T, want, got model) {
	t.Helper()
	if a, b := slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)); !slices.Equal(a, b) {
		t.Fatalf("series %v, want %v", b, a)
	}
	for s := range want {
		for at, w := range want[s] {
			if g, ok := got[s][at]; !ok || g != w {
				t.Fatalf("%s at %d: %q, want %q", s, at, g, w)
			}
		}
		if len(got[s]) != len(want[s]) {
			t.Errorf("%s: %d samples, want %d", s, len(got[s]), len(want[s]))
		}
	}
}

// TestMergeOfReplicas merges three copies: chunks are taken over as they are.
func TestMergeOfReplicas(t *testing.T) {
	one := foreignBlock(t, testSeries(50, 0, 2*hour))
	dirs := []string{ownBlock(t, one), ownBlock(t, one), ownBlock(t, one)}
	dest := t.TempDir()
	res, err := Merge(context.Background(), dest, dirs, MergeSpec{Origin: Varve{Partition: 3}})
	if err != nil {
		t.Fatal(err)
	}
	m, _ := ReadMeta(dirs[0])
	n := int64(m.Stats.NumSamples)
	if res.In != 3*n || res.Out != n || res.Duplicates != 2*n || len(res.Blocks) != 1 {
		t.Fatalf("%+v, want %d samples once", res, n)
	}
	out := res.Blocks[0]
	if out.Stats.NumSeries != m.Stats.NumSeries || out.Stats.NumChunks > m.Stats.NumChunks || out.Varve.Partition != 3 || len(out.Compaction.Sources) != 3 || out.Compaction.Level != 2 {
		t.Errorf("meta %+v", out)
	}
}

func TestMergeRefusesGaps(t *testing.T) {
	dir := foreignBlock(t, testSeries(5, 0, 2*hour))
	for _, ranges := range [][]TimeRange{
		{{0, hour}},
		{{0, hour}, {hour + 1, 3 * hour}},
		{{hour, 3 * hour}, {-hour, hour}},
		{{0, 0}, {0, 3 * hour}},
	} {
		dest := t.TempDir()
		if _, err := Merge(context.Background(), dest, []string{dir}, MergeSpec{Ranges: ranges}); err == nil {
			t.Errorf("ranges %v were taken", ranges)
		}
	}
}

package block

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
)

const (
	hour   = int64(3600_000)
	scrape = int64(15_000)
)

type testSample struct {
	t  int64
	v  float64
	h  *histogram.Histogram
	fh *histogram.FloatHistogram
}

func (s testSample) T() int64                      { return s.t }
func (s testSample) ST() int64                     { return 0 }
func (s testSample) F() float64                    { return s.v }
func (s testSample) H() *histogram.Histogram       { return s.h }
func (s testSample) FH() *histogram.FloatHistogram { return s.fh }
func (s testSample) Copy() chunks.Sample           { return s }
func (s testSample) Type() chunkenc.ValueType {
	switch {
	case s.h != nil:
		return chunkenc.ValHistogram
	case s.fh != nil:
		return chunkenc.ValFloatHistogram
	}
	return chunkenc.ValFloat
}

// sampleOf makes the i-th sample of a series of the given kind.
func sampleOf(kind, i int, t int64, rng *rand.Rand) testSample {
	s := testSample{t: t}
	switch kind {
	case 0:
		s.v = float64(i)
	case 1:
		s.v = rng.Float64()
	case 2:
		s.h = tsdbutil.GenerateTestHistogram(int64(i))
	case 3:
		s.fh = tsdbutil.GenerateTestFloatHistogram(int64(i))
	case 4:
		s.h = tsdbutil.GenerateTestCustomBucketsHistogram(int64(i))
	default:
		s.fh = tsdbutil.GenerateTestCustomBucketsFloatHistogram(int64(i))
	}
	return s
}

// testSeries makes n series of all kinds with samples in [mint, maxt).
func testSeries(n int, mint, maxt int64) []storage.Series {
	rng := rand.New(rand.NewPCG(uint64(n), uint64(mint)))
	out := make([]storage.Series, 0, n)
	for i := range n {
		ls := labels.FromStrings(
			"__name__", fmt.Sprintf("metric_%d", i%17),
			"instance", fmt.Sprintf("10.0.%d.%d:9100", i%7, i%11),
			"job", []string{"api", "db", "web"}[i%3],
			"series", fmt.Sprintf("%06d", i),
		)
		if i%5 == 0 {
			b := labels.NewBuilder(ls)
			b.Set("zone", []string{"a", "b"}[i%2])
			ls = b.Labels()
		}
		var samples []chunks.Sample
		from, to := mint, maxt
		if i%4 == 1 {
			from = mint + (maxt-mint)/2
		}
		if i%4 == 2 {
			to = mint + (maxt-mint)/3
		}
		for k, t := 0, from+int64(i)%scrape; t < to; k, t = k+1, t+scrape {
			samples = append(samples, sampleOf(i%6, k, t, rng))
		}
		out = append(out, storage.NewListSeries(ls, samples))
	}
	return out
}

// foreignBlock is a block as Prometheus writes it, without a sparse header.
func foreignBlock(t testing.TB, all []storage.Series) string {
	t.Helper()
	dir, err := tsdb.CreateBlock(all, t.TempDir(), 1000*hour, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// ownBlock rewrites a foreign block with Write.
func ownBlock(t testing.TB, foreign string) string {
	t.Helper()
	p := openProm(t, foreign)
	dest := t.TempDir()
	m, err := Write(context.Background(), dest, p, Spec{
		MinTime: p.Meta().MinTime, MaxTime: p.Meta().MaxTime,
		Origin: Varve{Partition: 3, Replica: "ingester-a-0", Epoch: 42},
	})
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dest, m.ULID.String())
}

func openProm(t testing.TB, dir string) *tsdb.Block {
	t.Helper()
	p, err := tsdb.OpenBlock(slog.New(slog.DiscardHandler), dir, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func openDir(t testing.TB, dir string) *Block {
	t.Helper()
	m, err := ReadMeta(dir)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Open(context.Background(), Dir(dir), m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

package block

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/varve-io/varve/pkg/series"
)

// countingFiles counts what is read.
type countingFiles struct {
	Files
	ranges, bytes *atomic.Int64
}

func (c countingFiles) Open(ctx context.Context, name string) (File, error) {
	f, err := c.Files.Open(ctx, name)
	return countingFile{f, c}, err
}

type countingFile struct {
	File
	c countingFiles
}

func (f countingFile) Range(ctx context.Context, off, n int64) ([]byte, error) {
	f.c.ranges.Add(1)
	f.c.bytes.Add(n)
	return f.File.Range(ctx, off, n)
}

func (f countingFile) Ranges(ctx context.Context, ranges []Range) ([][]byte, error) {
	f.c.ranges.Add(int64(len(ranges)))
	for _, r := range ranges {
		f.c.bytes.Add(r.Len)
	}
	return f.File.Ranges(ctx, ranges)
}

// largeBlock has n series of 240 samples each.
func largeBlock(b testing.TB, n int) string {
	b.Helper()
	all := make([]storage.Series, 0, n)
	for i := range n {
		ls := labels.FromStrings(
			"__name__", fmt.Sprintf("http_requests_%d_total", i%100),
			"cluster", "eu-1", "namespace", fmt.Sprintf("team-%d", i%50), "code", fmt.Sprint(200+i%5),
			"job", "api", "group", fmt.Sprint(i/100%10),
			"pod", fmt.Sprintf("api-7c9f%06x-%05d", i*7919, i/100), "instance", fmt.Sprintf("10.1.%d.%d:8080", i/100/256, i/100%256),
		)
		all = append(all, lazySeries{ls, i})
	}
	dir, err := tsdb.CreateBlock(all, b.TempDir(), 2*hour, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	return ownBlock(b, dir)
}

type lazySeries struct {
	ls labels.Labels
	i  int
}

func (s lazySeries) Labels() labels.Labels { return s.ls }
func (s lazySeries) Iterator(it chunkenc.Iterator) chunkenc.Iterator {
	samples := make([]chunks.Sample, 0, 240)
	for k := range int64(240) {
		samples = append(samples, testSample{t: k * scrape, v: float64(int64(s.i) + k*int64(s.i%13))})
	}
	return storage.NewListSeries(s.ls, samples).Iterator(it)
}

func BenchmarkSelect(b *testing.B) {
	dir := largeBlock(b, 100_000)
	p := openProm(b, dir)
	selections := map[string][]*labels.Matcher{
		"10k-of-100k":  {matcher(labels.MatchEqual, "group", "3")},
		"10k-by-regex": {matcher(labels.MatchRegexp, "__name__", "http_requests_1.?_total"), matcher(labels.MatchRegexp, "pod", ".+")},
		"1-of-100k":    {matcher(labels.MatchEqual, "__name__", "http_requests_7_total"), matcher(labels.MatchEqual, "instance", "10.1.1.7:8080")},
		"all":          {matcher(labels.MatchEqual, "cluster", "eu-1")},
	}
	for name, ms := range selections {
		b.Run(name+"/varve", func(b *testing.B) { benchVarve(b, dir, ms) })
		b.Run(name+"/prometheus", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				benchProm(b, p, ms)
			}
		})
	}
	b.Run("open/varve", func(b *testing.B) {
		b.ReportAllocs()
		m, _ := ReadMeta(dir)
		for b.Loop() {
			bl, err := Open(context.Background(), Dir(dir), m)
			if err != nil {
				b.Fatal(err)
			}
			bl.Close()
		}
	})
	b.Run("open/prometheus", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			bl, err := tsdb.OpenBlock(slog.New(slog.DiscardHandler), dir, nil, nil)
			if err != nil {
				b.Fatal(err)
			}
			bl.Close()
		}
	})
}

func benchVarve(b *testing.B, dir string, ms []*labels.Matcher) {
	ctx := context.Background()
	m, _ := ReadMeta(dir)
	c := countingFiles{Dir(dir), &atomic.Int64{}, &atomic.Int64{}}
	bl, err := Open(ctx, c, m)
	if err != nil {
		b.Fatal(err)
	}
	defer bl.Close()
	c.bytes.Store(0)
	c.ranges.Store(0)
	b.ReportAllocs()
	n := int64(0)
	for b.Loop() {
		n++
		set, err := bl.Select(ctx, series.Query{MinTime: 0, MaxTime: 2 * hour, Matchers: ms})
		if err != nil {
			b.Fatal(err)
		}
		for set.Next() {
			for _, c := range set.At().Chunks {
				_ = c.Chunk.NumSamples()
			}
		}
		if set.Err() != nil {
			b.Fatal(set.Err())
		}
		set.Close()
	}
	b.ReportMetric(float64(c.bytes.Load()/n), "read-B/op")
	b.ReportMetric(float64(c.ranges.Load()/n), "reads/op")
}

func benchProm(b *testing.B, p tsdb.BlockReader, ms []*labels.Matcher) {
	q, err := tsdb.NewBlockChunkQuerier(p, 0, 2*hour)
	if err != nil {
		b.Fatal(err)
	}
	defer q.Close()
	set := q.Select(context.Background(), true, &storage.SelectHints{Start: 0, End: 2 * hour, DisableTrimming: true}, ms...)
	var it chunks.Iterator
	for set.Next() {
		for it = set.At().Iterator(it); it.Next(); {
			_ = it.At().Chunk.NumSamples()
		}
		_ = set.At().Labels()
	}
	if set.Err() != nil {
		b.Fatal(set.Err())
	}
}

func BenchmarkWrite(b *testing.B) {
	p := openProm(b, largeBlock(b, 20_000))
	b.ReportAllocs()
	samples := 0.0
	for b.Loop() {
		m, err := Write(context.Background(), b.TempDir(), p, Spec{MinTime: 0, MaxTime: 2 * hour})
		if err != nil {
			b.Fatal(err)
		}
		samples += float64(m.Stats.NumSamples)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/samples, "ns/sample")
}

// BenchmarkMerge merges three replicas: the same chunks, and shifted ones that must be encoded anew.
func BenchmarkMerge(b *testing.B) {
	one := largeBlock(b, 20_000)
	part := func(mint, maxt int64) string {
		dest := b.TempDir()
		m, err := Write(context.Background(), dest, openProm(b, one), Spec{MinTime: mint, MaxTime: maxt})
		if err != nil {
			b.Fatal(err)
		}
		return filepath.Join(dest, m.ULID.String())
	}
	for name, dirs := range map[string][]string{
		"same":    {one, part(0, 2*hour), part(0, 2*hour)},
		"shifted": {one, part(7*60_000, 2*hour), part(0, hour/2)},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			samples := 0.0
			for b.Loop() {
				res, err := Merge(context.Background(), b.TempDir(), dirs, MergeSpec{})
				if err != nil {
					b.Fatal(err)
				}
				samples += float64(res.In)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/samples, "ns/sample")
		})
	}
}

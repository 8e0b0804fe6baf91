package join

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"github.com/varve-io/varve/pkg/block"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// blockDir is the blocks of a directory.
type blockDir []*block.Block

func openBlocks(b *testing.B, dir string) (all blockDir) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		b.Fatal(err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		meta, err := block.ReadMeta(path)
		if err != nil {
			b.Fatal(err)
		}
		x, err := block.Open(b.Context(), block.Dir(path), meta)
		if err != nil {
			b.Fatal(err)
		}
		x.Reuse(1)
		all = append(all, x)
	}
	return all
}

// Select implements Source.
func (d blockDir) Select(ctx context.Context, q series.Query) (series.Set, error) {
	var sets []series.Set
	for _, x := range d {
		set, err := x.Select(ctx, q)
		if err != nil {
			return nil, errors.Join(err, series.Merge(sets...).Close())
		}
		sets = append(sets, set)
	}
	return series.Merge(sets...), nil
}

// BenchmarkBlocks joins all hours of the blocks in VARVE_BENCH_BLOCKS that have an hour before and after, one, two or all at once. It tells of the CPU time for each of
// the samples in an hour of the blocks, joined or not, and of those that were read.
//
//	clustergen blocks -nodes 100 -pods 1000 -from 2026-01-01 -to 2026-01-01T06:00:00Z -dir DIR
func BenchmarkBlocks(b *testing.B) {
	dir := os.Getenv("VARVE_BENCH_BLOCKS")
	if dir == "" {
		b.Skip("VARVE_BENCH_BLOCKS is not set")
	}
	blocks := openBlocks(b, dir)
	from, to, samples := blocks[0].Meta().MinTime, blocks[0].Meta().MaxTime, uint64(0)
	for _, x := range blocks {
		m := x.Meta()
		from, to, samples = min(from, m.MinTime), max(to, m.MaxTime), samples+m.Stats.NumSamples
		defer x.Close()
	}
	var starts []int64
	for at := from + hourLength; at < to-hourLength; at += hourLength {
		starts = append(starts, at)
	}
	for _, together := range []int{1, 2, len(starts)} {
		b.Run(strconv.Itoa(together), func(b *testing.B) {
			b.ReportAllocs()
			stats := &series.Stats{}
			ctx, hours, begun := series.WithStats(b.Context(), stats), 0, processTime(b)
			for b.Loop() {
				for some := range slices.Chunk(starts, together) {
					if _, err := Hours(ctx, blocks, Options{Tenant: tenant.Anonymous, Labels: []string{"team"}}, some); err != nil {
						b.Fatal(err)
					}
					hours += len(some)
				}
			}
			spent := processTime(b) - begun
			b.ReportMetric(spent/float64(hours), "CPU-s/hour")
			b.ReportMetric(spent/float64(hours)/(float64(samples)/float64((to-from)/hourLength))*1e9, "ns/sample")
			b.ReportMetric(spent/float64(stats.Samples)*1e9, "ns/read")
		})
	}
}

func processTime(b *testing.B) float64 {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
}

package compactor

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/pkg/block"
	"github.com/varve-io/varve/pkg/catalog"
	"github.com/varve-io/varve/pkg/head"
	"github.com/varve-io/varve/pkg/tenant"
)

// BenchmarkJob merges with all transfers from and to a local bucket: three replicas of two hours, and six blocks of two
// hours each.
func BenchmarkJob(b *testing.B) {
	b.Run("replicas", func(b *testing.B) { benchmarkJob(b, 3, 0) })
	b.Run("half-day", func(b *testing.B) { benchmarkJob(b, 6, 2*hour) })
}

func benchmarkJob(b *testing.B, blocks int, step int64) {
	w := newWorld(b, localBucket(b))
	a := id(b, "a")
	j := job{width: 12 * hour}
	samples := 0.0
	for n := range int64(blocks) {
		at := w.midnight(3) + n*step
		j.sources = append(j.sources, w.upload(a, benchBlock(b, at)))
		samples += float64(j.sources[n].Samples)
	}
	c := w.compactor(w.bkt)
	c.deps.Catalog = unchanging{w.store, w.catalog(a)}
	for b.Loop() {
		if o, err := c.run(b.Context(), a, j); o != merged || err != nil {
			b.Fatal(o, err)
		}
	}
	perSecond := float64(b.N) / b.Elapsed().Seconds()
	b.ReportMetric(samples*perSecond/1e6, "Msamples/s")
	b.ReportMetric(float64(j.bytes())*perSecond/1e6, "MB/s")
}

// unchanging takes facts, and answers with the catalog that was.
type unchanging struct {
	*catalog.Store
	cat *catalog.Catalog
}

func (u unchanging) Sync(context.Context, tenant.ID) (*catalog.Catalog, error) { return u.cat, nil }

// benchBlock writes a block of two hours: 20,000 series, one sample every 15 seconds.
func benchBlock(b *testing.B, at int64) string {
	h := head.New(head.Options{})
	defer h.Free()
	rng := rand.New(rand.NewPCG(uint64(at), 1))
	for i := range 20_000 {
		s, _, err := h.Series(labels.FromStrings("__name__", "requests_total", "pod", "pod-"+strconv.Itoa(i/50), "path", "/api/v1/"+strconv.Itoa(i%50), "cluster", "eu-1"))
		if err != nil {
			b.Fatal(err)
		}
		v, phase := float64(i), rng.Int64N(15_000)
		for t := at + phase; t < at+2*hour; t += 15_000 {
			v += float64(rng.IntN(100))
			s.AppendFloat(t, v)
		}
	}
	h.Seal()
	dir := b.TempDir()
	m, err := block.Write(b.Context(), dir, h.Reader(head.Range{Min: at, Max: at + 2*hour}), block.Spec{MinTime: at, MaxTime: at + 2*hour})
	if err != nil {
		b.Fatal(err)
	}
	return filepath.Join(dir, m.ULID.String())
}

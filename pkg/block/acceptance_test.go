package block_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/thanos-io/objstore"

	"github.com/varve-io/varve/pkg/block"
	"github.com/varve-io/varve/pkg/bucket"
	"github.com/varve-io/varve/pkg/catalog"
	"github.com/varve-io/varve/pkg/head"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/series/sourcetest"
)

func TestSource(t *testing.T) {
	small := bucket.CacheConfig{MemoryBytes: 3 * bucket.PageSize}
	for name, open := range map[string]func(*testing.T, string, block.Meta) (block.Files, block.Meta){
		"local disk": func(_ *testing.T, dir string, m block.Meta) (block.Files, block.Meta) { return block.Dir(dir), m },
		"without a header": func(t *testing.T, dir string, m block.Meta) (block.Files, block.Meta) {
			must(t, os.Remove(filepath.Join(dir, block.HeaderName)))
			return block.Dir(dir), m
		},
		"local bucket": func(t *testing.T, dir string, _ block.Meta) (block.Files, block.Meta) {
			bkt, err := bucket.Open(bucket.Default(), t.TempDir(), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
			must(t, err)
			t.Cleanup(func() { must(t, bkt.Close()) })
			return inBucket(t, bkt, dir, bucket.CacheConfig{})
		},
		"bucket": func(t *testing.T, dir string, _ block.Meta) (block.Files, block.Meta) {
			return inBucket(t, objstore.NewInMemBucket(), dir, bucket.CacheConfig{})
		},
		"bucket with a small cache": func(t *testing.T, dir string, _ block.Meta) (block.Files, block.Meta) {
			return inBucket(t, objstore.NewInMemBucket(), dir, small)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sourcetest.Run(t, func(t *testing.T, all []sourcetest.Series) series.Source {
				if len(all) == 0 {
					t.Skip("there is no block without samples")
				}
				dir, meta := written(t, all)
				files, meta := open(t, dir, meta)
				b, err := block.Open(t.Context(), files, meta)
				must(t, err)
				t.Cleanup(func() { must(t, b.Close()) })
				return b
			})
		})
	}
}

// inBucket uploads a block and opens it by what the catalog keeps of it.
func inBucket(t *testing.T, bkt bucket.Bucket, dir string, cache bucket.CacheConfig) (block.Files, block.Meta) {
	t.Helper()
	entry, err := catalog.Upload(t.Context(), bkt, sourcetest.Tenant, dir)
	must(t, err)
	reader, err := bucket.NewReader(bkt, cache, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	must(t, err)
	t.Cleanup(func() { must(t, reader.Close()) })
	return entry.OpenFiles(reader, sourcetest.Tenant), entry.Meta()
}

// written is a block as an ingester cuts it.
func written(t *testing.T, all []sourcetest.Series) (string, block.Meta) {
	t.Helper()
	h := head.New(head.Options{})
	for _, x := range all {
		s, _, err := h.Series(x.Labels)
		must(t, err)
		for _, sample := range x.Samples {
			add(s, sample)
		}
	}
	h.Seal()
	mint, maxt, _ := h.Times()
	r := head.Range{Min: mint, Max: maxt + 1}
	dest := t.TempDir()
	meta, err := block.Write(t.Context(), dest, h.Reader(r), block.Spec{MinTime: r.Min, MaxTime: r.Max})
	must(t, err)
	return filepath.Join(dest, meta.ULID.String()), meta
}

func add(s *head.Series, x sourcetest.Sample) {
	switch x.Type() {
	case chunkenc.ValHistogram:
		s.AppendHistogram(x.T(), x.H())
	case chunkenc.ValFloatHistogram:
		s.AppendFloatHistogram(x.T(), x.FH())
	default:
		s.AppendFloat(x.T(), x.F())
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

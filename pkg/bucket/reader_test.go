package bucket_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/thanos-io/objstore"

	"github.com/varve-io/varve/pkg/bucket"
	"github.com/varve-io/varve/pkg/bucket/buckettest"
)

// counting counts range requests, and holds them up while gate is locked.
type counting struct {
	objstore.Bucket
	gets, bytes atomic.Int64
	gate        sync.RWMutex
}

func (c *counting) GetRange(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	c.gets.Add(1)
	c.bytes.Add(n)
	c.gate.RLock()
	defer c.gate.RUnlock()
	return c.Bucket.GetRange(ctx, name, off, n)
}

func newReader(t *testing.T, bkt objstore.Bucket, cfg bucket.CacheConfig) *bucket.Reader {
	t.Helper()
	r, err := bucket.NewReader(bkt, cfg, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const page = bucket.PageSize

func content(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	return data
}

func put(t *testing.T, bkt objstore.Bucket, data []byte) {
	t.Helper()
	if err := bkt.Upload(t.Context(), "t/object", bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
}

func TestReaderAnswersWhatIsThere(t *testing.T) {
	data := content(20*page + 77)
	kinds := map[string]func(*testing.T) (bucket.Bucket, bucket.CacheConfig){
		"local": func(t *testing.T) (bucket.Bucket, bucket.CacheConfig) {
			return openLocal(t, t.TempDir()), bucket.CacheConfig{}
		},
		"no cache": func(*testing.T) (bucket.Bucket, bucket.CacheConfig) {
			return objstore.NewInMemBucket(), bucket.CacheConfig{}
		},
		"memory": func(*testing.T) (bucket.Bucket, bucket.CacheConfig) {
			return objstore.NewInMemBucket(), bucket.CacheConfig{MemoryBytes: 5 * page}
		},
		"disk": func(t *testing.T) (bucket.Bucket, bucket.CacheConfig) {
			return objstore.NewInMemBucket(), bucket.CacheConfig{MemoryBytes: 2 * page, Dir: t.TempDir(), DiskBytes: 8 * page}
		},
		"faulty": func(*testing.T) (bucket.Bucket, bucket.CacheConfig) {
			f := buckettest.NewFaulty(objstore.NewInMemBucket(), 1)
			f.TornRate = 0.02
			return wrapped(f), bucket.CacheConfig{MemoryBytes: 10 * page}
		},
	}
	for name, open := range kinds {
		t.Run(name, func(t *testing.T) {
			bkt, cfg := open(t)
			put(t, bkt, data)
			r := newReader(t, bkt, cfg)
			f := r.File("t/object", int64(len(data)))
			var wg sync.WaitGroup
			for g := range 4 {
				wg.Go(func() { readRandomly(t, f, data, uint64(g)) })
			}
			wg.Wait()
			if err := errors.Join(f.Close(), r.Close()); err != nil {
				t.Error(err)
			}
		})
	}
}

func readRandomly(t *testing.T, f *bucket.File, data []byte, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 3))
	for range 60 {
		ranges := make([]bucket.Range, 1+rnd.IntN(4))
		for i := range ranges {
			off := rnd.IntN(len(data))
			ranges[i] = bucket.Range{Off: int64(off), Len: int64(rnd.IntN(min(len(data)-off, 3*page) + 1))}
		}
		got, err := f.Ranges(t.Context(), ranges)
		if err != nil {
			t.Error(err)
			return
		}
		for i, r := range ranges {
			if !bytes.Equal(got[i], data[r.Off:r.Off+r.Len]) {
				t.Errorf("range %v differs", r)
			}
		}
		p := make([]byte, rnd.IntN(2*page))
		off := rnd.IntN(len(data) + 10)
		n, err := f.ReadAt(t.Context(), p, int64(off))
		want := data[min(off, len(data)):min(off+len(p), len(data))]
		if !bytes.Equal(p[:n], want) || (n < len(p)) != errors.Is(err, io.EOF) || err != nil && !errors.Is(err, io.EOF) {
			t.Errorf("read of %d at %d: %d, %v", len(p), off, n, err)
		}
	}
}

func TestReaderAsksOnce(t *testing.T) {
	inner := &counting{Bucket: objstore.NewInMemBucket()}
	data := content(100 * page)
	put(t, inner, data)
	r := newReader(t, inner, bucket.CacheConfig{MemoryBytes: 300 * page, MergeGap: 2 * page})
	f := r.File("t/object", int64(len(data)))
	var seen atomic.Int64
	ctx := bucket.WithObserver(t.Context(), func(n int64) { seen.Add(n) })
	for i, c := range []struct {
		ranges []bucket.Range
		gets   int64
	}{
		{[]bucket.Range{{Off: 0, Len: 3*page + 1}}, 1},                                      // adjacent pages
		{[]bucket.Range{{Off: 5, Len: 2 * page}}, 0},                                        // cached
		{[]bucket.Range{{Off: 10 * page, Len: 1}, {Off: 12 * page, Len: 1}}, 1},             // a gap that is read over
		{[]bucket.Range{{Off: 22 * page, Len: 5}, {Off: 20 * page, Len: 1}}, 1},             // any order
		{[]bucket.Range{{Off: 30 * page, Len: 1}, {Off: 40 * page, Len: 1}}, 2},             // far apart
		{[]bucket.Range{{Off: 99*page + 5, Len: page - 5}, {Off: 99 * page, Len: page}}, 1}, // overlapping
	} {
		before := inner.gets.Load()
		if err := f.Prefetch(ctx, c.ranges); err != nil {
			t.Fatal(err)
		}
		if got := inner.gets.Load() - before; got != c.gets {
			t.Errorf("case %d: %d requests, want %d", i, got, c.gets)
		}
	}
	if seen.Load() != inner.bytes.Load() {
		t.Errorf("observed %d bytes of %d", seen.Load(), inner.bytes.Load())
	}
}

func TestReaderSharesFlights(t *testing.T) {
	inner := &counting{Bucket: objstore.NewInMemBucket()}
	data := content(page)
	put(t, inner, data)
	r := newReader(t, inner, bucket.CacheConfig{MemoryBytes: 10 * page})
	f := r.File("t/object", page)
	inner.gate.Lock()
	first, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got, err := f.Range(t.Context(), 1, 9); err != nil || !bytes.Equal(got, data[1:10]) {
				t.Error(err)
			}
		})
	}
	wg.Go(func() { _, _ = f.Range(first, 0, 1) }) // one that gives up must not take others along
	cancel()
	inner.gate.Unlock()
	wg.Wait()
	if n := inner.gets.Load(); n > 2 {
		t.Errorf("%d requests for one page", n)
	}
}

// A block that was deleted under a reader is told by one error, or nobody would look for what replaced it.
func TestReaderSaysGone(t *testing.T) {
	for name, bkt := range map[string]bucket.Bucket{"local": openLocal(t, t.TempDir()), "memory": objstore.NewInMemBucket()} {
		f := newReader(t, bkt, bucket.CacheConfig{}).File("t/object", page)
		if _, err := f.Range(t.Context(), 0, 100); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: got %v", name, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestReaderSaysShort(t *testing.T) {
	for name, bkt := range map[string]bucket.Bucket{"local": openLocal(t, t.TempDir()), "memory": objstore.NewInMemBucket()} {
		put(t, bkt, content(page+10))
		f := newReader(t, bkt, bucket.CacheConfig{}).File("t/object", 2*page)
		if _, err := f.Range(t.Context(), page, 100); !errors.Is(err, bucket.ErrShort) {
			t.Errorf("%s: short object: %v", name, err)
		}
		if _, err := f.Range(t.Context(), 2*page, 1); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: range beyond the end: %v", name, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestDiskCacheSurvivesAndDistrusts(t *testing.T) {
	inner := &counting{Bucket: objstore.NewInMemBucket()}
	data := content(4 * page)
	put(t, inner, data)
	cfg := bucket.CacheConfig{Dir: t.TempDir(), DiskBytes: 10 * page}
	read := func(wantGets int64) {
		t.Helper()
		r := newReader(t, inner, cfg)
		before := inner.gets.Load()
		got, err := r.File("t/object", 4*page).Range(t.Context(), 0, 4*page)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("wrong content, %v", err)
		}
		if n := inner.gets.Load() - before; n != wantGets {
			t.Errorf("%d requests, want %d", n, wantGets)
		}
		if _, err := bucket.NewReader(inner, cfg, slog.New(slog.DiscardHandler), prometheus.NewRegistry()); err == nil {
			t.Error("two readers share one disk cache")
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	read(1)
	read(0)
	file := filepath.Join(cfg.Dir, "pages.cache")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)-page-1] ^= 4 // in the data of a page
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	read(1)
	read(0)
	if err := os.WriteFile(file, []byte("not a cache"), 0o600); err != nil {
		t.Fatal(err)
	}
	read(1)
	read(0)
	cfg.DiskBytes = 6 * page
	read(1)
}

func TestDropReadsAgain(t *testing.T) {
	inner := &counting{Bucket: objstore.NewInMemBucket()}
	put(t, inner, content(2*page))
	r := newReader(t, inner, bucket.CacheConfig{MemoryBytes: 10 * page, Dir: t.TempDir(), DiskBytes: 10 * page})
	f := r.File("t/object", 2*page)
	for _, want := range []int64{1, 1, 2} {
		if want == 2 {
			f.Drop(0, 10)
		}
		if _, err := f.Range(t.Context(), 0, 10); err != nil || inner.gets.Load() != want {
			t.Errorf("%d requests, want %d (%v)", inner.gets.Load(), want, err)
		}
	}
}

func TestRetries(t *testing.T) {
	faulty := buckettest.NewFaulty(objstore.NewInMemBucket(), 7)
	bkt := wrapped(faulty)
	faulty.GoneFor(2)
	put(t, bkt, []byte("x"))
	faulty.GoneFor(1)
	if ok, err := bkt.Exists(t.Context(), "t/object"); !ok || err != nil {
		t.Errorf("exists: %v, %v", ok, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	faulty.GoneFor(100)
	if _, err := bkt.Get(ctx, "t/object"); err == nil {
		t.Error("a bucket that is gone answered")
	}
}

func TestLocalCleansUp(t *testing.T) {
	dir := t.TempDir()
	openLocal(t, dir)
	left := filepath.Join(dir, ".varve-tmp", "left")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	openLocal(t, dir)
	if _, err := os.Stat(left); err != nil {
		t.Error("a temporary file that may be another process' was removed")
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(left, old, old); err != nil {
		t.Fatal(err)
	}
	openLocal(t, dir)
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("temporary file of a dead process: %v", err)
	}
	outside := filepath.Join(t.TempDir(), "secret")
	if err := errors.Join(os.WriteFile(outside, []byte("secret"), 0o600), os.Symlink(filepath.Dir(outside), filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	if _, err := openLocal(t, dir).Get(t.Context(), "link/secret"); err == nil {
		t.Error("a link leads out of the bucket")
	}
}

package catalog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/thanos-io/objstore"

	"github.com/varve-io/varve/pkg/block"
	"github.com/varve-io/varve/pkg/bucket"
	"github.com/varve-io/varve/pkg/bucket/buckettest"
	"github.com/varve-io/varve/pkg/tenant"
)

func foreignMeta(id ulid.ULID, thanos string) string {
	return fmt.Sprintf(`{"ulid":%q,"minTime":0,"maxTime":7200000,"stats":{"numSamples":5,"numSeries":2,"numChunks":2},
		"compaction":{"level":1,"sources":[%q]},"version":1,"thanos":{"labels":{"cluster":"eu"}%s}}`, id, id, thanos)
}

func object(t *testing.T, bkt objstore.Bucket, name, content string) {
	t.Helper()
	if err := bkt.Upload(t.Context(), name, strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}
}

// put lays out a block; without meta it is a partial one.
func put(t *testing.T, bkt objstore.Bucket, dir string, id ulid.ULID, meta string) {
	t.Helper()
	dir += "/" + id.String()
	object(t, bkt, dir+"/chunks/000001", "chunks")
	object(t, bkt, dir+"/index", "index")
	if meta != "" {
		object(t, bkt, dir+"/meta.json", meta)
	}
}

func TestReconcileForeignBucket(t *testing.T) {
	bkt := objstore.NewInMemBucket()
	now := time.Now()
	s := newStore(t, bkt, func() time.Time { return now })
	for n := range 9 {
		meta := foreignMeta(blockID(n), "")
		switch n {
		case 3:
			meta = ""
		case 4:
			meta = "{not json"
		case 5:
			meta = foreignMeta(blockID(n), `,"downsample":{"resolution":300000}`)
		case 6:
			meta = foreignMeta(blockID(77), "")
		}
		put(t, bkt, "a", blockID(n), meta)
	}
	for _, name := range []string{
		"a/bucket-index.json.gz", "a/markers/" + blockID(1).String() + "-deletion-mark.json", "a/debug/metas/x.json",
		"a/" + blockID(2).String() + "/deletion-mark.json", "a/" + blockID(7).String() + "/no-compact-mark.json",
		"a/markers/" + blockID(7).String() + "-no-compact-mark.json", "a/rules/x", "tenant-index.json", "__markers__/a/x",
		blockID(50).String() + "/meta.json", // Thanos at the root
	} {
		object(t, bkt, name, "{}")
	}
	if err := bkt.Delete(t.Context(), "a/"+blockID(8).String()+"/index"); err != nil {
		t.Fatal(err)
	}
	rep, err := s.Reconcile(t.Context(), tenantA(t))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]ulid.ULID{blockID(0), blockID(7)}, rep.Added); d != "" || len(rep.Partial) != 0 {
		t.Errorf("added:\n%s\npartial: %v", d, rep.Partial)
	}
	cat, err := s.Load(t.Context(), tenantA(t))
	if err != nil {
		t.Fatal(err)
	}
	b, _ := cat.Block(blockID(0))
	want := Block{
		ID: blockID(0), MaxTime: 7200000, Series: 2, Samples: 5, Chunks: 2, Bytes: 11, Level: 1, Sources: []ulid.ULID{blockID(0)}, Partition: -1,
		ExternalLabels: map[string]string{"cluster": "eu"}, Files: []block.FileSum{{Name: "chunks/000001", Size: 6}, {Name: "index", Size: 5}},
	}
	if d := cmp.Diff(want, b); d != "" {
		t.Error(d)
	}
	if len(cat.Blocks) != 2 || !cat.Knows(blockID(1)) || !cat.Knows(blockID(2)) {
		t.Errorf("blocks %v, removed %v", ids(cat.Blocks), cat.Removed)
	}
	if err := bkt.Delete(t.Context(), "a/"+blockID(7).String()+"/deletion-mark.json"); err == nil {
		t.Error("reconciling wrote a mark")
	}
	now = now.Add(PartialDelay + time.Minute)
	if err := Delete(t.Context(), bkt, tenantA(t), blockID(0)); err != nil {
		t.Fatal(err)
	}
	if rep, err = s.Reconcile(t.Context(), tenantA(t)); err != nil {
		t.Fatal(err)
	}
	wantRep := Report{Vanished: []ulid.ULID{blockID(0)}, Partial: []ulid.ULID{blockID(3)}}
	skipped := rep.Skipped
	rep.Skipped = nil
	if d := cmp.Diff(wantRep, rep); d != "" {
		t.Error(d)
	}
	for n, reason := range map[int]string{4: "meta.json", 5: "downsampled", 6: "that of block", 8: "no index"} {
		if !strings.Contains(skipped[blockID(n)], reason) {
			t.Errorf("block %d was skipped for %q, want %q", n, skipped[blockID(n)], reason)
		}
	}
	tenants, err := s.Tenants(t.Context())
	if err != nil || len(tenants) != 1 || tenants[0] != tenantA(t) {
		t.Errorf("tenants: %v, %v", tenants, err)
	}
}

func TestReconcileDeletesOldFactsOnly(t *testing.T) {
	bkt := objstore.NewInMemBucket()
	now := time.Now()
	s := newStore(t, bkt, func() time.Time { return now })
	seedAt := func(n int) {
		if _, err := s.Commit(t.Context(), tenantA(t), Fact{Add: []Block{testBlock(n)}}); err != nil {
			t.Fatal(err)
		}
	}
	count := func() (n int) {
		if _, err := s.Reconcile(t.Context(), tenantA(t)); err != nil {
			t.Fatal(err)
		}
		for name := range bkt.Objects() {
			if strings.HasPrefix(name, "a/varve/facts/") {
				n++
			}
		}
		return n
	}
	seedAt(1)
	seedAt(2)
	if n := count(); n != 2 {
		t.Errorf("%d facts, want 2", n)
	}
	now = now.Add(FactKeep + time.Hour)
	seedAt(3)
	if n := count(); n != 1 { // the third's object is as old as the others by the bucket's clock, but its ID is not
		t.Errorf("%d facts, want 1", n)
	}
	cat, err := s.Sync(t.Context(), tenantA(t))
	if err != nil || len(cat.Blocks) != 3 {
		t.Errorf("%d blocks, %v", len(cat.Blocks), err)
	}
	if rep, err := s.Reconcile(t.Context(), mustTenant(t, "nobody")); err != nil || len(rep.Added) != 0 {
		t.Error(rep, err)
	}
	if _, err := bkt.Get(t.Context(), "nobody/varve/catalog.json.zst"); err == nil {
		t.Error("a tenant without anything got a catalog")
	}
}

func mustTenant(t *testing.T, name string) tenant.ID {
	t.Helper()
	id, err := tenant.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func localBlock(t *testing.T, id ulid.ULID) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), id.String())
	for name, content := range map[string]string{
		"chunks/000001": strings.Repeat("c", 100_000), "index": strings.Repeat("i", 5000), "tombstones": "none",
		"sparse.varve": "header", "meta.json": foreignMeta(id, ""),
	} {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o750), os.WriteFile(file, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestUploadDownloadDelete(t *testing.T) {
	cfg := bucket.Default()
	cfg.Dir = t.TempDir()
	bkt, err := bucket.Open(cfg, "", slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer bkt.Close()
	id, ctx := tenantA(t), t.Context()
	b, err := Upload(ctx, bkt, id, localBlock(t, blockID(1)))
	if err != nil {
		t.Fatal(err)
	}
	s := newStore(t, bkt, time.Now)
	rep, err := s.Reconcile(ctx, id)
	if err != nil || !slices.Equal(rep.Added, []ulid.ULID{blockID(1)}) {
		t.Fatalf("%+v, %v", rep, err)
	}
	cat, err := s.Load(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]Block{b}, cat.Blocks); d != "" {
		t.Errorf("the bucket's listing and the upload differ:\n%s", d)
	}
	r, err := bucket.NewReader(bkt, bucket.CacheConfig{}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	f, err := b.OpenFiles(r, id).Open(ctx, block.HeaderName)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := f.Range(ctx, 0, f.Size()); err != nil || string(got) != "header" {
		t.Errorf("%q, %v", got, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	dest := t.TempDir()
	if err := Download(ctx, bkt, id, b, dest); err != nil {
		t.Fatal(err)
	}
	again, err := Upload(ctx, objstore.NewInMemBucket(), id, filepath.Join(dest, blockID(1).String()))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(b, again); d != "" {
		t.Errorf("what was downloaded differs:\n%s", d)
	}
	index := filepath.Join(dest, blockID(1).String(), "index")
	if err := os.WriteFile(index, []byte(strings.Repeat("j", 5000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Upload(ctx, bkt, id, filepath.Dir(index)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("upload of a damaged block: %v", err)
	}
	object(t, bkt, "a/"+blockID(1).String()+"/index", strings.Repeat("j", 5000))
	if err := Download(ctx, bkt, id, b, t.TempDir()); !errors.Is(err, ErrCorrupt) {
		t.Errorf("download of a damaged block: %v", err)
	}
	for range 2 {
		if err := Delete(ctx, bkt, id, blockID(1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := bkt.Iter(ctx, "a/"+blockID(1).String(), func(name string) error { return errors.New(name) }, objstore.WithRecursiveIter()); err != nil {
		t.Errorf("left behind: %v", err)
	}
}

// TestPartialUploadsAreInvisible lets every operation of an upload fail once, in every way.
func TestPartialUploadsAreInvisible(t *testing.T) {
	dir := localBlock(t, blockID(1))
	id := tenantA(t)
	for fault, set := range map[string]func(*buckettest.Faulty){
		"error":   func(f *buckettest.Faulty) { f.ErrorRate = 0.3 },
		"late":    func(f *buckettest.Faulty) { f.LateRate = 0.3 },
		"partial": func(f *buckettest.Faulty) { f.PartialRate = 0.3 },
	} {
		failed := 0
		for n := range 60 {
			inner := objstore.NewInMemBucket()
			faulty := buckettest.NewFaulty(inner, uint64(n))
			set(faulty)
			b, err := Upload(t.Context(), faulty, id, dir)
			if err != nil {
				failed++
			}
			s := newStore(t, inner, time.Now)
			if _, err := s.Reconcile(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			cat, err := s.Load(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			for _, found := range cat.Blocks {
				if err := Download(t.Context(), inner, id, found, t.TempDir()); err != nil {
					t.Fatalf("%s %d: a block that is not whole is visible: %v", fault, n, err)
				}
			}
			if b.ID == blockID(1) && len(cat.Blocks) != 1 {
				t.Fatalf("%s %d: an uploaded block is not found", fault, n)
			}
		}
		if failed == 0 || failed == 60 {
			t.Errorf("%s: %d of 60 uploads failed", fault, failed)
		}
	}
}

type loader struct {
	mu    sync.Mutex
	loads int
	err   error
	gate  sync.RWMutex
}

func (l *loader) Load(_ context.Context, id tenant.ID) (*Catalog, error) {
	l.gate.RLock()
	defer l.gate.RUnlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loads++
	return &Catalog{Tenant: id, Generation: uint64(l.loads)}, l.err
}

func TestCache(t *testing.T) {
	l := &loader{}
	now := start
	c := NewCache(l, 2, func() time.Time { return now })
	ctx := t.Context()
	want := func(cat *Catalog, err error, generation uint64) {
		t.Helper()
		if err != nil || cat.Generation != generation {
			t.Errorf("%+v, %v; want generation %d", cat, err, generation)
		}
	}
	get := func(name string) (*Catalog, error) { return c.Get(ctx, mustTenant(t, name), time.Minute) }
	cat, err := get("a")
	want(cat, err, 1)
	now = now.Add(time.Minute)
	cat, err = get("a")
	want(cat, err, 1)
	now = now.Add(time.Second)
	cat, err = get("a")
	want(cat, err, 2)
	now = now.Add(time.Second)
	cat, err = c.Refresh(ctx, mustTenant(t, "a"))
	want(cat, err, 3)
	l.err = errors.New("gone")
	now = now.Add(time.Hour)
	if _, err := get("a"); err == nil {
		t.Error("an old catalog was answered")
	}
	l.err = nil
	if _, err := get("a"); err == nil {
		t.Error("a bucket that was gone a moment ago was asked again")
	}
	if c.Last(mustTenant(t, "a"), 2*time.Hour) == nil || c.Last(mustTenant(t, "a"), time.Minute) != nil {
		t.Error("the last catalog is not the one of an hour ago")
	}
	now = now.Add(spareFor)
	l.loads = 0
	for _, name := range []string{"a", "b", "a", "c", "a"} {
		if _, err := get(name); err != nil {
			t.Error(err)
		}
	}
	if l.loads != 3 || len(c.entries) != 2 {
		t.Errorf("%d loads, %d tenants kept; want 3 and 2", l.loads, len(c.entries))
	}
	l.loads = 0
	l.gate.Lock()
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if _, err := get("d"); err != nil {
				t.Error(err)
			}
		})
	}
	l.gate.Unlock()
	wg.Wait()
	if l.loads != 1 {
		t.Errorf("%d loads of one catalog", l.loads)
	}
}

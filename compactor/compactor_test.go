package compactor

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/thanos-io/objstore"

	"github.com/varve-io/varve/pkg/block"
	"github.com/varve-io/varve/pkg/catalog"
	"github.com/varve-io/varve/pkg/config"
	"github.com/varve-io/varve/pkg/tenant"
)

func TestReplicasOfADayBecomeOneBlock(t *testing.T) {
	t.Parallel()
	w := newWorld(t, localBucket(t))
	a := id(t, "a")
	w.fill(a, 3, 24)
	c := w.compactor(w.bkt)
	run(t, c, a)
	w.check(a, true)
	blocks := w.catalog(a).Blocks
	if len(blocks) != 1 || blocks[0].MinTime != w.midnight(3) || blocks[0].MaxTime != w.midnight(2) || blocks[0].Partition != 1 || blocks[0].Replica != "" {
		t.Fatalf("blocks %+v", blocks)
	}
	run(t, c, a)
	if again := w.catalog(a).Blocks; again[0].ID != blocks[0].ID {
		t.Error("a second run rewrote the block")
	}
	if n := testutil.ToFloat64(c.metrics.jobs.WithLabelValues("merged")); n != 12+2+1 {
		t.Errorf("%v merges", n)
	}
	if left, _ := os.ReadDir(c.deps.Dir); len(left) != 0 {
		t.Errorf("scratch has %v", left)
	}
}

// TestEveryCompactionKeepsAllSamples looks after every single job at random blocks: odd ranges, conflicts, late ones.
func TestEveryCompactionKeepsAllSamples(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		w := newWorld(t, objstore.NewInMemBucket())
		rng := rand.New(rand.NewPCG(seed, 1))
		a := id(t, "a")
		for range 8 + rng.IntN(10) {
			from := w.midnight(4) + rng.Int64N(48)*hour/2
			width := []int64{hour / 2, 2 * hour, 2 * hour, 12 * hour, 30 * hour}[rng.IntN(5)]
			if width == 2*hour {
				from = floor(from, width)
			}
			w.put(a, spec{
				from: from, to: from + width, series: 1 + rng.IntN(4), step: hour/16 + rng.Int64N(3), value: float64(rng.IntN(2)),
				origin: block.Varve{Partition: rng.IntN(2)},
			})
		}
		c := w.compactor(w.bkt)
		for {
			cat := w.catalog(a)
			jobs := plan(cat.Blocks, w.now.UnixMilli(), c.rule)
			if len(jobs) == 0 {
				break
			}
			if o, err := c.execute(t.Context(), a, jobs[rng.IntN(len(jobs))]); o != merged || err != nil {
				t.Fatalf("seed %d: %s, %v", seed, o, err)
			}
			w.check(a, false)
		}
		w.verify(a)
		for _, b := range w.catalog(a).Blocks {
			if floor(b.MinTime, dayWidth) != floor(b.MaxTime-1, dayWidth) {
				t.Errorf("seed %d: block [%d, %d) crosses a midnight", seed, b.MinTime, b.MaxTime)
			}
		}
	}
}

// TestRetentionAndDeletion: only blocks that are wholly too old go, only after the grace, and only of the tenant.
func TestRetentionAndDeletion(t *testing.T) {
	t.Parallel()
	w := newWorld(t, localBucket(t))
	a, ab := id(t, "a"), id(t, "ab")
	for _, tn := range []tenant.ID{a, ab} {
		w.fill(tn, 10, 2)
	}
	young := w.midnight(5)
	w.put(a, spec{from: young, to: young + 6*hour, series: 1, step: hour})
	other := objects(t, w.bkt, "ab")
	c := w.compactor(w.bkt)
	w.limits.Retention = config.Duration(w.now.Sub(time.UnixMilli(young + 1)))
	run(t, c, a)
	cat := w.catalog(a)
	if len(cat.Blocks) != 1 || cat.Blocks[0].MinTime != young {
		t.Fatalf("blocks %+v", cat.Blocks)
	}
	if n := len(slices.DeleteFunc(objects(t, w.bkt, "a"), func(s string) bool { return !strings.HasSuffix(s, "/index") })); n != 4 {
		t.Errorf("%d blocks in the bucket before the grace is over", n)
	}
	w.now = w.now.Add(time.Duration(Default().DeleteDelay))
	run(t, c, a)
	for _, name := range objects(t, w.bkt, "a") {
		if !strings.HasPrefix(name, "a/varve/") && !strings.HasPrefix(name, "a/"+cat.Blocks[0].ID.String()) {
			t.Errorf("%s is left", name)
		}
	}
	if left := w.catalog(a).Expired(w.now, 0); len(left) != 0 {
		t.Errorf("catalog still has %v to delete", left)
	}
	if now := objects(t, w.bkt, "ab"); !slices.Equal(now, other) {
		t.Errorf("another tenant's objects changed:\n%v\n%v", other, now)
	}
	w.check(ab, false)
}

// TestPartialUploadsAreCleaned: those given up go, those under way stay; whole blocks that nobody knows are added.
func TestPartialUploadsAreCleaned(t *testing.T) {
	w := newWorld(t, objstore.NewInMemBucket())
	a := id(t, "a")
	at := w.midnight(3)
	s := spec{from: at, to: at + 2*hour, series: 2, step: hour / 4}
	w.put(a, s)
	unknown, err := catalog.Upload(t.Context(), w.bkt, a, w.write(a, s))
	if err != nil {
		t.Fatal(err)
	}
	partial, err := catalog.Upload(t.Context(), w.bkt, a, w.write(a, s))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.bkt.Delete(t.Context(), w.name(a, partial, block.MetaName)); err != nil {
		t.Fatal(err)
	}
	c := w.compactor(w.bkt)
	run(t, c, a)
	if len(objects(t, w.bkt, "a/"+partial.ID.String())) == 0 {
		t.Error("an upload that may be under way was deleted")
	}
	if cat := w.catalog(a); !cat.Knows(unknown.ID) || len(cat.Blocks) != 1 {
		t.Errorf("blocks %v", cat.Blocks)
	}
	w.now = w.now.Add(catalog.PartialDelay + time.Hour)
	run(t, c, a)
	if left := objects(t, w.bkt, "a/"+partial.ID.String()); len(left) != 0 {
		t.Errorf("%v of a partial upload is left", left)
	}
	w.check(a, true)
}

// TestRun runs it as a process would, with a short settle time, until the merge of what is there.
func TestRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, localBucket(t))
	a, b := id(t, "a"), id(t, "b")
	for _, tn := range []tenant.ID{a, b} {
		w.fill(tn, 1, 6)
	}
	cfg := Default()
	cfg.Settle, cfg.MaxConcurrent = config.Duration(100*time.Millisecond), 2
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "job-of-an-earlier-life"), 0o755); err != nil {
		t.Fatal(err)
	}
	c := New(cfg, Dependencies{
		Catalog: w.store, Bucket: w.bkt, Dir: dir, Limits: w, Logger: quiet(), Reg: prometheus.NewRegistry(), Now: time.Now,
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	for deadline := time.Now().Add(20 * time.Second); ; {
		if len(w.catalog(a).Blocks)+len(w.catalog(b).Blocks) == 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing was merged")
		}
		time.Sleep(20 * time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	w.check(a, true)
	w.check(b, true)
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("scratch has %v", left)
	}
}

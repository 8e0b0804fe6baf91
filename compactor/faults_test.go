package compactor

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/thanos-io/objstore"

	"github.com/varve-io/varve/pkg/block"
	"github.com/varve-io/varve/pkg/bucket/buckettest"
	"github.com/varve-io/varve/pkg/catalog"
	"github.com/varve-io/varve/pkg/tenant"
)

// TestDeathAtEveryStep lets the bucket be gone from the nth operation on, as the compactor's death would look, and lets
// another one finish.
func TestDeathAtEveryStep(t *testing.T) {
	t.Parallel()
	a := id(t, "a")
	first := newWorld(t, objstore.NewInMemBucket())
	var dirs []string
	for n := range int64(4) { // two replicas of two ranges
		at := first.midnight(3) + n/2*2*hour
		dirs = append(dirs, first.write(a, spec{from: at, to: at + 2*hour, series: 4, step: hour/8 + n%2}))
	}
	deaths := 0
	for n := 0; ; n++ {
		w := newWorld(t, objstore.NewInMemBucket())
		w.want = first.want
		for _, dir := range dirs {
			w.upload(a, dir)
		}
		mortal := &mortal{Bucket: w.bkt, left: n}
		ctx, cancel := context.WithCancel(t.Context())
		mortal.die = cancel
		err := w.compactor(mortal).RunOnce(ctx, a)
		cancel()
		w.check(a, false)
		run(t, w.compactor(w.bkt), a)
		w.check(a, true)
		if len(w.catalog(a).Blocks) != 1 {
			t.Fatalf("death at %d: %d blocks are left", n, len(w.catalog(a).Blocks))
		}
		if !mortal.dead {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		if deaths++; deaths > 2000 {
			t.Fatal("it never lives")
		}
		n += n / 8 // later steps repeat earlier ones
	}
	if deaths < 20 {
		t.Errorf("only %d deaths", deaths)
	}
}

// mortal is a bucket that is gone after some operations.
type mortal struct {
	objstore.Bucket
	mu   sync.Mutex
	left int
	dead bool
	die  func()
}

func (m *mortal) step() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left--; m.left >= 0 {
		return nil
	}
	m.dead = true
	m.die()
	return buckettest.ErrFault
}

func (m *mortal) Upload(ctx context.Context, name string, r io.Reader, opts ...objstore.ObjectUploadOption) error {
	return errors.Join(m.step(), m.alive(func() error { return m.Bucket.Upload(ctx, name, r, opts...) }))
}

func (m *mortal) Delete(ctx context.Context, name string) error {
	return errors.Join(m.step(), m.alive(func() error { return m.Bucket.Delete(ctx, name) }))
}

func (m *mortal) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := m.step(); err != nil {
		return nil, err
	}
	return m.Bucket.Get(ctx, name)
}

func (m *mortal) Exists(ctx context.Context, name string) (bool, error) {
	if err := m.step(); err != nil {
		return false, err
	}
	return m.Bucket.Exists(ctx, name)
}

func (m *mortal) alive(f func() error) error {
	m.mu.Lock()
	dead := m.dead
	m.mu.Unlock()
	if dead {
		return buckettest.ErrFault
	}
	return f()
}

// TestUnreliableBucket: with errors before, after and in the middle of operations nothing is lost, and it ends.
func TestUnreliableBucket(t *testing.T) {
	t.Parallel()
	a := id(t, "a")
	for seed := range uint64(3) {
		w := newWorld(t, objstore.NewInMemBucket())
		w.fill(a, 3, 6)
		faulty := buckettest.NewFaulty(w.bkt, seed)
		faulty.ErrorRate, faulty.LateRate, faulty.PartialRate, faulty.TornRate = 0.02, 0.02, 0.02, 0.01
		c := w.compactor(faulty)
		for range 30 {
			_ = c.RunOnce(t.Context(), a) // what fails is tried again
			w.now = w.now.Add(planEvery)
		}
		w.check(a, false)
		run(t, w.compactor(w.bkt), a)
		w.check(a, true)
	}
}

// TestTwoCompactors: two at once on one tenant lose nothing, and leave nothing twice in the end.
func TestTwoCompactors(t *testing.T) {
	t.Parallel()
	w := newWorld(t, localBucket(t))
	a := id(t, "a")
	w.fill(a, 3, 12)
	w.fill(a, 4, 8)
	one, two := w.compactor(w.bkt), w.compactor(w.bkt)
	for range 2 {
		var wg sync.WaitGroup
		for _, c := range []*Compactor{one, two} {
			wg.Go(func() {
				if err := c.RunOnce(t.Context(), a); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		w.check(a, false)
	}
	run(t, one, a)
	w.check(a, true)
	if n := len(w.catalog(a).Blocks); n != 2 {
		t.Errorf("%d blocks", n)
	}
	t.Logf("done twice: %v, overtaken: %v", testutil.ToFloat64(one.metrics.jobs.WithLabelValues("twice")), testutil.ToFloat64(one.metrics.jobs.WithLabelValues("overtaken")))
}

// between calls a function after the nth upload of a name.
type between struct {
	objstore.Bucket
	suffix string
	then   func()
}

func (b *between) Upload(ctx context.Context, name string, r io.Reader, opts ...objstore.ObjectUploadOption) error {
	err := b.Bucket.Upload(ctx, name, r, opts...)
	if then := b.then; then != nil && strings.HasSuffix(name, b.suffix) {
		b.then = nil
		then()
	}
	return err
}

// TestOvertakenAfterUpload: one compactor finishes a job while another has uploaded its result for the same.
func TestOvertakenAfterUpload(t *testing.T) {
	w := newWorld(t, objstore.NewInMemBucket())
	a := id(t, "a")
	w.fill(a, 3, 2)
	fast := w.compactor(w.bkt)
	bkt := &between{Bucket: w.bkt, suffix: block.MetaName, then: func() { run(t, fast, a) }}
	slow := w.compactor(bkt)
	run(t, slow, a)
	if n := testutil.ToFloat64(slow.metrics.jobs.WithLabelValues("twice")); n != 1 {
		t.Errorf("%v jobs were done twice", n)
	}
	w.check(a, false)
	run(t, fast, a)
	w.check(a, true)
}

// TestOvertakenBeforeUpload: one compactor finishes a job, and deletes its sources, while another reads them.
func TestOvertakenBeforeUpload(t *testing.T) {
	w := newWorld(t, objstore.NewInMemBucket())
	a := id(t, "a")
	w.fill(a, 3, 2)
	jobs := plan(w.catalog(a).Blocks, w.now.UnixMilli(), newRule(Default()))
	fast, slow := w.compactor(w.bkt), w.compactor(w.bkt)
	run(t, fast, a)
	if o, err := slow.execute(t.Context(), a, jobs[0]); o != overtaken || err != nil {
		t.Errorf("%s, %v", o, err)
	}
	w.now = w.now.Add(3 * time.Hour)
	run(t, fast, a)
	if o, err := slow.execute(t.Context(), a, jobs[0]); o != overtaken || err != nil {
		t.Errorf("sources deleted: %s, %v", o, err)
	}
	w.check(a, true)
}

func TestDamagedBlockAmongGoodOnes(t *testing.T) {
	t.Parallel()
	a := id(t, "a")
	for _, c := range []struct {
		name   string
		damage func(*world, catalog.Block)
	}{
		{"flipped bit", func(w *world, b catalog.Block) { w.flip(a, b, block.SegmentName(0), 40) }},
		{"truncated index", func(w *world, b catalog.Block) { w.flip(a, b, block.IndexName, -1) }},
		{"missing chunks", func(w *world, b catalog.Block) {
			if err := w.bkt.Delete(t.Context(), w.name(a, b, block.SegmentName(0))); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, objstore.NewInMemBucket())
			w.fill(a, 3, 4)
			bad := w.catalog(a).Blocks[1]
			c.damage(w, bad)
			comp := w.compactor(w.bkt)
			run(t, comp, a)
			cat := w.catalog(a)
			if got, ok := cat.Block(bad.ID); !ok || got.Quarantined == "" {
				t.Fatalf("block %+v, want it quarantined", got)
			}
			if len(cat.Blocks) != 2 {
				t.Errorf("%d blocks, want the damaged one and one of the others", len(cat.Blocks))
			}
			if n := testutil.ToFloat64(comp.metrics.quarantined); n != 1 || comp.total(func(s *state) int { return s.quarantined }) != 1 {
				t.Errorf("%v quarantines", n)
			}
			// The replicas have all that the damaged block has.
			if _, err := w.store.Commit(t.Context(), a, catalog.Fact{Remove: []ulid.ULID{bad.ID}}); err != nil {
				t.Fatal(err)
			}
			w.check(a, true)
		})
	}
}

// TestDamageWithoutSums: a block of another system, whose files have no checksums, is found out by the merge.
func TestDamageWithoutSums(t *testing.T) {
	w := newWorld(t, objstore.NewInMemBucket())
	a := id(t, "a")
	w.fill(a, 3, 2)
	bad := w.catalog(a).Blocks[2]
	w.flip(a, bad, block.SegmentName(0), 40)
	c := w.compactor(w.bkt)
	jobs := plan(w.catalog(a).Blocks, w.now.UnixMilli(), c.rule)
	for i := range jobs[0].sources {
		for n := range jobs[0].sources[i].Files {
			jobs[0].sources[i].Files[n].CRC32C = 0
		}
	}
	if o, err := c.execute(t.Context(), a, jobs[0]); o != quarantined || err != nil {
		t.Errorf("%s, %v", o, err)
	}
	if got, _ := w.catalog(a).Block(bad.ID); !strings.Contains(got.Quarantined, "corrupt") {
		t.Errorf("reason %q", got.Quarantined)
	}
}

// flip changes a bit of a file at an offset, or cuts the file in half.
func (w *world) flip(id tenant.ID, b catalog.Block, file string, at int) {
	w.t.Helper()
	r, err := w.bkt.Get(w.t.Context(), w.name(id, b, file))
	if err != nil {
		w.t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		w.t.Fatal(err)
	}
	if at < 0 {
		data = data[:len(data)/2]
	} else {
		data[at] ^= 4
	}
	if err := w.bkt.Upload(w.t.Context(), w.name(id, b, file), strings.NewReader(string(data))); err != nil {
		w.t.Fatal(err)
	}
}

// TestDeletionGoesOn: a block that can't be deleted holds up no other, and is deleted later.
func TestDeletionGoesOn(t *testing.T) {
	w := newWorld(t, objstore.NewInMemBucket())
	a := id(t, "a")
	w.fill(a, 3, 4)
	c := w.compactor(w.bkt)
	run(t, c, a)
	w.now = w.now.Add(3 * time.Hour)
	faulty := buckettest.NewFaulty(w.bkt, 1)
	faulty.LateRate = 0.3
	c.deps.Bucket = faulty
	if err := c.RunOnce(t.Context(), a); err == nil {
		t.Error("no error")
	}
	faulty.LateRate = 0
	run(t, c, a)
	if n := len(w.catalog(a).Expired(w.now, 0)); n != 0 {
		t.Errorf("%d blocks are left to delete", n)
	}
	w.check(a, true)
}

func TestNoSpace(t *testing.T) {
	w := newWorld(t, objstore.NewInMemBucket())
	a := id(t, "a")
	w.fill(a, 3, 2)
	c := w.compactor(w.bkt)
	free := int64(spaceReserve)
	c.scratch.free = func(string) (int64, error) { return free, nil }
	if err := c.RunOnce(t.Context(), a); !errors.Is(err, errNoSpace) {
		t.Errorf("error %v", err)
	}
	if n := testutil.ToFloat64(c.metrics.jobs.WithLabelValues("no_space")); n != 1 || c.total(func(s *state) int { return s.pending }) != 1 {
		t.Errorf("%v jobs without space", n)
	}
	free *= 2
	run(t, c, a) // not yet: it failed just now
	w.check(a, false)
	w.now = w.now.Add(planEvery)
	run(t, c, a)
	w.check(a, true)
}

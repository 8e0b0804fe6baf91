package compactor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/thanos-io/objstore"
	"go.uber.org/goleak"

	"github.com/varve-io/varve/pkg/block"
	"github.com/varve-io/varve/pkg/bucket"
	"github.com/varve-io/varve/pkg/bucket/buckettest"
	"github.com/varve-io/varve/pkg/catalog"
	"github.com/varve-io/varve/pkg/config"
	"github.com/varve-io/varve/pkg/head"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// model is what the bucket must say: series, then time, then value.
type model map[string]map[int64]float64

func (m model) add(ls labels.Labels, t int64, v float64) {
	s := m[ls.String()]
	if s == nil {
		s = map[int64]float64{}
		m[ls.String()] = s
	}
	if old, ok := s[t]; !ok || series.Wins(v, old) {
		s[t] = v
	}
}

func (m model) samples() (n int) {
	for _, s := range m {
		n += len(s)
	}
	return n
}

func (m model) equal(other model) bool {
	return maps.EqualFunc(m, other, func(a, b map[int64]float64) bool {
		return maps.EqualFunc(a, b, func(x, y float64) bool { return math.Float64bits(x) == math.Float64bits(y) })
	})
}

// world is a bucket with what must be in it.
type world struct {
	t      testing.TB
	bkt    objstore.Bucket // without faults
	store  *catalog.Store
	now    time.Time
	limits tenant.Limits
	want   map[tenant.ID]model
}

func newWorld(t testing.TB, bkt objstore.Bucket) *world {
	w := &world{t: t, bkt: bkt, now: time.Now(), want: map[tenant.ID]model{}}
	w.store = w.newStore(bkt)
	return w
}

func (w *world) clock() time.Time { return w.now }

// For implements Limits.
func (w *world) For(tenant.ID) *tenant.Limits { return &w.limits }

func (w *world) newStore(bkt objstore.Bucket) *catalog.Store {
	w.t.Helper()
	s, err := catalog.New(bkt, w.clock, quiet(), prometheus.NewRegistry())
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// compactor makes one that works through bkt.
func (w *world) compactor(bkt objstore.Bucket) *Compactor {
	return New(Default(), Dependencies{
		Catalog: w.newStore(bkt), Bucket: bkt, Dir: w.t.TempDir(), Limits: w, Logger: quiet(), Reg: prometheus.NewRegistry(), Now: w.clock,
	})
}

func id(t testing.TB, name string) tenant.ID {
	t.Helper()
	out, err := tenant.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// midnight is that of a day before the compactor's clock by so many days.
func (w *world) midnight(days int) int64 {
	return floor(w.now.UnixMilli(), dayWidth) - int64(days)*dayWidth
}

// spec says which samples a block gets.
type spec struct {
	from, to int64 // Unix milliseconds
	series   int
	step     int64
	value    float64 // is added to each
	origin   block.Varve
}

// write writes a block and remembers its samples.
func (w *world) write(id tenant.ID, s spec) string {
	w.t.Helper()
	h := head.New(head.Options{})
	defer h.Free()
	if w.want[id] == nil {
		w.want[id] = model{}
	}
	for i := range s.series {
		ls := labels.FromStrings("__name__", "m", "i", fmt.Sprint(i), "tenant", id.String())
		ser, _, err := h.Series(ls)
		if err != nil {
			w.t.Fatal(err)
		}
		for at := s.from; at < s.to; at += s.step {
			v := s.value + float64(i) + float64(at%1000)
			ser.AppendFloat(at, v)
			w.want[id].add(ls, at, v)
		}
	}
	h.Seal()
	dir := w.t.TempDir()
	m, err := block.Write(w.t.Context(), dir, h.Reader(head.Range{Min: s.from, Max: s.to}), block.Spec{MinTime: s.from, MaxTime: s.to, Origin: s.origin})
	if err != nil || m.Stats.NumSamples == 0 {
		w.t.Fatalf("write block: %d samples, %v", m.Stats.NumSamples, err)
	}
	return filepath.Join(dir, m.ULID.String())
}

// put writes a block, uploads it and enters it.
func (w *world) put(id tenant.ID, s spec) catalog.Block {
	w.t.Helper()
	return w.upload(id, w.write(id, s))
}

func (w *world) upload(id tenant.ID, dir string) catalog.Block {
	w.t.Helper()
	b, err := catalog.Upload(w.t.Context(), w.bkt, id, dir)
	if err == nil {
		_, err = w.store.Commit(w.t.Context(), id, catalog.Fact{Add: []catalog.Block{b}})
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

// fill puts the blocks of three replicas for some hours of one day.
func (w *world) fill(id tenant.ID, day, hours int) {
	for from := int64(0); from < int64(hours); from += 2 {
		for n := range 3 {
			at := w.midnight(day) + from*hour
			w.put(id, spec{from: at, to: at + 2*hour - int64(n)*hour/4, series: 4, step: hour / 8, origin: block.Varve{Partition: 1, Replica: fmt.Sprint("r", n), Epoch: from}})
		}
	}
}

func (w *world) catalog(id tenant.ID) *catalog.Catalog {
	w.t.Helper()
	cat, err := w.store.Sync(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return cat
}

// read gives what all blocks of the catalog say together, and how many samples they have.
func (w *world) read(id tenant.ID) (model, int) {
	w.t.Helper()
	got, n := model{}, 0
	for _, b := range w.catalog(id).Blocks {
		dir := w.t.TempDir()
		if err := catalog.Download(w.t.Context(), w.bkt, id, b, dir); err != nil {
			w.t.Fatal(err)
		}
		dir = filepath.Join(dir, b.ID.String())
		report, err := block.Verify(w.t.Context(), block.Dir(dir))
		if err != nil || report.Err() != nil {
			w.t.Fatalf("verify %s: %v, %v", b.ID, err, report.Err())
		}
		open, err := block.Open(w.t.Context(), block.Dir(dir), b.Meta())
		if err != nil {
			w.t.Fatal(err)
		}
		err = open.Samples(w.t.Context(), func(ls labels.Labels, it chunkenc.Iterator, _ chunkenc.ValueType) error {
			t, v := it.At()
			got.add(ls, t, v)
			n++
			return nil
		})
		if err := errors.Join(err, open.Close()); err != nil {
			w.t.Fatal(err)
		}
	}
	return got, n
}

// check compares the bucket with what must be in it; once says that no sample may be there twice.
func (w *world) check(id tenant.ID, once bool) {
	w.t.Helper()
	got, n := w.read(id)
	if want := w.want[id]; !got.equal(want) {
		w.t.Fatalf("tenant %s: %d samples of %d series, want %d of %d", id, got.samples(), len(got), want.samples(), len(want))
	}
	if once && n != got.samples() {
		w.t.Errorf("tenant %s: %d samples are there %d times", id, got.samples(), n)
	}
}

func run(t *testing.T, c *Compactor, id tenant.ID) {
	t.Helper()
	if err := c.RunOnce(t.Context(), id); err != nil {
		t.Fatal(err)
	}
}

func localBucket(t testing.TB) objstore.Bucket {
	t.Helper()
	cfg := bucket.Default()
	cfg.Dir = t.TempDir()
	bkt, err := bucket.Open(cfg, "", quiet(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bkt.Close() })
	return bkt
}

func TestReplicasOfADayBecomeOneBlock(t *testing.T) {
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
		for _, b := range w.catalog(a).Blocks {
			if floor(b.MinTime, dayWidth) != floor(b.MaxTime-1, dayWidth) {
				t.Errorf("seed %d: block [%d, %d) crosses a midnight", seed, b.MinTime, b.MaxTime)
			}
		}
	}
}

// TestDeathAtEveryStep lets the bucket be gone from the nth operation on, as the compactor's death would look, and lets
// another one finish.
func TestDeathAtEveryStep(t *testing.T) {
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

func (w *world) name(id tenant.ID, b catalog.Block, file string) string {
	return id.String() + "/" + b.ID.String() + "/" + file
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

func objects(t *testing.T, bkt objstore.Bucket, dir string) (names []string) {
	t.Helper()
	if err := bkt.Iter(t.Context(), dir, func(name string) error {
		names = append(names, name)
		return nil
	}, objstore.WithRecursiveIter()); err != nil {
		t.Fatal(err)
	}
	return names
}

// TestRetentionAndDeletion: only blocks that are wholly too old go, only after the grace, and only of the tenant.
func TestRetentionAndDeletion(t *testing.T) {
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

// TestRun runs it as a process would, with a short settle time, until the merge of what is there.
func TestRun(t *testing.T) {
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

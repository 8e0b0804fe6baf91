package ingester

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/thanos-io/objstore"

	"github.com/varve-io/varve/pkg/config"
	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/pkg/wal"
)

// bed is an ingester that runs, and what it runs with.
type bed struct {
	*Ingester
	t       testing.TB
	dir     string
	catalog *memCatalog
	bucket  objstore.Bucket
	ring    viewOf
	peers   peers
	grace   time.Duration
	stop    func()
	reg     *prometheus.Registry

	instance string           // "a" if it is empty
	lowWater int64            // of the log, none if it is 0
	fs       wal.FS           // of the log, the system's if it is nil
	pending  int64            // bytes that may wait for a sync, as usual if it is 0
	now      func() time.Time // nil for the real clock
}

// memCatalog remembers what was shipped. Where it is set to fail, it fails.
type memCatalog struct {
	mu      sync.Mutex
	shipped map[ulid.ULID]string
	fail    error
}

func (c *memCatalog) Ship(_ context.Context, _ tenant.ID, dir string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail == nil {
		c.shipped[ulid.MustParse(filepath.Base(dir))] = dir
	}
	return c.fail
}

func (c *memCatalog) Knows(_ context.Context, _ tenant.ID, id ulid.ULID) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.shipped[id]
	return ok, c.fail
}

// failWith lets it fail from now on; with nil, work again.
func (c *memCatalog) failWith(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail = err
}

type viewOf struct{ v *ring.View }

func (v viewOf) View() *ring.View { return v.v }

type peers []series.Standing

func (p peers) Standings(context.Context) []series.Standing { return p }

func newBed(t testing.TB) *bed { return newBedWithGrace(t, time.Hour) }

func newBedWithGrace(t testing.TB, grace time.Duration) *bed {
	b := newBedOf(t, grace)
	b.start()
	return b
}

// newBedOf is one whose ingester doesn't run yet.
func newBedOf(t testing.TB, grace time.Duration) *bed {
	return &bed{t: t, grace: grace, dir: t.TempDir(), catalog: &memCatalog{shipped: map[ulid.ULID]string{}}, bucket: objstore.NewInMemBucket(), ring: viewOf{ring.Single("a")}}
}

// make makes the ingester that start runs.
func (b *bed) make() {
	cfg := Default()
	cfg.HeadPeriod, cfg.Grace = config.Duration(24*time.Hour), config.Duration(b.grace)
	o := wal.Options{ReserveBytes: -1, LowWater: -1, FS: b.fs, MaxPending: b.pending}
	if b.lowWater != 0 {
		o.LowWater = b.lowWater
	}
	if b.now == nil {
		b.now = time.Now
	}
	b.reg = prometheus.NewRegistry()
	b.Ingester = New(cfg, Dependencies{
		Dir: b.dir, Instance: cmp.Or(b.instance, "a"), Catalog: b.catalog, Bucket: b.bucket, Ring: b.ring, Peers: b.peers,
		Logger: slog.New(slog.NewTextHandler(b.t.Output(), nil)), Reg: b.reg, Now: b.now, WAL: o,
	})
}

func (b *bed) start() {
	b.t.Helper()
	b.make()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	var once sync.Once
	b.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				b.t.Errorf("run: %v", err)
			}
		})
	}
	b.t.Cleanup(b.stop)
	for b.Ready() != nil {
		select {
		case err := <-done:
			b.t.Fatalf("run ended before it was ready: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
}

func (b *bed) restart() {
	b.stop()
	b.start()
}

// push sends a batch and waits for its ack.
func (b *bed) push(build func(*series.Builder)) series.Ack {
	b.t.Helper()
	return b.pushAs(1, build)
}

// pushAs is push in a generation of the stream.
func (b *bed) pushAs(generation uint32, build func(*series.Builder)) series.Ack {
	b.t.Helper()
	var bl series.Builder
	bl.Reset(series.StreamID{Distributor: 1, Generation: generation}, tenant.Anonymous)
	build(&bl)
	r, err := b.Push(bl.AppendTo(nil))
	if err != nil {
		b.t.Fatal(err)
	}
	ack, err := r.Wait(context.Background())
	if err != nil {
		b.t.Fatal(err)
	}
	return ack
}

// content is every float, by series and time.
func (b *bed) content() map[string]float64 {
	b.t.Helper()
	set, _, err := b.Select(context.Background(), series.Query{Tenant: tenant.Anonymous, MinTime: 0, MaxTime: 1 << 60})
	if err != nil {
		b.t.Fatal(err)
	}
	defer set.Close()
	got := map[string]float64{}
	var it chunkenc.Iterator
	for set.Next() {
		s := set.At()
		it = series.NewIterator(s.Chunks, it)
		for it.Next() == chunkenc.ValFloat {
			ts, v := it.At()
			got[fmt.Sprintf("%s@%d", s.Labels.Get("__name__"), ts)] = v
		}
	}
	if set.Err() != nil {
		b.t.Fatal(set.Err())
	}
	return got
}

func (b *bed) want(want map[string]float64) {
	b.t.Helper()
	if d := gocmp.Diff(want, b.content()); d != "" {
		b.t.Errorf("content differs (-want +got):\n%s", d)
	}
}

func named(n string) labels.Labels { return labels.FromStrings("__name__", n) }

func TestAckedSamplesOutliveARestart(t *testing.T) {
	b := newBed(t)
	b.push(func(bl *series.Builder) { bl.Define(0, named("a")); bl.Float(0, 1000, 1) })
	b.push(func(bl *series.Builder) { bl.Define(1, named("b")); bl.Float(1, 1000, 2); bl.Float(0, 2000, 3) })
	want := map[string]float64{"a@1000": 1, "a@2000": 3, "b@1000": 2}
	b.want(want)
	b.restart()
	b.want(want)
}

// A number that was defined in one epoch and is used in the next must be known from the next one's log alone.
func TestNumbersOutliveTheirEpoch(t *testing.T) {
	b := newBed(t)
	b.push(func(bl *series.Builder) { bl.Define(0, named("a")); bl.Float(0, 1000, 1) })
	if err := b.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	b.push(func(bl *series.Builder) { bl.Float(0, 2000, 2) })
	want := map[string]float64{"a@1000": 1, "a@2000": 2}
	b.want(want)
	b.restart()
	b.want(want)
	if n := b.witness.since(); n != 0 {
		t.Errorf("the owner says that it lost something at %d", n)
	}
}

func TestUnknownNumbersAreRefused(t *testing.T) {
	b := newBed(t)
	var bl series.Builder
	bl.Reset(series.StreamID{Distributor: 1}, tenant.Anonymous)
	bl.Float(7, 1, 1)
	if _, err := b.Push(bl.AppendTo(nil)); !errors.Is(err, series.ErrUnknownNumber) {
		t.Errorf("got %v", err)
	}
	if _, err := b.Push([]byte("nonsense")); !errors.Is(err, series.ErrCorrupt) {
		t.Errorf("got %v", err)
	}
}

func TestConflictIsTold(t *testing.T) {
	b := newBed(t)
	b.push(func(bl *series.Builder) { bl.Define(0, named("a")); bl.Float(0, 1000, 1) })
	if ack := b.push(func(bl *series.Builder) { bl.Float(0, 1000, 1) }); ack.Conflicts != 0 {
		t.Errorf("an exact duplicate is a conflict: %+v", ack)
	}
	if ack := b.push(func(bl *series.Builder) { bl.Float(0, 1000, 2) }); ack.Conflicts != 1 || ack.First == "" {
		t.Errorf("another value at the same time is no conflict: %+v", ack)
	}
}

// Samples of three blocks' ranges are answered for from the head, then from local blocks, and until they are released.
func TestCutShipAndRelease(t *testing.T) {
	b := newBedWithGrace(t, 0)
	width := blockWidth.Milliseconds()
	want := map[string]float64{}
	b.push(func(bl *series.Builder) {
		bl.Define(0, named("a"))
		for n := range int64(30) {
			ts := n*width/10 + 5
			bl.Float(0, ts, float64(n))
			want[fmt.Sprintf("a@%d", ts)] = float64(n)
		}
	})
	b.want(want)
	b.catalog.failWith(errors.New("bucket has gone"))
	if err := b.Flush(context.Background()); !errors.Is(err, b.catalog.fail) {
		t.Fatalf("flush without a bucket: %v", err)
	}
	b.want(want)
	b.restart()
	b.want(want)
	b.catalog.failWith(nil)
	if err := b.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	if n := len(b.catalog.shipped); n != 3 {
		t.Errorf("%d blocks were shipped, want 3", n)
	}
	b.release(context.Background())
	b.want(map[string]float64{})
	if s := b.standingFor(tenant.Anonymous); len(s.Released) != 3 {
		t.Errorf("%d blocks are told of as released, want 3", len(s.Released))
	}
	left, err := os.ReadDir(filepath.Join(b.dir, "blocks", "anonymous"))
	if err != nil || len(left) != 0 {
		t.Errorf("left on disk: %v, %v", left, err)
	}
}

func TestAnOwnerThatLostItsDiskSaysSo(t *testing.T) {
	b := newBed(t)
	b.push(func(bl *series.Builder) { bl.Define(0, named("a")); bl.Float(0, 1000, 1) })
	if b.Standing().CompleteSince != 0 {
		t.Error("a new owner bears no witness")
	}
	b.stop()
	if err := os.RemoveAll(b.dir); err != nil {
		t.Fatal(err)
	}
	b.ring = viewOf{ring.NewView(1, 3, nil)}
	before := time.Now().UnixMilli()
	b.start()
	if since := b.Standing().CompleteSince; since < before {
		t.Fatalf("an owner whose disk is gone says that it is complete since %d", since)
	}
	b.restart()
	since := b.Standing().CompleteSince
	if since < before {
		t.Fatal("the hole is forgotten at a restart")
	}
	shipped := series.Standing{ShippedBefore: since + 2*clockSkew.Milliseconds()}
	for _, c := range []struct {
		peers peers
		want  bool
	}{{nil, false}, {peers{shipped}, false}, {peers{shipped, {ShippedBefore: since}}, false}, {peers{shipped, shipped}, true}} {
		b.Ingester.deps.Peers = c.peers
		if got := b.healed(context.Background(), since); got != c.want {
			t.Errorf("with %d peers: healed is %v", len(c.peers), got)
		}
	}
}

// What was flushed at a graceful stop is in the bucket: the disk may go.
func TestAnOwnerThatFlushedNeedsNoDisk(t *testing.T) {
	b := newBed(t)
	b.push(func(bl *series.Builder) { bl.Define(0, named("a")); bl.Float(0, 1000, 1) })
	if err := b.Leave(context.Background()); err != nil {
		t.Fatal(err)
	}
	b.want(map[string]float64{"a@1000": 1})
	b.stop()
	if len(b.catalog.shipped) != 1 {
		t.Errorf("%d blocks were shipped, want 1", len(b.catalog.shipped))
	}
	if err := os.RemoveAll(b.dir); err != nil {
		t.Fatal(err)
	}
	b.start()
	if since := b.Standing().CompleteSince; since != 0 {
		t.Errorf("it bears no witness to what was before %d", since)
	}
	b.stop()
	if err := os.RemoveAll(b.dir); err != nil {
		t.Fatal(err)
	}
	b.ring = viewOf{ring.NewView(1, 3, nil)}
	if b.start(); b.Standing().CompleteSince == 0 {
		t.Error("it was known again, lost its disk, and doesn't say so")
	}
}

func TestNothingReceivedIsNothingToShip(t *testing.T) {
	b := newBed(t)
	before := time.Now()
	if at := b.shippedBefore(); at.Before(before) {
		t.Errorf("an empty owner has shipped only what came before %s", at)
	}
	b.push(func(bl *series.Builder) { bl.Define(0, named("a")); bl.Float(0, 1000, 1) })
	if at := b.shippedBefore(); at.After(before) {
		t.Errorf("with samples in its head it has shipped what came before %s", at)
	}
}

func TestConcurrentPushesAcrossRotations(t *testing.T) {
	b := newBed(t)
	const senders, batches = 4, 50
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			name := named(fmt.Sprint("m", s))
			for n := range batches {
				var bl series.Builder
				bl.Reset(series.StreamID{Distributor: uint64(s), Generation: 1}, tenant.Anonymous)
				if n == 0 {
					bl.Define(0, name)
				}
				bl.Float(0, int64(n+1), float64(n))
				r, err := b.Push(bl.AppendTo(nil))
				if err == nil {
					_, err = r.Wait(context.Background())
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 5 {
		if err := b.Rotate(); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Millisecond) // let the senders come between rotations; nothing depends on it
	}
	wg.Wait()
	if n := len(b.content()); n != senders*batches {
		t.Errorf("%d samples, want %d", n, senders*batches)
	}
	b.restart()
	if n := len(b.content()); n != senders*batches {
		t.Errorf("after a restart: %d samples, want %d", n, senders*batches)
	}
}

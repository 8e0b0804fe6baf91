package compactor

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/thanos-io/objstore"

	"github.com/varve-io/varve/ingester"
	"github.com/varve-io/varve/pkg/catalog"
	"github.com/varve-io/varve/pkg/config"
	"github.com/varve-io/varve/pkg/cost/cube"
	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// owner is an ingester that runs beside a world's bucket.
type owner struct {
	w    *world
	cfg  ingester.Dependencies
	stop func()
}

// ring.View, the catalog and the peers that it has: it is alone in its partition.
func (o *owner) View() *ring.View                            { return ring.Single(o.cfg.Instance) }
func (o *owner) Standings(context.Context) []series.Standing { return nil }

func (o *owner) Ship(ctx context.Context, id tenant.ID, dir string) error {
	b, err := catalog.Upload(ctx, o.w.bkt, id, dir)
	if err == nil {
		_, err = o.w.store.Commit(ctx, id, catalog.Fact{Add: []catalog.Block{b}})
	}
	return err
}

func (o *owner) Knows(ctx context.Context, id tenant.ID, b ulid.ULID) (bool, error) {
	cat, err := o.w.store.Sync(ctx, id)
	return err == nil && cat.Knows(b), err
}

func (w *world) owner(partition int32, instance string, now func() time.Time) *owner {
	o := &owner{w: w}
	o.cfg = ingester.Dependencies{
		Dir: w.t.TempDir(), Instance: instance, Partition: partition, Catalog: o, Bucket: w.bkt, Ring: o, Peers: o,
		Logger: quiet(), Now: now,
	}
	return o
}

func (o *owner) start() {
	cfg := ingester.Default()
	cfg.HeadPeriod = config.Duration(2 * time.Second) // tells the bucket often
	o.cfg.Reg = prometheus.NewRegistry()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- ingester.New(cfg, o.cfg).Run(ctx) }()
	o.stop = func() {
		cancel()
		if err := <-done; err != nil {
			o.w.t.Error(err)
		}
	}
}

// tells waits until the owner has told the bucket that what was received before a time is shipped.
func (o *owner) tells(at int64) {
	o.w.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		r, err := catalog.ReadOwner(o.w.t.Context(), o.w.bkt, catalog.OwnerName(o.cfg.Partition, o.cfg.Instance))
		switch {
		case err == nil && r.ShippedBefore.UnixMilli() >= at:
			return
		case time.Now().After(deadline):
			o.w.t.Fatalf("%s tells %+v, %v", o.cfg.Instance, r, err)
		}
	}
}

// hours is how many hours of a day the cube has.
func (w *world) hours(id tenant.ID, day int64) (n int) {
	w.t.Helper()
	for start := day; start < day+dayWidth; start += hour {
		if w.manifest(id).Has(cube.HourLevel, start) {
			n++
		}
	}
	return n
}

// Hours close as soon as every partition has shipped what was received for them, an idle one, too. One that is down holds up hours until it is back, but not
// for longer than a day.
func TestHoursCloseWhenAllIsShipped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, objstore.NewInMemBucket())
	w.limits.PastWindow = config.Duration(3 * time.Hour)
	a, c := id(t, "a"), w.sample(26)
	w.putCluster(a, c, part{from: c.From, to: c.To})
	comp := w.compactor(w.bkt)
	var clock atomic.Int64
	count := func(what string, at int64, owners []*owner, want int) {
		t.Helper()
		w.now = time.UnixMilli(at)
		clock.Store(at)
		for _, o := range owners {
			o.tells(at)
		}
		w.costs(comp, a)
		if n := w.hours(a, c.From); n != want {
			t.Errorf("%s: %d hours, want %d", what, n, want)
		}
	}
	now := func() time.Time { return time.UnixMilli(clock.Load()) }
	one, two := w.owner(0, "one", now), w.owner(1, "two", now)
	clock.Store(c.From)
	one.start()
	two.start()
	count("both are there", c.From+6*hour+5*60_000, []*owner{one, two}, 2) // the margin and the window: 4 hours
	two.stop()
	count("one is down", c.From+12*hour, []*owner{one}, 2)
	count("for a day", c.From+32*hour, []*owner{one}, 3)
	two.start()
	count("it is back", c.From+32*hour+1000, []*owner{one, two}, 24)
	w.checkHours(a, c, c.From, 24)
	two.stop()
	one.stop()
}

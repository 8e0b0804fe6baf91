package ingester

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/varve-io/varve/pkg/catalog"
	"github.com/varve-io/varve/pkg/series"
)

// An owner tells the bucket up to when everything that it received is in the catalog: of an empty one that is now, of what waits for a shipment it
// is when the first of it may have come, through a crash, too.
func TestOwnersTellWhatIsShipped(t *testing.T) {
	var clock atomic.Int64
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	clock.Store(begin.UnixMilli())
	b := newBedOf(t, time.Hour)
	b.now = func() time.Time { return time.UnixMilli(clock.Load()) }
	told := func() time.Duration {
		t.Helper()
		if err := b.vouch(t.Context()); err != nil {
			t.Fatal(err)
		}
		o, err := catalog.ReadOwner(t.Context(), b.bucket, catalog.OwnerName(0, "a"))
		if err != nil || !o.Since.Equal(begin) || o.ReplicationFactor != 1 {
			t.Fatalf("%+v, %v", o, err)
		}
		return o.ShippedBefore.Sub(begin)
	}
	pass := func(d time.Duration) { clock.Add(d.Milliseconds()) }
	restart := func() {
		t.Helper()
		b.stop()
		b.start()
	}

	b.start()
	pass(2 * time.Hour)
	if got := told(); got != 2*time.Hour {
		t.Errorf("an empty one: %s", got)
	}
	pass(time.Minute)
	if got := told(); got != 2*time.Hour {
		t.Errorf("too soon after: %s", got)
	}
	b.push(func(bl *series.Builder) { bl.Define(0, named("m")); bl.Float(0, clock.Load(), 1) })
	b.catalog.failWith(errors.New("no bucket"))
	for range 2 {
		pass(6 * time.Hour)
		_ = b.Flush(t.Context())
		if got := told(); got > 2*time.Hour+time.Minute {
			t.Errorf("before anything is shipped: %s", got)
		}
		restart()
	}
	b.catalog.failWith(nil)
	if err := b.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := told(); got != 14*time.Hour+time.Minute {
		t.Errorf("after the shipment: %s", got)
	}
	if err := b.witness.lost(b.now()); err != nil {
		t.Fatal(err)
	}
	pass(6 * time.Hour)
	if got := told(); got != 14*time.Hour+time.Minute {
		t.Errorf("one that has lost something: %s", got)
	}
}

package ingester

import (
	"context"
	"errors"
	"testing"
	"time"
	"unsafe"

	"github.com/varve-io/varve/pkg/config"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// A batch of one tenant that uses a number of another is corrupt, in the term of the definition and in later ones.
func TestNumbersBelongToTheirTenant(t *testing.T) {
	b := newBed(t)
	x, err := tenant.Parse("x")
	if err != nil {
		t.Fatal(err)
	}
	b.push(func(bl *series.Builder) { bl.Define(0, named("a")); bl.Float(0, 1000, 1) })
	foreign := func() error {
		var bl series.Builder
		bl.Reset(series.StreamID{Distributor: 1, Generation: 1}, x)
		bl.Define(1, named("b"))
		bl.Float(1, 1000, 1)
		bl.Float(0, 2000, 2)
		_, err := b.Push(bl.AppendTo(nil))
		return err
	}
	if err := foreign(); !errors.Is(err, series.ErrCorrupt) {
		t.Errorf("another tenant's number: %v", err)
	}
	if err := b.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := foreign(); !errors.Is(err, series.ErrCorrupt) {
		t.Errorf("another tenant's number, an epoch later: %v", err)
	}
	b.push(func(bl *series.Builder) { bl.Float(0, 2000, 3) })
	b.want(map[string]float64{"a@1000": 1, "a@2000": 3})
	if size := unsafe.Sizeof(ref{}); size > 24 {
		t.Errorf("a reference takes %d bytes; there is one per series and distributor", size)
	}
}

// A sender may pause for longer than a short epoch lasts: its numbers are still known.
func TestStreamsOutliveAPause(t *testing.T) {
	b := &bed{t: t, dir: t.TempDir()}
	for _, c := range []struct {
		period, pause time.Duration
		kept          bool
	}{
		{time.Second, 29 * time.Minute, true},
		{time.Second, 31 * time.Minute, false},
		{2 * time.Hour, 3 * time.Hour, true},
		{2 * time.Hour, 5 * time.Hour, false},
	} {
		b.make()
		b.cfg.HeadPeriod = config.Duration(c.period)
		now := time.Now()
		b.deps.Now = func() time.Time { return now }
		b.stream(series.StreamID{Distributor: 1})
		now = now.Add(c.pause)
		b.dropStreams()
		if kept := len(b.streams) == 1; kept != c.kept {
			t.Errorf("epochs of %s, a pause of %s: kept is %v", c.period, c.pause, kept)
		}
	}
}

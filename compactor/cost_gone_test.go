package compactor

import (
	"testing"
	"time"

	"github.com/thanos-io/objstore"

	"github.com/varve-io/varve/pkg/config"
	"github.com/varve-io/varve/pkg/cost/cube"
)

// An hour of which retention may have taken blocks is not counted out of what is left.
func TestHoursWithoutAllBlocksAreNotCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, objstore.NewInMemBucket())
	a, c := id(t, "a"), w.sample(24)
	w.putCluster(a, c, part{from: c.From, to: c.To})
	w.limits.Retention = config.Duration(w.now.Sub(time.UnixMilli(c.From + 12*hour)))
	w.costs(w.compactor(w.bkt), a)
	m := w.manifest(a)
	for start := c.From; start < c.From+dayWidth; start += hour {
		if want := start > c.From+12*hour; m.Has(cube.HourLevel, start) != want {
			t.Errorf("%s is counted: %v", time.UnixMilli(start).UTC().Format(time.TimeOnly), !want)
		}
	}
}

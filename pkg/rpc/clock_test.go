package rpc

import (
	"errors"
	"testing"
	"time"

	"github.com/varve-io/varve/pkg/ring"
)

func TestCheckClock(t *testing.T) {
	w := newWorld(t, &recorder{})
	dead := ring.Owner{Instance: "dead", Address: "127.0.0.1:1"}
	view := ring.NewView(1, 3, []ring.Partition{{Owners: []ring.Owner{w.owner, dead, {Instance: "self"}}}})
	for skew, ok := range map[time.Duration]bool{0: true, 3 * time.Second: true, time.Hour: false, -7 * time.Second: false} {
		err := w.pool.checkClock(t.Context(), view, func() time.Time { return time.Now().Add(skew) })
		if ok != (err == nil) || !ok && !errors.Is(err, ErrClock) {
			t.Errorf("skew %v: %v", skew, err)
		}
	}
	alone := ring.NewView(1, 3, []ring.Partition{{Owners: []ring.Owner{dead}}})
	if err := w.pool.CheckClock(t.Context(), alone); err != nil {
		t.Errorf("nobody to compare with: %v", err)
	}
}

package distributor

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func someSenders(t *testing.T, n int) []*sender {
	t.Helper()
	all := make([]*sender, n)
	for i := range all {
		all[i] = &sender{}
	}
	return all
}

// However much one tenant sends, another one's request waits for none of it.
func TestATenantTakesOnlyAShareOfTheTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns, s := newTurns(90), someSenders(t, 3)
		granted := 0
		begin := func(s *sender, bytes int64) {
			go func() {
				if err := turns.begin(t.Context(), s, bytes, time.Hour); err == nil {
					granted++ // synctest.Wait orders it
				}
			}()
			synctest.Wait()
		}
		for range 20 {
			begin(s[0], 10)
		}
		if granted != 6 || turns.free != 30 {
			t.Fatalf("one tenant has %d turns and leaves %d, want 6 and 30", granted, turns.free)
		}
		begin(s[1], 10)
		begin(s[2], 20)
		if granted != 8 || turns.free != 0 {
			t.Fatalf("two more tenants: %d turns, %d left", granted, turns.free)
		}
		for range 20 {
			turns.end(s[0], 10)
			synctest.Wait()
			if s[0].working == 0 {
				break
			}
		}
		turns.end(s[1], 10)
		turns.end(s[2], 20)
		synctest.Wait()
		for s[0].working > 0 {
			turns.end(s[0], 10)
			synctest.Wait()
		}
		if granted != 22 || turns.free != 90 || len(turns.waiting) > 0 {
			t.Errorf("in the end: %d turns granted, %d free, %d tenants wait", granted, turns.free, len(turns.waiting))
		}
	})
}

// A request larger than all turns gets its own, isn't overtaken, and one that gives up is in nobody's way.
func TestLargeTurnsAndThoseWhoGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns, s := newTurns(100), someSenders(t, 3)
		if err := turns.begin(t.Context(), s[0], 10, time.Second); err != nil {
			t.Fatal(err)
		}
		errs := make(chan error, 2)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { errs <- turns.begin(ctx, s[1], 1000, time.Hour) }()
		synctest.Wait()
		go func() { errs <- turns.begin(t.Context(), s[2], 10, time.Second) }()
		if err := <-errs; !errors.Is(err, errOverload) {
			t.Errorf("behind a large request: %v, want an overload after a second", err)
		}
		turns.end(s[0], 10)
		if err := <-errs; err != nil || turns.free != 0 {
			t.Errorf("the large one: %v, %d left", err, turns.free)
		}
		go func() { errs <- turns.begin(ctx, s[0], 10, time.Hour) }()
		synctest.Wait()
		cancel()
		if err := <-errs; !errors.Is(err, ErrUnavailable) || len(turns.waiting) > 0 {
			t.Errorf("a sender that hangs up: %v, %d tenants wait", err, len(turns.waiting))
		}
		turns.end(s[1], 1000)
		if turns.free != 100 || s[0].working+s[1].working+s[2].working != 0 {
			t.Errorf("%d of 100 free in the end", turns.free)
		}
	})
}

func TestATenantHoldsOnlyAShareOfTheMemory(t *testing.T) {
	m, s := memory{free: 90}, someSenders(t, 2)
	if !m.take(s[0], 0, 90) || m.take(s[1], 0, 1) {
		t.Error("a request that is alone may have everything, and no more")
	}
	m.giveBack(s[0], 90)
	n := 0
	for m.take(s[0], 0, 10) {
		n++
	}
	if n != 6 || !m.take(s[1], 0, 30) || m.take(s[1], 0, 1) {
		t.Errorf("one tenant holds %d times 10, %d is left after the other", n, m.free)
	}
}

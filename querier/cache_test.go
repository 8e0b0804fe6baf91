package querier

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

func TestCacheIsBounded(t *testing.T) {
	now := time.Unix(0, 0)
	c := newCache[int, int](100, func() time.Time { return now })
	computed := 0
	get := func(key int, bytes int64) {
		t.Helper()
		v, err := c.get(t.Context(), key, func() (made[int], error) {
			computed++
			return made[int]{key, bytes, time.Minute}, nil
		})
		if v != key || err != nil {
			t.Fatalf("%d: %d, %v", key, v, err)
		}
	}
	for _, step := range []struct {
		name     string
		key      int
		bytes    int64
		later    time.Duration
		computed int
	}{
		{"first", 1, 40, 0, 1},
		{"kept", 1, 40, 0, 1},
		{"second", 2, 40, 0, 2},
		{"kept, and asked for later than the second", 1, 40, 0, 2},
		{"third, for which the second goes", 3, 40, 0, 3},
		{"the first is still there", 1, 40, 0, 3},
		{"the second is not", 2, 40, 0, 4},
		{"larger than the cache", 4, 101, 0, 5},
		{"which is not kept", 4, 101, 0, 6},
		{"nor does anything go for it", 2, 40, 0, 6},
		{"too old", 2, 40, time.Minute, 7},
	} {
		now = now.Add(step.later)
		get(step.key, step.bytes)
		if computed != step.computed || c.bytes > 100 || len(c.kept) != c.order.Len() {
			t.Fatalf("%s: computed %d, want %d; %d bytes, %d and %d entries", step.name, computed, step.computed, c.bytes, len(c.kept), c.order.Len())
		}
	}
}

// What several ask for is computed once; one who gives up doesn't take it from the others, and an error is not kept.
func TestCacheIsShared(t *testing.T) {
	c := newCache[int, int](100, time.Now)
	begun, release, failed := make(chan struct{}), make(chan struct{}), errors.New("failed")
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := c.get(t.Context(), 1, func() (made[int], error) {
			close(begun)
			<-release
			return made[int]{1, 1, time.Minute}, failed
		})
		if !errors.Is(err, failed) {
			t.Errorf("the first: %v", err)
		}
	})
	<-begun
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.get(gone, 1, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("one who gave up: %v", err)
	}
	computed := 0 // by one at a time
	for range 4 {
		wg.Go(func() {
			v, err := c.get(t.Context(), 1, func() (made[int], error) {
				computed++
				return made[int]{2, 1, time.Minute}, nil
			})
			if v != 2 || err != nil {
				t.Errorf("one of the others: %d, %v", v, err)
			}
		})
	}
	close(release)
	wg.Wait()
	if computed != 1 {
		t.Errorf("computed %d times", computed)
	}
}

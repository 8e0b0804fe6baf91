package wal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ledger is what the writers of a test know: each writer's records are numbered, and some were acked.
type ledger struct {
	mu    sync.Mutex
	acked map[string]bool
}

func (k *ledger) ack(recs []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range recs {
		k.acked[r] = true
	}
}

// check finds acked records that were not replayed, and records that were replayed twice or out of order.
func (k *ledger) check(got []entry, acked []string) error {
	seen := map[string]bool{}
	last := map[string]int{}
	for _, e := range got {
		var writer string
		var n int
		if _, err := fmt.Sscanf(e.Rec, "%s %d", &writer, &n); err != nil {
			return fmt.Errorf("strange record %q", e.Rec)
		}
		if n <= last[writer] {
			return fmt.Errorf("%s: %d after %d", writer, n, last[writer])
		}
		last[writer], seen[e.Rec] = n, true
	}
	for _, rec := range acked {
		if !seen[rec] {
			return fmt.Errorf("acked record %.20q missing", rec)
		}
	}
	return nil
}

// TestPowerLoss runs writers, faults and crashes against the file system in memory, several crashes in a row.
func TestPowerLoss(t *testing.T) {
	seeds := 60
	if testing.Short() {
		seeds = 20
	}
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(uint64(seed), 1))
		faulty := seed%2 == 1
		if err := crashLoop(t, rng, faulty); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func crashLoop(t *testing.T, rng *rand.Rand, faulty bool) error {
	disk := newMemFS()
	k := &ledger{acked: map[string]bool{}}
	for life := range 5 {
		o := Options{Dir: "/data/log", FS: disk, SegmentBytes: 12 << 10, ReserveBytes: -1, LowWater: -1}
		l, err := Open(o)
		if err != nil {
			return fmt.Errorf("life %d: %w", life, err)
		}
		got, damage := replayAll(t, l)
		if err := k.check(got, sortedKeys(k.acked)); err != nil {
			return fmt.Errorf("life %d: %w", life, err)
		}
		if damage.Lossy() {
			return fmt.Errorf("life %d: %v %+v", life, damage, damage.Holes)
		}
		disk, k.acked = live(l, disk, k, rng, faulty, life)
	}
	return nil
}

func sortedKeys(m map[string]bool) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// live lets writers append until the crash, and returns the disk after it and what had been acked before it.
func live(l *Log, disk *memFS, k *ledger, rng *rand.Rand, faulty bool, life int) (*memFS, map[string]bool) {
	ctx, cancel := context.WithCancel(context.Background())
	var after *memFS
	var acked map[string]bool
	disk.mu.Lock()
	at := disk.ops + 5 + rng.IntN(60)
	disk.fault = func(op, _ string) error {
		if disk.ops == at {
			k.mu.Lock()
			acked = map[string]bool{}
			for r := range k.acked {
				acked[r] = true
			}
			k.mu.Unlock()
			if !faulty && rng.IntN(3) == 0 {
				after = disk.kill()
			} else {
				after = disk.crash(rng)
			}
			cancel()
		}
		if faulty && rng.IntN(12) == 0 && (op == "write" || op == "sync" || op == "syncdir" || op == "create") {
			return unix.EIO
		}
		return nil
	}
	disk.mu.Unlock()
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Go(func() { write(ctx, l, k, fmt.Sprintf("life%d-writer%d", life, w)) })
	}
	wg.Go(func() {
		for ctx.Err() == nil {
			if rng := rand.Uint32(); rng%64 == 0 {
				_, _ = l.NextEpoch()
			}
			time.Sleep(10 * time.Microsecond)
		}
	})
	_ = l.Run(ctx)
	_ = l.Close()
	wg.Wait()
	return after, acked
}

func write(ctx context.Context, l *Log, k *ledger, name string) {
	n := 0
	for ctx.Err() == nil {
		var recs []string
		var last Position
		for range 1 + rand.IntN(3) {
			n++
			rec := fmt.Sprintf("%s %d %0*d", name, n, rand.IntN(700), n)
			p, err := l.Append([]byte(rec))
			if err != nil {
				time.Sleep(time.Millisecond)
				continue
			}
			if last.g != nil && last.Term() != p.Term() {
				recs = recs[:0] // a fence may have taken what came before
			}
			recs, last = append(recs, rec), p
		}
		if last.g == nil {
			continue
		}
		// Groups end in order, but one that failed is not followed by one of its term.
		if err := l.Wait(context.Background(), last); err == nil {
			k.ack(recs)
		} else if !errors.Is(err, ErrUnavailable) {
			panic(err)
		}
	}
}

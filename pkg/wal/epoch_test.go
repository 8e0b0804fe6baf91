package wal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

func TestEpochs(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	l := openTest(t, o)
	stop := start(t, l)
	put(t, l, "one")
	for want := uint64(1); want <= 3; want++ {
		if old, err := l.NextEpoch(); err != nil || old != want {
			t.Fatalf("next epoch after %d: %d, %v", want, old, err)
		}
	}
	put(t, l, "four")
	if err := l.DropEpoch(4); !errors.Is(err, ErrEpochInUse) {
		t.Fatalf("drop of the current epoch: %v", err)
	}
	before := l.Size()
	for range 2 {
		if err := l.DropEpoch(2); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]uint64{1, 3, 4}, l.Epochs()); diff != "" || l.Size() != before-headerBytes {
		t.Fatal(diff, before, l.Size())
	}
	if err := l.DropEpoch(1); err != nil {
		t.Fatal(err)
	}
	stop()
	if _, err := l.NextEpoch(); !errors.Is(err, ErrClosed) {
		t.Fatalf("next epoch after the end: %v", err)
	}
	leftover := filepath.Join(o.Dir, epochName(2)+deletingSuffix)
	if err := os.MkdirAll(filepath.Join(leftover, "x"), 0o750); err != nil {
		t.Fatal(err)
	}
	got, damage := reopen(t, o)
	if diff := cmp.Diff([]entry{{4, "four"}}, got); diff != "" || damage.Lossy() {
		t.Fatal(diff, damage)
	}
	if _, err := os.Stat(leftover); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("leftover of a deletion: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := openTest(t, Options{Dir: "/log", FS: newMemFS(), MaxPending: 1000})
		if _, err := l.Append(make([]byte, MaxRecordBytes+1)); !errors.Is(err, ErrTooLarge) {
			t.Fatalf("large record: %v", err)
		}
		p, err := l.Append(make([]byte, 5000))
		if err != nil {
			t.Fatalf("a record above the bound while nothing waits: %v", err)
		}
		if _, err := l.Append([]byte("x")); !errors.Is(err, ErrOverloaded) || l.Pending() < 5000 {
			t.Fatalf("append beyond the bound: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := l.Wait(ctx, p); !errors.Is(err, context.Canceled) {
			t.Fatalf("wait with an ended context: %v", err)
		}
		stop := start(t, l)
		if err := l.Wait(t.Context(), p); err != nil || l.Pending() != 0 {
			t.Fatalf("wait: %v, %d pending", err, l.Pending())
		}
		put(t, l, "x")
		stop()
		if err := l.Run(t.Context()); err == nil {
			t.Fatal("second run")
		}
	})
}

// TestConcurrent appends from many goroutines on the real file system, with changes of epoch and segment in between.
func TestConcurrent(t *testing.T) {
	o := Options{Dir: t.TempDir(), SegmentBytes: 64 << 10}
	l := openTest(t, o)
	stop := start(t, l)
	var wg sync.WaitGroup
	const writers, each = 8, 100
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				put(t, l, fmt.Sprintf("w%d %d %0*d", w, i+1, i, 0))
				if w == 0 && i%25 == 0 {
					if _, err := l.NextEpoch(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	stop()
	got, damage := reopen(t, o)
	k := ledger{}
	if err := k.check(got, nil); err != nil || len(got) != writers*each || damage.Lossy() {
		t.Fatal(err, len(got), damage)
	}
}

// TestReplayStops on an error of the callback, and on the end of its context.
func TestReplayStops(t *testing.T) {
	disk, _, _, _ := writeLog(t, 3, false)
	l := openTest(t, options(disk))
	defer l.Close()
	boom := errors.New("boom")
	if _, err := l.Replay(t.Context(), Replaying{Record: func(uint64, uint64, []byte) error { return boom }}); !errors.Is(err, boom) {
		t.Fatalf("replay: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Replay(ctx, Replaying{Record: func(uint64, uint64, []byte) error { return nil }}); !errors.Is(err, context.Canceled) {
		t.Fatalf("replay: %v", err)
	}
	var done, total int64
	if _, err := l.Replay(t.Context(), Replaying{Progress: func(d, n int64) { done, total = d, n }, Record: func(uint64, uint64, []byte) error { return nil }}); err != nil {
		t.Fatal(err)
	}
	if done != total || total != l.Size() {
		t.Fatalf("progress %d of %d, size %d", done, total, l.Size())
	}
}

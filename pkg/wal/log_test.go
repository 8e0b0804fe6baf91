package wal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// entry is one replayed record.
type entry struct {
	Epoch uint64
	Rec   string
}

// openTest opens a log with small bounds; o may set what a test is about.
func openTest(t testing.TB, o Options) *Log {
	t.Helper()
	if o.ReserveBytes == 0 {
		o.ReserveBytes = -1
	}
	if o.LowWater == 0 {
		o.LowWater = -1
	}
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// start runs the log; the function that it returns stops and closes it.
func start(t testing.TB, l *Log) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil && !errors.Is(err, ErrUnavailable) {
				t.Error(err)
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

func put(t testing.TB, l *Log, recs ...string) {
	t.Helper()
	var last Position
	for _, rec := range recs {
		p, err := l.Append([]byte(rec))
		if err != nil {
			t.Fatal(err)
		}
		last = p
	}
	if err := l.Wait(t.Context(), last); err != nil {
		t.Fatal(err)
	}
}

func replayAll(t testing.TB, l *Log) ([]entry, Damage) {
	t.Helper()
	var got []entry
	d, err := l.Replay(t.Context(), Replaying{Record: func(epoch, _ uint64, rec []byte) error {
		got = append(got, entry{epoch, string(rec)})
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return got, d
}

// reopen replays what another Log left in o's directory.
func reopen(t testing.TB, o Options) ([]entry, Damage) {
	t.Helper()
	l := openTest(t, o)
	defer l.Close()
	return replayAll(t, l)
}

func TestRoundTrip(t *testing.T) {
	for _, raw := range []bool{false, true} {
		o := Options{Dir: t.TempDir(), NoCompression: raw, SegmentBytes: 16 << 10}
		var want []entry
		for run := range 3 {
			l := openTest(t, o)
			got, damage := replayAll(t, l)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatal(diff)
			}
			if damage.Lossy() || damage.Tail {
				t.Fatal(damage)
			}
			stop := start(t, l)
			for epoch := range 3 {
				for i := range 20 {
					rec := fmt.Sprintf("%d/%d/%d %0*d", run, epoch, i, i*i*10, 7)
					put(t, l, rec)
					want = append(want, entry{l.Term().Epoch, rec})
				}
				if _, err := l.NextEpoch(); err != nil {
					t.Fatal(err)
				}
			}
			stop()
		}
	}
}

func TestLocked(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	l := openTest(t, o)
	if _, err := Open(o); !errors.Is(err, ErrLocked) {
		t.Fatalf("second open: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openTest(t, o)
	l.Close()
	if _, err := l.Append([]byte("x")); !errors.Is(err, ErrClosed) {
		t.Fatalf("append after close: %v", err)
	}
}

// TestReplayFrom passes over what the caller has already: whatever the number, exactly the records from there on come,
// each with the number that its Position told. A replay beside Run sees nothing of what is appended since Open.
func TestReplayFrom(t *testing.T) {
	o := Options{Dir: t.TempDir(), SegmentBytes: 16 << 10}
	l := openTest(t, o)
	stop := start(t, l)
	numbers := map[string]uint64{}
	const n = 200
	for i := range n {
		rec := fmt.Sprintf("%d %0*d", i, 500, i)
		p, err := l.Append([]byte(rec))
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Wait(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		numbers[rec] = p.Number()
	}
	stop()
	l = openTest(t, o)
	defer start(t, l)()
	put(t, l, "since Open")
	for from := uint64(0); from <= n+1; from += 7 {
		next := from
		_, err := l.Replay(t.Context(), Replaying{From: func(uint64) uint64 { return from }, Record: func(_, number uint64, rec []byte) error {
			if want, ok := numbers[string(rec)]; !ok || number != want || number != next {
				return fmt.Errorf("record %.8s has number %d, appended as %d, after %d", rec, number, want, next)
			}
			next++
			return nil
		}})
		if err != nil || next != max(from, n) {
			t.Fatalf("from %d: %v, up to %d", from, err, next)
		}
	}
}

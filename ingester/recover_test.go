package ingester

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/pkg/wal"
)

// faultyFS is the system's, whose reads can be held up and whose syncs can fail.
type faultyFS struct {
	wal.OS
	failSync atomic.Bool
	syncs    sync.RWMutex // syncs wait while it is locked

	mu    sync.Mutex
	opens int           // so far
	free  int           // so many are not held up
	gate  chan struct{} // the others wait until it is closed
}

func (f *faultyFS) Open(path string) (wal.File, error) {
	f.mu.Lock()
	gate := f.gate
	if f.opens++; f.opens <= f.free {
		gate = nil
	}
	f.mu.Unlock()
	if gate != nil {
		<-gate
	}
	return f.OS.Open(path)
}

func (f *faultyFS) Create(path string) (wal.File, error) {
	file, err := f.OS.Create(path)
	return faultyFile{file, f}, err
}

type faultyFile struct {
	wal.File
	fs *faultyFS
}

var errSync = errors.New("sync failed")

func (f faultyFile) Sync() error {
	f.fs.syncs.RLock()
	defer f.fs.syncs.RUnlock()
	if f.fs.failSync.CompareAndSwap(true, false) {
		return errSync
	}
	return f.File.Sync()
}

// startHeld runs an ingester that takes writes and whose replay waits until release is called; crash ends it before.
func (b *bed) startHeld() (release, crash func()) {
	b.t.Helper()
	counted := &faultyFS{}
	l, err := wal.Open(wal.Options{Dir: filepath.Join(b.dir, "wal"), ReserveBytes: -1, LowWater: -1, FS: counted})
	if err != nil {
		b.t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		b.t.Fatal(err)
	}
	fs := &faultyFS{free: counted.opens, gate: make(chan struct{})}
	b.fs = fs
	b.make()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	var once sync.Once
	crash = func() {
		once.Do(func() {
			cancel()
			release()
			if err := <-done; err != nil {
				b.t.Errorf("run: %v", err)
			}
		})
	}
	release = sync.OnceFunc(func() { close(fs.gate) })
	b.stop = crash
	b.t.Cleanup(crash)
	for b.Accepting() != nil {
		select {
		case err := <-done:
			b.t.Fatalf("run ended before writes were taken: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	return release, crash
}

// untilReady waits until reads are answered.
func (b *bed) untilReady() {
	b.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); b.Ready() != nil; {
		if time.Now().After(deadline) {
			b.t.Fatal(b.Ready())
		}
		time.Sleep(time.Millisecond)
	}
}

// Writes are acked while the log is still being replayed, and outlive another crash then; reads wait for all of it.
func TestWritesAreTakenDuringTheReplay(t *testing.T) {
	b := newBed(t)
	want := pushRounds(b, 50)
	b.stop()
	late := func(generation uint32, from int) {
		for i := from; i < from+20; i++ {
			ack := b.pushAs(generation, func(bl *series.Builder) {
				if i == from {
					bl.Define(0, named("m0"))
					bl.Define(1, named(fmt.Sprint("new", generation)))
				}
				bl.Float(0, int64(i+1), float64(i)*1e9) // for some times another value, which is the greater
				bl.Float(1, int64(i+1), float64(i))
			})
			key := fmt.Sprintf("m0@%d", i+1)
			want[key] = max(want[key], float64(i)*1e9)
			want[fmt.Sprintf("new%d@%d", generation, i+1)] = float64(i)
			if ack.Conflicts != 0 {
				t.Errorf("%d conflicts are told of samples that nobody has looked at", ack.Conflicts)
			}
		}
	}
	_, crash := b.startHeld()
	late(2, 40)
	b.refuses("while it replays")
	if err := b.Ready(); !strings.Contains(err.Error(), "replaying the log") {
		t.Errorf("it is not ready: %v", err)
	}
	crash()
	release, _ := b.startHeld()
	late(3, 60)
	b.refuses("while it replays again")
	release()
	b.untilReady()
	b.want(want)
	if ack := b.pushAs(3, func(bl *series.Builder) { bl.Float(1, 80, 1e6) }); ack.Conflicts != 1 {
		t.Errorf("after the replay, %d conflicts are told", ack.Conflicts)
	}
	want["new3@80"] = 1e6
	b.flush()
	b.want(want)
	b.fs = nil
	b.restart()
	b.want(want)
	if b.witness.since() != 0 {
		t.Error("something was lost")
	}
}

// Old epochs are replayed beside, and cut when all is there.
func TestOldEpochsAreReplayedBesideWrites(t *testing.T) {
	b := newBed(t)
	want := pushRounds(b, 5)
	inTheWay := filepath.Join(b.dir, "blocks", "anonymous") // no block can be written: the old epoch stays
	if err := errors.Join(os.MkdirAll(filepath.Dir(inTheWay), 0o755), os.WriteFile(inTheWay, nil, 0o644), b.Rotate()); err != nil {
		t.Fatal(err)
	}
	b.push(func(bl *series.Builder) { bl.Float(1, 6, 6); want["m1@6"] = 6 })
	b.stop()
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	release, _ := b.startHeld()
	b.pushAs(2, func(bl *series.Builder) { bl.Define(9, named("m1")); bl.Float(9, 7, 7); want["m1@7"] = 7 })
	release()
	b.untilReady()
	b.want(want)
	b.flush()
	b.want(want)
}

// What waits for the replay's end is bounded: then writes are refused, for now.
func TestTheBacklogIsBounded(t *testing.T) {
	b := newBed(t)
	pushRounds(b, 1)
	b.stop()
	release, _ := b.startHeld()
	const samples = 100
	b.backlog.most = 10 * samples * floatBytes
	want := map[string]float64{"m0@1": 1, "m1@1": 2}
	var refused error
	for i := 0; refused == nil && i < 100; i++ {
		var bl series.Builder
		bl.Reset(series.StreamID{Distributor: 5, Generation: 1}, tenant.Anonymous)
		name := fmt.Sprint("n", i)
		bl.Define(series.Number(i), labels.FromStrings("__name__", name, "x", strings.Repeat("definitions don't wait", 100)))
		for ts := range samples {
			bl.Float(series.Number(i), int64(ts), 1)
		}
		r, err := b.Push(bl.AppendTo(nil))
		if err == nil {
			_, err = r.Wait(t.Context())
			for ts := range samples {
				want[fmt.Sprintf("%s@%d", name, ts)] = 1
			}
		}
		refused = err
	}
	if !errors.Is(refused, ErrNotReady) {
		t.Fatalf("with a full backlog it answers %v", refused)
	}
	if n := (len(want) - 2) / samples; n < 7 || n > 10 { // a batch is reserved whole, with its definitions
		t.Errorf("%d batches are in the backlog, which has room for 10", n)
	}
	release()
	b.untilReady()
	b.want(want)
	b.pushAs(2, func(bl *series.Builder) { bl.Define(0, named("z")); bl.Float(0, 1, 1); want["z@1"] = 1 })
	b.want(want)
}

// Many write while the replay ends: whatever is acked is there.
func TestWritesGoOnWhileTheReplayEnds(t *testing.T) {
	b := newBed(t)
	want := pushRounds(b, 20)
	b.stop()
	release, _ := b.startHeld()
	const writers = 4
	var wg sync.WaitGroup
	acked := make([]map[string]float64, writers)
	ready := make(chan struct{})
	for w := range writers {
		acked[w] = map[string]float64{}
		wg.Go(func() {
			for i, after := 0, 0; after < 20; i++ {
				var bl series.Builder
				bl.Reset(series.StreamID{Distributor: uint64(100 + w), Generation: 1}, tenant.Anonymous)
				if i == 0 {
					bl.Define(0, named(fmt.Sprint("w", w)))
				}
				bl.Float(0, int64(i+1), float64(i))
				r, err := b.Push(bl.AppendTo(nil))
				if err == nil {
					_, err = r.Wait(context.Background())
				}
				if err != nil {
					t.Error(err)
					return
				}
				acked[w][fmt.Sprintf("w%d@%d", w, i+1)] = float64(i)
				select {
				case <-ready:
					after++
				default:
				}
			}
		})
	}
	release()
	b.untilReady()
	close(ready)
	wg.Wait()
	for _, a := range acked {
		maps.Copy(want, a)
	}
	b.want(want)
	b.fs = nil
	b.restart()
	b.want(want)
}

// After a fence, values begin anew: what the failed group had is no base for anything.
func TestValuesOutliveAFence(t *testing.T) {
	b := newBedOf(t, time.Hour)
	fs := &faultyFS{}
	b.fs = fs
	b.start()
	want := pushRounds(b, 10)
	fs.failSync.Store(true)
	var bl series.Builder
	bl.Reset(series.StreamID{Distributor: 1, Generation: 1}, tenant.Anonymous)
	bl.Float(0, 100, 12345)
	bl.Float(1, 100, 54321)
	r, err := b.Push(bl.AppendTo(nil))
	if err == nil {
		_, err = r.Wait(t.Context())
	}
	if !errors.Is(err, series.ErrUnavailable) {
		t.Fatalf("with a disk that fails: %v", err)
	}
	b.untilReady()
	for i := range 5 {
		b.push(func(bl *series.Builder) {
			bl.Float(1, int64(101+i), float64(i)/3)
			want[fmt.Sprintf("m1@%d", 101+i)] = float64(i) / 3
		})
	}
	b.restart()
	got := b.content()
	delete(got, "m0@100") // not acked: it may be there
	delete(got, "m1@100")
	for key, v := range want {
		if w, ok := got[key]; !ok || w != v {
			t.Errorf("%s is %v (%v), want %v", key, w, ok, v)
		}
	}
	if len(got) != len(want) || b.witness.since() != 0 {
		t.Errorf("%d samples, want %d; complete since %d", len(got), len(want), b.witness.since())
	}
}

// A log that can't keep up refuses batches. That spoils no value, and makes no series be defined once more: that would
// be more to write, not less.
func TestRefusedBatchesDefineNothingAnew(t *testing.T) {
	b := newBedOf(t, time.Hour)
	fs := &faultyFS{}
	b.fs, b.pending = fs, 200
	b.start()
	want := pushRounds(b, 10)
	st := b.stream(series.StreamID{Distributor: 1, Generation: 1})
	round, refused := st.round, 0
	fs.syncs.Lock()
	var waiting []*Receipt
	for i := range 10 {
		var bl series.Builder
		bl.Reset(st.id, tenant.Anonymous)
		bl.Float(0, int64(100+i), math.Sqrt(float64(i)))
		bl.Float(1, int64(100+i), math.Sqrt(float64(i)))
		r, err := b.Push(bl.AppendTo(nil))
		switch {
		case errors.Is(err, wal.ErrOverloaded):
			refused++
		case err != nil:
			t.Fatal(err)
		default:
			waiting = append(waiting, r)
			want[fmt.Sprintf("m0@%d", 100+i)], want[fmt.Sprintf("m1@%d", 100+i)] = math.Sqrt(float64(i)), math.Sqrt(float64(i))
		}
	}
	fs.syncs.Unlock()
	for _, r := range waiting {
		if _, err := r.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	b.push(func(bl *series.Builder) { bl.Float(1, 200, 0.3); want["m1@200"] = 0.3 })
	if refused == 0 || st.round != round {
		t.Errorf("%d batches were refused; rounds of definitions: %d, then %d", refused, round, st.round)
	}
	b.restart()
	b.want(want)
}

// Everything but the sync was done: there is no ack yet.
func TestAnAckWaitsForTheSync(t *testing.T) {
	b := newBedOf(t, time.Hour)
	fs := &faultyFS{}
	b.fs = fs
	b.start()
	pushRounds(b, 2)
	fs.syncs.Lock()
	var bl series.Builder
	bl.Reset(series.StreamID{Distributor: 1, Generation: 1}, tenant.Anonymous)
	bl.Float(0, 100, 12345)
	r, err := b.Push(bl.AppendTo(nil))
	if err != nil {
		t.Fatal(err)
	}
	<-r.applied
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, early := r.Wait(ctx)
	fs.syncs.Unlock()
	if !errors.Is(early, context.DeadlineExceeded) {
		t.Fatalf("before the sync: %v", early)
	}
	if _, err := r.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
}

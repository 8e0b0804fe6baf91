package ingester

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// writer pushes random samples of its own series, and remembers them.
type writer struct {
	b       *bed
	id      series.StreamID
	name    string
	rnd     *rand.Rand
	defined map[series.Number]bool
	now     int64
	want    map[string]float64
}

func newWriter(b *bed, distributor uint64) *writer {
	return &writer{
		b: b, id: series.StreamID{Distributor: distributor, Generation: 1}, name: fmt.Sprintf("w%d", distributor),
		rnd: rand.New(rand.NewPCG(distributor, 7)), defined: map[series.Number]bool{}, now: 1000, want: map[string]float64{},
	}
}

// restarted begins a new stream, as a distributor does whose owner came back.
func (w *writer) restarted() {
	w.id.Generation++
	clear(w.defined)
}

// push sends one batch, of which some samples are late.
func (w *writer) push() {
	var bl series.Builder
	bl.Reset(w.id, tenant.Anonymous)
	w.now += 1000
	for range 1 + w.rnd.IntN(20) {
		n, t, v := series.Number(w.rnd.IntN(30)), w.now+int64(w.rnd.IntN(1000)), float64(w.rnd.IntN(50))
		if w.rnd.IntN(10) == 0 {
			t -= int64(w.rnd.IntN(int(w.now)))
		}
		at := fmt.Sprintf("%s_%d@%d", w.name, n, t)
		if _, ok := w.want[at]; ok {
			continue
		}
		if !w.defined[n] {
			w.defined[n] = true
			bl.Define(n, named(fmt.Sprintf("%s_%d", w.name, n)))
		}
		bl.Float(n, t, v)
		w.want[at] = v
	}
	r, err := w.b.Push(bl.AppendTo(nil))
	if err == nil {
		_, err = r.Wait(context.Background())
	}
	if err != nil {
		w.b.t.Error(err)
	}
}

func (b *bed) snapshot() {
	b.t.Helper()
	if err := b.snapshots.take(context.Background()); err != nil {
		b.t.Fatal(err)
	}
}

// A restart from a snapshot has what a replay of the whole log would have, and replays only what comes after it.
func TestARestartFromASnapshot(t *testing.T) {
	b := newBed(t)
	ws := []*writer{newWriter(b, 1), newWriter(b, 2)}
	for range 4 {
		after := 0
		for k := range 5 {
			for range 40 {
				for _, w := range ws {
					w.push()
					after++
				}
			}
			if k < 4 {
				b.snapshot()
				after = 0
			}
		}
		b.restart()
		if got := int(testutil.ToFloat64(b.metrics.replayed)); got < after || got > after+10 {
			t.Errorf("%d records replayed, where %d batches came after the snapshot", got, after)
		}
		b.want(union(ws))
		for _, w := range ws {
			w.restarted()
		}
	}
	if err := b.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	b.want(union(ws))
}

func union(ws []*writer) map[string]float64 {
	all := map[string]float64{}
	for _, w := range ws {
		maps.Copy(all, w.want)
	}
	return all
}

// A process that is stopped during its replay must not leave a snapshot of heads that have only a part.
func TestNoSnapshotBeforeTheReplaysEnd(t *testing.T) {
	b := newBed(t)
	w := newWriter(b, 1)
	for range 50 {
		w.push()
	}
	b.stop()
	release, _ := b.startHeld()
	if err := b.snapshots.take(t.Context()); err == nil {
		t.Error("a snapshot was taken while the log was replayed")
	}
	release()
	b.untilReady()
	b.want(w.want)
}

// Snapshots are taken while writes go on and epochs end: nothing is lost, whatever a restart finds.
func TestSnapshotsBesideWritesAndRotations(t *testing.T) {
	b := newBed(t)
	ws := []*writer{newWriter(b, 1), newWriter(b, 2), newWriter(b, 3)}
	for round := range 3 {
		var wg sync.WaitGroup
		for _, w := range ws {
			wg.Go(func() {
				for range 150 {
					w.push()
				}
			})
		}
		wg.Go(func() {
			for range 10 {
				_ = b.snapshots.take(context.Background()) // fails where the epoch ends meanwhile
			}
		})
		if round > 0 {
			wg.Go(func() {
				for range 3 {
					if err := b.Rotate(); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		b.restart()
		b.want(union(ws))
		for _, w := range ws {
			w.restarted()
		}
	}
}

// A snapshot that is damaged, cut off or gone costs time only.
func TestADamagedSnapshotLosesNothing(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for n := range 60 {
		b := newBed(t)
		w := newWriter(b, 1)
		for range 5 {
			for range 50 {
				w.push()
			}
			b.snapshot()
		}
		w.push()
		b.stop()
		files, err := filepath.Glob(filepath.Join(b.dir, "wal", "*", "*.snapshot"))
		if err != nil || len(files) != 2 {
			t.Fatal(files, err)
		}
		file := files[n%2]
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		switch n % 6 / 2 {
		case 0:
			data[rnd.IntN(len(data))] ^= 1 << rnd.IntN(8)
		case 1:
			data = data[:rnd.IntN(len(data))]
		case 2:
			from := rnd.IntN(len(data))
			clear(data[from:min(from+512, len(data))])
		}
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		b.start()
		b.want(w.want)
		if testutil.ToFloat64(b.metrics.lostRecords) > 0 {
			t.Error("records are lost")
		}
		b.stop()
	}
}

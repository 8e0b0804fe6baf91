package ingester

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/wal"
)

// Records of the log are batches, whose first byte is their version, the mark of an epoch's begin, or that of a snapshot.
const epochMark = 0xE0

func markOf(t time.Time) []byte {
	return binary.LittleEndian.AppendUint64([]byte{epochMark}, uint64(t.UnixMilli()))
}

// replay makes the heads again that the log has. If it has nothing of the current epoch, that began at opened.
func (i *Ingester) replay(ctx context.Context, opened time.Time) error {
	begun := time.Now()
	current := i.current
	r := replayer{i: i, current: current, epochs: map[uint64]*replayed{}}
	if err := r.load(ctx); err != nil {
		return fmt.Errorf("replay log: %w", err)
	}
	damage, err := i.log.Replay(ctx, wal.Replaying{Record: r.record, From: r.from, Progress: i.progress.set})
	if err != nil {
		return fmt.Errorf("replay log: %w", err)
	}
	i.mu.Lock()
	for _, number := range slices.Sorted(maps.Keys(r.epochs)) {
		if number != current.number {
			i.old = append(i.old, r.epochs[number].epoch)
		}
	}
	i.mu.Unlock()
	if _, ok := i.startOf(current.number); !ok && r.epochs[current.number] == nil {
		i.noteEpoch(opened)
	}
	if damage.Lossy() || r.unresolved > 0 {
		i.logger.Error("log is damaged: acked samples of this replica are lost", "damage", damage.String(), "batches_unresolved", r.unresolved)
		i.metrics.lostRecords.Add(float64(damage.Records) + float64(r.unresolved))
		if err := i.witness.lost(i.deps.Now()); err != nil {
			return err
		}
	}
	i.metrics.replayed.Set(float64(r.records))
	i.logger.Info("log replayed", "duration", time.Since(begun), "records", r.records, "epochs", len(r.epochs), "torn_tail_bytes", damage.TailBytes)
	return nil
}

// replayer applies records. Each epoch's records stand by themselves, so streams are those of one epoch.
type replayer struct {
	i          *Ingester
	current    *epoch
	epochs     map[uint64]*replayed
	r          resolved
	records    int
	unresolved int
}

// replayed is an epoch that comes back.
type replayed struct {
	*epoch
	from    uint64 // the first record that no snapshot has
	streams map[series.StreamID]*stream
}

// load makes what snapshots have of the epochs.
func (r *replayer) load(ctx context.Context) error {
	for _, number := range r.i.log.Epochs() {
		e := r.epochOf(number)
		l, err := r.i.loadSnapshot(ctx, e)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			r.i.metrics.snapshotFailures.Inc()
			r.i.logger.Warn("snapshot can't be used: the whole log of the epoch is replayed", "epoch", number, "error", err)
			continue
		}
		if l == nil {
			continue
		}
		r.epochs[number] = &replayed{e, l.from, l.streams}
		r.i.began(number, l.started)
		for _, rec := range l.records {
			if err := r.record(number, 0, rec); err != nil {
				return err
			}
		}
	}
	return nil
}

// epochOf is a new epoch of that number, or the current one.
func (r *replayer) epochOf(number uint64) *epoch {
	if number == r.current.number {
		return r.current
	}
	return newEpoch(number)
}

func (r *replayer) from(number uint64) uint64 {
	if e := r.epochs[number]; e != nil {
		return e.from
	}
	return 0
}

func (r *replayer) record(number, _ uint64, rec []byte) error {
	e := r.epochs[number]
	if e == nil {
		e = &replayed{r.epochOf(number), 0, map[series.StreamID]*stream{}}
		r.epochs[number] = e
	}
	r.records++
	if len(rec) == 1 && rec[0] == snapshotMark {
		return nil
	}
	if len(rec) == 9 && rec[0] == epochMark {
		r.i.began(number, time.UnixMilli(int64(binary.LittleEndian.Uint64(rec[1:]))))
		return nil
	}
	b, err := series.ParseLogged(rec)
	if err != nil {
		r.unresolved++
		return nil
	}
	st := e.streams[b.Stream]
	if st == nil {
		st = &stream{id: b.Stream, lost: true}
		st.begin(wal.Term{Epoch: number})
		e.streams[b.Stream] = st
	}
	d := st.dictionary(b.Tenant, e.head(b.Tenant))
	err = r.r.resolve(d, &b, func() (err error) {
		r.r.floats, err = d.decode(&b, r.r.floats)
		return err
	})
	switch {
	case errors.Is(err, series.ErrUnknownNumber), errors.Is(err, series.ErrCorrupt):
		r.unresolved++
		st.lost = true
		return nil
	case err != nil:
		return err
	}
	r.i.snapshots.samples.Add(int64(len(r.r.floats) + len(r.r.histograms)))
	r.i.apply(&r.r)
	return nil
}

// progress is how far a replay is.
type progress struct {
	replaying   atomic.Bool
	done, total atomic.Int64
}

func (p *progress) begin()                { p.replaying.Store(true) }
func (p *progress) finish()               { p.replaying.Store(false) }
func (p *progress) set(done, total int64) { p.done.Store(done); p.total.Store(total) }

func (p *progress) err() error {
	if !p.replaying.Load() {
		return nil
	}
	done, total := p.done.Load(), max(p.total.Load(), 1)
	return fmt.Errorf("%w: replaying the log: %d %% of %d MiB", ErrNotReady, done*100/total, total>>20)
}

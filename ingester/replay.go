package ingester

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/wal"
)

// Records of the log are batches, whose first byte is their version, or the mark of an epoch's begin.
const epochMark = 0xE0

func markOf(t time.Time) []byte {
	return binary.LittleEndian.AppendUint64([]byte{epochMark}, uint64(t.UnixMilli()))
}

// replay makes the heads again that the log has. If it has nothing of the current epoch, that began at opened.
func (i *Ingester) replay(ctx context.Context, opened time.Time) error {
	begun := time.Now()
	current := i.current
	r := replayer{i: i, epochs: map[uint64]*epoch{current.number: current}}
	damage, err := i.log.Replay(ctx, wal.Replaying{Record: r.record, Progress: i.progress.set})
	if err != nil {
		return fmt.Errorf("replay log: %w", err)
	}
	i.mu.Lock()
	for _, number := range r.order {
		if number != current.number {
			i.old = append(i.old, r.epochs[number])
		}
	}
	i.mu.Unlock()
	if _, ok := i.startOf(current.number); !ok && !slices.Contains(r.order, current.number) {
		i.noteEpoch(opened)
	}
	if damage.Lossy() || r.unresolved > 0 {
		i.logger.Error("log is damaged: acked samples of this replica are lost", "damage", damage.String(), "batches_unresolved", r.unresolved)
		i.metrics.lostRecords.Add(float64(damage.Records) + float64(r.unresolved))
		if err := i.witness.lost(i.deps.Now()); err != nil {
			return err
		}
	}
	i.logger.Info("log replayed", "duration", time.Since(begun), "records", r.records, "epochs", len(r.order), "torn_tail_bytes", damage.TailBytes)
	return nil
}

// replayer applies records. Each epoch's records stand by themselves, so streams are those of one epoch.
type replayer struct {
	i          *Ingester
	epochs     map[uint64]*epoch
	order      []uint64
	streams    map[series.StreamID]*stream
	r          resolved
	records    int
	unresolved int
}

// epoch is where the records of a number go.
func (r *replayer) epoch(number uint64) *epoch {
	if n := len(r.order); n == 0 || r.order[n-1] != number {
		r.order = append(r.order, number)
		r.streams = map[series.StreamID]*stream{}
	}
	e := r.epochs[number]
	if e == nil {
		e = newEpoch(number)
		r.epochs[number] = e
	}
	return e
}

func (r *replayer) record(number, _ uint64, rec []byte) error {
	e := r.epoch(number)
	r.records++
	if len(rec) == 9 && rec[0] == epochMark {
		r.i.began(number, time.UnixMilli(int64(binary.LittleEndian.Uint64(rec[1:]))))
		return nil
	}
	b, err := series.ParseLogged(rec)
	if err != nil {
		r.unresolved++
		return nil
	}
	st := r.streams[b.Stream]
	if st == nil {
		st = &stream{id: b.Stream, lost: true}
		st.begin(wal.Term{Epoch: number})
		r.streams[b.Stream] = st
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

package ingester

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
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

// replay makes the heads again that the log has.
func (i *Ingester) replay(ctx context.Context) error {
	i.progress.begin()
	begun := time.Now()
	r := replayer{i: i, epochs: map[uint64]*epoch{}}
	damage, err := i.log.Replay(ctx, wal.Replaying{Record: r.record, Progress: i.progress.set})
	if err != nil {
		return fmt.Errorf("replay log: %w", err)
	}
	i.mu.Lock()
	current := i.log.Term().Epoch
	for _, number := range r.order {
		if number != current {
			i.old = append(i.old, r.epochs[number])
		}
	}
	if i.current = r.epochs[current]; i.current == nil {
		i.current = newEpoch(current)
	}
	i.mu.Unlock()
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

func (r *replayer) record(number, _ uint64, rec []byte) error {
	e := r.epochs[number]
	if e == nil {
		e = newEpoch(number)
		r.epochs[number] = e
		r.order = append(r.order, number)
		r.streams = map[series.StreamID]*stream{}
	}
	r.records++
	if len(rec) == 9 && rec[0] == epochMark {
		r.i.started[number] = time.UnixMilli(int64(binary.LittleEndian.Uint64(rec[1:])))
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

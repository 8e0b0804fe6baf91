package ingester

import (
	"context"
	"fmt"
	"time"

	"github.com/varve-io/varve/pkg/tenant"
)

// rotateLoop begins a new epoch at every multiple of the head period, a little late, so that what comes with the usual
// delay is still in the epoch of its time.
func (i *Ingester) rotateLoop(ctx context.Context) error {
	period := time.Duration(i.cfg.HeadPeriod)
	lag := min(period/24, 5*time.Minute)
	for {
		now := i.deps.Now()
		next := now.Add(-lag).Truncate(period).Add(period + lag)
		timer := time.NewTimer(next.Sub(now))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		if err := i.Rotate(); err != nil {
			i.logger.Error("rotate", "error", err)
		}
		i.dropStreams()
	}
}

// Rotate ends the epoch at one position of the log, for all tenants. Where nothing was written, nothing happens. The
// old epoch is cut in the background.
func (i *Ingester) Rotate() error {
	i.mu.Lock()
	old := i.current
	if old == nil || len(old.all()) == 0 {
		i.mu.Unlock()
		return nil
	}
	if _, err := i.log.NextEpoch(); err != nil {
		i.mu.Unlock()
		return fmt.Errorf("begin epoch: %w", err)
	}
	i.current = newEpoch(i.log.Term().Epoch)
	i.old = append(i.old, old)
	i.mu.Unlock()

	old.inflight.Wait()
	for _, h := range old.all() {
		h.Seal()
	}
	i.metrics.rotations.Inc()
	return i.beginEpoch(i.deps.Now())
}

// noteEpoch is beginEpoch where it must go on without.
func (i *Ingester) noteEpoch(began time.Time) {
	if err := i.beginEpoch(began); err != nil {
		i.logger.Error("begin epoch", "error", err)
	}
}

// began notes when the first of an epoch may have been received.
func (i *Ingester) began(number uint64, at time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.started[number] = at
}

// startOf is that time, if it is known.
func (i *Ingester) startOf(number uint64) (time.Time, bool) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	at, ok := i.started[number]
	return at, ok
}

// beginEpoch logs what an epoch's log must have by itself: when it began, and what is known of metric families.
func (i *Ingester) beginEpoch(began time.Time) error {
	i.mu.Lock()
	i.started[i.current.number] = began
	old := i.old
	i.mu.Unlock()
	if _, err := i.log.Append(markOf(began)); err != nil {
		return fmt.Errorf("log the epoch's begin: %w", err)
	}
	active := func(id tenant.ID) bool {
		return len(old) == 0 || old[len(old)-1].lookup(id) != nil
	}
	for _, b := range i.families.batches(active) {
		if _, err := i.log.Append(b); err != nil {
			return fmt.Errorf("log metadata: %w", err)
		}
	}
	return nil
}

// Flush cuts and ships everything, and returns when it is in the catalog. It lets go of what has been there for the
// grace.
func (i *Ingester) Flush(ctx context.Context) error {
	if !i.serving.Load() {
		return ErrNotReady
	}
	if err := i.Rotate(); err != nil {
		return err
	}
	if err := i.cutAll(ctx); err != nil {
		return err
	}
	if err := i.shipAll(ctx); err != nil {
		return err
	}
	i.release(ctx)
	return nil
}

// Leave ends the writes for good and ships everything. Reads are answered on; after the stop that follows, the bucket
// no longer knows this owner.
func (i *Ingester) Leave(ctx context.Context) error {
	if !i.serving.Load() {
		return ErrNotReady
	}
	i.leaving.Store(true)
	i.accept(false)
	return i.Flush(ctx)
}

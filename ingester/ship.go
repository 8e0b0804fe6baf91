package ingester

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/varve-io/varve/pkg/catalog"
)

// shipLoop moves local blocks to the bucket, and lets go of those that have been safe there for the grace.
func (i *Ingester) shipLoop(ctx context.Context) error {
	every := min(shipEvery, max(time.Duration(i.cfg.HeadPeriod)/10, 200*time.Millisecond))
	pause := every
	for {
		err := i.shipAll(ctx)
		switch {
		case err == nil:
			pause = every
		case ctx.Err() == nil:
			pause = min(pause*2, shipRetryMost)
			i.metrics.shipFailures.Inc()
			i.logger.Error("ship: blocks stay on local disk, and are served from there", "error", err, "next_attempt_in", pause)
		}
		i.release(ctx)
		if err := i.vouch(ctx); err != nil && ctx.Err() == nil {
			i.logger.Warn("tell the bucket what is shipped; costs of hours wait for it", "error", err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// shipAll ships every block that is not known to be safe. One that can't be shipped doesn't hold up the others.
func (i *Ingester) shipAll(ctx context.Context) error {
	i.shipMu.Lock()
	defer i.shipMu.Unlock()
	var errs []error
	for _, b := range i.blocks.all() {
		if !i.blocks.safeSince(b).IsZero() {
			continue
		}
		if err := i.ship(ctx, b); err != nil {
			errs = append(errs, fmt.Errorf("block %s of tenant %s: %w", b.Meta().ULID, b.tenant, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

func (i *Ingester) ship(ctx context.Context, b *localBlock) error {
	known, err := i.deps.Catalog.Knows(ctx, b.tenant, b.Meta().ULID)
	if err != nil {
		return err
	}
	if !known {
		if err := i.deps.Catalog.Ship(ctx, b.tenant, b.dir); err != nil {
			return err
		}
		i.metrics.shipped.Inc()
	}
	i.blocks.markSafe(b, i.deps.Now())
	return nil
}

// release lets go of the blocks whose grace is over, after one more look whether the catalog has them.
func (i *Ingester) release(ctx context.Context) {
	i.releaseMu.Lock()
	defer i.releaseMu.Unlock()
	now := i.deps.Now()
	var due []*localBlock
	for _, b := range i.blocks.all() {
		safe := i.blocks.safeSince(b)
		if safe.IsZero() || now.Sub(safe) < time.Duration(i.cfg.Grace) {
			continue
		}
		known, err := i.deps.Catalog.Knows(ctx, b.tenant, b.Meta().ULID)
		if err != nil {
			i.logger.Warn("look for a block before letting it go", "block", b.Meta().ULID, "error", err)
			break
		}
		if !known {
			i.logger.Error("catalog has lost a block: it is shipped again", "block", b.Meta().ULID, "tenant", b.tenant)
			i.blocks.markSafe(b, time.Time{})
			continue
		}
		due = append(due, b)
	}
	if err := i.blocks.release(due, now); err != nil {
		i.logger.Warn("release local blocks", "error", err)
	}
}

// shippedBefore: of what was received before this time, everything is in the catalog.
func (i *Ingester) shippedBefore() time.Time {
	i.mu.RLock()
	oldest := i.deps.Now()
	epochs := i.old
	if i.current != nil {
		epochs = append(slices.Clip(epochs), i.current)
	}
	for _, e := range epochs {
		if e == i.current && len(e.all()) == 0 {
			continue // nothing was received in it yet
		}
		if at := i.started[e.number]; at.Before(oldest) { // unknown is zero, the oldest of all
			oldest = at
		}
	}
	i.mu.RUnlock()
	for _, b := range i.blocks.all() {
		if i.blocks.safeSince(b).IsZero() && b.received.Before(oldest) {
			oldest = b.received
		}
	}
	return oldest
}

// vouch tells the bucket up to when everything that this owner received is in the catalogs, if that has moved on. What an incomplete owner
// lacks the others have: it says nothing until it is complete.
func (i *Ingester) vouch(ctx context.Context) error {
	i.vouchMu.Lock()
	defer i.vouchMu.Unlock()
	w, before := i.witness.now(), i.shippedBefore()
	if !w.Registered || w.Joining || w.CompleteSince != 0 || before.Sub(i.vouched) < time.Duration(i.cfg.HeadPeriod)/vouches {
		return nil
	}
	name := ownerObject(i.deps)
	record, err := catalog.ReadOwner(ctx, i.deps.Bucket, name)
	if i.deps.Bucket.IsObjNotFoundErr(err) { // taken for one that has gone; it registers again
		return nil
	}
	if err == nil && record.ShippedBefore.Before(before) {
		record.ReplicationFactor = min(record.ReplicationFactor, i.deps.Ring.View().ReplicationFactor)
		record.ShippedBefore = before.UTC()
		err = catalog.WriteOwner(ctx, i.deps.Bucket, name, record)
	}
	if err == nil {
		i.vouched = before
	}
	return err
}

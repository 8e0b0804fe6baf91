package compactor

import (
	"context"
	"errors"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/varve-io/varve/pkg/catalog"
	"github.com/varve-io/varve/pkg/tenant"
)

// maxDeletions bounds how many blocks are deleted before the others get their turn.
const maxDeletions = 1000

// expire removes blocks from the catalog whose samples are all older than the tenant's retention.
func (c *Compactor) expire(ctx context.Context, id tenant.ID, cat *catalog.Catalog) (*catalog.Catalog, error) {
	retention := time.Duration(c.deps.Limits.For(id).Retention)
	if retention <= 0 {
		return cat, nil
	}
	oldest := c.deps.Now().Add(-retention).UnixMilli()
	var old []ulid.ULID
	for _, b := range cat.Blocks {
		if b.MaxTime <= oldest {
			old = append(old, b.ID)
		}
	}
	if len(old) == 0 {
		return cat, nil
	}
	cat, err := c.deps.Catalog.Commit(ctx, id, catalog.Fact{Remove: old})
	if err != nil {
		return nil, err
	}
	c.metrics.expired.Add(float64(len(old)))
	c.logger.Info("blocks are past their retention", "tenant", id.String(), "blocks", len(old), "retention", retention)
	return cat, nil
}

// delete deletes the data of blocks that were removed from the catalog long enough ago.
func (c *Compactor) delete(ctx context.Context, id tenant.ID, cat *catalog.Catalog) error {
	due := cat.Expired(c.deps.Now(), time.Duration(c.cfg.DeleteDelay))
	gone, err := c.deleteBlocks(ctx, id, due[:min(len(due), maxDeletions)])
	if len(gone) == 0 {
		return err
	}
	_, commitErr := c.deps.Catalog.Commit(ctx, id, catalog.Fact{Deleted: gone})
	c.logger.Info("blocks deleted", "tenant", id.String(), "blocks", len(gone))
	return errors.Join(err, commitErr)
}

// deleteBlocks gives those of which nothing is left in the bucket.
func (c *Compactor) deleteBlocks(ctx context.Context, id tenant.ID, blocks []ulid.ULID) (gone []ulid.ULID, err error) {
	var errs []error
	for _, b := range blocks {
		if err := catalog.Delete(ctx, c.deps.Bucket, id, b); err != nil {
			errs = append(errs, err)
			if len(errs) == 3 || ctx.Err() != nil {
				break // the bucket is not well
			}
			continue
		}
		gone = append(gone, b)
		c.metrics.deleted.Inc()
	}
	return gone, errors.Join(errs...)
}

// reconcile compares the catalog with the bucket if that is due, and deletes partial uploads that were given up.
func (c *Compactor) reconcile(ctx context.Context, id tenant.ID) error {
	now := c.deps.Now()
	c.mu.Lock()
	last := c.state(id).reconciled
	c.mu.Unlock()
	if !last.IsZero() && now.Sub(last) < reconcileEvery {
		return nil
	}
	rep, err := c.deps.Catalog.Reconcile(ctx, id)
	if err != nil {
		return err
	}
	c.tell(id, rep)
	_, err = c.deleteBlocks(ctx, id, rep.Partial)
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.state(id)
	s.reconciled, s.vanished, s.skipped = now, len(rep.Vanished), len(rep.Skipped)
	return err
}

func (c *Compactor) tell(id tenant.ID, rep catalog.Report) {
	if n := len(rep.Added) + len(rep.Removed); n > 0 {
		c.logger.Info("catalog learned of blocks in the bucket", "tenant", id.String(), "added", len(rep.Added), "removed", len(rep.Removed))
	}
	if len(rep.Partial) > 0 {
		c.logger.Info("partial uploads are deleted", "tenant", id.String(), "blocks", rep.Partial)
	}
	for _, b := range rep.Vanished {
		c.logger.Error("block of the catalog has vanished from the bucket", "tenant", id.String(), "block", b)
	}
	for b, reason := range rep.Skipped {
		c.logger.Warn("block in the bucket can't be used", "tenant", id.String(), "block", b, "reason", reason)
	}
}

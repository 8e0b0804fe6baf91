package ingester

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/varve-io/varve/pkg/block"
	"github.com/varve-io/varve/pkg/head"
	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/pkg/wal"
)

// cutLoop cuts old epochs as they come; after a failure it tries again.
func (i *Ingester) cutLoop(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if err := i.cutAll(ctx); err != nil && ctx.Err() == nil {
			i.metrics.cutFailures.Inc()
			i.logger.Error("cut: the epoch stays in memory and in the log", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// cutAll turns every old epoch into local blocks and drops its log.
func (i *Ingester) cutAll(ctx context.Context) error {
	i.cutMu.Lock()
	defer i.cutMu.Unlock()
	defer i.dropLogs()
	defer i.vacateAll()
	for {
		i.mu.RLock()
		var e *epoch
		if len(i.old) > 0 {
			e = i.old[0]
		}
		i.mu.RUnlock()
		if e == nil {
			return nil
		}
		if err := i.cut(ctx, e); err != nil {
			return fmt.Errorf("cut epoch %d: %w", e.number, err)
		}
	}
}

// cut writes an epoch's blocks, puts them in the place of its heads, and drops its log.
func (i *Ingester) cut(ctx context.Context, e *epoch) error {
	begun := time.Now()
	e.inflight.Wait()
	received, _ := i.startOf(e.number)
	written := 0
	for id, h := range e.all() {
		n, err := i.cutHead(ctx, e, id, h, received)
		if err != nil {
			return fmt.Errorf("tenant %s: %w", id, err)
		}
		written += n
	}
	i.mu.Lock()
	i.old = slices.DeleteFunc(slices.Clone(i.old), func(o *epoch) bool { return o == e })
	delete(i.started, e.number)
	i.mu.Unlock()
	for _, h := range e.all() {
		h.Free()
	}
	i.freed = append(i.freed, freedEpoch{e, i.deps.Now()})
	i.logger.Info("epoch cut", "epoch", e.number, "tenants", len(e.all()), "blocks", written, "duration", time.Since(begun))
	i.cutEpochs = append(i.cutEpochs, e.number)
	return nil
}

// dropLogs deletes the logs of epochs that are cut. The log may not be ready for that yet: then the next round does it;
// a restart in between replays the epoch once more, and finds its blocks.
func (i *Ingester) dropLogs() {
	i.cutEpochs = slices.DeleteFunc(i.cutEpochs, func(number uint64) bool {
		err := i.log.DropEpoch(number)
		if err != nil && !errors.Is(err, wal.ErrEpochInUse) {
			i.logger.Warn("drop the log of a cut epoch", "epoch", number, "error", err)
		}
		return err == nil
	})
}

// cutHead writes one block per aligned range in which the head has samples, unless an earlier attempt did.
func (i *Ingester) cutHead(ctx context.Context, e *epoch, id tenant.ID, h *head.Head, received time.Time) (int, error) {
	h.Seal()
	rs, err := h.Ranges(blockWidth.Milliseconds())
	if err != nil {
		return 0, err
	}
	dir := filepath.Join(i.blocks.dir, id.String())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	for _, r := range rs {
		if !received.IsZero() && i.blocks.has(id, e, received, r.Min) {
			continue
		}
		m, err := block.Write(ctx, dir, h.Reader(r), block.Spec{
			MinTime: r.Min, MaxTime: r.Max,
			Origin: block.Varve{Partition: int(i.deps.Partition), Replica: i.deps.Instance, Epoch: int64(e.number)},
		})
		if err != nil {
			return 0, err
		}
		if m.Stats.NumSamples == 0 {
			continue
		}
		if err := i.blocks.add(ctx, id, m, received); err != nil {
			return 0, err
		}
		i.metrics.cutBlocks.Inc()
	}
	return len(rs), nil
}

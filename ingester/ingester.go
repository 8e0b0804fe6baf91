package ingester

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/thanos-io/objstore"
	"golang.org/x/sync/errgroup"

	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/pkg/wal"
)

// Catalog keeps blocks for good.
type Catalog interface {
	// Ship uploads the block in the directory, verifies it and enters it. Doing it again does no harm.
	Ship(ctx context.Context, id tenant.ID, dir string) error
	// Knows tells whether the catalog, read from the bucket just now, has the block or once had it.
	Knows(ctx context.Context, id tenant.ID, block ulid.ULID) (bool, error)
}

// Ring says which partitions there are.
type Ring interface {
	View() *ring.View
}

// Peers asks the other owners of this ingester's partition how they stand. Those that don't answer are left out.
type Peers interface {
	Standings(ctx context.Context) []series.Standing
}

// Dependencies are what an Ingester works with.
type Dependencies struct {
	// Dir is the ingester's own directory.
	Dir string
	// Instance and Partition are who it is in the ring.
	Instance  string
	Partition int32
	Catalog   Catalog
	Bucket    objstore.Bucket
	Ring      Ring
	Peers     Peers
	Logger    *slog.Logger
	Reg       prometheus.Registerer
	Now       func() time.Time
	// WAL overrides parts of the log's options, for tests of faults.
	WAL wal.Options
}

// Ingester holds what was written lately.
type Ingester struct {
	cfg     Config
	deps    Dependencies
	logger  *slog.Logger
	metrics *metrics
	log     *wal.Log
	witness *witness
	blocks  *localBlocks

	families  *families
	streamsMu sync.RWMutex
	streams   map[series.StreamID]*stream

	// mu guards what a rotation changes. Appends hold it shared while they log, so that a rotation is at one position
	// of the log for all tenants.
	mu        sync.RWMutex
	accepting bool
	// recovering: the log is being replayed, and what is written waits in the backlog.
	recovering bool
	backlog    backlog
	current    *epoch
	started    map[uint64]time.Time // of the epochs that are in memory
	old        []*epoch             // rotated away, not yet cut

	cutMu     sync.Mutex   // one cut at a time
	cutEpochs []uint64     // whose logs are to be dropped; guarded by cutMu
	freed     []freedEpoch // cut lately; guarded by cutMu
	shipMu    sync.Mutex   // one shipment at a time
	releaseMu sync.Mutex   // one release at a time
	vouchMu   sync.Mutex   // one word to the bucket at a time
	vouched   time.Time    // what it was told last; guarded by vouchMu
	leaving   atomic.Bool
	serving   atomic.Bool // from the end of the replay to the end of Run: reads are answered
	progress  progress
	snapshots snapshots
}

// New makes an ingester; Run starts it.
func New(cfg Config, deps Dependencies) *Ingester {
	i := &Ingester{
		cfg: cfg, deps: deps, logger: deps.Logger,
		metrics:  newMetrics(deps.Reg),
		blocks:   newLocalBlocks(filepath.Join(deps.Dir, "blocks"), deps.Logger),
		families: newFamilies(),
		streams:  map[series.StreamID]*stream{},
		backlog:  backlog{most: maxBacklog},
		started:  map[uint64]time.Time{},
	}
	i.snapshots.i = i
	return i
}

// Run takes batches until ctx ends, and replays the log meanwhile. Reads are answered from the end of the replay to the
// end of Run.
func (i *Ingester) Run(ctx context.Context) error {
	opened := i.deps.Now()
	fresh, err := i.open(ctx)
	if err != nil {
		return fmt.Errorf("ingester: %w", err)
	}
	defer i.close()

	// The log outlives the rest, so that what was taken before the end is acked.
	logCtx, stopLog := context.WithCancel(context.WithoutCancel(ctx))
	logDone := make(chan error, 1)
	go func() { logDone <- i.log.Run(logCtx) }()
	defer stopLog()

	if fresh {
		i.noteEpoch(opened)
	}
	i.accept(true)
	if err = i.recover(ctx, opened); err != nil {
		err = fmt.Errorf("ingester: %w", err)
	} else {
		err = i.loops(ctx)
	}
	if ctx.Err() != nil {
		err = nil
	}
	i.accept(false)
	if err == nil && (i.cfg.FlushOnStop || i.leaving.Load()) {
		i.flushAndForget(context.WithoutCancel(ctx))
	}
	i.snapshots.last(context.WithoutCancel(ctx))
	stopLog()
	return errors.Join(err, <-logDone)
}

// loops does what there is to do with time, until ctx ends.
func (i *Ingester) loops(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return i.rotateLoop(gctx) })
	g.Go(func() error { return i.shipLoop(gctx) })
	g.Go(func() error { return i.healLoop(gctx) })
	g.Go(func() error { return i.cutLoop(gctx) })
	g.Go(func() error { return i.snapshots.loop(gctx) })
	return g.Wait()
}

// flushAndForget ships everything, after which an empty disk has lost nothing.
func (i *Ingester) flushAndForget(ctx context.Context) {
	err := i.Flush(ctx)
	if err == nil {
		err = i.witness.forget(ctx, i.deps)
	}
	if err != nil {
		i.logger.Error("flush on stop: the log and the local blocks keep what was not shipped", "error", err)
	}
}

// open opens what is on disk. fresh tells that the log has nothing of the current epoch.
func (i *Ingester) open(ctx context.Context) (fresh bool, err error) {
	if i.witness, err = openWitness(ctx, i.deps); err != nil {
		return false, err
	}
	if err := i.blocks.open(ctx, func(id tenant.ID, b ulid.ULID) error { return i.lostBlock(ctx, id, b) }); err != nil {
		return false, err
	}
	o := i.deps.WAL
	o.Dir = filepath.Join(i.deps.Dir, "wal")
	o.Events = i.logEvents()
	if i.log, err = wal.Open(o); err != nil {
		return false, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.progress.begin()
	i.current, i.recovering = newEpoch(i.log.Term().Epoch), true
	i.metrics.watch(i)
	return !slices.Contains(i.log.Epochs(), i.current.number), nil
}

func (i *Ingester) close() {
	i.serving.Store(false)
	i.mu.Lock()
	for _, e := range append(i.old, i.current) {
		for _, h := range e.all() {
			h.Free()
		}
	}
	i.old, i.current = nil, nil
	i.mu.Unlock()
	i.blocks.close()
	if err := i.log.Close(); err != nil {
		i.logger.Error("close log", "error", err)
	}
}

func (i *Ingester) accept(yes bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.accepting = yes
}

// Accepting is nil while batches are taken, which begins before reads are answered.
func (i *Ingester) Accepting() error {
	i.mu.RLock()
	defer i.mu.RUnlock()
	if !i.accepting {
		return ErrNotReady
	}
	return logError(i.log.Healthy())
}

// Ready is nil while batches are taken and reads answered; during the replay it says how far that is.
func (i *Ingester) Ready() error {
	if i.serving.Load() {
		return i.Accepting()
	}
	if err := i.progress.err(); err != nil {
		return err
	}
	return ErrNotReady
}

// logError gives the log's errors a kind that peers understand.
func logError(err error) error {
	switch {
	case errors.Is(err, wal.ErrUnavailable):
		return fmt.Errorf("%w: %w", series.ErrUnavailable, err)
	case errors.Is(err, wal.ErrTooLarge):
		return fmt.Errorf("%w: %w", series.ErrLimited, err)
	}
	return err
}

// logEvents tells of what the log does.
func (i *Ingester) logEvents() wal.Events {
	return wal.Events{
		Synced: func(s wal.SyncInfo) {
			i.metrics.syncs.Observe(s.Sync.Seconds())
			i.metrics.logBytes.Add(float64(s.Written))
		},
		Fenced: func(err error) {
			i.metrics.fenced.Inc()
			i.logger.Error("log fenced: writes are refused until it has a new segment", "error", err)
		},
		Recovered:   func(down time.Duration) { i.logger.Info("log takes writes again", "down", down) },
		RetryFailed: func(err error) { i.logger.Warn("log has no new segment yet", "error", err) },
		Space: func(full bool, free int64) {
			if full {
				i.logger.Error("disk almost full: writes are refused until there is space", "free_bytes", free)
			} else {
				i.logger.Info("disk has space again", "free_bytes", free)
			}
		},
		Warning: func(err error) { i.logger.Warn("log", "error", err) },
	}
}

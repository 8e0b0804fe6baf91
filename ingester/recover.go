package ingester

import (
	"context"
	"sync"
	"time"

	"github.com/varve-io/varve/pkg/series"
)

// While the log is replayed, batches are logged and acked, but not applied: they wait in the backlog, so that heads get
// samples in the order in which they came. Nothing is read meanwhile.
const (
	// maxBacklog bounds the bytes of the batches in the backlog, as they were sent; resolved, floats take 2.4 times that.
	maxBacklog = 32 << 20
	// floatBytes is what a float takes of them.
	floatBytes = 10
	// fewBatches are applied while writes wait.
	fewBatches = 16
)

// backlog is the batches that were logged and wait to be applied.
type backlog struct {
	most int64 // bytes

	mu      sync.Mutex
	bytes   int64
	batches []*resolved
}

// reserve makes room for a batch, if there is any.
func (b *backlog) reserve(size int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bytes > 0 && b.bytes+int64(size) > b.most {
		return false
	}
	b.bytes += int64(size)
	return true
}

// free gives the room of a batch back.
func (b *backlog) free(size int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bytes -= int64(size)
}

// add keeps a batch for which there is room.
func (b *backlog) add(r *resolved) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.batches = append(b.batches, r)
}

// take empties the backlog.
func (b *backlog) take() []*resolved {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.batches
	b.batches = nil
	return all
}

func (b *backlog) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.batches)
}

// pushLate logs a batch during the replay, and leaves it in the backlog. Nobody can tell yet whether it conflicts.
func (i *Ingester) pushLate(b *series.Batch, batch []byte) (*Receipt, error) {
	if !i.backlog.reserve(len(batch)) {
		return nil, ErrNotReady
	}
	r := new(resolved)
	pos, err := i.logBatch(i.current, r, b, batch)
	if err != nil {
		i.backlog.free(len(batch))
		return nil, err
	}
	r.size = len(batch)
	if n := floatBytes * len(r.floats); len(r.histograms)+len(r.exemplars)+len(r.metadata) == 0 && n < r.size {
		i.backlog.free(r.size - n) // its definitions don't wait
		r.size = n
	}
	i.backlog.add(r)
	return &Receipt{log: i.log, pos: pos, applied: applied}, nil
}

// recover replays the log, applies what was written meanwhile, and begins to serve. Writes are taken already.
func (i *Ingester) recover(ctx context.Context, opened time.Time) error {
	if err := i.replay(ctx, opened); err != nil {
		return err
	}
	for i.backlog.len() > fewBatches && ctx.Err() == nil {
		i.applyBacklog()
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.applyBacklog()
	i.recovering = false
	i.progress.finish()
	i.serving.Store(true)
	return nil
}

func (i *Ingester) applyBacklog() {
	for _, r := range i.backlog.take() {
		i.apply(r)
		i.backlog.free(r.size)
	}
}

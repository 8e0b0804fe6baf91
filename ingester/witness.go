package ingester

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/varve-io/varve/pkg/catalog"
	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// witness is whether this owner still has everything that it ever acked, and may be counted among those whose majorities
// ack. It is kept on disk, so that a disk that was lost is noticed; the bucket knows which owners there ever were.
type witness struct {
	path string

	mu    sync.Mutex
	state witnessState
	delay time.Duration // from the moment at which the ring shows a newcomer to when everybody may be taken to know it
}

type witnessState struct {
	Partition     int32 `json:"partition"`
	CompleteSince int64 `json:"complete_since"` // Unix milliseconds; 0: nothing was ever lost
	// Registered: the bucket knows this owner, so that one with an empty disk is seen to have lost it. An owner that
	// has shipped everything and stopped is forgotten there: an empty disk then has lost nothing.
	Registered bool `json:"registered"`
	// Joining: it came without what was received before, and the ring doesn't show it yet: what others receive until
	// then, perhaps on a majority with an owner whose place it takes, it lacks too.
	Joining bool `json:"joining,omitempty"`
}

// joinDelay is how long distributors may go on without a newcomer that the ring shows here.
const joinDelay = 5 * time.Second

// openWitness reads the record, or finds out why there is none.
func openWitness(ctx context.Context, deps Dependencies) (*witness, error) {
	w := &witness{path: filepath.Join(deps.Dir, "witness.json"), delay: joinDelay}
	incomplete := witnessState{Partition: deps.Partition, CompleteSince: deps.Now().UnixMilli(), Joining: true}
	data, err := os.ReadFile(w.path)
	fresh := errors.Is(err, fs.ErrNotExist)
	switch {
	case fresh:
		w.state = incomplete
	case err != nil:
		return nil, fmt.Errorf("read witness record: %w", err)
	default:
		if err := json.Unmarshal(data, &w.state); err != nil {
			deps.Logger.Error("witness record is damaged", "error", err)
			w.state = incomplete
		}
		if w.state.Partition != deps.Partition {
			deps.Logger.Error("this owner held another partition before", "before", w.state.Partition, "now", deps.Partition)
			w.state = incomplete
		}
	}
	if err := w.save(); err != nil {
		return nil, err
	}
	if fresh {
		return w, w.begin(ctx, deps)
	}
	if err := w.register(ctx, deps); err != nil {
		deps.Logger.Warn("the bucket doesn't know this owner yet; it is told as soon as it can be", "error", err)
	}
	return w, nil
}

// begin judges an owner with an empty disk, by what the bucket says when it has been told of this one: of two that come
// at the same time, one at least sees the other.
func (w *witness) begin(ctx context.Context, deps Dependencies) error {
	known, err := deps.Bucket.Exists(ctx, ownerObject(deps))
	if err == nil {
		err = w.register(ctx, deps)
	}
	replaces := false
	if err == nil && !known {
		replaces, err = replacesAnother(ctx, deps)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err != nil:
		deps.Logger.Error("the bucket can't tell whether this owner is new: it bears no witness to what was received before", "partition", deps.Partition, "error", err)
	case known:
		w.delay = 0
		deps.Logger.Error("this owner's disk is empty and it is not new: it bears no witness to what was received before", "partition", deps.Partition)
	case replaces:
		deps.Logger.Warn("this owner takes the place of another: it bears no witness to what was received before", "partition", deps.Partition)
	default:
		w.state.CompleteSince, w.state.Joining = 0, false
	}
	return w.save()
}

// register makes the bucket know this owner. What stands there already stays.
func (w *witness) register(ctx context.Context, deps Dependencies) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state.Registered {
		return nil
	}
	known, err := deps.Bucket.Exists(ctx, ownerObject(deps))
	if err != nil {
		return err
	}
	if !known {
		record := catalog.Owner{Since: deps.Now().UTC(), ReplicationFactor: deps.Ring.View().ReplicationFactor}
		if err := catalog.WriteOwner(ctx, deps.Bucket, ownerObject(deps), record); err != nil {
			return err
		}
	}
	w.state.Registered = true
	return w.save()
}

// forget makes the bucket forget this owner, which has shipped all that it had and takes nothing any more.
func (w *witness) forget(ctx context.Context, deps Dependencies) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state.Registered = false
	if err := w.save(); err != nil {
		return err
	}
	return deps.Bucket.Delete(ctx, ownerObject(deps))
}

// join notes that the ring shows this owner: of what is received from now on, it is one of those that ack.
func (w *witness) join(deps Dependencies) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.state.Joining {
		return nil
	}
	w.state.CompleteSince = deps.Now().Add(w.delay).UnixMilli()
	p, _ := deps.Ring.View().Partition(deps.Partition)
	if !slices.ContainsFunc(p.Owners, func(o ring.Owner) bool { return o.Instance == deps.Instance }) {
		return nil
	}
	w.state.Joining = false
	w.state.Registered = false // its record may have been taken for one of an owner that has gone
	return w.save()
}

// now is a copy of the state.
func (w *witness) now() witnessState {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state
}

// since is CompleteSince of the owner's Standing.
func (w *witness) since() int64 { return w.now().CompleteSince }

// lost notes that acked samples received before now are gone.
func (w *witness) lost(now time.Time) error { return w.set(now.UnixMilli()) }

func (w *witness) set(since int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state.CompleteSince = since
	return w.save()
}

func (w *witness) save() error {
	data, err := json.Marshal(w.state)
	if err != nil {
		return err
	}
	return saveFile(w.path, data)
}

// saveFile replaces a file so that a crash at any moment leaves the old or the new content.
func saveFile(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	tmp := path + ".new"
	f, err := os.Create(tmp)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", tmp, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// healPause is how long what heals a hole must be in the catalog: longer than a querier answers by a catalog that it read
// before, as nobody names these blocks to it.
const healPause = 20 * time.Second

// clockSkew is how far the clocks of owners may differ.
const clockSkew = 5 * time.Second

// healLoop ends the hole of an owner that lost something, once each of the others has shipped what it received before:
// every acked sample was on a majority, so all that this owner lost was on one of them, or is lost altogether.
func (i *Ingester) healLoop(ctx context.Context) error {
	var shipped time.Time // since when the others are known to have shipped all that was received before of
	var of int64
	tick := time.NewTicker(min(10*time.Second, max(time.Duration(i.cfg.HeadPeriod)/4, 200*time.Millisecond)))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := i.witness.join(i.deps); err != nil {
			i.logger.Error("save witness record", "error", err)
		}
		if err := i.witness.register(ctx, i.deps); err != nil && ctx.Err() == nil {
			i.logger.Warn("the bucket doesn't know this owner yet", "error", err)
		}
		if i.witness.now().Joining {
			continue
		}
		since := i.witness.since()
		if since != of {
			shipped, of = time.Time{}, since
		}
		if shipped.IsZero() && since != 0 && i.healed(ctx, since) {
			shipped = i.deps.Now()
		}
		if shipped.IsZero() || i.deps.Now().Sub(shipped) < healPause {
			continue
		}
		if err := i.witness.set(0); err != nil {
			i.logger.Error("save witness record", "error", err)
			continue
		}
		i.logger.Info("what this owner lacked is in the catalog: it bears witness")
		if err := forgetGone(ctx, i.deps, since); err != nil {
			i.logger.Warn("forget owners that have gone", "error", err)
		}
	}
}

func (i *Ingester) healed(ctx context.Context, since int64) bool {
	others := i.deps.Ring.View().ReplicationFactor - 1
	if others == 0 {
		return true // there never was another copy
	}
	shipped := 0
	for _, s := range i.deps.Peers.Standings(ctx) {
		if s.ShippedBefore > since+clockSkew.Milliseconds() {
			shipped++
		}
	}
	return shipped >= others
}

// Standing is how far a reader may rely on this owner's answers. One that doesn't answer reads bears no witness.
func (i *Ingester) Standing() series.Standing {
	if !i.serving.Load() {
		return series.Standing{CompleteSince: i.deps.Now().UnixMilli(), Partitions: partitionIDs(i.deps.Ring.View())}
	}
	if err := i.witness.join(i.deps); err != nil {
		i.logger.Error("save witness record", "error", err)
	}
	return series.Standing{
		CompleteSince: i.witness.since(),
		ShippedBefore: i.shippedBefore().UnixMilli(),
		Partitions:    partitionIDs(i.deps.Ring.View()),
	}
}

func partitionIDs(v *ring.View) []int32 {
	ids := make([]int32, len(v.Partitions))
	for n, p := range v.Partitions {
		ids[n] = p.ID
	}
	return ids
}

// lostBlock notes that a local block can't be read. Unless the catalog has it, acked samples are lost with it.
func (i *Ingester) lostBlock(ctx context.Context, id tenant.ID, b ulid.ULID) error {
	i.metrics.damagedBlocks.Inc()
	known, err := i.deps.Catalog.Knows(ctx, id, b)
	if known && err == nil {
		i.logger.Info("the catalog has the damaged block: nothing is lost", "block", b, "tenant", id)
		return nil
	}
	i.logger.Error("the catalog isn't known to have the damaged block: acked samples of this replica are lost", "block", b, "tenant", id, "error", err)
	return i.witness.lost(i.deps.Now())
}

package ingester

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/series"
)

// witness is whether this owner still has everything that it ever acked. It is kept on disk, so that a disk that was
// lost is noticed; and in the bucket stands which owners there ever were, so that a lost disk is told from a new one.
type witness struct {
	path string

	mu    sync.Mutex
	state witnessState
}

type witnessState struct {
	Partition     int32 `json:"partition"`
	CompleteSince int64 `json:"complete_since"` // Unix milliseconds; 0: nothing was ever lost
}

// openWitness reads the record, or finds out why there is none.
func openWitness(ctx context.Context, deps Dependencies) (*witness, error) {
	w := &witness{path: filepath.Join(deps.Dir, "witness.json")}
	now := deps.Now().UnixMilli()
	data, err := os.ReadFile(w.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		w.state = witnessState{deps.Partition, 0}
		known, err := registered(ctx, deps)
		if err != nil {
			deps.Logger.Warn("the bucket can't tell whether this owner is new: it is taken for one that lost its disk", "error", err)
			known = true
		}
		if known {
			deps.Logger.Error("this owner's disk is empty and it is not new: it bears no witness to what was received before", "partition", deps.Partition)
			w.state.CompleteSince = now
		}
	case err != nil:
		return nil, fmt.Errorf("read witness record: %w", err)
	default:
		if err := json.Unmarshal(data, &w.state); err != nil {
			deps.Logger.Error("witness record is damaged", "error", err)
			w.state.CompleteSince = now
		}
		if w.state.Partition != deps.Partition {
			deps.Logger.Error("this owner held another partition before", "before", w.state.Partition, "now", deps.Partition)
			w.state = witnessState{deps.Partition, now}
		}
	}
	return w, w.save()
}

// registered tells whether an owner of this name ever held this partition; if not, from now on it has.
func registered(ctx context.Context, deps Dependencies) (bool, error) {
	name := ownerObject(deps)
	known, err := deps.Bucket.Exists(ctx, name)
	if err != nil || known {
		return known, err
	}
	record := fmt.Appendf(nil, `{"since": %q}`, deps.Now().UTC().Format(time.RFC3339))
	return false, deps.Bucket.Upload(ctx, name, bytes.NewReader(record))
}

// ownerObject is where the bucket remembers this owner.
func ownerObject(deps Dependencies) string {
	return fmt.Sprintf("varve/owners/%d/%s.json", deps.Partition, deps.Instance)
}

// since is CompleteSince of the owner's Standing.
func (w *witness) since() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state.CompleteSince
}

// lost notes that acked samples received before now are gone.
func (w *witness) lost(now time.Time) error { return w.set(now.UnixMilli()) }

func (w *witness) set(since int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state.CompleteSince = since
	return w.save()
}

// save writes the record so that it survives a crash at any moment.
func (w *witness) save() error {
	data, err := json.Marshal(w.state)
	if err != nil {
		return err
	}
	dir := filepath.Dir(w.path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	tmp := w.path + ".new"
	f, err := os.Create(tmp)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write witness record: %w", err)
	}
	if err := os.Rename(tmp, w.path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// clockSkew is how far the clocks of owners may differ.
const clockSkew = 5 * time.Second

// healLoop ends the hole of an owner that lost something, once each of the others has shipped what it received before:
// every acked sample was on a majority, so all that this owner lost was on one of them, or is lost altogether.
func (i *Ingester) healLoop(ctx context.Context) error {
	tick := time.NewTicker(min(10*time.Second, max(time.Duration(i.cfg.HeadPeriod)/4, 200*time.Millisecond)))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		since := i.witness.since()
		if since == 0 || !i.healed(ctx, since) {
			continue
		}
		if err := i.witness.set(0); err != nil {
			i.logger.Error("save witness record", "error", err)
			continue
		}
		i.logger.Info("what this owner had lost is in the catalog: it bears witness again")
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

// Forget makes the bucket forget this owner: it has left, and all that it held is shipped.
func (i *Ingester) Forget(ctx context.Context) error {
	return i.deps.Bucket.Delete(ctx, ownerObject(i.deps))
}

// Standing is how far a reader may rely on this owner's answers for a tenant.
func (i *Ingester) Standing() series.Standing {
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

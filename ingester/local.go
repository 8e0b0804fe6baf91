package ingester

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/varve-io/varve/pkg/block"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// localBlocks is the blocks on local disk, at <dir>/<tenant>/<ULID>. A block is answered for from the moment that it is
// added until it is released.
type localBlocks struct {
	dir    string
	logger *slog.Logger

	mu       sync.RWMutex
	byTenant map[tenant.ID][]*localBlock
	released []released
}

// localBlock is one block. Its reference count keeps it open for the selections that read it.
type localBlock struct {
	*block.Block
	tenant   tenant.ID
	dir      string
	received time.Time // when the first of it may have been received; zero if unknown
	safe     time.Time // since when it is known to be in the catalog; zero if it isn't

	readers sync.WaitGroup
}

// released is a block that was let go of. The list of them is on disk too: readers rely on it when their catalogs are
// old because the bucket is gone.
type released struct {
	Tenant string    `json:"tenant"`
	Block  ulid.ULID `json:"block"`
	At     time.Time `json:"at"`
}

func newLocalBlocks(dir string, logger *slog.Logger) *localBlocks {
	return &localBlocks{dir: dir, logger: logger, byTenant: map[tenant.ID][]*localBlock{}}
}

// open opens the blocks that an earlier process left. What it left unfinished is removed: the log still has it.
func (l *localBlocks) open(ctx context.Context) error {
	if err := l.loadReleased(); err != nil {
		return err
	}
	tenants, err := os.ReadDir(l.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, t := range tenants {
		id, err := tenant.Parse(t.Name())
		if err != nil || !t.IsDir() {
			continue
		}
		entries, err := os.ReadDir(filepath.Join(l.dir, t.Name()))
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := l.openOne(ctx, id, e.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *localBlocks) openOne(ctx context.Context, id tenant.ID, name string) error {
	dir := filepath.Join(l.dir, id.String(), name)
	if strings.HasPrefix(name, releasing) {
		return os.RemoveAll(dir)
	}
	if _, err := ulid.ParseStrict(name); err != nil {
		return os.RemoveAll(dir)
	}
	m, err := block.ReadMeta(dir)
	if err != nil {
		return fmt.Errorf("open local block %s of tenant %s: %w", name, id, err)
	}
	return l.add(ctx, id, m, time.Time{})
}

// add opens a block and begins to answer for it.
func (l *localBlocks) add(ctx context.Context, id tenant.ID, m block.Meta, received time.Time) error {
	dir := filepath.Join(l.dir, id.String(), m.ULID.String())
	b, err := block.Open(ctx, block.Dir(dir), m)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.byTenant[id] = append(slices.Clone(l.byTenant[id]), &localBlock{Block: b, tenant: id, dir: dir, received: received})
	return nil
}

// has tells whether an earlier attempt at cutting an epoch, which began at a time, has left the block of a range. The
// time tells such a block from one of an epoch of the same number in a log that is gone.
func (l *localBlocks) has(id tenant.ID, e *epoch, began time.Time, mint int64) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.ContainsFunc(l.byTenant[id], func(b *localBlock) bool {
		m := b.Meta()
		return m.Varve != nil && m.Varve.Epoch == int64(e.number) && m.MinTime == mint && ulid.Time(m.ULID.Time()).After(began)
	})
}

// hold gives a tenant's blocks that overlap a range, kept open until each is let go with readers.Done.
func (l *localBlocks) hold(id tenant.ID, mint, maxt int64) []*localBlock {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var out []*localBlock
	for _, b := range l.byTenant[id] {
		if b.Meta().Overlaps(mint, maxt) {
			b.readers.Add(1)
			out = append(out, b)
		}
	}
	return out
}

// all is every block, oldest first.
func (l *localBlocks) all() []*localBlock {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var out []*localBlock
	for _, bs := range l.byTenant {
		out = append(out, bs...)
	}
	slices.SortFunc(out, func(a, b *localBlock) int { return a.Meta().ULID.Compare(b.Meta().ULID) })
	return out
}

// markSafe notes that a block is in the catalog.
func (l *localBlocks) markSafe(b *localBlock, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b.safe = now
}

// safe tells since when a block is known to be in the catalog.
func (l *localBlocks) safeSince(b *localBlock) time.Time {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return b.safe
}

func (l *localBlocks) releasedPath() string { return l.dir + "-released.json" }

func (l *localBlocks) loadReleased() error {
	data, err := os.ReadFile(l.releasedPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(data, &l.released)
	}
	if err != nil {
		return fmt.Errorf("read the list of released blocks: %w", err)
	}
	return nil
}

// noteReleased adds a block to the list, and drops what is too old for anybody to ask.
func (l *localBlocks) noteReleased(b *localBlock, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.released = slices.DeleteFunc(l.released, func(r released) bool { return now.Sub(r.At) > releasedFor })
	l.released = append(l.released, released{b.tenant.String(), b.Meta().ULID, now})
	l.released = l.released[max(0, len(l.released)-maxReleased):]
	data, err := json.Marshal(l.released)
	if err != nil {
		return err
	}
	return saveFile(l.releasedPath(), data)
}

// releasing begins the name of a directory that is being removed.
const releasing = "releasing-"

// release stops answering for a block, and removes it once nobody reads it.
func (l *localBlocks) release(b *localBlock, now time.Time) error {
	id := b.Meta().ULID
	if err := l.noteReleased(b, now); err != nil {
		return err
	}
	l.mu.Lock()
	l.byTenant[b.tenant] = slices.DeleteFunc(slices.Clone(l.byTenant[b.tenant]), func(o *localBlock) bool { return o == b })
	if len(l.byTenant[b.tenant]) == 0 {
		delete(l.byTenant, b.tenant)
	}
	l.mu.Unlock()
	b.readers.Wait()
	if err := b.Close(); err != nil {
		return err
	}
	trash := filepath.Join(filepath.Dir(b.dir), releasing+id.String())
	if err := os.Rename(b.dir, trash); err != nil {
		return err
	}
	return os.RemoveAll(trash)
}

// releasedOf is the blocks of a tenant that were released lately.
func (l *localBlocks) releasedOf(id tenant.ID) []ulid.ULID {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var out []ulid.ULID
	for _, r := range l.released {
		if r.Tenant == id.String() {
			out = append(out, r.Block)
		}
	}
	return out
}

func (l *localBlocks) close() {
	l.mu.Lock()
	all := l.byTenant
	l.byTenant = map[tenant.ID][]*localBlock{}
	l.mu.Unlock()
	for _, bs := range all {
		for _, b := range bs {
			b.readers.Wait()
			if err := b.Close(); err != nil {
				l.logger.Warn("close local block", "block", b.Meta().ULID, "error", err)
			}
		}
	}
}

// heldSet lets a block go when the set that reads it is closed.
type heldSet struct {
	series.Set
	b *localBlock
}

func (h heldSet) Close() error {
	defer h.b.readers.Done()
	return h.Set.Close()
}

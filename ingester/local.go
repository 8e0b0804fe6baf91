package ingester

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
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
	released releasedList
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

func newLocalBlocks(dir string, logger *slog.Logger) *localBlocks {
	return &localBlocks{dir: dir, logger: logger, byTenant: map[tenant.ID][]*localBlock{}, released: releasedList{path: dir + "-released.json"}}
}

// open opens the blocks that an earlier process left. What it left unfinished is removed: the log still has it.
// A damaged one is set aside, once lost has taken note of it.
func (l *localBlocks) open(ctx context.Context, lost func(tenant.ID, ulid.ULID) error) error {
	if err := l.released.load(); err != nil {
		l.logger.Error("the list of released blocks is damaged: a new one is begun", "error", err)
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
			if err := l.openOne(ctx, id, e.Name(), lost); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *localBlocks) openOne(ctx context.Context, id tenant.ID, name string, lost func(tenant.ID, ulid.ULID) error) error {
	dir := filepath.Join(l.dir, id.String(), name)
	if strings.HasPrefix(name, damaged) {
		l.logger.Warn("a damaged block is still on the disk", "dir", dir)
		return nil
	}
	blockID, err := ulid.ParseStrict(name)
	if err != nil { // one that was never finished, or was let go of
		return os.RemoveAll(dir)
	}
	m, err := readWhole(dir)
	if err == nil && m.ULID != blockID {
		err = fmt.Errorf("its meta.json is that of block %s", m.ULID)
	}
	if err == nil {
		err = l.add(ctx, id, m, time.Time{})
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil, errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return fmt.Errorf("open local block %s of tenant %s: %w", name, id, err) // which says nothing of the block
	}
	l.logger.Error("a local block is damaged: it is set aside", "block", name, "tenant", id, "error", err)
	if err := lost(id, blockID); err != nil {
		return err
	}
	return os.Rename(dir, filepath.Join(filepath.Dir(dir), damaged+name))
}

// damaged begins the name of a directory that was set aside. Nobody removes it.
const damaged = "damaged-"

// readWhole reads a block's meta.json, and sees that its files have their sizes.
func readWhole(dir string) (block.Meta, error) {
	m, err := block.ReadMeta(dir)
	if err != nil || m.Varve == nil {
		return m, err
	}
	for _, f := range m.Varve.Files {
		info, err := os.Stat(filepath.Join(dir, filepath.FromSlash(f.Name)))
		if err != nil {
			return m, err
		}
		if info.Size() != f.Size {
			return m, fmt.Errorf("%s has %d bytes, not %d", f.Name, info.Size(), f.Size)
		}
	}
	return m, nil
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

// releasing begins the name of a directory that is being removed.
const releasing = "releasing-"

// release stops answering for blocks, and removes them once nobody reads them. Readers are told of all of them first.
func (l *localBlocks) release(blocks []*localBlock, now time.Time) error {
	if len(blocks) == 0 {
		return nil
	}
	if err := l.released.add(blocks, now); err != nil {
		return fmt.Errorf("note released blocks: %w", err)
	}
	var errs []error
	for _, b := range blocks {
		if err := l.remove(b); err != nil {
			errs = append(errs, fmt.Errorf("remove block %s of tenant %s: %w", b.Meta().ULID, b.tenant, err))
		}
	}
	return errors.Join(errs...)
}

func (l *localBlocks) remove(b *localBlock) error {
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
	trash := filepath.Join(filepath.Dir(b.dir), releasing+b.Meta().ULID.String())
	if err := os.Rename(b.dir, trash); err != nil {
		return err
	}
	return os.RemoveAll(trash)
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

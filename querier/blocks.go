package querier

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"github.com/oklog/ulid/v2"

	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// BlockInfo is what a catalog says of one usable block. Its samples are at MinTime or later and before MaxTime, both
// in Unix milliseconds.
type BlockInfo struct {
	ID               ulid.ULID
	MinTime, MaxTime int64
}

// Catalog is what is known of which blocks a tenant has. It is safe for concurrent use.
type Catalog interface {
	// Blocks answers by a copy that may be a little old. fresh demands one that was read after the call. Known says
	// whether the catalog has heard of a block, even if the block has been replaced or deleted since.
	Blocks(ctx context.Context, id tenant.ID, fresh bool) (blocks []BlockInfo, known func(ulid.ULID) bool, err error)
}

// Block is one open block.
type Block interface {
	series.Source
	Close() error
}

// Opener opens a tenant's block in the bucket. The error of one that isn't there any more wraps fs.ErrNotExist, and
// so does that of a read from it.
type Opener interface {
	OpenBlock(ctx context.Context, id tenant.ID, block ulid.ULID) (Block, error)
}

// Blocks is Older over the blocks in the bucket.
type Blocks struct {
	catalog Catalog
	open    *openBlocks
}

// NewBlocks makes an Older that keeps at most keep blocks open. It starts nothing; Close closes the blocks.
func NewBlocks(c Catalog, o Opener, keep int) *Blocks {
	return &Blocks{catalog: c, open: &openBlocks{opener: o, keep: keep, byID: map[blockKey]*openBlock{}, order: list.New()}}
}

// Close closes the blocks that no read uses; those in use are closed with the last read.
func (b *Blocks) Close() error { return b.open.close() }

// Select implements Older. The set reads from the blocks as it goes; a block that vanishes under it is an error.
func (b *Blocks) Select(ctx context.Context, q series.Query, m RecentMeta) (series.Set, error) {
	return withBlocks(ctx, b, q, m, func(held []*openBlock) (series.Set, error) {
		sets := make([]series.Set, 0, len(held))
		for _, h := range held {
			set, err := h.block.Select(ctx, q)
			if err != nil {
				return nil, errors.Join(err, series.Merge(sets...).Close())
			}
			sets = append(sets, set)
		}
		for _, h := range held {
			h.hold() // for the set, which outlives this call
		}
		return &heldSet{Set: series.Merge(sets...), held: held}, nil
	})
}

// LabelNames implements Older.
func (b *Blocks) LabelNames(ctx context.Context, q series.Query, m RecentMeta) ([]string, error) {
	return withBlocks(ctx, b, q, m, func(held []*openBlock) ([]string, error) {
		return unionOf(held, func(s series.Source) ([]string, error) { return s.LabelNames(ctx, q) })
	})
}

// LabelValues implements Older.
func (b *Blocks) LabelValues(ctx context.Context, name string, q series.Query, m RecentMeta) ([]string, error) {
	return withBlocks(ctx, b, q, m, func(held []*openBlock) ([]string, error) {
		return unionOf(held, func(s series.Source) ([]string, error) { return s.LabelValues(ctx, name, q) })
	})
}

func unionOf(held []*openBlock, names func(series.Source) ([]string, error)) ([]string, error) {
	lists := make([][]string, 0, len(held))
	for _, h := range held {
		list, err := names(h.block)
		if err != nil {
			return nil, err
		}
		lists = append(lists, list)
	}
	return union(lists...), nil
}

// withBlocks reads from the blocks that overlap the query. A block that has vanished was replaced by others: the
// catalog is read anew and everything tried once more.
func withBlocks[T any](ctx context.Context, b *Blocks, q series.Query, m RecentMeta, read func([]*openBlock) (T, error)) (T, error) {
	for fresh := false; ; fresh = true {
		ids, err := b.overlapping(ctx, q, m, fresh)
		if err != nil {
			var none T
			return none, err
		}
		value, err := readHeld(ctx, b.open, q.Tenant, ids, read)
		if err == nil || fresh || !errors.Is(err, fs.ErrNotExist) {
			return value, err
		}
		b.open.forget(q.Tenant, ids)
	}
}

func readHeld[T any](ctx context.Context, open *openBlocks, id tenant.ID, ids []ulid.ULID, read func([]*openBlock) (T, error)) (value T, err error) {
	held := make([]*openBlock, 0, len(ids))
	defer func() {
		for _, h := range held {
			err = errors.Join(err, h.release())
		}
	}()
	for _, block := range ids {
		h, err := open.get(ctx, id, block)
		if err != nil {
			return value, fmt.Errorf("open block %s: %w", block, err)
		}
		held = append(held, h)
	}
	return read(held)
}

// overlapping is the blocks of the query's range that the recent answer doesn't hold, by a catalog that knows every block
// that it must.
func (b *Blocks) overlapping(ctx context.Context, q series.Query, m RecentMeta, fresh bool) ([]ulid.ULID, error) {
	blocks, known, err := b.catalog.Blocks(ctx, q.Tenant, fresh)
	if err != nil {
		return nil, fmt.Errorf("read catalog: %w", err)
	}
	lacks := func() bool { return slices.ContainsFunc(m.Released, func(id ulid.ULID) bool { return !known(id) }) }
	if !fresh && lacks() {
		if blocks, known, err = b.catalog.Blocks(ctx, q.Tenant, true); err != nil {
			return nil, fmt.Errorf("read catalog: %w", err)
		}
	}
	if lacks() {
		return nil, &UnavailableError{Reason: "the catalog doesn't show a block yet that an ingester has let go of"}
	}
	var ids []ulid.ULID
	for _, i := range blocks {
		if i.MinTime <= q.MaxTime && q.MinTime < i.MaxTime && !slices.Contains(m.Held, i.ID) {
			ids = append(ids, i.ID)
		}
	}
	return ids, nil
}

// heldSet keeps blocks open until the set is closed.
type heldSet struct {
	series.Set
	held []*openBlock
}

// Close implements series.Set.
func (s *heldSet) Close() error {
	err := s.Set.Close()
	for _, h := range s.held {
		err = errors.Join(err, h.release())
	}
	s.held = nil
	return err
}

type blockKey struct {
	tenant tenant.ID
	id     ulid.ULID
}

// openBlocks keeps the blocks that were used last open.
type openBlocks struct {
	opener Opener
	keep   int

	mu    sync.Mutex
	byID  map[blockKey]*openBlock
	order *list.List // of *openBlock, the one used last in front
}

// openBlock is a block and how many use it; the cache itself is one of them.
type openBlock struct {
	key   blockKey
	place *list.Element
	ready chan struct{} // closed once block or err is set
	block Block
	err   error

	mu    sync.Mutex
	users int
}

func (o *openBlock) hold() {
	o.mu.Lock()
	o.users++
	o.mu.Unlock()
}

// release closes the block with its last user.
func (o *openBlock) release() error {
	o.mu.Lock()
	o.users--
	last := o.users == 0
	o.mu.Unlock()
	if !last || o.block == nil {
		return nil
	}
	return o.block.Close()
}

// get holds a block, opened by the first who asks; the others wait for that.
func (c *openBlocks) get(ctx context.Context, id tenant.ID, block ulid.ULID) (*openBlock, error) {
	key := blockKey{id, block}
	c.mu.Lock()
	o, ok := c.byID[key]
	if ok {
		c.order.MoveToFront(o.place)
		o.hold()
		c.mu.Unlock()
		select {
		case <-o.ready:
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), o.release())
		}
		if o.err != nil { // the opener's context, perhaps; ours is another
			return c.get(ctx, id, block)
		}
		return o, nil
	}
	o = &openBlock{key: key, ready: make(chan struct{}), users: 2}
	o.place = c.order.PushFront(o)
	c.byID[key] = o
	old := c.excess()
	c.mu.Unlock()
	err := releaseAll(old)
	o.block, o.err = c.opener.OpenBlock(ctx, id, block)
	if o.err != nil {
		c.drop(o)
	}
	close(o.ready)
	if o.err != nil {
		return nil, errors.Join(o.err, err)
	}
	return o, nil
}

// excess takes what is over the bound out of the cache.
func (c *openBlocks) excess() []*openBlock {
	var old []*openBlock
	for c.order.Len() > c.keep {
		o := c.order.Remove(c.order.Back()).(*openBlock)
		delete(c.byID, o.key)
		old = append(old, o)
	}
	return old
}

// drop takes one block out of the cache, if it is still there.
func (c *openBlocks) drop(o *openBlock) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byID[o.key] == o {
		delete(c.byID, o.key)
		c.order.Remove(o.place)
	}
}

// forget takes blocks out of the cache.
func (c *openBlocks) forget(id tenant.ID, ids []ulid.ULID) {
	var old []*openBlock
	c.mu.Lock()
	for _, block := range ids {
		if o, ok := c.byID[blockKey{id, block}]; ok {
			delete(c.byID, o.key)
			c.order.Remove(o.place)
			old = append(old, o)
		}
	}
	c.mu.Unlock()
	_ = releaseAll(old) // they are of no use any more, whatever closing them says
}

func (c *openBlocks) close() error {
	c.mu.Lock()
	keep := c.keep
	c.keep = 0
	old := c.excess()
	c.keep = keep
	c.mu.Unlock()
	return releaseAll(old)
}

func releaseAll(old []*openBlock) error {
	var errs []error
	for _, o := range old {
		errs = append(errs, o.release())
	}
	return errors.Join(errs...)
}

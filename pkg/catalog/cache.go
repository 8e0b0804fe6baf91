package catalog

import (
	"container/list"
	"context"
	"sync"
	"time"

	"github.com/varve-io/varve/pkg/tenant"
)

// Loader reads a tenant's catalog; a Store is one.
type Loader interface {
	Load(ctx context.Context, id tenant.ID) (*Catalog, error)
}

// Cache keeps the catalogs of the tenants asked for last. All methods are safe for concurrent use; callers that want
// the same catalog at once share one read.
type Cache struct {
	loader Loader
	max    int
	now    func() time.Time

	mu      sync.Mutex
	order   *list.List // of *cached, asked for last first
	entries map[tenant.ID]*list.Element
}

// cached is one tenant's catalog. The turn is held by who loads; cat and began are guarded by the cache's mutex.
type cached struct {
	id    tenant.ID
	turn  chan struct{}
	cat   *Catalog
	began time.Time // when the load of cat began

	failed error // of the last load, nil if it succeeded
	at     time.Time
}

// spareFor is how long Get doesn't try again after a failed read: with a bucket that is gone, every attempt takes long.
const spareFor = 10 * time.Second

// NewCache keeps the catalogs of at most so many tenants. now is a monotonic clock: time.Now.
func NewCache(loader Loader, tenants int, now func() time.Time) *Cache {
	return &Cache{loader: loader, max: max(tenants, 1), now: now, order: list.New(), entries: map[tenant.ID]*list.Element{}}
}

// Get is a catalog that was read at most maxAge ago. If it can't be read, the error is returned, never an older one;
// for some seconds after that the same error is returned without another attempt.
func (c *Cache) Get(ctx context.Context, id tenant.ID, maxAge time.Duration) (*Catalog, error) {
	now := c.now()
	if err := c.failure(c.entry(id), now.Add(-spareFor)); err != nil {
		return nil, err
	}
	return c.since(ctx, id, now.Add(-maxAge))
}

// failure is that of the last load, if it was after a time.
func (c *Cache) failure(e *cached, after time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.at.After(after) {
		return e.failed
	}
	return nil
}

// Refresh is a catalog whose reading began after the call.
func (c *Cache) Refresh(ctx context.Context, id tenant.ID) (*Catalog, error) {
	return c.since(ctx, id, c.now())
}

// Last is the catalog that was read last, if that began at most maxAge ago; nil where there is none.
func (c *Cache) Last(id tenant.ID, maxAge time.Duration) *Catalog {
	return c.fresh(c.entry(id), c.now().Add(-maxAge))
}

// since is a catalog whose reading began at that time or later.
func (c *Cache) since(ctx context.Context, id tenant.ID, at time.Time) (*Catalog, error) {
	e := c.entry(id)
	if cat := c.fresh(e, at); cat != nil {
		return cat, nil
	}
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if cat := c.fresh(e, at); cat != nil { // somebody read it while we waited
		return cat, nil
	}
	began := c.now()
	cat, err := c.loader.Load(ctx, id)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		if ctx.Err() == nil {
			e.failed, e.at = err, c.now()
		}
		return nil, err
	}
	e.cat, e.began, e.failed = cat, began, nil
	return cat, nil
}

func (c *Cache) fresh(e *cached, at time.Time) *Catalog {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.cat == nil || e.began.Before(at) {
		return nil
	}
	return e.cat
}

// entry is the tenant's, made if needed; the one not asked for longest goes.
func (c *Cache) entry(id tenant.ID) *cached {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[id]; e != nil {
		c.order.MoveToFront(e)
		return e.Value.(*cached)
	}
	e := &cached{id: id, turn: make(chan struct{}, 1)}
	c.entries[id] = c.order.PushFront(e)
	if c.order.Len() > c.max {
		oldest := c.order.Remove(c.order.Back()).(*cached)
		delete(c.entries, oldest.id)
	}
	return e
}

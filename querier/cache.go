package querier

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// cache keeps what was computed, for a time and within a size; what was asked for least lately goes first. What several
// ask for at once is computed once. It is safe for concurrent use.
type cache[K comparable, V any] struct {
	now func() time.Time
	max int64 // bytes

	mu    sync.Mutex
	bytes int64
	kept  map[K]*list.Element // of kept[K, V]
	order *list.List          // the last that was asked for comes first
	busy  map[K]chan struct{} // closed when the computation is over
}

type kept[K comparable, V any] struct {
	key   K
	value made[V]
	until time.Time
}

// made is a value, how large it is, and how long it may be kept.
type made[V any] struct {
	value V
	bytes int64
	keep  time.Duration
}

func newCache[K comparable, V any](maxBytes int64, now func() time.Time) *cache[K, V] {
	return &cache[K, V]{now: now, max: maxBytes, kept: map[K]*list.Element{}, order: list.New(), busy: map[K]chan struct{}{}}
}

// get is the key's value, which compute gives if it isn't kept. Who waits for somebody else's computation that fails makes
// one of his own.
func (c *cache[K, V]) get(ctx context.Context, key K, compute func() (made[V], error)) (v V, err error) {
	for {
		value, ok, others := c.begin(key)
		if ok {
			return value, nil
		}
		if others == nil {
			break
		}
		select {
		case <-others:
		case <-ctx.Done():
			return v, ctx.Err()
		}
	}
	var m made[V]
	defer func() { c.end(key, m) }()
	if m, err = compute(); err != nil {
		m = made[V]{}
		return v, err
	}
	return m.value, nil
}

// begin is the value if it is kept, or the computation of others that is to be waited for, or neither: then the caller
// computes, and calls end.
func (c *cache[K, V]) begin(key K) (v V, ok bool, others chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.kept[key]; e != nil {
		if k := e.Value.(kept[K, V]); c.now().Before(k.until) {
			c.order.MoveToFront(e)
			return k.value.value, true, nil
		}
		c.drop(e)
	}
	if others = c.busy[key]; others == nil {
		c.busy[key] = make(chan struct{})
	}
	return v, false, others
}

func (c *cache[K, V]) end(key K, m made[V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.busy[key])
	delete(c.busy, key)
	if m.keep <= 0 || m.bytes > c.max {
		return
	}
	c.kept[key] = c.order.PushFront(kept[K, V]{key, m, c.now().Add(m.keep)})
	c.bytes += m.bytes
	for last := c.order.Back(); c.bytes > c.max || !c.now().Before(last.Value.(kept[K, V]).until); last = c.order.Back() {
		c.drop(last)
	}
}

func (c *cache[K, V]) drop(e *list.Element) {
	k := c.order.Remove(e).(kept[K, V])
	delete(c.kept, k.key)
	c.bytes -= k.value.bytes
}

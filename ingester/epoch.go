package ingester

import (
	"maps"
	"sync"

	"github.com/varve-io/varve/pkg/head"
	"github.com/varve-io/varve/pkg/tenant"
)

// epoch is the heads of all tenants between two rotations.
type epoch struct {
	number uint64
	// inflight counts batches that are logged and not yet applied.
	inflight sync.WaitGroup

	mu    sync.RWMutex
	heads map[tenant.ID]*head.Head
}

func newEpoch(number uint64) *epoch {
	return &epoch{number: number, heads: map[tenant.ID]*head.Head{}}
}

// head is the tenant's head, made if there is none.
func (e *epoch) head(id tenant.ID) *head.Head {
	if h := e.lookup(id); h != nil {
		return h
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	h := e.heads[id]
	if h == nil {
		h = head.New(head.Options{MaxExemplars: maxExemplars})
		e.heads[id] = h
	}
	return h
}

// lookup is the tenant's head, nil if it has none.
func (e *epoch) lookup(id tenant.ID) *head.Head {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.heads[id]
}

// all is a copy of the map of heads.
func (e *epoch) all() map[tenant.ID]*head.Head {
	e.mu.RLock()
	defer e.mu.RUnlock()
	m := make(map[tenant.ID]*head.Head, len(e.heads))
	maps.Copy(m, e.heads)
	return m
}

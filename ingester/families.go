package ingester

import (
	"slices"
	"strings"
	"sync"

	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// families is what senders said of metric families. It outlives epochs: at a rotation it is logged again.
type families struct {
	mu sync.RWMutex
	m  map[tenant.ID]map[string]series.Metadata
}

func newFamilies() *families { return &families{m: map[tenant.ID]map[string]series.Metadata{}} }

// put keeps the latest description; families beyond the bound are not described.
func (f *families) put(id tenant.ID, m series.Metadata) {
	f.mu.RLock()
	old, ok := f.m[id][m.Family]
	f.mu.RUnlock()
	if ok && old == m {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	of := f.m[id]
	if of == nil {
		of = map[string]series.Metadata{}
		f.m[id] = of
	}
	if ok || len(of) < maxFamilies {
		of[m.Family] = m
	}
}

// of is a tenant's families, ordered by name.
func (f *families) of(id tenant.ID) []series.Metadata {
	f.mu.RLock()
	defer f.mu.RUnlock()
	all := make([]series.Metadata, 0, len(f.m[id]))
	for _, m := range f.m[id] {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b series.Metadata) int { return strings.Compare(a.Family, b.Family) })
	return all
}

// batches are records that put all of it, for the log of a new epoch. Tenants for which keep says no are forgotten.
func (f *families) batches(keep func(tenant.ID) bool) [][]byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out [][]byte
	var b series.Builder
	for id, of := range f.m {
		if !keep(id) {
			delete(f.m, id)
			continue
		}
		b.Reset(series.StreamID{}, id)
		for _, m := range of {
			b.Metadata(m)
			if b.Size() > 1<<20 {
				out = append(out, b.AppendTo(nil))
				b.Reset(series.StreamID{}, id)
			}
		}
		out = append(out, b.AppendTo(nil))
	}
	return out
}

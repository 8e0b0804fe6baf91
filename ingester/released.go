package ingester

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/varve-io/varve/pkg/tenant"
)

// releasedList is the blocks that were let go of lately. It is on disk too: readers rely on it when their catalogs are
// old because the bucket is gone.
type releasedList struct {
	path string

	mu       sync.RWMutex
	byTenant map[string][]released
}

// released is a block that was let go of.
type released struct {
	Tenant string    `json:"tenant"`
	Block  ulid.ULID `json:"block"`
	At     time.Time `json:"at"`
}

// load reads what an earlier process has let go of. After an error the list is empty.
func (l *releasedList) load() error {
	l.byTenant = map[string][]released{}
	data, err := os.ReadFile(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var all []released
	if err == nil {
		err = json.Unmarshal(data, &all)
	}
	if err != nil {
		return err
	}
	for _, r := range all {
		l.byTenant[r.Tenant] = append(l.byTenant[r.Tenant], r)
	}
	return nil
}

// add notes blocks, drops what is too old for anybody to ask, and writes the list once.
func (l *releasedList) add(blocks []*localBlock, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range blocks {
		id := b.tenant.String()
		l.byTenant[id] = append(l.byTenant[id], released{id, b.Meta().ULID, now})
	}
	var all []released
	for id, of := range l.byTenant {
		of = slices.DeleteFunc(of, func(r released) bool { return now.Sub(r.At) > releasedFor })
		of = of[max(0, len(of)-maxReleased):]
		if l.byTenant[id] = of; len(of) == 0 {
			delete(l.byTenant, id)
		}
		all = append(all, of...)
	}
	data, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return saveFile(l.path, data)
}

// of is a tenant's blocks that were released lately, oldest first.
func (l *releasedList) of(id tenant.ID) []ulid.ULID {
	l.mu.RLock()
	defer l.mu.RUnlock()
	list := l.byTenant[id.String()]
	out := make([]ulid.ULID, 0, len(list))
	for _, r := range list {
		out = append(out, r.Block)
	}
	return out
}

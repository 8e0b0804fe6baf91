package distributor

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/varve-io/varve/pkg/remote"
)

// filled is a table with so many series.
func filled(n int) *table {
	tab := newTable()
	random := rand.New(rand.NewPCG(1, 2))
	for range n {
		tab.make(remote.Key{Hi: random.Uint64() | 1, Lo: random.Uint64()}, 0, 0)
	}
	return tab
}

// A table's memory is not in the heap, and is given back: an index's once there is a larger one, all of it with the table.
func TestTableMemoryIsGivenBack(t *testing.T) {
	const series = 200_000
	tab := filled(series)
	a, index := tab.arena, int64(4*len(tab.index.Load().slots))
	before := a.size()
	if least := int64(40 * series); before < least {
		t.Errorf("%d bytes are mapped, want at least %d", before, least)
	}
	tab.expire(0, func(standing) { t.Error("a series expired") })
	if gone := before - a.size(); gone < index/2 || gone >= index {
		t.Errorf("%d bytes of old indexes were given back; the current one has %d", gone, index)
	}
	if tab.find(remote.Key{Hi: 1, Lo: 1}) != 0 || tab.series.Load() != series {
		t.Error("the table is damaged")
	}
	runtime.KeepAlive(tab)
	for give := time.Now().Add(10 * time.Second); a.size() > 0; {
		if time.Now().After(give) {
			t.Fatalf("%d bytes are still mapped after the table was collected", a.size())
		}
		runtime.GC()
	}
}

package distributor

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/varve-io/varve/pkg/remote"
	"github.com/varve-io/varve/pkg/tenant"
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
	tab.shed()
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

// An index that requests have outgrown is given back when the last of those that may look into it was built, not later.
func TestOutgrownIndexesAreGivenBack(t *testing.T) {
	y := newYard(t, 1, "a")
	y.limits.set(func(l *tenant.Limits) { l.MaxSamplesPerSecond, l.MaxNewSeriesPerSecond, l.MaxActiveSeries = 0, 0, 0 })
	y.awaitReady()
	const senders, requests, perRequest = 4, 25, 500
	var all sync.WaitGroup
	for s := range senders {
		all.Go(func() {
			for n := range requests {
				var names []string
				for i := range perRequest {
					names = append(names, fmt.Sprintf("m_%d_%d_%d", s, n, i))
				}
				if w, err := y.push(time.Now(), 1, names...); err != nil || w.Floats != perRequest {
					t.Error(w, err)
				}
			}
		})
	}
	all.Wait()
	tab := y.sender(tenant.Anonymous).table
	if n := tab.series.Load(); n != senders*requests*perRequest {
		t.Errorf("%d series", n)
	}
	want := int64(4 * len(tab.index.Load().slots))
	for _, p := range *tab.pages.Load() {
		if bytes := int64(len(p)) * int64(unsafe.Sizeof(entry{})); bytes >= leastMapped {
			want += bytes
		}
	}
	if got := y.tableBytes(); got != want {
		t.Errorf("%d bytes are mapped, the pages and the index take %d", got, want)
	}
}

// What is carved lies side by side, keeps what was written when it becomes a huge page, and is zero before, as is what is mapped alone.
func TestArenaKeepsWhatIsWritten(t *testing.T) {
	a := &arena{}
	const words, rooms = 16 << 10, 40 // of 128 KiB: two huge pages, and a half
	var all [][]uint64
	for n := range rooms {
		r := stay[uint64](a, words)
		if first := uintptr(unsafe.Pointer(&r[0])); n%16 == 0 && first%hugePage != 0 {
			t.Errorf("a block begins at %#x, where no huge page may", first)
		} else if n%16 > 0 && first != uintptr(unsafe.Pointer(&all[n-1][0]))+8*words {
			t.Errorf("room %d is not behind the one before", n)
		}
		for i := range r {
			if r[i] != 0 {
				t.Fatalf("word %d of room %d is %d", i, n, r[i])
			}
			r[i] = uint64(n*words + i)
		}
		all = append(all, r)
	}
	large := room[uint64](a, hugePage/8)
	if at := uintptr(unsafe.Pointer(&large[0])); at%hugePage != 0 || slices.Max(large) != 0 {
		t.Errorf("what is mapped alone is at %#x, and has %d in it", at, slices.Max(large))
	}
	if got, want := a.size(), int64(rooms*8*words+hugePage); got != want {
		t.Errorf("%d bytes are in use, want %d", got, want)
	}
	giveBack(a, large)
	for n, r := range all {
		for i := range r {
			if r[i] != uint64(n*words+i) {
				t.Fatalf("word %d of room %d has become %d", i, n, r[i])
			}
		}
	}
	if got, want := a.size(), int64(rooms*8*words); got != want {
		t.Errorf("%d bytes are in use, want %d", got, want)
	}
	if a.release(); a.size() != 0 || len(a.mapped) != 0 {
		t.Errorf("%d bytes and %d mappings are left", a.size(), len(a.mapped))
	}
}

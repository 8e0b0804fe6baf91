package distributor

import (
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// arena is memory of a table that Go's heap knows nothing of. The heap may grow by a share of what is in it before garbage
// is collected, and of a table nothing is garbage: in the heap each series would take that share, too.
//
// What is given back is unmapped, so nobody may look at it any more; the rest is unmapped when the table is collected.
// There are no pointers in it, which the collector would not follow.
//
// Where the system has them, it is in huge pages: with churn, series that follow each other lie anywhere in the table, and
// to find out where a small page is takes the processor as long as to read it.
type arena struct {
	mu     sync.Mutex
	mapped map[unsafe.Pointer]int // bytes of each mapping
	bytes  int64                  // of them in use
	block  unsafe.Pointer         // the mapping that stay is given of; nil for none
	used   int                    // bytes of it
}

const (
	// leastMapped is the least that is mapped, in bytes: what is smaller is left to the heap.
	leastMapped = 64 << 10
	// hugePage is the size of huge pages on most machines.
	hugePage = 2 << 20
)

// room is memory for n zeros of a type without pointers, which giveBack takes back.
func room[T any](a *arena, n int) []T { return zeros[T](n, a.take) }

// stay is room that stays for as long as the arena. It is a part of a huge page at most.
func stay[T any](a *arena, n int) []T { return zeros[T](n, a.carve) }

func zeros[T any](n int, take func(bytes int) unsafe.Pointer) []T {
	var zero T
	if bytes := n * int(unsafe.Sizeof(zero)); bytes >= leastMapped {
		if p := take(bytes); p != nil {
			return unsafe.Slice((*T)(p), n)
		}
	}
	return make([]T, n)
}

// take maps memory; nil where the system gives none.
func (a *arena) take(bytes int) unsafe.Pointer {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.mapMemory(bytes)
	if p != nil {
		a.bytes += int64(bytes)
		if bytes >= hugePage {
			inHugePages(p, bytes)
		}
	}
	return p
}

// carve is take for what is never given back. It lies side by side, and becomes a huge page when there is no room left
// in it: none of that is empty.
func (a *arena) carve(bytes int) unsafe.Pointer {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.block == nil || a.used+bytes > hugePage {
		if a.block != nil {
			inHugePages(a.block, hugePage)
		}
		if a.block = a.mapMemory(hugePage); a.block == nil {
			return nil
		}
		inSmallPages(a.block, hugePage)
		a.used = 0
	}
	p := unsafe.Add(a.block, a.used)
	a.used += bytes
	a.bytes += int64(bytes)
	return p
}

// mapMemory maps memory that begins where a huge page may, if it is as large; nil where the system gives none.
func (a *arena) mapMemory(bytes int) unsafe.Pointer {
	more := 0
	if bytes >= hugePage {
		more = hugePage
	}
	p, err := unix.MmapPtr(-1, 0, nil, uintptr(bytes+more), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil { // the heap says what there is to say
		return nil
	}
	if more > 0 {
		before := -int(uintptr(p)) & (hugePage - 1)
		unmap(unsafe.Add(p, before+bytes), more-before)
		unmap(p, before)
		p = unsafe.Add(p, before)
	}
	if a.mapped == nil {
		a.mapped = map[unsafe.Pointer]int{}
	}
	a.mapped[p] = bytes
	return p
}

// giveBack unmaps what room gave, unless it is the heap's.
func giveBack[T any](a *arena, room []T) {
	p := unsafe.Pointer(unsafe.SliceData(room))
	a.mu.Lock()
	defer a.mu.Unlock()
	if bytes, ok := a.mapped[p]; ok {
		delete(a.mapped, p)
		a.bytes -= int64(bytes)
		unmap(p, bytes)
	}
}

// release unmaps everything.
func (a *arena) release() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for p, bytes := range a.mapped {
		unmap(p, bytes)
	}
	a.mapped, a.block, a.bytes = nil, nil, 0
}

func unmap(p unsafe.Pointer, bytes int) {
	if bytes > 0 {
		_ = unix.MunmapPtr(p, uintptr(bytes)) // can't fail: it is what was mapped
	}
}

// size is what is in use of what is mapped, in bytes.
func (a *arena) size() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.bytes
}

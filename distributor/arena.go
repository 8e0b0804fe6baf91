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
type arena struct {
	mu     sync.Mutex
	mapped map[unsafe.Pointer][]byte
	bytes  int64
}

// leastMapped is the least that is mapped, in bytes: what is smaller is left to the heap.
const leastMapped = 64 << 10

// room is memory for n zeros of a type without pointers.
func room[T any](a *arena, n int) []T {
	var zero T
	if bytes := n * int(unsafe.Sizeof(zero)); bytes >= leastMapped {
		if p := a.take(bytes); p != nil {
			return unsafe.Slice((*T)(p), n)
		}
	}
	return make([]T, n)
}

// take maps memory; nil where the system gives none.
func (a *arena) take(bytes int) unsafe.Pointer {
	b, err := unix.Mmap(-1, 0, bytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil { // the heap says what there is to say
		return nil
	}
	p := unsafe.Pointer(unsafe.SliceData(b))
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mapped == nil {
		a.mapped = map[unsafe.Pointer][]byte{}
	}
	a.mapped[p] = b
	a.bytes += int64(bytes)
	return p
}

// giveBack unmaps what room gave, unless it is the heap's.
func giveBack[T any](a *arena, room []T) {
	p := unsafe.Pointer(unsafe.SliceData(room))
	a.mu.Lock()
	defer a.mu.Unlock()
	if b, ok := a.mapped[p]; ok {
		a.unmap(p, b)
	}
}

// release unmaps everything.
func (a *arena) release() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for p, b := range a.mapped {
		a.unmap(p, b)
	}
}

func (a *arena) unmap(p unsafe.Pointer, b []byte) {
	delete(a.mapped, p)
	a.bytes -= int64(len(b))
	_ = unix.Munmap(b) // can't fail: it is what was mapped
}

// size is what is mapped, in bytes.
func (a *arena) size() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.bytes
}

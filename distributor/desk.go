package distributor

import (
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/pkg/remote"
)

// desk is the room in which a request becomes batches. Most of its time a request waits, for its body and for acks, without
// a desk. So there need be few of them.
type desk struct {
	raw      []byte // the inflated body
	decoder  *remote.Request
	spelling []labels.Label // of the current series, as it was sent: views of the body
	stored   []labels.Label // of the current series, where rules have changed them
	hashed   []byte
	rewriter *labels.Builder
	builders []*draft // of the request's parts
}

func newDesk(h remote.Hasher) *desk {
	return &desk{decoder: remote.NewRequest(h), rewriter: labels.NewBuilder(labels.EmptyLabels())}
}

// builder is that of the n-th part.
func (k *desk) builder(n int) *draft {
	if n == len(k.builders) {
		k.builders = append(k.builders, &draft{})
	}
	return k.builders[n]
}

// desks are those that nobody sits at: as many as were needed at once, while their bodies are no larger together than what may be
// worked on at once. A sync.Pool would lose them in each collection, and there are many collections of a heap that has not
// much more in it.
type desks struct {
	mu   sync.Mutex
	free []*desk
	left int64 // bytes of bodies that may be kept besides
	size int64
}

func newDesks(size int64) *desks { return &desks{size: size, left: size} }

func (k *desks) take() *desk {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := len(k.free) - 1
	if n < 0 {
		return nil
	}
	d := k.free[n]
	k.free[n], k.free = nil, k.free[:n]
	k.left += d.bytes()
	return d
}

func (k *desks) giveBack(d *desk) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.left >= d.bytes() || len(k.free) == 0 {
		k.free = append(k.free, d)
		k.left -= d.bytes()
	}
}

// clear lets go of them: some may have held large requests.
func (k *desks) clear() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.free, k.left = nil, k.size
}

// bytes is about what a desk takes.
func (k *desk) bytes() int64 { return int64(cap(k.raw)) + deskBytes }

// deskBytes is what a desk may have besides the body, in most cases: what a builder keeps for definitions and what is read of a request.
const deskBytes = 128 << 10

// sitDown takes a desk, unless the request has one.
func (r *request) sitDown() {
	if r.desk != nil {
		return
	}
	if r.desk = r.d.desks.take(); r.desk == nil {
		r.desk = newDesk(r.d.hasher)
	}
}

// leaveDesk gives it back: nothing that is on it is the request's any more.
func (r *request) leaveDesk() {
	if r.desk == nil {
		return
	}
	for _, p := range r.order {
		p.builder, p.labels = nil, nil
	}
	r.d.desks.giveBack(r.desk)
	r.desk = nil
}

// letterbox is where batches' bytes lie until they are used again, by the power of two that they have room for: so no small
// batch takes the room of a large one.
type letterbox [32]sync.Pool

// letter is the bytes of a batch. It goes back into its box when nobody reads it any more.
type letter struct {
	bytes   []byte
	readers atomic.Int32
	free    func() // is called by each reader at its end
}

// take is a letter with room for so many bytes; who takes it is its first reader.
func (x *letterbox) take(size int) *letter {
	box := &x[bits.Len(uint(size))]
	l, ok := box.Get().(*letter)
	if !ok {
		l = &letter{bytes: make([]byte, 0, 1<<bits.Len(uint(size)))}
		l.free = func() {
			if l.readers.Add(-1) == 0 {
				box.Put(l)
			}
		}
	}
	l.bytes = l.bytes[:0]
	l.readers.Store(1)
	return l
}

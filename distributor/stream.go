package distributor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/series"
)

// Owner is the way to one owner of a partition. It breaks as a whole: after it broke nothing more goes through it.
type Owner interface {
	// Push hands over the next batch of the stream, in order. It doesn't wait for the owner; a full queue is an error.
	// The batch is read-only from here on. free is called, once, when this owner's way looks at it no more, whatever
	// became of it; or never.
	Push(batch []byte, free func()) (series.Receipt, error)
	// Broken is closed when the way broke.
	Broken() <-chan struct{}
	Close()
}

// Dialer opens ways to owners. It returns once the owner has opened the way, too; afterwards ctx means nothing to it.
type Dialer interface {
	Dial(ctx context.Context, owner ring.Owner) (Owner, error)
}

// errStale says that a batch's numbers belong to an older generation of the stream: it must be built again.
var errStale = errors.New("stream has a new generation")

// errLate is errStale because of labels: owners don't keep one that the batch needs, or it would drive out a newer one.
var errLate = fmt.Errorf("%w, or its labels are too old", errStale)

// errNoOwner says that too few owners could be reached.
var errNoOwner = errors.New("too few owners can be reached")

// How often an owner is dialled. One that joins begins with an empty dictionary, so all series are sent anew, to every
// owner: one whose way keeps breaking is waited for longer each time, as long as the others suffice without it.
const (
	redialAfter  = 250 * time.Millisecond
	rejoinAtMost = 15 * time.Second
	steadyAfter  = 30 * time.Second
)

// stream sends the batches of one partition to its owners, the same bytes to each, in one order. Owners that can't be
// reached are no part of it until they can.
type stream struct {
	partition int32
	dialer    Dialer
	versions  *versions
	keepers   sync.WaitGroup
	counter   atomic.Uint64 // generation << 32 | the next number in it

	mu      sync.Mutex       // held to change the generation
	born    uint32           // the version at which the generation began
	retired int              // numbers of this generation whose series expired
	labels  *dictionary      // of this generation
	links   map[string]*link // by instance
}

// link is one owner, and the way to it.
type link struct {
	ring.Owner
	stop context.CancelFunc
	way  Owner // nil while there is none
}

func newStream(partition int32, d Dialer, v *versions) *stream {
	s := &stream{partition: partition, dialer: d, versions: v, links: map[string]*link{}}
	s.renumber()
	return s
}

// number hands out a number for a series, with the generation that it is of.
func (s *stream) number() (series.Number, uint32) {
	n := s.counter.Add(1) - 1
	return series.Number(n), uint32(n >> 32)
}

func (s *stream) currentGeneration() uint32 { return uint32(s.counter.Load() >> 32) }

// current is the generation, the version at which it began, and its labels.
func (s *stream) current() (generation, born uint32, ls *dictionary) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.currentGeneration(), s.born, s.labels
}

// retire counts a number that no series has any more, which it had at that version. Once most of many are so, the
// numbering starts anew, which lets the owners forget them.
func (s *stream) retire(version uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if version < s.born {
		return
	}
	s.retired++
	if s.retired > 100_000 && s.retired > int(uint32(s.counter.Load()))*3/4 {
		s.renumber()
	}
}

// renumber begins a new generation.
func (s *stream) renumber() {
	s.counter.Store(uint64(s.currentGeneration()+1) << 32)
	s.born, s.retired, s.labels = s.versions.renumbered(), 0, newDictionary()
}

// follow makes the links those of the partition's owners. Ways to new ones are opened in the background.
func (s *stream) follow(owners []ring.Owner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := map[string]ring.Owner{}
	for _, o := range owners {
		now[o.Instance] = o
	}
	for name, l := range s.links {
		if now[name] != l.Owner {
			l.stop()
			delete(s.links, name)
		}
	}
	for _, o := range owners {
		if s.links[o.Instance] != nil {
			continue
		}
		ctx, stop := context.WithCancel(context.Background())
		l := &link{Owner: o, stop: stop}
		s.links[o.Instance] = l
		s.keepers.Go(func() { s.keep(ctx, l) })
	}
}

// keep opens a way to an owner again and again, until ctx ends.
func (s *stream) keep(ctx context.Context, l *link) {
	pause := redialAfter
	for ctx.Err() == nil {
		wait := redialAfter
		if way, err := s.dialer.Dial(ctx, l.Owner); err == nil {
			joined := time.Now()
			s.join(ctx, l, way)
			select {
			case <-way.Broken():
			case <-ctx.Done():
			}
			s.part(l)
			way.Close()
			if time.Since(joined) > steadyAfter {
				pause = redialAfter
			}
			if s.wellJoined() {
				wait = pause
			}
			pause = min(2*pause, rejoinAtMost)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// join makes a way part of the stream. It begins with an empty dictionary, so the numbering starts anew.
func (s *stream) join(ctx context.Context, l *link, way Owner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() == nil {
		l.way = way
		s.renumber()
	}
}

// part takes a way out of the stream. The others go on with the numbers that they know.
func (s *stream) part(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.way = nil
}

// wellJoined tells whether a majority of the owners can be reached.
func (s *stream) wellJoined() bool {
	n := s.joined()
	s.mu.Lock()
	defer s.mu.Unlock()
	return n > len(s.links)/2
}

// joined is how many owners can be reached.
func (s *stream) joined() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, l := range s.links {
		if l.way != nil {
			n++
		}
	}
	return n
}

// push hands the batch, which needs no label older than that one, to every owner that can be reached. whole tells that none of them
// refused it.
func (s *stream) push(generation uint32, oldest series.LabelNumber, batch *letter) (receipts []series.Receipt, whole bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if generation != s.currentGeneration() {
		return nil, false, errStale
	}
	if !s.labels.keeps(oldest) {
		return nil, false, errLate
	}
	if s.labels.spent() {
		defer s.renumber()
	}
	receipts = make([]series.Receipt, 0, len(s.links))
	whole = true
	for _, l := range s.links {
		if l.way == nil {
			continue
		}
		batch.readers.Add(1)
		r, err := l.way.Push(batch.bytes, batch.free)
		if err != nil {
			r, whole = notTaken{err}, false
		}
		receipts = append(receipts, r)
	}
	return receipts, whole, nil
}

// notTaken stands for a batch that an owner didn't take.
type notTaken struct{ err error }

// Wait implements series.Receipt.
func (r notTaken) Wait(context.Context) (series.Ack, error) { return series.Ack{}, r.err }

// close ends all ways.
func (s *stream) close() {
	s.mu.Lock()
	for name, l := range s.links {
		l.stop()
		delete(s.links, name)
	}
	s.mu.Unlock()
	s.keepers.Wait()
}

// await waits until quorum owners have acked, or can't any more. Conflicts are those that a quorum of owners saw.
func await(ctx context.Context, receipts []series.Receipt, quorum int) (series.Ack, error) {
	if len(receipts) < quorum {
		return series.Ack{}, errNoOwner
	}
	if len(receipts) == 1 {
		return receipts[0].Wait(ctx)
	}
	type verdict struct {
		ack series.Ack
		err error
	}
	verdicts := make(chan verdict, len(receipts))
	for _, r := range receipts {
		go func() {
			ack, err := r.Wait(ctx)
			verdicts <- verdict{ack, err}
		}()
	}
	var errs []error
	var acks []series.Ack
	for range receipts {
		v := <-verdicts
		if v.err != nil {
			errs = append(errs, v.err)
		} else {
			acks = append(acks, v.ack)
		}
		if len(acks) == quorum {
			return agreed(acks), nil
		}
		if len(receipts)-len(errs) < quorum {
			break
		}
	}
	return series.Ack{}, errors.Join(errs...)
}

// agreed is the ack with the fewest conflicts: so many at least were seen by all of them.
func agreed(acks []series.Ack) series.Ack {
	least := acks[0]
	for _, a := range acks[1:] {
		if a.Conflicts < least.Conflicts {
			least = a
		}
	}
	return least
}

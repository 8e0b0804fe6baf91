package distributor

import (
	"context"
	"errors"
	"sync"

	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/series"
)

// Owner is the way to one owner of a partition. It breaks as a whole: after an error nothing more goes through it.
type Owner interface {
	// Push hands over the next batch of the stream, in order. It doesn't wait for the owner; a full queue is an error.
	// The batch is read-only from here on.
	Push(batch []byte) (Receipt, error)
	// Broken is closed when the way broke.
	Broken() <-chan struct{}
	Close()
}

// Receipt stands for a batch on its way to one owner.
type Receipt interface {
	// Wait returns when the owner has synced the batch, or never will have.
	Wait(ctx context.Context) (series.Ack, error)
}

// Dialer opens ways to owners. It doesn't wait until they are there.
type Dialer interface {
	Dial(owner ring.Owner) (Owner, error)
}

// errStale says that a batch's numbers belong to an older generation of the stream: it must be built again.
var errStale = errors.New("stream has a new generation")

// errNoOwner says that too few owners could be reached.
var errNoOwner = errors.New("no owner reachable")

// stream sends the batches of one partition to its owners, the same bytes to each, in one order.
type stream struct {
	partition int32
	dialer    Dialer

	mu         sync.Mutex
	generation uint32
	next       series.Number // the next number of this generation
	retired    int           // numbers of this generation whose series expired
	members    []ring.Owner
	owners     map[string]*link // by instance
}

// link is one owner's way, and the generation from which on it was there.
type link struct {
	ring.Owner
	way Owner
}

func newStream(partition int32, d Dialer) *stream {
	return &stream{partition: partition, dialer: d, generation: 1, owners: map[string]*link{}}
}

// number hands out a number for a series, with the generation that it is of.
func (s *stream) number() (series.Number, uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	return s.next - 1, s.generation
}

func (s *stream) currentGeneration() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.generation
}

// retire counts a number that no series has any more. Once most of many are so, the numbering starts anew, which lets
// the owners forget them.
func (s *stream) retire(generation uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if generation != s.generation {
		return
	}
	s.retired++
	if s.retired > 100_000 && s.retired > int(s.next)*3/4 {
		s.renumber()
	}
}

func (s *stream) renumber() { s.generation, s.next, s.retired = s.generation+1, 0, 0 }

// follow makes the links those of the partition's owners.
func (s *stream) follow(owners []ring.Owner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.members = owners
	now := map[string]ring.Owner{}
	for _, o := range owners {
		now[o.Instance] = o
	}
	for name, l := range s.owners {
		if now[name] != l.Owner {
			l.way.Close()
			delete(s.owners, name)
		}
	}
	s.connect()
}

// connect opens ways to the owners that have none. A new way begins with an empty dictionary, so the numbering starts
// anew, once for all that were opened.
func (s *stream) connect() {
	opened := false
	for _, o := range s.members {
		if l := s.owners[o.Instance]; l != nil {
			select {
			case <-l.way.Broken():
				l.way.Close()
				delete(s.owners, o.Instance)
			default:
				continue
			}
		}
		way, err := s.dialer.Dial(o)
		if err != nil {
			continue // the next heartbeat tries again; the quorum counts it as absent
		}
		s.owners[o.Instance] = &link{Owner: o, way: way}
		opened = true
	}
	if opened {
		s.renumber()
	}
}

// push hands the batch to every owner that can be reached. whole tells that none of them refused it.
func (s *stream) push(generation uint32, batch []byte) (receipts []Receipt, whole bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if generation != s.generation {
		return nil, false, errStale
	}
	receipts = make([]Receipt, 0, len(s.owners))
	for _, l := range s.owners {
		if r, err := l.way.Push(batch); err == nil {
			receipts = append(receipts, r)
		}
	}
	return receipts, len(receipts) == len(s.owners), nil
}

func (s *stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, l := range s.owners {
		l.way.Close()
		delete(s.owners, name)
	}
	s.members = nil
}

// await waits until quorum owners have acked, or can't any more. Conflicts are those that a quorum of owners saw.
func await(ctx context.Context, receipts []Receipt, quorum int) (series.Ack, error) {
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

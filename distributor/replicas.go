package distributor

import (
	"fmt"
	"sync"
	"time"

	"github.com/varve-io/varve/pkg/remote"
	"github.com/varve-io/varve/pkg/ring"
)

// replica is one that a tenant sends. Entries of series name it by number, 0 being none.
type replica struct {
	contest ring.Contest
	name    string
}

// replicas are those of one tenant.
type replicas struct {
	mu      sync.Mutex
	numbers map[replica]uint16
	all     []replica // by number less 1
	seen    []uint32  // Unix seconds
	free    []uint16
}

// number is that of a replica; 0 if there are too many.
func (s *replicas) number(r replica, most int, now uint32) uint16 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ok := s.numbers[r]
	switch {
	case ok:
	case len(s.numbers) >= most:
		return 0
	case len(s.free) > 0:
		n, s.free = s.free[len(s.free)-1], s.free[:len(s.free)-1]
		s.all[n-1] = r
	default:
		s.all, s.seen = append(s.all, r), append(s.seen, now)
		n = uint16(len(s.all))
	}
	if s.numbers == nil {
		s.numbers = map[replica]uint16{}
	}
	s.numbers[r], s.seen[n-1] = n, now
	return n
}

// at is the replica of a number, whose samples come in.
func (s *replicas) at(n uint16, now uint32) replica {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[n-1] = now
	return s.all[n-1]
}

// expire forgets the replicas that were last seen before a time. No entry names them any more: those are forgotten sooner.
func (s *replicas) expire(before uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r, n := range s.numbers {
		if s.seen[n-1] < before {
			delete(s.numbers, r)
			s.free = append(s.free, n)
		}
	}
}

// ballot is what a request knows of a replica.
type ballot struct {
	replica
	mandate
	asked  bool
	newest int64 // time of the newest sample that may be stored
	some   bool  // there is such a sample
}

// ballots are those of all replicas that a request brings samples of.
type ballots struct {
	by    []ballot // by number less 1
	asked []uint16
}

func (b *ballots) reset() {
	for _, n := range b.asked {
		b.by[n-1] = ballot{}
	}
	b.asked = b.asked[:0]
}

// ballot is that of a replica. It is asked for once in a request.
func (r *request) ballot(n uint16) (*ballot, error) {
	for int(n) > len(r.ballots.by) {
		r.ballots.by = append(r.ballots.by, ballot{})
	}
	b := &r.ballots.by[n-1]
	if b.asked {
		return b, nil
	}
	b.replica = r.sender.replicas.at(n, r.seconds)
	var err error
	if b.mandate, err = r.d.elections.ask(b.contest, b.name, time.Duration(r.lim.HAFailoverTimeout), r.now); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	b.asked = true
	r.ballots.asked = append(r.ballots.asked, n)
	return b, nil
}

// choose leaves a series of the elected replica only the samples that may be stored.
func (r *request) choose(b *ballot, s *remote.Series) {
	floats := s.Floats[:0]
	for _, f := range s.Floats {
		if b.takes(f.Time, &r.window) {
			floats = append(floats, f)
		}
	}
	histograms := s.Histograms[:0]
	for _, h := range s.Histograms {
		if b.takes(h.Time, &r.window) {
			histograms = append(histograms, h)
		}
	}
	others := Drops{Floats: len(s.Floats) - len(floats), Histograms: len(s.Histograms) - len(histograms)}
	if n := others.samples(); n > 0 {
		r.written.OfReplica.Floats += others.Floats
		r.written.OfReplica.Histograms += others.Histograms
		r.dropped.add(haDropped, n, r.subject)
	}
	s.Floats, s.Histograms = floats, histograms
}

// takes tells whether the elected replica may bring a sample of that time.
func (b *ballot) takes(t int64, w *window) bool {
	if t <= b.floor {
		return false
	}
	if t >= w.oldest && t <= w.newest {
		b.some, b.newest = true, max(b.newest, t)
	}
	return true
}

// noteHeard notes whose samples a request has brought.
func (r *request) noteHeard() {
	for _, n := range r.ballots.asked {
		if b := &r.ballots.by[n-1]; b.some {
			r.d.elections.heard(b.contest, b.term, r.now)
		}
	}
}

// noteStored notes that what a request has brought is stored.
func (r *request) noteStored() {
	for _, n := range r.ballots.asked {
		if b := &r.ballots.by[n-1]; b.some {
			r.d.elections.stored(b.contest, b.name, b.newest, r.now)
		}
	}
}

// idleUnelected notes which series come from replicas that aren't elected any more: they count for no quota.
func (d *Distributor) idleUnelected() {
	for _, s := range d.senders() {
		if idle := s.replicas.unelected(d.elections); idle != nil {
			s.table.idleReplicas(idle)
		}
	}
}

// unelected tells of each replica, by its number, whether another is elected; nil if there are no replicas.
func (s *replicas) unelected(e *elections) (idle []bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.numbers) == 0 {
		return nil
	}
	idle = make([]bool, len(s.all)+1)
	for r, n := range s.numbers {
		idle[n] = !e.elected(r)
	}
	return idle
}

package ingester

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/varve-io/varve/pkg/head"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/pkg/wal"
)

// stream resolves the numbers of one distributor's batches for one partition.
//
// A number's definition must stand in the log before its use, in every term of the log by itself: an epoch's log is
// replayed and dropped alone, and after a fence earlier records may be gone. So a number that was defined in an earlier
// term is logged once more when it is first used in this one.
//
// Values stand in the log as differences from the number's value before. Their records are numbered: a reader that
// misses one believes no difference before a record that begins anew.
type stream struct {
	id series.StreamID

	mu      sync.Mutex
	term    wal.Term
	round   uint32 // counts terms; what a number of an older one stands for must be looked up and logged again
	refs    refs
	eras    eras
	labels  learned
	tenants map[tenant.ID]uint32 // of the series; an era has only the number
	used    time.Time
	scratch series.Builder
	defined series.Definitions // room to read them
	lookup  head.Lookup        // of their labels

	next  series.Continuity // of the next record with differences
	since int               // differences since a record that began anew
	lost  bool              // replaying: a record is missing
}

// anewAfter is how many values of each number, on average, are logged before a record begins anew. So many at most does
// the loss of a record cost, and the values that are logged whole for it are a tenth of a byte per sample.
const anewAfter = 32

// tenant is the number of a tenant in this stream.
func (s *stream) tenant(id tenant.ID) uint32 {
	n, ok := s.tenants[id]
	if !ok {
		if s.tenants == nil {
			s.tenants = map[tenant.ID]uint32{}
		}
		n = uint32(len(s.tenants))
		s.tenants[id] = n
	}
	return n
}

// begin makes references of earlier terms stale.
func (s *stream) begin(t wal.Term) {
	if s.term != t || s.round == 0 {
		s.term = t
		s.round++
		s.next.Anew = true
	}
}

// logged notes that a record with so many differences is in the log.
func (s *stream) logged(n int) {
	if s.next.Anew {
		s.since = 0
	}
	s.since += n
	s.next = series.Continuity{Sequence: s.next.Sequence + 1, Anew: s.since > anewAfter*s.refs.size}
}

// follows tells whether the differences of a record can be read: none is missing since a record that began anew.
func (s *stream) follows(c series.Continuity) bool {
	s.lost = !c.Anew && (s.lost || c.Sequence != s.next.Sequence)
	s.next.Sequence = c.Sequence + 1
	if c.Anew {
		s.forgetValues()
	}
	return !s.lost
}

func (s *stream) forgetValues() {
	for _, p := range s.refs.pages {
		if p != nil {
			for n := range p {
				p[n].last = 0
			}
		}
	}
}

// vacateStep is how many numbers are looked at while pushes wait.
const vacateStep = 4096

// freedEpoch is one that was cut.
type freedEpoch struct {
	*epoch
	at time.Time
}

// vacateAfter is when numbers leave the heads of an epoch that is cut. By then most have done so, because they were used.
func (i *Ingester) vacateAfter() time.Duration { return time.Duration(i.cfg.HeadPeriod) / 12 }

// vacateAll lets go of the heads of epochs that were cut a while ago.
func (i *Ingester) vacateAll() {
	for len(i.freed) > 0 && i.deps.Now().Sub(i.freed[0].at) >= i.vacateAfter() {
		i.vacate(i.freed[0].epoch)
		i.freed = slices.Delete(i.freed, 0, 1)
	}
}

// vacate lets go of the heads of an epoch. Numbers that were not used since would keep them, with the labels of all their
// series; so they get series like theirs in heads that hold nothing else.
func (i *Ingester) vacate(e *epoch) {
	i.streamsMu.RLock()
	streams := slices.Collect(maps.Values(i.streams))
	i.streamsMu.RUnlock()
	cut, rest := e.all(), newEpoch(e.number)
	for _, s := range streams {
		for n := 0; s.vacateSome(cut, rest, n); n += vacateStep {
		}
		s.mu.Lock()
		s.sweep()
		s.mu.Unlock()
	}
	for _, h := range rest.all() {
		h.Free()
	}
}

// vacateSome does so for some numbers from first on; false if there are none.
func (s *stream) vacateSome(cut map[tenant.ID]*head.Head, rest *epoch, first int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if first >= s.refs.size {
		return false
	}
	to, known := s.newHomes(cut, rest), map[*head.Head]uint32{}
	for n := first; n < min(first+vacateStep, s.refs.size); n++ {
		r := s.refs.find(series.Number(n))
		if r == nil || to[r.era] == nil {
			continue
		}
		h, was := to[r.era], s.eras.all[r.era]
		like, _, err := h.SeriesLike(was.list.At(int(r.series)))
		if err != nil {
			continue
		}
		if known[h] == 0 {
			known[h] = s.homeOf(h, was.tenant)
		}
		r.series, r.era = like.Ref(), known[h]
	}
	for h, at := range known {
		s.eras.all[at].list = h.All()
	}
	return true
}

// newHomes are the heads, by era, to which the numbers go that must leave theirs.
func (s *stream) newHomes(cut map[tenant.ID]*head.Head, rest *epoch) []*head.Head {
	ids := make(map[uint32]tenant.ID, len(s.tenants))
	for id, n := range s.tenants {
		ids[n] = id
	}
	to := make([]*head.Head, len(s.eras.all))
	for at, e := range s.eras.all {
		if id := ids[e.tenant]; e.head != nil && cut[id] == e.head {
			to[at] = rest.head(id)
		}
	}
	return to
}

// maxNumber bounds what a corrupt definition may cost.
const maxNumber = 64 << 20

// dictionary is a stream's numbers for one tenant, whose head it is.
type dictionary struct {
	*stream
	head *head.Head
	of   uint32
	now  uint32 // the era
}

func (s *stream) dictionary(id tenant.ID, h *head.Head) dictionary {
	of := s.tenant(id)
	return dictionary{s, h, of, s.era(of, h)}
}

// settle makes all series known to the era that the head has now.
func (s dictionary) settle() head.List {
	all := s.head.All()
	s.eras.all[s.now].list = all
	return all
}

// lookAhead is how many series before their turn memory is asked for what new ones change.
const lookAhead = 4

// define reads what numbers stand for.
func (s dictionary) define(b *series.Batch) error {
	if !b.Defines() {
		return nil
	}
	defer s.defined.Reset()
	known, err := s.read(b)
	if err != nil {
		return err
	}
	s.lookup.Begin(s.head, s.defined.Pairs, known)
	defer s.lookup.Reset()
	defer s.remember()
	for i, n := range s.defined.Numbers {
		if n >= maxNumber {
			return fmt.Errorf("%w: number %d", series.ErrCorrupt, n)
		}
		var soon []uint32
		if i+lookAhead < len(s.defined.Numbers) {
			soon = s.defined.Labels(i + lookAhead)
		}
		ser, _, err := s.lookup.Series(s.defined.Labels(i), soon)
		if err != nil {
			return err
		}
		*s.refs.make(n) = ref{series: ser.Ref(), era: s.now}
	}
	return nil
}

// resolve is what a number stands for. One whose definition must be logged again is added to scratch.
func (s dictionary) resolve(n series.Number) (*ref, error) {
	r := s.refs.find(n)
	if r == nil || r.era == 0 {
		return nil, fmt.Errorf("%w: number %d of %d", series.ErrUnknownNumber, n, s.refs.size)
	}
	was := &s.eras.all[r.era]
	if was.tenant != s.of {
		return nil, fmt.Errorf("%w: number %d is another tenant's", series.ErrCorrupt, n)
	}
	if r.era == s.now {
		return r, nil
	}
	ser, _, err := s.head.SeriesLike(was.list.At(int(r.series)))
	if err != nil {
		return nil, err
	}
	*r = ref{series: ser.Ref(), era: s.now}
	s.scratch.Define(n, ser.Labels())
	return r, nil
}

// code resolves the floats of a batch, and gives their differences.
func (s dictionary) code(b *series.Batch, floats []floatOf, d *series.Differences) ([]floatOf, error) {
	it := b.Floats()
	if d.Reset(it.Len()); s.next.Anew {
		s.forgetValues()
	}
	floats = slices.Grow(floats, it.Len())
	refs := s.refs // doesn't grow meanwhile
	var rooms [2][touched]series.FloatBits
	next := rooms[0][:it.Fill(rooms[0][:])]
	refs.expect(next)
	for turn := 1; len(next) > 0; turn++ {
		some, room := next, &rooms[turn%2]
		next = room[:it.Fill(room[:])]
		refs.expect(next)
		for k := range some {
			n, bits := some[k].Number, some[k].Bits
			r := refs.find(n)
			if r == nil || r.era != s.now {
				var err error
				if r, err = s.resolve(n); err != nil {
					return floats, err
				}
			}
			d.Add(bits ^ r.last)
			r.last = bits
			floats = append(floats, floatOf{r.series, some[k].Time, math.Float64frombits(bits)})
		}
	}
	return floats, it.Err()
}

// decode resolves the floats of a record.
func (s dictionary) decode(b *series.Batch, floats []floatOf) ([]floatOf, error) {
	it := b.Floats()
	c, differ := b.Continuity()
	if differ && !s.follows(c) {
		return floats, fmt.Errorf("%w: a record before it is missing", series.ErrUnknownNumber)
	}
	floats = slices.Grow(floats, it.Len())
	var room [touched]series.FloatBits
	for some := room[:it.Fill(room[:])]; len(some) > 0; some = room[:it.Fill(room[:])] {
		for k := range some {
			r, err := s.resolve(some[k].Number)
			if err != nil {
				return floats, err
			}
			bits := some[k].Bits
			if differ {
				bits ^= r.last
				r.last = bits
			}
			floats = append(floats, floatOf{r.series, some[k].Time, math.Float64frombits(bits)})
		}
	}
	return floats, it.Err()
}

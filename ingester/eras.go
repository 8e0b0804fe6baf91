package ingester

import "github.com/varve-io/varve/pkg/head"

// era is a head that has series of a stream's numbers: a tenant's in one term of the log, or one with those of numbers that nobody
// used for long (see vacate). A number stands for a series in one era.
type era struct {
	head   *head.Head // nil where there is no era
	list   head.List  // has all series of numbers: the head forgets them when it is freed
	tenant uint32
	round  uint32 // of the term; 0 if there is none whose log has these series
}

// eras are those of a stream. The first is none.
type eras struct {
	all     []era
	free    []uint32 // places in all
	current []uint32 // of each tenant, by its number; 0 for none
	sweepAt int      // so many are looked through for those that no number has any more
}

// homeOf is the era of numbers whose series are in a head that no term has. One that no number has yet must get one at once.
func (s *stream) homeOf(h *head.Head, tenant uint32) uint32 {
	for at, e := range s.eras.all {
		if e.head == h {
			return uint32(at)
		}
	}
	return s.addEra(era{head: h, tenant: tenant})
}

// fewEras are not worth looking through.
const fewEras = 64

// era is the one of a tenant's head in this term.
func (s *stream) era(tenant uint32, h *head.Head) uint32 {
	e := &s.eras
	for int(tenant) >= len(e.current) {
		e.current = append(e.current, 0)
	}
	at := e.current[tenant]
	if at == 0 || e.all[at].round != s.round || e.all[at].head != h {
		at = s.addEra(era{head: h, tenant: tenant, round: s.round})
		e.current[tenant] = at
	}
	return at
}

func (s *stream) addEra(of era) uint32 {
	e := &s.eras
	if len(e.all) == 0 {
		e.all, e.sweepAt = make([]era, 1, 2), fewEras
	}
	if len(e.free) == 0 && len(e.all) >= e.sweepAt {
		s.sweep()
	}
	if n := len(e.free); n > 0 {
		at := e.free[n-1]
		e.free, e.all[at] = e.free[:n-1], of
		return at
	}
	e.all = append(e.all, of)
	return uint32(len(e.all) - 1)
}

// sweep lets go of the eras that no number has.
func (s *stream) sweep() {
	e := &s.eras
	used := make([]bool, len(e.all))
	for _, p := range s.refs.pages {
		if p != nil {
			for n := range p {
				used[p[n].era] = true
			}
		}
	}
	e.free = e.free[:0]
	for at := 1; at < len(used); at++ {
		if !used[at] {
			e.all[at] = era{}
			e.free = append(e.free, uint32(at))
		}
	}
	e.sweepAt = max(fewEras, 2*(len(e.all)-len(e.free)))
}

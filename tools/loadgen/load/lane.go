package load

import (
	"math/rand/v2"
	"slices"
)

// lane walks the positions of one lane and turns them into requests.
type lane struct {
	gen      *Generator
	id       int
	slots    int64
	pos, end int64 // end < 0: none
	late     []lateRange
	series   []laneSeries
	scratch  Histogram
	shuffle  bool    // each request's positions come in an order of their own
	order    []int64 // scratch
	created  bool    // its first step is decided
}

// laneSeries is a slot with what its present series looks like on the wire.
type laneSeries struct {
	track
	gen     int64 // encoded now; −1 none
	encoded encodedSeries
}

// lateRange was kept back to be sent out of order.
type lateRange struct {
	Range
	due int64 // position of the lane at which it is sent
}

func newLane(gen *Generator, id int, ledger *Ledger) *lane {
	cfg := gen.cfg
	l := &lane{gen: gen, id: id, slots: cfg.LaneSlots(id), end: -1, pos: ledger.Next(id)}
	if cfg.Steps > 0 {
		l.end = int64(cfg.Steps) * l.slots
	}
	for _, r := range ledger.gaps(id) {
		l.late = append(l.late, lateRange{Range: r})
	}
	l.series = make([]laneSeries, l.slots)
	for j := range l.series {
		l.series[j] = laneSeries{track: gen.track(id + j*cfg.Lanes), gen: -1}
	}
	return l
}

// next says which positions to send next, at most batch of them; false at the end of the lane.
func (l *lane) next(batch int64) (Range, bool) {
	for {
		if i := l.due(); i >= 0 {
			r := l.late[i].Range
			if r.To-r.From > batch {
				l.late[i].From += batch
				r.To = r.From + batch
			} else {
				l.late = slices.Delete(l.late, i, i+1)
			}
			return r, true
		}
		if l.pos == l.end {
			return Range{}, false
		}
		r := Range{l.id, l.pos, l.pos + batch}
		if l.end >= 0 {
			r.To = min(r.To, l.end)
		}
		l.pos = r.To
		h := mix(mix(l.gen.cfg.Seed, uint64(l.id)+1<<50), uint64(r.From))
		if unit(h) >= l.gen.cfg.OutOfOrder {
			return r, true
		}
		l.late = append(l.late, lateRange{r, r.To + int64(1+h%10)*l.slots})
	}
}

// due finds a late range whose turn it is, the longest due first; −1 if none.
func (l *lane) due() int {
	found := -1
	for i, r := range l.late {
		if (r.due <= l.pos || l.pos == l.end) && (found < 0 || r.due < l.late[found].due) {
			found = i
		}
	}
	return found
}

// encode puts a range into the encoder and returns how many samples that is. A range's samples can be more than its positions:
// staleness markers of replaced series come on top.
func (l *lane) encode(e *encoder, r Range) (samples int64) {
	if l.shuffle {
		for _, pos := range l.shuffled(r) {
			samples += l.encodeSlot(e, &l.series[pos%l.slots], pos/l.slots)
		}
		return samples
	}
	step, j := r.From/l.slots, r.From%l.slots
	for range r.To - r.From {
		samples += l.encodeSlot(e, &l.series[j], step)
		if j++; j == l.slots {
			step, j = step+1, 0
		}
	}
	return samples
}

// shuffled lists a range's positions in an order that is the same in every run and another in every range.
func (l *lane) shuffled(r Range) []int64 {
	l.order = l.order[:0]
	for pos := r.From; pos < r.To; pos++ {
		l.order = append(l.order, pos)
	}
	seed := mix(l.gen.cfg.Seed, uint64(l.id)+1<<51)
	rand.New(rand.NewPCG(seed, uint64(r.From))).Shuffle(len(l.order), func(i, j int) {
		l.order[i], l.order[j] = l.order[j], l.order[i]
	})
	return l.order
}

func (l *lane) encodeSlot(e *encoder, s *laneSeries, step int64) int64 {
	gen, age := s.at(step)
	p := point{series: &s.encoded, time: l.gen.time(&s.track, step)}
	n := int64(1)
	if s.born(step, age) {
		l.use(e, s, gen-1)
		p.value = staleNaN()
		if s.fam.kind.native() {
			p.histogram = &l.scratch
			p.histogram.setStale(s.fam.kind)
		}
		e.add(p)
		n++
	}
	l.use(e, s, gen)
	if s.fam.kind.native() {
		p.histogram = &l.scratch
		s.histogram(p.histogram, gen, age)
	} else {
		p.value = s.value(gen, age)
	}
	if x := l.gen.cfg.Exemplars; x > 0 && s.fam.kind.counter() {
		if h := mix(s.key^1, uint64(step)); unit(h) < x {
			p.exemplar = h | 1
		}
	}
	e.add(p)
	return n
}

// use makes a generation the slot's present series.
func (l *lane) use(e *encoder, s *laneSeries, gen int64) {
	if s.gen != gen {
		e.series(&s.encoded, s.fam, l.gen.labels(&s.track, gen))
		s.gen = gen
	}
}

// lastTime is the greatest time among a range's samples.
func (l *lane) lastTime(r Range) int64 {
	pos := r.To - 1
	return l.gen.time(&l.series[pos%l.slots].track, pos/l.slots)
}

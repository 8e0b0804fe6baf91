package load

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
)

// checker compares one window's answer with what must be in it.
type checker struct {
	v       *Verifier
	w       window
	tracks  []track          // of w.slots
	known   map[string]owner // by the series' key
	states  []State          // of slot index × step, before the read
	seen    []uint8          // of slot index × step: its sample
	seenEnd []uint8          // and the staleness marker that comes with it
	invents []invented       // to be looked up again when the ledger has been read again
	key     []byte
	want    Histogram
	got     Histogram
	verdict Verdict
}

// owner is a series of the load.
type owner struct {
	index int // into slots
	gen   int64
}

// invented is a right value that the ledger did not know before the read.
type invented struct {
	index int
	step  int64
	text  string
}

func newChecker(v *Verifier, w window) *checker {
	c := &checker{v: v, w: w, known: map[string]owner{}}
	steps := int(w.steps[1] - w.steps[0])
	c.tracks = make([]track, len(w.slots))
	for i, slot := range w.slots {
		t := v.gen.track(slot)
		c.tracks[i] = t
		first, _ := t.at(w.steps[0])
		last, _ := t.at(w.steps[1])
		for gen := max(first-1, 0); gen <= last; gen++ {
			c.known[labelsKey(v.gen.labels(&t, gen))] = owner{i, gen}
		}
	}
	n := len(w.slots) * steps
	c.states, c.seen, c.seenEnd = make([]State, n), make([]uint8, n), make([]uint8, n)
	for i := range w.slots {
		for s := range steps {
			c.states[i*steps+s] = c.state(i, w.steps[0]+int64(s))
		}
	}
	return c
}

// state asks the ledger.
func (c *checker) state(index int, step int64) State {
	cfg := &c.v.gen.cfg
	lane, pos := c.w.slots[index]%cfg.Lanes, int64(c.w.slots[index]/cfg.Lanes)
	return c.v.ledger.State(lane, step*cfg.LaneSlots(lane)+pos)
}

func labelsKey(ls []label) string {
	var b strings.Builder
	for _, l := range ls {
		b.WriteString(l.name)
		b.WriteByte(0xff)
		b.WriteString(l.value)
		b.WriteByte(0xff)
	}
	return b.String()
}

// series takes one series of the answer.
func (c *checker) series(s *ReadSeries) {
	c.key = c.key[:0]
	for _, l := range s.Labels {
		c.key = append(append(append(append(c.key, l.Name...), 0xff), l.Value...), 0xff)
	}
	o, ok := c.known[string(c.key)]
	for i := range s.Samples {
		p := &s.Samples[i]
		c.sample(s, o, ok, p.Timestamp, func(gen, step, age int64, stale bool) bool {
			return s.sameFloat(c.float(o, gen, age, stale), p.Value) && !c.tracks[o.index].fam.kind.native()
		})
	}
	for i := range s.Histograms {
		p := &s.Histograms[i]
		c.sample(s, o, ok, p.Timestamp, func(gen, step, age int64, stale bool) bool {
			return c.sameHistogram(s, o, p, gen, age, stale)
		})
	}
}

func (c *checker) float(o owner, gen, age int64, stale bool) float64 {
	if stale {
		return staleNaN()
	}
	return c.tracks[o.index].value(gen, age)
}

// sameFloat compares bits, as far as they can be read: text knows only one NaN, and the usual encoders of remote read
// leave every zero out, −0 too (text shows it).
func (s *ReadSeries) sameFloat(want, got float64) bool {
	if s.Text && math.IsNaN(want) {
		return math.IsNaN(got) && !value.IsStaleNaN(want)
	}
	if !s.Text && math.Float64bits(got) == 0 {
		return want == 0
	}
	return math.Float64bits(want) == math.Float64bits(got)
}

func (c *checker) sameHistogram(s *ReadSeries, o owner, p *prompb.Histogram, gen, age int64, stale bool) bool {
	t := &c.tracks[o.index]
	if !t.fam.kind.native() {
		return false
	}
	if stale {
		c.want.setStale(t.fam.kind)
	} else {
		t.histogram(&c.want, gen, age)
	}
	c.got.setProto(p)
	if s.Text { // has neither buckets by index nor the counts' type
		return c.want.Count == c.got.Count && c.want.Sum == c.got.Sum
	}
	return c.want.Equal(&c.got)
}

// sample takes one sample of the answer; same compares its value with that of a step.
func (c *checker) sample(s *ReadSeries, o owner, known bool, ts int64, same func(gen, step, age int64, stale bool) bool) {
	if ts < c.w.times[0] || ts >= c.w.times[1] {
		return // another window's
	}
	text := func(what string) string { return fmt.Sprintf("%s: %s at %d", what, s.name(), ts) }
	if !known {
		c.verdict.Invented++
		c.example(text("invented: no such series"))
		return
	}
	t, cfg := &c.tracks[o.index], &c.v.gen.cfg
	since := ts - cfg.Start - t.offset
	step := since / cfg.IntervalMS
	gen, age := t.at(step)
	stale := t.born(step, age) && gen == o.gen+1
	if since < 0 || since%cfg.IntervalMS != 0 || step < c.w.steps[0] || gen != o.gen && !stale {
		c.verdict.Invented++
		c.example(text("invented: no such sample"))
		return
	}
	if step >= c.w.steps[1] { // sent after the plan was made, or the next window's
		if st := c.state(o.index, step); st == Unsent || st == Refused {
			c.invents = append(c.invents, invented{o.index, step, text("invented: never sent")})
		}
		return
	}
	i := o.index*int(c.w.steps[1]-c.w.steps[0]) + int(step-c.w.steps[0])
	seen := &c.seen[i]
	if stale {
		seen = &c.seenEnd[i]
	}
	*seen = min(*seen+1, 2)
	right := same(o.gen, step, age, stale)
	switch st := c.states[i]; {
	case *seen == 2:
		c.verdict.Twice++
		c.example(text("twice"))
	case st == Unsent || st == Refused:
		c.invents = append(c.invents, invented{o.index, step, text("invented: " + st.String())})
	case !right:
		c.verdict.Wrong++
		c.example(text("wrong value"))
	case st != Acked:
		c.verdict.Unknown++
	}
}

// String names a state.
func (s State) String() string {
	switch s {
	case Acked:
		return "acked"
	case Refused:
		return "refused"
	case Partial:
		return "partly refused"
	case Unknown:
		return "unknown"
	}
	return "never sent"
}

// finish finds what is missing.
func (c *checker) finish(partial bool) error {
	if err := c.v.ledger.Refresh(); err != nil {
		return err
	}
	for _, x := range c.invents {
		if st := c.state(x.index, x.step); st == Unsent || st == Refused {
			c.verdict.Invented++
			c.example(x.text)
		}
	}
	steps := int(c.w.steps[1] - c.w.steps[0])
	for i := range c.tracks {
		for s := range steps {
			if c.states[i*steps+s] == Acked {
				c.missing(i, c.w.steps[0]+int64(s), i*steps+s, partial)
			}
		}
	}
	return nil
}

// missing looks whether the samples of an acked position were seen.
func (c *checker) missing(index int, step int64, i int, partial bool) {
	t := &c.tracks[index]
	ts := c.v.gen.time(t, step)
	if ts < c.w.times[0] || ts >= c.w.times[1] {
		return
	}
	gen, age := t.at(step)
	expect := func(seen uint8, gen int64) {
		c.verdict.Acked++
		switch {
		case seen > 0:
			c.verdict.Found++
		case partial && c.v.cfg.PartialOK:
			c.verdict.Withheld++
		default:
			c.verdict.Lost++
			c.example(fmt.Sprintf("lost: %s at %d", c.v.gen.Labels(t.slot, gen), ts))
		}
	}
	expect(c.seen[i], gen)
	if t.born(step, age) && !c.v.source.Text() {
		expect(c.seenEnd[i], gen-1)
	}
}

func (c *checker) example(text string) {
	if len(c.verdict.Examples) < maxExamples && !slices.Contains(c.verdict.Examples, text) {
		c.verdict.Examples = append(c.verdict.Examples, text)
	}
}

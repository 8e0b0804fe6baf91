package cost

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/varve-io/varve/pkg/cost/money"
	"github.com/varve-io/varve/pkg/cost/price"
)

// MinCreepSteps is of how many whole steps a workload must be known, so that its creep is told.
const MinCreepSteps = 3

// creepDays is the time that growth is told for.
const creepDays = 30

// Creep is how requests grew against usage, those whose gap came to cost most first.
type Creep struct {
	Step      Step        `json:"step"` // day if the question has none
	Workloads []CreepLine `json:"workloads"`
	LeftOut   int64       `json:"left_out"` // workloads that are known of less than MinCreepSteps
}

// CreepLine is a workload. A resource is nil if it is known of less than MinCreepSteps.
type CreepLine struct {
	Cluster    string `json:"cluster"`
	Namespace  string `json:"namespace"`
	Controller string `json:"controller"`
	// Widening is by how much more the gap between request and usage costs in 30 days, after all that it grew by the fits. It is an estimate, at the rates
	// of the last step, and negative if the gap became narrower.
	Widening Estimate     `json:"widening"`
	CPU      *CreepGrowth `json:"cpu,omitempty"` // cores
	RAM      *CreepGrowth `json:"ram,omitempty"` // bytes
}

// CreepGrowth is of one resource, over all pods of the workload.
type CreepGrowth struct {
	Steps    int    `json:"steps"` // from the first to the last of them
	Request  Growth `json:"request"`
	Usage    Growth `json:"usage"`
	Ratio    Ends   `json:"ratio"`    // of request to usage; 0 where nothing was used
	Coverage Ends   `json:"coverage"` // the part of the request of which usage is known
}

// Growth is means over steps, and by how much the line of least squares through all of them rises in 30 days.
type Growth struct {
	Ends
	Per30Days float64 `json:"per_30_days"`
}

// Ends are of the first and the last step.
type Ends struct {
	First float64 `json:"first"`
	Last  float64 `json:"last"`
}

// Estimate is money that isn't exact, with six decimals.
type Estimate float64

// String is the estimate without zeros at its end.
func (e Estimate) String() string {
	return strings.TrimSuffix(strings.TrimRight(strconv.FormatFloat(float64(e), 'f', 6, 64), "0"), ".")
}

// MarshalText gives String.
func (e Estimate) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// creep takes ledgers in the order of time, and keeps of each workload sums only.
type creep struct {
	query     Query
	steps     []int64
	step      int   // now; -1 before there is one
	covered   int64 // milliseconds of it that ledgers told of
	first     bool  // no step with ledgers was before it
	workloads []creeping
}

// creeping is one workload. A step in which it came or left is no whole one of it: a step counts if it was there in the one before and in the one after, as far
// as there are ledgers of these.
type creeping struct {
	now     [2]creepSums // of CPU and RAM in this step
	waiting [2]creepMeans
	fits    [2]creepFit
	is, was bool // there in this step, in the one before
	ever    bool // there at any time: others are only scaled, or have numbers between those that were there
}

// creepSums are of a step.
type creepSums struct {
	used, request, unknown, held money.Quantity
	known, alive                 int64
	cost                         money.Amount // of held
}

// creepMeans are of a whole step, in cores or bytes. There are none if coverage is 0.
type creepMeans struct {
	day      float64 // the middle, since the window's begin
	y        [2]float64
	coverage float64
	rate     float64 // money for one core or byte in 30 days
}

// creepFit has the sums of least squares of request and usage.
type creepFit struct {
	n           int
	x, xx       float64
	y, xy       [2]float64
	first, last creepMeans
}

func newCreep(q Query) (creep, error) {
	steps, err := q.steps()
	return creep{query: q, steps: steps, step: -1, first: true}, err
}

// begin finishes the step before if the ledger is of a new one.
func (c *creep) begin(l *Ledger) {
	if step := int(stepOf(c.steps, l.From)); step != c.step {
		c.finish()
		c.step, c.covered = step, 0
	}
	c.covered += l.To - l.From
}

func (c *creep) add(w uint32, i *Item, r *price.Rates) {
	if int(w) >= len(c.workloads) {
		c.workloads = append(c.workloads, make([]creeping, int(w)+1-len(c.workloads))...)
	}
	of := &c.workloads[w]
	of.is, of.ever = true, true
	of.now[0].add(&i.CPU, r.CPU, i.CPUKnown, i.Alive)
	of.now[1].add(&i.RAM, r.RAM, i.RAMKnown, i.Alive)
}

func (s *creepSums) add(p *Parts, r money.Rate, known, alive int64) {
	held := p.sum()
	s.used, s.unknown = s.used.Plus(p.Used), s.unknown.Plus(p.Unknown)
	s.request, s.held = s.request.Plus(p.Request), s.held.Plus(held)
	s.cost.Add(r.Of(held))
	s.known, s.alive = s.known+known, s.alive+alive
}

// finish ends a step.
func (c *creep) finish() {
	if c.step < 0 {
		return
	}
	from, to, whole := c.span()
	for i := range c.workloads {
		w := &c.workloads[i]
		for r := range w.now {
			if w.is {
				w.fits[r].add(&w.waiting[r])
			}
			w.waiting[r] = creepMeans{}
			if w.is && whole && (w.was || c.first) {
				w.waiting[r] = w.now[r].means(to - from)
				w.waiting[r].day = float64(from+to-2*c.query.From) / 2 / dayMillis
			}
			w.now[r] = creepSums{}
		}
		w.was, w.is = w.is, false
	}
	c.first = false
}

const dayMillis = 24 * hourMillis

// span is the time of this step, and whether ledgers told of all of it.
func (c *creep) span() (from, to int64, whole bool) {
	from, to = c.steps[c.step], c.query.To
	if c.step+1 < len(c.steps) {
		to = c.steps[c.step+1]
	}
	return from, to, c.covered == to-from && c.query.begins(from) && c.query.begins(to)
}

// begins tells whether a step begins at t.
func (q *Query) begins(t int64) bool {
	return q.border(t-1) == t
}

// means are those of so many milliseconds. There are none if less than half of the usage is known. What isn't known is taken to be as
// much of its request as what is known.
func (s *creepSums) means(millis int64) creepMeans {
	var coverage float64
	switch {
	case !s.request.IsZero():
		coverage = 1 - s.unknown.Float()/s.request.Float()
	case s.alive > 0:
		coverage = float64(s.known) / float64(s.alive)
	}
	if coverage < 0.5 {
		return creepMeans{}
	}
	m := creepMeans{coverage: coverage, y: [2]float64{s.request.Float() / float64(millis), s.used.Float() / float64(millis) / coverage}}
	if !s.held.IsZero() {
		m.rate = s.cost.Float() / s.held.Float() * creepDays * dayMillis
	}
	return m
}

func (f *creepFit) add(m *creepMeans) {
	if m.coverage == 0 {
		return
	}
	if f.n == 0 {
		f.first = *m
	}
	f.last = *m
	f.n++
	f.x += m.day
	f.xx += m.day * m.day
	for i, y := range m.y {
		f.y[i] += y
		f.xy[i] += m.day * y
	}
}

// slope is how much request or usage rises in a day.
func (f *creepFit) slope(i int) float64 {
	n := float64(f.n)
	return (n*f.xy[i] - f.x*f.y[i]) / (n*f.xx - f.x*f.x)
}

// end is what all ledgers tell.
func (c *creep) end(names []workloadName) Creep {
	c.finish()
	out := Creep{Step: c.query.Step, Workloads: []CreepLine{}}
	for i := range c.workloads {
		if !c.workloads[i].ever {
			continue
		}
		line := CreepLine{Cluster: names[i].cluster, Namespace: names[i].namespace, Controller: names[i].controller}
		var widening float64
		of := [2]**CreepGrowth{&line.CPU, &line.RAM}
		for r := range of {
			fit := &c.workloads[i].fits[r]
			fit.add(&c.workloads[i].waiting[r])
			if fit.n < MinCreepSteps {
				continue
			}
			// An integral is in microseconds of cores, or in seconds of bytes; means are per millisecond.
			*of[r] = fit.growth([2]float64{1e-3, 1e3}[r], [2]float64{1e6, 1}[r])
			widening += (fit.slope(0) - fit.slope(1)) * (fit.last.day - fit.first.day) * fit.last.rate
		}
		if line.CPU == nil && line.RAM == nil {
			out.LeftOut++
			continue
		}
		line.Widening = Estimate(roundTo(widening, 1e6))
		out.Workloads = append(out.Workloads, line)
	}
	slices.SortFunc(out.Workloads, func(a, b CreepLine) int {
		return cmp.Or(cmp.Compare(b.Widening, a.Widening), cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Controller, b.Controller))
	})
	return out
}

// roundTo rounds to parts of 1, and never to a negative zero.
func roundTo(v, parts float64) float64 {
	if v = math.Round(v*parts) / parts; v == 0 {
		return 0
	}
	return v
}

// growth is the fit in units, rounded to a part of one.
func (f *creepFit) growth(unit, parts float64) *CreepGrowth {
	round := func(v float64) float64 { return roundTo(v*unit, parts) }
	g := &CreepGrowth{Steps: f.n, Coverage: Ends{ratio(f.first.coverage, 1), ratio(f.last.coverage, 1)}}
	for i, to := range []*Growth{&g.Request, &g.Usage} {
		*to = Growth{Ends{round(f.first.y[i]), round(f.last.y[i])}, round(f.slope(i) * creepDays)}
	}
	for i, m := range []*creepMeans{&f.first, &f.last} {
		if m.y[1] > 0 {
			*[]*float64{&g.Ratio.First, &g.Ratio.Last}[i] = ratio(m.y[0], m.y[1])
		}
	}
	return g
}

package cost

import (
	"errors"
	"fmt"
	"slices"

	"github.com/varve-io/varve/pkg/cost/money"
	"github.com/varve-io/varve/pkg/cost/price"
)

// ScaleEvents are how often workloads changed their replicas, which nodes came and went, what the headroom cost, and how requests
// grew against usage. docs/cost.md defines each of these.
type ScaleEvents struct {
	Currency  string       `json:"currency"`
	Window    Window       `json:"window"`
	Method    Method       `json:"method"`
	Step      Step         `json:"step"`
	Timezone  string       `json:"timezone,omitempty"` // of steps, and of the days of creep; "" is UTC
	Hash      string       `json:"hash"`               // of the question, the price book and all lines
	Idle      money.Nanos  `json:"idle"`               // what lines of nodes add up to; the report's
	Unused    money.Nanos  `json:"unused"`             // what lines of workloads add up to; the report's
	Kept      money.Nanos  `json:"kept"`               // of Unused, what autoscalers' minima kept
	Workloads []ScaleLine  `json:"workloads"`
	Nodes     []NodeEvents `json:"nodes"`   // of clusters
	Classes   []NodeEvents `json:"classes"` // of clusters' classes of nodes
	Changes   []NodeChange `json:"changes"`
	Creep     Creep        `json:"creep"`
	Next      string       `json:"next,omitempty"` // the cursor of the next page
	Warnings  []Warning    `json:"warnings"`

	Part *Part `json:"-"` // of a page
}

// ScaleLine is a workload in a step. There is none where it neither changed nor left anything unused.
type ScaleLine struct {
	From       Time        `json:"from"`
	Cluster    string      `json:"cluster"`
	Namespace  string      `json:"namespace"`
	Controller string      `json:"controller"`
	Ups        int64       `json:"ups"`     // changes to more replicas
	Downs      int64       `json:"downs"`   // to fewer
	Added      int64       `json:"added"`   // replicas
	Removed    int64       `json:"removed"` // replicas
	Least      int64       `json:"least"`   // replicas before or after any change
	Most       int64       `json:"most"`
	Unused     money.Nanos `json:"unused"` // what was asked for and not used

	Autoscaled *Autoscaled `json:"autoscaler,omitempty"`

	unused money.Amount
}

// NodeEvents is a cluster, or one class of its nodes, in a step.
type NodeEvents struct {
	From    Time        `json:"from"`
	Cluster string      `json:"cluster"`
	Class   string      `json:"class,omitempty"`
	Came    int64       `json:"came"`
	Left    int64       `json:"left"`
	Most    int64       `json:"most"` // nodes at one time
	Idle    money.Nanos `json:"idle"` // what was allocatable and nobody's

	idle money.Amount
}

// NodeChange is a node that came or left. A time is nil if the node was there before the window or a gap in it, or after.
type NodeChange struct {
	Cluster    string `json:"cluster"`
	Node       string `json:"node"`
	ProviderID string `json:"provider_id,omitempty"`
	Class      string `json:"class"`
	Came       *Time  `json:"came,omitempty"`
	Left       *Time  `json:"left,omitempty"`
}

type workloadName struct{ cluster, namespace, controller string }

// ScaleBuilder sums ledgers into ScaleEvents, whose lines are at most MaxLines. Not safe for concurrent use.
type ScaleBuilder struct {
	query Query
	fine  Query // with the step of creep
	book  *price.Book
	steps []int64

	names     *Names // of the ledgers now
	prices    price.Prices
	subjects  []uint32     // by subject: 1 + number of its workload
	places    []*pricedHow // by place
	workloads []workloadName
	numbers   map[workloadName]uint32

	step     uint32
	lines    []*ScaleLine // of this step, by workload; nil where there is none
	done     []*ScaleLine
	idle     map[classStep]*money.Amount
	builtIn  map[string]bool // classes without a price
	lives    lives
	spans    [][2]int64 // of ledgers, joined
	creep    creep
	warnings []Warning
}

// pricedHow is a place's rates and class.
type pricedHow struct {
	*rates
	class classStep
}

type classStep struct {
	step           uint32
	cluster, class string
}

// scaleQuery are the query without what doesn't matter to scale events, and the one that a ledger must be within a step of.
func scaleQuery(q Query) (coarse, fine Query) {
	coarse = Query{From: q.From, To: q.To, Step: q.Step, Zone: q.Zone, Method: q.Method}
	coarse.Method, _ = ParseMethod(string(q.Method))
	if coarse.Step == "" {
		coarse.Step = StepNone
	}
	fine = coarse
	if fine.Step == StepNone {
		fine.Step = StepDay
	}
	return coarse, fine
}

// checkScales is an error where hours would have to be cut: when a node came or a workload was scaled is known of whole hours.
func checkScales(q Query) error {
	_, fine := scaleQuery(q)
	steps, err := fine.steps()
	if err != nil {
		return err
	}
	for _, t := range append(steps, q.To) {
		if t%hourMillis != 0 {
			return fmt.Errorf("window and timezone: scale-events are of whole UTC hours, and one would be cut at %s", Time(t))
		}
	}
	return nil
}

// ScalesRollUp tells whether a roll-up of [from, to) gives the scale events that its hours give.
func ScalesRollUp(q Query, book *price.Book, from, to int64) bool {
	_, fine := scaleQuery(q)
	return fine.RollsUp(book, from, to)
}

// NewScaleBuilder has no ledgers yet. The query's dimensions and sharing are not used.
func NewScaleBuilder(q Query, book *price.Book) (*ScaleBuilder, error) {
	if err := errors.Join(q.Validate(), checkScales(q)); err != nil {
		return nil, err
	}
	b := &ScaleBuilder{
		book: book, numbers: map[workloadName]uint32{}, idle: map[classStep]*money.Amount{}, builtIn: map[string]bool{},
	}
	b.query, b.fine = scaleQuery(q)
	var err error
	if b.steps, err = b.query.steps(); err != nil {
		return nil, err
	}
	b.creep, err = newCreep(b.fine)
	return b, err
}

// Add adds a ledger, which must come in the order of time, be of the query's method and of one step, or one day if there are no steps, and of one
// list of prices.
func (b *ScaleBuilder) Add(l *Ledger) error {
	if err := b.fine.takes(l, b.query.Method, b.creep.steps, b.book); err != nil {
		return err
	}
	n := len(b.spans)
	switch {
	case n > 0 && l.From < b.spans[n-1][1]:
		return errors.New("ledgers are not in the order of time")
	case n > 0 && l.From == b.spans[n-1][1]:
		b.spans[n-1][1] = l.To
	default:
		b.spans = append(b.spans, [2]int64{l.From, l.To})
	}
	b.begin(l)
	for i := range l.Scalings {
		s := &l.Scalings[i]
		b.line(b.workload(workloadName{s.Cluster, s.Namespace, s.Controller.String()})).count(s)
	}
	for i := range l.Scalers {
		s := &l.Scalers[i]
		b.line(b.workload(workloadName{s.Cluster, s.Namespace, s.Controller.String()})).autoscale(s)
	}
	for i := range l.Items {
		b.item(&l.Items[i])
	}
	for i := range l.Lives {
		b.lives.add(l.Lives[i])
	}
	b.warnings = append(b.warnings, l.Warnings...)
	if len(b.done)+len(b.lines) > MaxLines || len(b.idle) > MaxLines || len(b.lives.all) > 4*MaxLines {
		return fmt.Errorf("scale events have more than %d lines; ask for a longer step or a shorter window", MaxLines)
	}
	return nil
}

// begin prepares for a ledger's names, prices and step.
func (b *ScaleBuilder) begin(l *Ledger) {
	prices := b.book.At(l.From)
	if l.Names != b.names {
		b.names, b.subjects = l.Names, nil
		b.places = nil
	}
	if step := stepOf(b.steps, l.From); step != b.step || prices != b.prices {
		b.places = nil // their rates and steps are others
		b.prices = prices
		if step != b.step {
			b.finishLines()
			b.step = step
		}
	}
	b.subjects = grow(b.subjects, len(l.Names.subjects.values))
	b.places = append(b.places, make([]*pricedHow, len(l.Names.places.values)-len(b.places))...)
	b.creep.begin(l)
}

// item adds what the item left unused, or is idle.
func (b *ScaleBuilder) item(i *Item) {
	switch i.Kind {
	case Workloads:
		if i.Alive == 0 && i.CPU == (Parts{}) && i.RAM == (Parts{}) && i.GPU == (Parts{}) {
			return // a share of an asset
		}
		w, rates := b.workloadOf(i.Subject), &b.placeOf(i.Place).Rates
		if unused := unusedCost(i, rates); !unused.IsZero() {
			b.line(w).unused.Add(unused)
		}
		b.creep.add(w, i, rates)
	case Idle:
		place := b.placeOf(i.Place)
		sum := b.idle[place.class]
		if sum == nil {
			sum = new(money.Amount)
			b.idle[place.class] = sum
		}
		sum.Add(unusedCost(i, &place.Rates))
	}
}

func unusedCost(i *Item, r *price.Rates) money.Amount {
	sum := r.CPU.Of(i.CPU.Unused)
	sum.Add(r.RAM.Of(i.RAM.Unused))
	sum.Add(r.GPU.Of(i.GPU.Unused))
	return sum
}

func (b *ScaleBuilder) placeOf(place uint32) *pricedHow {
	if b.places[place] == nil {
		class := &b.names.PlaceOf(place).Class
		p := &pricedHow{newRates(b.prices, class), classStep{b.step, class.Cluster, class.String()}}
		if key := string(class.appendKey(nil)); p.BuiltIn && !b.builtIn[key] {
			b.builtIn[key] = true
			b.warnings = append(b.warnings, p.warnings(class)...)
		}
		b.places[place] = p
	}
	return b.places[place]
}

func (b *ScaleBuilder) workloadOf(subject uint32) uint32 {
	if b.subjects[subject] == 0 {
		s := b.names.SubjectOf(subject)
		b.subjects[subject] = 1 + b.workload(workloadName{s.Cluster, s.Namespace, s.Controller.String()})
	}
	return b.subjects[subject] - 1
}

func (b *ScaleBuilder) workload(n workloadName) uint32 { return index(&b.workloads, n, b.numbers) }

// line is the workload's of this step.
func (b *ScaleBuilder) line(w uint32) *ScaleLine {
	for int(w) >= len(b.lines) {
		b.lines = append(b.lines, nil)
	}
	if b.lines[w] == nil {
		n := b.workloads[w]
		b.lines[w] = &ScaleLine{From: Time(b.steps[b.step]), Cluster: n.cluster, Namespace: n.namespace, Controller: n.controller}
	}
	return b.lines[w]
}

func (l *ScaleLine) count(s *Scaling) {
	if l.Ups+l.Downs == 0 {
		l.Least = min(s.Before, s.After)
	}
	switch d := s.After - s.Before; {
	case d > 0:
		l.Ups++
		l.Added += d
	case d < 0:
		l.Downs++
		l.Removed -= d
	}
	l.Least, l.Most = min(l.Least, s.Before, s.After), max(l.Most, s.Before, s.After)
}

func (b *ScaleBuilder) finishLines() {
	for _, l := range b.lines {
		if l != nil {
			b.done = append(b.done, l)
		}
	}
	clear(b.lines)
	b.lines = b.lines[:0]
}

// Events is all that was added. Nothing may be added after it.
func (b *ScaleBuilder) Events() (*ScaleEvents, error) {
	b.finishLines()
	e := &ScaleEvents{
		Currency: b.book.Currency, Window: Window{Time(b.query.From), Time(b.query.To)}, Method: b.query.Method, Step: b.query.Step, Timezone: b.query.zoneName(),
		Workloads: []ScaleLine{}, Nodes: []NodeEvents{}, Classes: []NodeEvents{}, Changes: []NodeChange{},
	}
	e.fillWorkloads(b.done)
	e.fillNodes(b)
	e.Creep = b.creep.end(b.workloads)
	var err error
	if e.Hash, err = e.hash(b.book.Text()); err != nil {
		return nil, err
	}
	if missing := b.missing(); missing > 0 {
		b.warnings = append(b.warnings, Warning{Name: HoursMissing, Count: missing})
	}
	if e.Warnings = addWarnings(b.warnings); e.Warnings == nil {
		e.Warnings = []Warning{}
	}
	return e, nil
}

// missing is how many hours of the window no ledger told of.
func (b *ScaleBuilder) missing() int64 {
	missing := b.query.To - b.query.From
	for _, s := range b.spans {
		missing -= s[1] - s[0]
	}
	return missing / 3_600_000
}

func (e *ScaleEvents) fillWorkloads(lines []*ScaleLine) {
	for _, l := range lines {
		e.Workloads = append(e.Workloads, *l)
	}
	slices.SortFunc(e.Workloads, compareScaleLines)
	amounts := make([]money.Amount, len(e.Workloads))
	for i := range e.Workloads {
		amounts[i] = e.Workloads[i].unused
	}
	var rounded []money.Nanos
	e.Unused, rounded = roundAll(amounts)
	for i, n := range rounded {
		l := &e.Workloads[i]
		l.Unused = n
		l.keep()
		if l.Autoscaled != nil {
			e.Kept = e.Kept.Plus(l.Autoscaled.Kept)
		}
	}
}

// roundAll rounds the sum, and the parts against it.
func roundAll(parts []money.Amount) (money.Nanos, []money.Nanos) {
	var sum money.Amount
	for _, p := range parts {
		sum.Add(p)
	}
	total := sum.Round()
	return total, money.RoundAgainst(total, parts)
}

package cost

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/varve-io/varve/pkg/cost/money"
	"github.com/varve-io/varve/pkg/cost/price"
)

// FleetBy is what the lines of a Fleet are.
type FleetBy string

// Lines of fleets.
const (
	ByAsset   FleetBy = "asset"   // each node, volume, load balancer
	ByClass   FleetBy = "class"   // all of what a price depends on
	ByCluster FleetBy = "cluster" // and kind
)

func (b FleetBy) validate() error {
	switch b {
	case ByAsset, ByClass, ByCluster:
		return nil
	}
	return fmt.Errorf("by: there is no %q, but asset, class and cluster", b)
}

// FleetQuery is what is asked of the assets.
type FleetQuery struct {
	From, To int64
	Step     Step
	Zone     *time.Location // as of Query
	By       FleetBy
	Method   Method
}

// window is the query of the same time.
func (q *FleetQuery) window() Query {
	return Query{From: q.From, To: q.To, Step: q.Step, Zone: q.Zone, Method: q.Method}
}

// Fleet is what was paid for: assets with their costs, and for nodes how much of them was allocatable, requested, held and used. Its total is that of
// the report of the same window.
type Fleet struct {
	Currency string
	Window   Window
	Step     Step
	Total    money.Nanos
	Hash     string // of the question, the price book and all exact quantities and amounts
	Lines    []*FleetLine
	Next     string // the cursor of the next page
	Warnings []Warning

	Part *Part `json:"-"` // of a page
}

// keep leaves the lines of one kind, and what these cost.
func (f *Fleet) keep(kind ClassKind) {
	f.Lines = slices.DeleteFunc(f.Lines, func(l *FleetLine) bool { return l.Place.Kind != kind })
	f.Total = money.Nanos{}
	for _, l := range f.Lines {
		f.Total = f.Total.Plus(l.Cost)
	}
	f.Hash = hashOf(fmt.Appendf(nil, "%s of %s", kind, f.Hash))
}

// FleetLine is an asset, class or cluster in a step.
type FleetLine struct {
	From      Time
	Place     Place  // without a name unless it is of one asset
	Namespace string // of a volume's claim or a service, of one asset
	Claim     string
	Cost      money.Nanos
	Overhead  money.Nanos // of Cost
	Sum       AssetItem
	Held      [3]Parts // CPU, RAM, GPU of workloads on nodes

	cost, overhead money.Amount
	key            []byte
}

// FleetBuilder sums ledgers into a Fleet. Not safe for concurrent use.
type FleetBuilder struct {
	query    FleetQuery
	book     *price.Book
	steps    []int64
	lines    map[string]*FleetLine
	traffic  classless
	warnings []Warning
	classes  *Names
	rates    map[fleetRates]*rates
}

type fleetRates struct {
	class  uint32
	prices price.Prices
}

// NewFleetBuilder has no ledgers yet.
func NewFleetBuilder(q FleetQuery, book *price.Book) (*FleetBuilder, error) {
	q.By = cmp.Or(q.By, ByAsset)
	if err := q.By.validate(); err != nil {
		return nil, err
	}
	window := q.window()
	if err := window.Validate(); err != nil {
		return nil, err
	}
	if q.Step == "" {
		q.Step = StepNone
	}
	q.Method, _ = ParseMethod(string(q.Method))
	steps, err := window.steps()
	if err != nil {
		return nil, err
	}
	return &FleetBuilder{query: q, book: book, steps: steps, lines: map[string]*FleetLine{}, traffic: classless{}, classes: NewNames(), rates: map[fleetRates]*rates{}}, nil
}

// RollsUp tells whether a roll-up gives what its hours give.
func (q *FleetQuery) RollsUp(book *price.Book, from, to int64) bool {
	window := q.window()
	return (q.By == ByClass || q.By == ByCluster) && window.RollsUp(book, from, to)
}

// Add adds a ledger, which must be of the query's method, within one step and one list of prices, and not be added twice.
func (b *FleetBuilder) Add(l *Ledger) error {
	q := Query{From: b.query.From, To: b.query.To}
	if err := q.takes(l, b.query.Method, b.steps, b.book); err != nil {
		return err
	}
	step, prices := stepOf(b.steps, l.From), b.book.At(l.From)
	b.warnings = append(b.warnings, l.Warnings...)
	for i := range l.Assets {
		a := &l.Assets[i]
		place, subject := l.Names.PlaceOf(a.Place), l.Names.SubjectOf(a.Subject)
		line, rates := b.line(step, place), b.ratesOf(prices, &place.Class)
		cost, overhead := a.cost(&rates.Rates), a.cost(&rates.overhead)
		line.cost.Add(cost)
		line.cost.Add(overhead)
		line.overhead.Add(overhead)
		line.Sum.add(a)
		b.traffic.see(a, &place.Class, rates)
		if b.query.By == ByAsset {
			line.Namespace, line.Claim = subject.Namespace, subject.Pod
		}
	}
	b.held(l, step)
	if len(b.lines) > MaxLines {
		return fmt.Errorf("%w; ask for a longer step or by class", ErrTooLong)
	}
	return nil
}

// held adds what workloads held of nodes.
func (b *FleetBuilder) held(l *Ledger, step uint32) {
	lines := map[uint32]*FleetLine{}
	for i := range l.Items {
		item := &l.Items[i]
		place := l.Names.PlaceOf(item.Place)
		if item.Kind != Workloads || place.Kind != NodeClass {
			continue
		}
		line := lines[item.Place]
		if line == nil {
			line = b.line(step, place)
			lines[item.Place] = line
		}
		for r, p := range item.parts() {
			line.Held[r].add(p)
		}
	}
}

// line is that of the place.
func (b *FleetBuilder) line(step uint32, place *Place) *FleetLine {
	of := Place{Class: place.Class}
	switch b.query.By {
	case ByAsset:
		of = *place
	case ByCluster:
		of = Place{Class: Class{Kind: place.Kind, Cluster: place.Cluster}}
	}
	of.Traffic = "" // it is on the node
	key := of.appendKey([]byte{byte(step >> 24), byte(step >> 16), byte(step >> 8), byte(step)})
	if b.lines[string(key)] == nil {
		b.lines[string(key)] = &FleetLine{From: Time(b.steps[step]), Place: of, key: key}
	}
	return b.lines[string(key)]
}

func (b *FleetBuilder) ratesOf(p price.Prices, class *Class) *rates {
	key := fleetRates{b.classes.Place(Place{Class: *class}), p}
	if b.rates[key] == nil {
		b.rates[key] = newRates(p, class)
		b.warnings = append(b.warnings, b.rates[key].warnings(class)...)
	}
	return b.rates[key]
}

// Fleet is all that was added.
func (b *FleetBuilder) Fleet() *Fleet {
	f := &Fleet{Currency: b.book.Currency, Window: Window{Time(b.query.From), Time(b.query.To)}, Step: b.query.Step, Lines: []*FleetLine{}}
	for _, l := range b.lines {
		f.Lines = append(f.Lines, l)
	}
	slices.SortFunc(f.Lines, func(a, b *FleetLine) int { return bytes.Compare(a.key, b.key) })
	costs := make([]money.Amount, len(f.Lines))
	var sum money.Amount
	for i, l := range f.Lines {
		costs[i] = l.cost
		sum.Add(l.cost)
	}
	f.Total = sum.Round()
	for i, cost := range money.RoundAgainst(f.Total, costs) {
		l := f.Lines[i]
		l.Cost = cost
		l.Overhead = money.RoundAgainst(cost, []money.Amount{l.overhead, l.cost.Minus(l.overhead)})[0]
	}
	f.Hash = f.hash(b.query, b.book.Text())
	f.Warnings = addWarnings(append(b.warnings, b.traffic.warnings()...))
	return f
}

package cost

import (
	"fmt"
	"slices"
	"strings"

	"github.com/varve-io/varve/pkg/cost/money"
	"github.com/varve-io/varve/pkg/cost/price"
)

// ErrTooLong is the error of an answer that has more lines than MaxLines.
var ErrTooLong = fmt.Errorf("the answer has more than %d lines", MaxLines)

// MaxLines is how many lines a report may have, counted by cluster, or by node where nodes are shared; and how many one step may have counted by
// class. While it is made, each takes about 3 KB.
const MaxLines = 250_000

// Builder sums ledgers into a report. Quantities are summed by line and class for as long as ledgers are of one step and list of prices, then
// priced. Not safe for concurrent use.
type Builder struct {
	query   Query
	book    *price.Book
	steps   []int64
	subject []func(*Subject) string // by dimension; nil if it is of the place
	place   []func(*Place) string
	common  map[string]bool // namespaces that are shared

	names    *Names   // of the ledgers now
	ofNames  []uint32 // by subject: 1 + index of its group
	ofPlaces []uint32 // by place: 1 + index of its spot
	groups   []group
	spots    []spot
	ofGroups map[group]uint32
	ofSpots  map[spot]uint32
	own      *Names // places as far as this report tells them apart
	keys     keys
	clusters keys

	prices   []price.Prices
	period   period // of the sums
	sums     sums
	entries  map[entryKey]*entry
	bills    []money.Amount // what assets cost in each step
	traffic  classless
	spans    [][2]int64
	warnings []Warning
	rates    map[ratesKey]*rates

	weighings map[Mode]*weighing
}

// keys number the values of dimensions.
type keys struct {
	numbers map[string]uint32
	values  [][]string
}

// group is where a subject goes: its values, and whether its namespace is shared.
type group struct {
	key    uint32
	common bool
}

// spot is where a place goes. node is the place whatever its traffic.
type spot struct{ place, key, cluster, node uint32 }

type lineKey struct {
	step         uint32
	kind         Kind
	group, place uint32 // numbers of values
}

// period is a time in which neither line nor price changes.
type period struct{ step, prices uint32 }

// sums are quantities of a period.
type sums struct {
	cells  map[cell]int // indexes of items
	items  []Item
	assets map[uint32]*AssetItem // by place
}

// cell is a kind, group and spot.
type cell uint64

func cellOf(k Kind, group, spot uint32) cell { return cell(k)<<61 | cell(group)<<31 | cell(spot) }

func (c cell) parts() (k Kind, group, spot uint32) {
	return Kind(c >> 61), uint32(c >> 31 & (1<<30 - 1)), uint32(c & (1<<31 - 1))
}

type ratesKey struct{ at, prices uint32 }

// rates are those of a class, and what overheads add to them.
type rates struct {
	price.Rates
	overhead price.Rates
	byClass  [2]bool // whether prices of what is received and sent there depend on the traffic's class
}

// NewBuilder has no ledgers yet.
func NewBuilder(q Query, book *price.Book) (*Builder, error) {
	if err := q.Validate(); err != nil {
		return nil, err
	}
	q.Method, _ = ParseMethod(string(q.Method))
	if q.Step == "" {
		q.Step = StepNone
	}
	steps, err := q.steps()
	if err != nil {
		return nil, err
	}
	b := &Builder{
		query: q, book: book, steps: steps, own: NewNames(), common: map[string]bool{},
		keys: keys{numbers: map[string]uint32{}}, clusters: keys{numbers: map[string]uint32{}},
		weighings: map[Mode]*weighing{}, ofGroups: map[group]uint32{}, ofSpots: map[spot]uint32{}, rates: map[ratesKey]*rates{},
		sums:    sums{cells: map[cell]int{}, assets: map[uint32]*AssetItem{}},
		traffic: classless{}, entries: map[entryKey]*entry{}, bills: make([]money.Amount, len(steps)),
	}
	for _, by := range q.By {
		b.subject, b.place = append(b.subject, ofSubject(by)), append(b.place, ofPlace(by))
	}
	for _, n := range q.Sharing.Namespaces {
		b.common[n] = true
	}
	for _, m := range q.Sharing.modes() {
		if m.metric() == "" {
			continue
		}
		if b.weighings[m], err = newWeighing(&q, m.metric(), len(steps)); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// Add adds a ledger, which must be of the query's method, within one step and one list of prices.
func (b *Builder) Add(l *Ledger) error {
	if err := b.query.takes(l, b.query.Method, b.steps, b.book); err != nil {
		return err
	}
	step := stepOf(b.steps, l.From)
	if l.Names != b.names {
		b.names, b.ofNames, b.ofPlaces = l.Names, nil, nil
	}
	b.ofNames = grow(b.ofNames, len(l.Names.subjects.values))
	b.ofPlaces = grow(b.ofPlaces, len(l.Names.places.values))
	b.spans = append(b.spans, [2]int64{l.From, l.To})
	b.warnings = append(b.warnings, l.Warnings...)
	if p := (period{step, b.pricesAt(l.From)}); p != b.period {
		b.priceSums()
		b.period = p
	}
	for i := range l.Items {
		item := &l.Items[i]
		b.sums.add(cellOf(item.Kind, b.group(item.Subject), b.spot(item.Place)), item)
	}
	for i := range l.Assets {
		a := &l.Assets[i]
		b.sums.addAsset(b.spots[b.spot(a.Place)].place, a)
	}
	if len(b.sums.cells) > MaxLines || len(b.entries) > MaxLines {
		return fmt.Errorf("%w; ask for a longer step or fewer dimensions", ErrTooLong)
	}
	return nil
}

func (s *sums) add(c cell, item *Item) {
	i, ok := s.cells[c]
	if !ok {
		i = len(s.items)
		s.cells[c] = i
		s.items = append(s.items, Item{Kind: item.Kind})
	}
	s.items[i].add(item)
}

func (s *sums) addAsset(place uint32, a *AssetItem) {
	if s.assets[place] == nil {
		s.assets[place] = &AssetItem{}
	}
	s.assets[place].add(a)
}

func (s *sums) empty() {
	clear(s.cells)
	clear(s.assets)
	s.items = s.items[:0]
}

func grow(s []uint32, n int) []uint32 {
	if n <= len(s) {
		return s
	}
	return append(s, make([]uint32, n-len(s))...)
}

func (b *Builder) pricesAt(t int64) uint32 {
	p := b.book.At(t)
	i := slices.Index(b.prices, p)
	if i < 0 {
		i = len(b.prices)
		b.prices = append(b.prices, p)
	}
	return uint32(i)
}

// group is the index of the subject's group.
func (b *Builder) group(subject uint32) uint32 {
	if i := b.ofNames[subject]; i > 0 {
		return i - 1
	}
	s := b.names.SubjectOf(subject)
	values := make([]string, len(b.subject))
	for i, of := range b.subject {
		if of != nil {
			values[i] = of(s)
		}
	}
	i := index(&b.groups, group{key: b.keys.number(values), common: b.common[s.Namespace]}, b.ofGroups)
	b.ofNames[subject] = i + 1
	return i
}

// spot is the index of the place's spot.
func (b *Builder) spot(place uint32) uint32 {
	if i := b.ofPlaces[place]; i > 0 {
		return i - 1
	}
	p := *b.names.PlaceOf(place)
	values := make([]string, len(b.place))
	for i, of := range b.place {
		if of != nil {
			values[i] = of(&p)
		}
	}
	if !b.query.Sharing.ByNode || p.Kind != NodeClass {
		p.Name, p.Provider = "", ""
	}
	at := spot{place: b.own.Place(p), key: b.keys.number(values), cluster: b.clusters.number([]string{p.Cluster})}
	p.Traffic = ""
	at.node = b.own.Place(p)
	i := index(&b.spots, at, b.ofSpots)
	b.ofPlaces[place] = i + 1
	return i
}

// index is where v is in all; it is appended if it isn't there.
func index[T comparable](all *[]T, v T, at map[T]uint32) uint32 {
	i, ok := at[v]
	if !ok {
		i = uint32(len(*all))
		at[v] = i
		*all = append(*all, v)
	}
	return i
}

func (k *keys) number(values []string) uint32 {
	name := string(appendStrings(nil, values...))
	if i, ok := k.numbers[name]; ok {
		return i
	}
	i := uint32(len(k.values))
	k.numbers[name] = i
	k.values = append(k.values, values)
	return i
}

// check says whether hours are there twice, and how many are missing, those that are in part included.
func (b *Builder) check() (missing int64, err error) {
	slices.SortFunc(b.spans, func(x, y [2]int64) int { return int(x[0] - y[0]) })
	end := b.query.From
	for _, s := range b.spans {
		if s[0] < end {
			return 0, fmt.Errorf("the hour %d is there twice", s[0])
		}
		missing += s[0] - end
		end = s[1]
	}
	return (missing + b.query.To - end + hourMillis - 1) / hourMillis, nil
}

// ratesOf is the rates of a place by a list of prices.
func (b *Builder) ratesOf(key ratesKey) *rates {
	if r := b.rates[key]; r != nil {
		return r
	}
	class := &b.own.PlaceOf(key.at).Class
	r := newRates(b.prices[key.prices], class)
	b.rates[key] = r
	b.warnings = append(b.warnings, r.warnings(class)...)
	return r
}

func newRates(p price.Prices, class *Class) *rates {
	cluster, percent := p.Cluster(&Class{Kind: ClusterClass, Cluster: class.Cluster})
	r := &rates{}
	switch class.Kind {
	case NodeClass:
		if class.Traffic == "" {
			r.Rates = p.Node(class, price.Size(class.Size))
		}
	case VolumeClass:
		r.Rates = p.Volume(class)
	case LoadBalancerClass:
		r.Rates = p.LoadBalancer(class)
	case ClusterClass:
		r.Rates, percent = cluster, 0
	}
	if class.Kind == NodeClass || class.Kind == NowhereClass {
		r.Received, r.Sent = p.Traffic(traffic{class, "received", class.Traffic}), p.Traffic(traffic{class, "sent", class.Traffic})
		r.byClass = [2]bool{namesClass(p, class, "received"), namesClass(p, class, "sent")}
	}
	if percent > 0 {
		r.overhead = r.Part(percent)
	}
	return r
}

func (r *rates) warnings(class *Class) []Warning {
	if !r.BuiltIn {
		return nil
	}
	return []Warning{{Name: BuiltInPrice, Cluster: class.Cluster, Count: 1, Example: strings.TrimSpace(string(class.Kind) + " " + class.Type)}}
}

// BuiltInPrice is the warning of a class for which the price book has no rule.
const BuiltInPrice = "built_in_price"

// HoursMissing is the warning of hours of the window that no ledger told of.
const HoursMissing = "hours_missing"

// cost is what the asset costs.
func (a *AssetItem) cost(r *price.Rates) money.Amount {
	sum := r.CPU.Of(a.CPU.Capacity)
	sum.Add(r.RAM.Of(a.RAM.Capacity))
	sum.Add(r.GPU.Of(a.GPU.Capacity))
	sum.Add(r.Amount.Of(a.Amount))
	sum.Add(r.Received.Of(a.Received))
	sum.Add(r.Sent.Of(a.Sent))
	return sum
}

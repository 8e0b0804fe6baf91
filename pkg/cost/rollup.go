package cost

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// RollUp sums ledgers that share their names into one of a day or month. It drops pods, UIDs, and the names of nodes and assets, but for the lives of nodes.
// Its warnings are those of all ledgers, added by name and cluster. Whatever linear prices are put on, it costs what the ledgers cost.
func RollUp(from, to int64, ledgers ...*Ledger) (*Ledger, error) {
	if len(ledgers) == 0 {
		return &Ledger{From: from, To: to, Names: NewNames()}, nil
	}
	s := NewSum(ledgers[0].Method, ledgers[0].Names, from, to)
	for _, l := range ledgers {
		if err := s.Add(l); err != nil {
			return nil, err
		}
	}
	return s.Ledger(), nil
}

// Sum makes the roll-up of a day or month out of hours, or of ledgers, that come one after the other: none of them is held.
type Sum struct {
	ledger    Ledger
	collector *collector
}

// NewSum has nothing yet. Ledgers must be of the method, and have the names; the names of hours are added to these.
func NewSum(m Method, names *Names, from, to int64) *Sum {
	return &Sum{Ledger{From: from, To: to, Method: m, Names: names}, newCollector(names)}
}

// Add adds a ledger. After an error the sum is of no use, here and below.
func (s *Sum) Add(l *Ledger) error {
	if l.Names != s.ledger.Names {
		return errors.New("ledgers to be summed have names of their own")
	}
	if l.Method != s.ledger.Method {
		return fmt.Errorf("ledgers to be summed are of methods %s and %s", s.ledger.Method, l.Method)
	}
	if err := s.covers(l.From, l.To); err != nil {
		return err
	}
	for _, item := range l.Items {
		item.Subject, item.Place = s.collector.anonymous(item.Subject, item.Place)
		s.collector.add(&item)
	}
	for _, asset := range l.Assets {
		asset.Subject, asset.Place = s.collector.anonymous(asset.Subject, asset.Place)
		s.collector.addAsset(&asset)
	}
	s.addRest(l.Lives, l.Scalings, l.Scalers, l.Warnings)
	return nil
}

// AddHour adds the ledger that the method makes of an hour, and needs neither the names nor the uids of its pods. Errors are those of Ledger.
func (s *Sum) AddHour(h *Hour) error {
	if err := s.covers(h.Span()); err != nil {
		return err
	}
	if err := h.validate(); err != nil {
		return fmt.Errorf("hour %d: %w", h.Start, err)
	}
	l := law{method: s.ledger.Method, hour: h, names: s.ledger.Names, collector: s.collector, bare: true}
	if err := l.divide(); err != nil {
		return fmt.Errorf("hour %d: %w", h.Start, err)
	}
	s.addRest(h.lives(), h.Scalings, h.Scalers, l.warnings)
	return nil
}

func (s *Sum) covers(from, to int64) error {
	if from < s.ledger.From || to > s.ledger.To {
		return errors.New("a ledger isn't within the time of its roll-up")
	}
	return nil
}

func (s *Sum) addRest(lives []NodeLife, scalings []Scaling, scalers []Autoscaler, warnings []Warning) {
	l := &s.ledger
	l.Lives = joinLives(append(l.Lives, lives...))
	l.Scalings = append(l.Scalings, scalings...)
	l.Scalers = addScalers(append(l.Scalers, scalers...))
	l.Warnings = addWarnings(append(l.Warnings, warnings...))
}

// Ledger is the sum. Nothing can be added after it.
func (s *Sum) Ledger() *Ledger {
	slices.SortFunc(s.ledger.Scalings, compareScalings)
	s.collector.finish(&s.ledger)
	s.collector = nil
	return &s.ledger
}

// collector adds items that have the same names, and sorts them by these.
type collector struct {
	names     *Names
	items     map[itemKey]int
	assets    map[itemKey]int
	rows      []Item
	assetRows []AssetItem
	subjects  map[uint32]uint32 // without pods
	places    map[uint32]uint32 // without names
}

type itemKey struct {
	kind           Kind
	subject, place uint32
}

func newCollector(names *Names) *collector {
	return &collector{
		names: names, items: map[itemKey]int{}, assets: map[itemKey]int{},
		subjects: map[uint32]uint32{}, places: map[uint32]uint32{},
	}
}

func (c *collector) add(item *Item) {
	key := itemKey{item.Kind, item.Subject, item.Place}
	if i, ok := c.items[key]; ok {
		c.rows[i].add(item)
		return
	}
	c.items[key] = len(c.rows)
	c.rows = append(c.rows, *item)
}

func (c *collector) addAsset(asset *AssetItem) {
	key := itemKey{0, asset.Subject, asset.Place}
	if i, ok := c.assets[key]; ok {
		c.assetRows[i].add(asset)
		return
	}
	c.assets[key] = len(c.assetRows)
	c.assetRows = append(c.assetRows, *asset)
}

// anonymous is the numbers of the same subject and place without pods and names.
func (c *collector) anonymous(subject, place uint32) (uint32, uint32) {
	s, ok := c.subjects[subject]
	if !ok {
		of := *c.names.SubjectOf(subject)
		of.Pod, of.UID = "", ""
		s = c.names.Subject(of)
		c.subjects[subject] = s
	}
	p, ok := c.places[place]
	if !ok {
		of := *c.names.PlaceOf(place)
		of.Name, of.Provider = "", ""
		p = c.names.Place(of)
		c.places[place] = p
	}
	return s, p
}

// finish gives the ledger what was collected, in the order of names.
func (c *collector) finish(l *Ledger) {
	subjects := ranks(&c.names.subjects, (*Subject).appendKey, func(use func(uint32)) {
		for i := range c.rows {
			use(c.rows[i].Subject)
		}
		for i := range c.assetRows {
			use(c.assetRows[i].Subject)
		}
	})
	places := ranks(&c.names.places, (*Place).appendKey, func(use func(uint32)) {
		for i := range c.rows {
			use(c.rows[i].Place)
		}
		for i := range c.assetRows {
			use(c.assetRows[i].Place)
		}
	})
	order := func(k1, k2 itemKey) int {
		return cmp.Or(cmp.Compare(k1.kind, k2.kind), cmp.Compare(subjects[k1.subject], subjects[k2.subject]), cmp.Compare(places[k1.place], places[k2.place]))
	}
	slices.SortFunc(c.rows, func(a, b Item) int {
		return order(itemKey{a.Kind, a.Subject, a.Place}, itemKey{b.Kind, b.Subject, b.Place})
	})
	slices.SortFunc(c.assetRows, func(a, b AssetItem) int {
		return order(itemKey{0, a.Subject, a.Place}, itemKey{0, b.Subject, b.Place})
	})
	l.Items, l.Assets = c.rows, c.assetRows
}

// ranks are the positions of the used numbers in the order of names.
func ranks[T any](t *table[T], appendKey func(*T, []byte) []byte, each func(use func(uint32))) map[uint32]uint32 {
	keys := map[uint32][]byte{}
	var order []uint32
	each(func(i uint32) {
		if _, ok := keys[i]; !ok {
			keys[i] = appendKey(&t.values[i], nil)
			order = append(order, i)
		}
	})
	slices.SortFunc(order, func(a, b uint32) int { return bytes.Compare(keys[a], keys[b]) })
	rank := make(map[uint32]uint32, len(order))
	for r, i := range order {
		rank[i] = uint32(r)
	}
	return rank
}

func compareScalings(a, b Scaling) int {
	return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Namespace, b.Namespace),
		cmp.Compare(a.Controller.Kind, b.Controller.Kind), cmp.Compare(a.Controller.Name, b.Controller.Name),
		cmp.Compare(a.Before, b.Before), cmp.Compare(a.After, b.After))
}

// addWarnings adds counts of the same name and cluster; the first example in their order stays.
func addWarnings(all []Warning) []Warning {
	slices.SortFunc(all, func(a, b Warning) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Example, b.Example))
	})
	var sum []Warning
	for _, w := range all {
		if n := len(sum); n > 0 && sum[n-1].Name == w.Name && sum[n-1].Cluster == w.Cluster {
			sum[n-1].Count += w.Count
			continue
		}
		sum = append(sum, w)
	}
	return sum
}

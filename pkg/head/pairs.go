package head

import (
	"cmp"
	"hash/maphash"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
)

// pair is a label of some of the head's series, and the list of these. A series refers to its pairs by number, so each
// name and each value exists once, and a label that many series have takes 4 bytes of each.
type pair struct {
	labels.Label
	series refs
	number uint32 // its place in pairs
}

// pairs are those of a head, by number. Their labels can be read without a lock.
type pairs []*pair

// name is the pairs of one label name.
type name struct {
	text  string
	pairs pairs // in the order of creation
	table table // of places in pairs, from 1 on
}

// find is the pair with that value, nil if there is none.
func (n *name) find(hash uint32, value string) *pair {
	if i := n.table.find(hash, func(i uint32) bool { return n.pairs[i-1].Value == value }); i != 0 {
		return n.pairs[i-1]
	}
	return nil
}

func (n *name) add(hash uint32, p *pair) {
	n.pairs = append(n.pairs, p)
	n.table.add(hash, uint32(len(n.pairs)))
}

// page is a piece of memory in which the numbers of several series' pairs lie.
type page struct{ numbers []uint32 }

// The first page has room for a few series, the largest for about a thousand.
const (
	firstPage = 64
	lastPage  = 8192
)

// numbers are the pairs of the series, in the order of their names.
func (s *Series) numbers() []uint32 {
	if s.labels == 0 {
		return nil
	}
	return s.page.numbers[s.at : s.at+uint32(s.labels)]
}

// add adds the labels of a series to b.
func (ps pairs) add(s *Series, b *labels.ScratchBuilder) {
	for _, n := range s.numbers() {
		b.Add(ps[n].Name, ps[n].Value)
	}
}

// labels builds the labels of a series.
func (ps pairs) labels(s *Series) labels.Labels {
	b := labels.NewScratchBuilder(int(s.labels))
	ps.add(s, &b)
	return b.Labels()
}

// get is the value of the label of a series, empty if it has none of that name.
func (ps pairs) get(s *Series, name string) string {
	for _, n := range s.numbers() {
		if ps[n].Name == name {
			return ps[n].Value
		}
	}
	return ""
}

// namesOf adds the names of the labels of a series to seen.
func (ps pairs) namesOf(s *Series, seen map[string]struct{}) {
	for _, n := range s.numbers() {
		seen[ps[n].Name] = struct{}{}
	}
}

// compare orders series as labels.Compare does.
func (ps pairs) compare(a, b *Series) int {
	x, y := a.numbers(), b.numbers()
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			p, q := ps[x[i]], ps[y[i]]
			return cmp.Or(strings.Compare(p.Name, q.Name), strings.Compare(p.Value, q.Value))
		}
	}
	return cmp.Compare(len(x), len(y))
}

// wanted is one label of a series that is looked for. It begins as the label that the series before had in this place:
// the next one often has the same name there, and even the same value, which spares looking them up.
type wanted struct {
	labels.Label
	name *name
	pair *pair  // nil if there is none yet
	hash uint32 // of the value, if it was looked up
}

// locate looks for the pair in the head, and tells whether there is one.
func (w *wanted) locate(p *postings) bool {
	if w.name == nil || w.name.text != w.Name {
		w.name, w.pair = p.names[w.Name], nil
	}
	if w.pair != nil && w.pair.Value == w.Value {
		return true
	}
	w.pair, w.hash = nil, p.hash(w.Value)
	if w.name != nil {
		w.pair = w.name.find(w.hash, w.Value)
	}
	return w.pair != nil
}

// make makes the pair; keep gives the strings that the head may keep.
func (w *wanted) make(p *postings, keep func(string) string) {
	if w.name = p.names[w.Name]; w.name == nil {
		w.name = &name{text: keep(w.Name)}
		p.names[w.name.text] = w.name
	}
	if w.pair = w.name.find(w.hash, w.Value); w.pair != nil { // the series has the label twice
		return
	}
	w.pair = &pair{Label: labels.Label{Name: w.name.text, Value: keep(w.Value)}, number: uint32(len(p.pairs))}
	w.name.add(w.hash, w.pair)
	p.pairs = append(p.pairs, w.pair)
	p.texts += int64(len(w.Value))
}

func (p *postings) hash(value string) uint32 { return uint32(maphash.String(p.seed, value)) }

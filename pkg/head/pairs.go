package head

import (
	"cmp"
	"hash/maphash"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
)

// pair is a label of some of the head's series. A series refers to its pairs by number, so each
// name and each value exists once, and a label that many series have takes 4 bytes of each.
type pair struct {
	labels.Label
	number uint32 // its place in pairs
	after  *pair  // the one of its name that the next new series had; nil if it had the same
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

// page is a piece of memory in which the numbers of several series' pairs lie. With the head that they are of: so a series needs one pointer
// for both.
type page struct {
	head    *Head
	numbers []uint32
}

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

// place is where a label was found. The next series often has the same name at the same position, and even the same value,
// which spares looking them up.
type place struct {
	name *name
	pair uint32 // its number + 1; 0 if there is none yet
	hash uint32 // of the value, if it was looked up
}

// locate looks for the pair in the head, and tells whether there is one. Targets of a kind bring their series in the same
// order, so what followed the pair before is likely to follow it again.
func (at *place) locate(p *postings, l *labels.Label) bool {
	if at.name == nil || at.name.text != l.Name {
		at.name, at.pair = p.names[l.Name], 0
	}
	var before *pair
	if at.pair != 0 {
		before = p.pairs[at.pair-1]
		if before.Value == l.Value {
			return true
		}
		if next := before.after; next != nil && next.Value == l.Value {
			at.pair = next.number + 1
			return true
		}
	}
	at.pair, at.hash = 0, p.hashOf(l.Value)
	if at.name == nil {
		return false
	}
	found := at.name.find(at.hash, l.Value)
	if found == nil {
		return false
	}
	if before != nil {
		before.after = found
	}
	at.pair = found.number + 1
	return true
}

// make makes the pair, if the series doesn't have the label twice; keep gives the strings that the head may keep.
func (at *place) make(p *postings, l *labels.Label, keep func(string) string) {
	if at.name = p.names[l.Name]; at.name == nil {
		if p.names == nil {
			p.names = map[string]*name{}
		}
		at.name = &name{text: keep(l.Name)}
		p.names[at.name.text] = at.name
	}
	made := at.name.find(at.hash, l.Value)
	if made == nil {
		made = &pair{Label: labels.Label{Name: at.name.text, Value: keep(l.Value)}, number: uint32(len(p.pairs))}
		at.name.add(at.hash, made)
		p.pairs, p.lists = append(p.pairs, made), append(p.lists, refs{})
		p.texts += int64(len(l.Value))
	}
	at.pair = made.number + 1
}

func (p *postings) hashOf(value string) uint32 { return uint32(maphash.String(p.seed, value)) }

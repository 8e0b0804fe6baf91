package head

import (
	"strings"
	"unsafe"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/pkg/prefetch"
)

// Lookup finds series that come together and share labels: each label is looked up once. It is for one goroutine, and can be used
// again.
type Lookup struct {
	head   *Head
	labels []labels.Label
	places []place
}

// keptPlaces is how many places are kept for other labels.
const keptPlaces = 4096

// Begin looks the labels up of which series will be made. They may be views of a buffer that stays until Reset. The numbers that are
// known already spare that: known has for each label what Number gave for an equal one of the same head, or 0; it may be nil. Of a label
// whose number the head has, nothing else is looked at, so a number of another label or head makes series of wrong labels.
func (l *Lookup) Begin(h *Head, all []labels.Label, known []uint32) {
	l.Reset()
	l.head, l.labels = h, all
	if cap(l.places) < len(all) {
		l.places = make([]place, len(all))
	}
	l.places = l.places[:len(all)]
	h.index.locate(l.places, all, known)
}

// Number stands for label i of Begin in this head, for good. It is 0 if there was no series with that label yet when Begin was called,
// and Series has given none since.
func (l *Lookup) Number(i int) uint32 { return l.places[i].pair }

// Reset lets go of the head and of the labels.
func (l *Lookup) Reset() {
	clear(l.places)
	if cap(l.places) > keptPlaces {
		l.places = nil
	}
	l.head, l.labels, l.places = nil, nil, l.places[:0]
}

// Series is the series whose labels are those of Begin at these places, sorted by name. It is made if there is none yet. Soon are
// those of a series that is looked up soon, for which memory is asked already. The error is ErrSealed or ErrFull.
func (l *Lookup) Series(places, soon []uint32) (s *Series, created bool, err error) {
	p := &l.head.index
	p.mtx.Lock()
	defer p.mtx.Unlock()
	l.expect(p, soon)
	p.at = p.at[:0]
	known, hash := true, uint32(0)
	for _, n := range places {
		at := &l.places[n]
		known = (at.pair != 0 || at.locate(p, &l.labels[n])) && known
		p.at = append(p.at, at.pair-1)
	}
	if known {
		hash = p.hash()
		if s := p.find(hash); s != nil {
			return s, false, nil
		}
	}
	if err := p.room(l.head, len(places)); err != nil {
		return nil, false, err
	}
	if !known {
		l.make(p, places)
		hash = p.hash()
	}
	return p.add(l.head, hash), true, nil
}

// make makes the pairs that are missing.
func (l *Lookup) make(p *postings, places []uint32) {
	for i, n := range places {
		if p.at[i] == missing {
			l.places[n].make(p, &l.labels[n], strings.Clone)
			p.at[i] = l.places[n].pair - 1
		}
	}
}

// expect asks for the memory where a series is looked for, if its labels are known.
func (l *Lookup) expect(p *postings, places []uint32) {
	p.at = p.at[:0]
	for _, n := range places {
		pair := l.places[n].pair
		if pair == 0 {
			return
		}
		p.at = append(p.at, pair-1)
	}
	if !p.isYoung() {
		p.table.expect(p.hash())
	}
}

// locate looks for the pairs of labels, step by step for several at a time: a step needs what the one before brings from memory, and
// so memory is waited for once, not for each label.
func (p *postings) locate(at []place, all []labels.Label, known []uint32) {
	p.mtx.RLock()
	defer p.mtx.RUnlock()
	var unknown [atOnce]uint32
	n := 0
	for i := range all {
		if i < len(known) && known[i] != 0 && uint64(known[i]) <= uint64(len(p.pairs)) {
			at[i].pair = known[i]
			continue
		}
		if unknown[n], n = uint32(i), n+1; n == atOnce {
			p.locateSome(at, all, unknown[:])
			n = 0
		}
	}
	p.locateSome(at, all, unknown[:n])
}

const atOnce = 32

// locateSome looks for the pairs of the labels that are given by their places.
func (p *postings) locateSome(at []place, all []labels.Label, some []uint32) {
	var candidates [atOnce]uint32
	var found [atOnce]*pair
	for _, i := range some {
		at[i].name, at[i].hash = p.names[all[i].Name], p.hashOf(all[i].Value)
	}
	for k, i := range some {
		if n := at[i].name; n != nil {
			candidates[k] = n.table.first(at[i].hash)
		}
	}
	for k, i := range some {
		if c := candidates[k]; c != 0 {
			found[k] = at[i].name.pairs[c-1]
		}
	}
	for k := range some {
		if pair := found[k]; pair != nil {
			prefetch.Line(unsafe.Pointer(unsafe.StringData(pair.Value)))
		}
	}
	for k, i := range some {
		pair := found[k]
		if pair != nil && pair.Value != all[i].Value {
			pair = at[i].name.find(at[i].hash, all[i].Value)
		}
		if pair != nil {
			at[i].pair = pair.number + 1
		}
	}
}

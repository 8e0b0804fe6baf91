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

// Begin looks the labels up of which series will be made. They may be views of a buffer that stays until Reset.
func (l *Lookup) Begin(h *Head, all []labels.Label) {
	l.Reset()
	l.head, l.labels = h, all
	if cap(l.places) < len(all) {
		l.places = make([]place, len(all))
	}
	l.places = l.places[:len(all)]
	h.index.locate(l.places, all)
}

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
	known := true
	for _, n := range places {
		at := &l.places[n]
		known = (at.pair != nil || at.locate(p, &l.labels[n])) && known
		p.at = append(p.at, at.pair)
	}
	if known {
		if s := p.find(p.hash()); s != nil {
			return s, false, nil
		}
	}
	if err := p.room(l.head, len(places)); err != nil {
		return nil, false, err
	}
	if !known {
		for i, n := range places {
			if p.at[i] == nil {
				p.at[i] = l.places[n].make(p, &l.labels[n], strings.Clone)
			}
		}
	}
	return p.add(l.head), true, nil
}

// expect asks for the memory where a series is looked for, if its labels are known.
func (l *Lookup) expect(p *postings, places []uint32) {
	p.at = p.at[:0]
	for _, n := range places {
		pair := l.places[n].pair
		if pair == nil {
			return
		}
		p.at = append(p.at, pair)
	}
	hash := p.hash()
	if p.young.expect(hash); !p.isYoung() {
		p.table.expect(hash)
	}
}

// locate looks for the pairs of labels, step by step for several at a time: a step needs what the one before brings from memory, and
// so memory is waited for once, not for each label.
func (p *postings) locate(at []place, all []labels.Label) {
	p.mtx.RLock()
	defer p.mtx.RUnlock()
	for len(all) > 0 {
		n := min(atOnce, len(all))
		p.locateSome(at[:n], all[:n])
		at, all = at[n:], all[n:]
	}
}

const atOnce = 32

func (p *postings) locateSome(at []place, all []labels.Label) {
	var candidates [atOnce]uint32
	for i := range at {
		at[i].name, at[i].hash = p.names[all[i].Name], p.hashOf(all[i].Value)
	}
	for i := range at {
		if n := at[i].name; n != nil {
			candidates[i] = n.table.first(at[i].hash)
		}
	}
	for i := range at {
		if c := candidates[i]; c != 0 {
			at[i].pair = at[i].name.pairs[c-1]
		}
	}
	for i := range at {
		if pair := at[i].pair; pair != nil {
			prefetch.Line(unsafe.Pointer(unsafe.StringData(pair.Value)))
		}
	}
	for i := range at {
		if pair := at[i].pair; pair != nil && pair.Value != all[i].Value {
			at[i].pair = at[i].name.find(at[i].hash, all[i].Value)
		}
	}
}

package remote

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
)

// Key is 128 bits that stand for a series' labels as one sender spells them: equal bytes, equal key. Two spellings
// of one series have two keys. It is keyed by a secret of the process, so senders can't make keys collide. Hi is never 0.
type Key struct{ Hi, Lo uint64 }

// Guess is a series that may come next, because it came next the last time.
type Guess struct {
	Hi    uint64 // of its key; 0 for no guess
	Front uint32 // Series.Front
}

// Float is one float sample; Time is in Unix milliseconds.
type Float struct {
	Time  int64
	Value float64
}

// Histogram is one native histogram: H or FH is set.
type Histogram struct {
	Time int64
	H    *histogram.Histogram
	FH   *histogram.FloatHistogram
}

// Series is one series of a request: what it holds is valid until the next one is read.
type Series struct {
	// Key is complete unless Guessed; then it is only as good as the guess, and Lo is 0.
	Key     Key
	Guessed bool
	// Front is how many bytes the label fields have in 1.0, 0 in 2.0. A guess needs it.
	Front      uint32
	Floats     []Float
	Histograms []Histogram
	// Exemplars is how many there are; Request.Exemplars reads them.
	Exemplars int
}

// Request reads an inflated write request in place. It is reused through Reset; it is for one goroutine.
type Request struct {
	hasher   Hasher
	protocol Protocol
	body     []byte
	walk     fields

	// MaxSamples bounds the samples and histograms of one series, before memory is taken for them; 0 for no bound.
	MaxSamples int
	// Series is the current series, after Next said true.
	Series Series

	message  span // the current series' in the body
	labels   span // of the body. 1.0: the label fields; 2.0: the references, as varints
	gathered bool // the labels are not there but in refs
	gather   []byte
	symbols  [][]byte
	families [][]byte // of 1.0: messages that describe metric families
	hi, lo   []uint64 // hashes of the symbols; lo is made when it is needed
	refs     []byte
	list     []labels.Label // of an exemplar
	err      error
}

// NewRequest reads requests with the hasher's keys.
func NewRequest(h Hasher) *Request { return &Request{hasher: h} }

// Reset begins to read a body. Errors wrap ErrMalformed.
func (r *Request) Reset(p Protocol, body []byte) error {
	r.protocol, r.body = p, body
	r.symbols, r.hi, r.lo = r.symbols[:0], r.hi[:0], r.lo[:0]
	r.Rewind()
	if p == WriteV2 {
		r.err = r.readSymbols()
	}
	return r.err
}

// Rewind begins again with the first series.
func (r *Request) Rewind() {
	r.walk, r.families, r.err = fields{p: r.body}, r.families[:0], nil
	r.message, r.labels, r.gathered = span{}, span{}, false
}

// Next reads the next series; false at the end or on an error. If it is the one that was guessed, its labels are only
// hashed, not walked over.
func (r *Request) Next(g Guess) bool {
	if r.err != nil {
		return false
	}
	id := uint64(1)
	if r.protocol == WriteV2 {
		id = 5
	}
	for r.walk.next() {
		if r.protocol == WriteV1 && r.walk.is(3, wireBytes) {
			r.families = append(r.families, r.walk.data())
		}
		if !r.walk.is(id, wireBytes) {
			continue
		}
		s := &r.Series
		s.Guessed, s.Exemplars = false, 0
		s.Floats = s.Floats[:0] // each alone, so that no pointer is stored
		s.Histograms = s.Histograms[:0]
		r.message, r.gathered = r.walk.in, false
		var err error
		if r.protocol == WriteV2 {
			err = r.readV2(r.walk.data(), g)
		} else {
			err = r.readV1(r.walk.data(), g)
		}
		if err != nil {
			r.err = err
		}
		return err == nil
	}
	r.err = r.walk.err("WriteRequest")
	return false
}

// rest is the current series' message.
func (r *Request) rest() []byte { return r.body[r.message.from:r.message.to] }

// full tells that the current series has as many samples as it may.
func (r *Request) full() bool {
	return r.MaxSamples > 0 && len(r.Series.Floats)+len(r.Series.Histograms) >= r.MaxSamples
}

// Err is the error that ended the reading, if one did. It wraps ErrMalformed or ErrTooMany.
func (r *Request) Err() error { return r.err }

// Labels adds the current series' labels to dst, sorted, without those of empty value (which mean absence). More than most
// labels or an empty name are errors. The strings are views of the body: they are valid as long as it is.
func (r *Request) Labels(dst []labels.Label, most int) ([]labels.Label, error) {
	return r.readLabels(r.spelled(), dst, most)
}

// spelled is the current series' labels as the request has them.
func (r *Request) spelled() []byte {
	if r.gathered {
		return r.refs
	}
	return r.body[r.labels.from:r.labels.to]
}

func (r *Request) readLabels(p []byte, dst []labels.Label, most int) ([]labels.Label, error) {
	l := labelList{all: dst, from: len(dst), most: most}
	var err error
	if r.protocol == WriteV2 {
		err = r.labelsV2(p, &l)
	} else {
		err = labelsV1(p, &l)
	}
	if l.unsorted {
		slices.SortFunc(l.all[l.from:], func(a, b labels.Label) int { return strings.Compare(a.Name, b.Name) })
	}
	return l.all, err
}

// ASCII tells whether the current series' labels, which Labels has read, are known to be of ASCII only. In 2.0 that is never
// known.
func (r *Request) ASCII(ls []labels.Label) bool {
	if r.protocol == WriteV2 {
		return false
	}
	const high = 0x8080808080808080
	p, n, order := r.spelled(), 0, binary.LittleEndian
	for ; len(p) >= 32; p = p[32:] {
		n += bits.OnesCount64(order.Uint64(p)&high | order.Uint64(p[8:])&high>>1 | order.Uint64(p[16:])&high>>2 | order.Uint64(p[24:])&high>>3)
	}
	for ; len(p) >= 8; p = p[8:] {
		n += bits.OnesCount64(order.Uint64(p) & high)
	}
	for _, b := range p {
		n += int(b >> 7)
	}
	return n == 0 || n == highOfLengths(ls)
}

// highOfLengths is how many bytes beyond ASCII the lengths of labels, of their names and of their values have in 1.0, at least: where
// there are no more, the labels themselves have none.
func highOfLengths(ls []labels.Label) (n int) {
	for i := range ls {
		name, value := len(ls[i].Name), len(ls[i].Value)
		if both := 4 + name + value; both >= 0x80 {
			n += highOf(both) + highOf(name) + highOf(value)
		}
	}
	return n
}

// highOf is how many bytes beyond ASCII a uvarint has, which is not 0.
func highOf(uvarint int) int { return (bits.Len(uint(uvarint)) - 1) / 7 }

// labelList collects labels, which most senders sort.
type labelList struct {
	all      []labels.Label
	from     int
	seen     int
	most     int
	unsorted bool
}

func (l *labelList) add(name, value []byte) error {
	if l.seen++; l.seen > l.most {
		return fmt.Errorf("%w: a series has more than %d labels (max_labels_per_series)", ErrMalformed, l.most)
	}
	if len(name) == 0 {
		return fmt.Errorf("%w: a label has no name", ErrMalformed)
	}
	if len(value) == 0 {
		return nil
	}
	if n := len(l.all); n > l.from && l.all[n-1].Name > view(name) {
		l.unsorted = true
	}
	l.all = append(l.all, labels.Label{Name: view(name), Value: view(value)})
	return nil
}

// Exemplars calls f for the first exemplars of the current series, at most so many, which are f's to keep.
func (r *Request) Exemplars(most int, f func(exemplar.Exemplar)) error {
	if r.Series.Exemplars == 0 || most <= 0 {
		return nil
	}
	id := uint64(3)
	if r.protocol == WriteV2 {
		id = 4
	}
	for w := (fields{p: r.rest()}); w.next(); {
		if !w.is(id, wireBytes) {
			continue
		}
		e, err := r.exemplar(w.data())
		if err != nil {
			return err
		}
		f(e)
		if most--; most == 0 {
			break
		}
	}
	return nil
}

const maxExemplarLabels = 64

func (r *Request) exemplar(p []byte) (exemplar.Exemplar, error) {
	e := exemplar.Exemplar{HasTs: true}
	r.gather = r.gather[:0]
	w := fields{p: p}
	for w.next() {
		switch {
		case w.id == 1 && r.protocol == WriteV2:
			r.gather = appendRefs(r.gather, &w)
		case w.is(1, wireBytes):
			r.gather = appendField(r.gather, w.data())
		case w.is(2, wireFixed64):
			e.Value = w.float()
		case w.is(3, wireVarint):
			e.Ts = int64(w.num)
		}
	}
	if err := w.err("Exemplar"); err != nil {
		return e, err
	}
	all, err := r.readLabels(r.gather, r.list[:0], maxExemplarLabels)
	r.list = all
	e.Labels = labels.New(all...)
	return e, err
}

func appendField(dst, data []byte) []byte {
	dst = append(dst, 1<<3|wireBytes)
	dst = binary.AppendUvarint(dst, uint64(len(data)))
	return append(dst, data...)
}

package distributor

import (
	"encoding/binary"
	"hash/maphash"
	"math"
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// dictionary gives numbers to the labels of series that are new in a stream, for one generation of it. Series that come and go have
// most labels in common: such a label goes to the owners once, and then as its number.
//
// A label is known once a batch that has its text was taken by every owner. Until then each batch has the text, with the same
// number. So a batch needs nothing but itself and what was sent before it. Owners keep series.LabelsKept labels; one that is half as far
// behind the newest gets another number, and a batch that needs one that is further behind is stale.
//
// It is bounded, and what it forgets gets another number. Its hash has a secret, so nobody can make labels that drive each other out.
type dictionary struct {
	seed maphash.Seed
	next atomic.Uint64 // number; changes under mu

	mu   sync.Mutex
	sets *[labelSets]labelSet // nil while it isn't needed
	used bool                 // since the last sweep
}

// labelSet is labels that share a place, the one that was used last first. It is a line of the cache.
type labelSet [2]place

// numberedLabel is a label with its number. It is none without a text.
type numberedLabel struct {
	text   string // name and value
	name   uint32 // bytes of the name
	number series.LabelNumber
}

// place is where a label may stand.
type place struct {
	numberedLabel
	hash  uint32 // a part of it
	known bool   // by all owners
}

const (
	labelSets = 2048
	// longLabel is how many bytes a label may have at most. Series that have longer ones are written out.
	longLabel = 512
	// newAtMost is about how many labels of a request get new numbers, in one partition; series with more are written out. So no
	// batch is stale because of labels while fewer than eight such requests are built at once.
	newAtMost = series.LabelsKept / 16
	// noLabel is the oldest label that is needed where none is.
	noLabel = series.LabelNumber(math.MaxUint32)
)

func newDictionary() *dictionary { return &dictionary{seed: maphash.MakeSeed()} }

// draft is a batch that is built, with what it has of its stream's labels.
type draft struct {
	series.Builder

	oldest  series.LabelNumber             // that it needs
	has     [series.LabelsKept / 64]uint64 // texts of these; a batch's numbers are not as far from each other
	texts   []numberAt                     // the same, of all batches of the part
	earlier int                            // so many of them are of earlier batches
	made    int                            // new numbers in all batches of the part

	before  []numberedLabel      // of the series before in the batch, and of those before it that had more
	numbers []series.LabelNumber // the same
	others  []other              // of the series
}

// other is a label that the series before did not have in its place.
type other struct {
	i    int
	hash uint64
}

// numberAt is a label's number, and its set in the dictionary.
type numberAt struct {
	number series.LabelNumber
	set    uint32
}

// begin makes the draft the first one of a part.
func (b *draft) begin(stream series.StreamID, id tenant.ID) {
	b.turn(stream, id)
	b.texts, b.earlier, b.made = b.texts[:0], 0, 0
}

// turn begins the next batch of the part: it has no texts.
func (b *draft) turn(stream series.StreamID, id tenant.ID) {
	b.Reset(stream, id)
	for _, l := range b.texts[b.earlier:] {
		b.has[l.number%series.LabelsKept/64] = 0
	}
	b.oldest, b.earlier = noLabel, len(b.texts)
	b.before, b.numbers = b.before[:0], b.numbers[:0]
}

// tells whether the batch has the text of a number, and notes that it has from now on.
func (b *draft) tells(l numberAt) bool {
	word, bit := &b.has[l.number%series.LabelsKept/64], uint64(1)<<(l.number%64)
	if *word&bit != 0 {
		return true
	}
	*word |= bit
	b.texts = append(b.texts, l)
	return false
}

// define says in the batch which series a number stands for. The result is how many bytes that takes at most, written out; 0 if
// it was not said: then the labels can't have numbers.
func (d *dictionary) define(b *draft, n series.Number, ls []labels.Label) int {
	size, ok := d.compare(b, ls)
	if !ok || b.made >= newAtMost || len(b.others) > 0 && !d.find(b, ls) {
		return 0
	}
	b.DefineNumbered(n, b.numbers[:len(ls)])
	return size
}

// compare tells which labels are others than those of the series before in the batch: of a target's series, few are. The result is how
// many bytes the series takes; false if a label is too long.
func (d *dictionary) compare(b *draft, ls []labels.Label) (size int, ok bool) {
	for len(b.before) < len(ls) {
		b.before, b.numbers = append(b.before, numberedLabel{}), append(b.numbers, 0)
	}
	size, b.others = 2*binary.MaxVarintLen32, b.others[:0]
	for i := range ls {
		l := &ls[i]
		n := len(l.Name) + len(l.Value)
		if n == 0 || n > longLabel {
			return 0, false
		}
		if size += n + labelBytes; !b.before[i].is(l) {
			b.others = append(b.others, other{i, d.hash(l)})
		}
	}
	return size, true
}

func (d *dictionary) hash(l *labels.Label) uint64 {
	return maphash.String(d.seed, l.Value) ^ bits.RotateLeft64(maphash.String(d.seed, l.Name), 32)
}

// labelBytes is what a label takes at most beside its text: its number, and two lengths.
const labelBytes = 3 + 2*2

// find is the numbers of the labels that are others; false if there are no more numbers.
func (d *dictionary) find(b *draft, ls []labels.Label) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.spent() {
		return false
	}
	if d.used = true; d.sets == nil {
		d.sets = new([labelSets]labelSet)
	}
	for _, o := range b.others {
		b.before[o.i] = d.number(b, o.hash, &ls[o.i])
		b.numbers[o.i] = b.before[o.i].number
	}
	return true
}

// number is a label with its number. Its text is added to the batch unless that can do without. Call it under mu.
func (d *dictionary) number(b *draft, hash uint64, l *labels.Label) numberedLabel {
	at, rest := uint32(hash%labelSets), uint32(hash>>32)
	p := d.sets[at].find(rest, l)
	switch {
	case p.text == "":
		p.text, p.name, p.hash = l.Name+l.Value, uint32(len(l.Name)), rest
		fallthrough
	case uint64(p.number)+series.LabelsKept/2 <= d.next.Load():
		p.number, p.known = series.LabelNumber(d.next.Add(1)-1), false
		b.made++
	}
	b.oldest = min(b.oldest, p.number)
	if !p.known && !b.tells(numberAt{p.number, at}) {
		b.Label(p.number, *l)
	}
	return p.numberedLabel
}

// find is the place of a label, the first one of the set from then on. Without a text, it is for the label.
func (s *labelSet) find(hash uint32, l *labels.Label) *place {
	first, second := &s[0], &s[1]
	if first.hash == hash && first.is(l) {
		return first
	}
	*first, *second = *second, *first
	if first.hash != hash || !first.is(l) {
		*first = place{}
	}
	return first
}

// is tells whether it is that label.
func (n *numberedLabel) is(l *labels.Label) bool {
	return n.name == uint32(len(l.Name)) && len(n.text) == len(l.Name)+len(l.Value) && n.text[n.name:] == l.Value && n.text[:n.name] == l.Name
}

// setKnown notes that all owners have these labels.
func (d *dictionary) setKnown(ls []numberAt) {
	if len(ls) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sets == nil {
		return
	}
	for _, l := range ls {
		for i := range d.sets[l.set] {
			if p := &d.sets[l.set][i]; p.number == l.number {
				p.known = true
			}
		}
	}
}

// keeps tells whether owners have a label still, and would keep it if they got it now.
func (d *dictionary) keeps(oldest series.LabelNumber) bool {
	return uint64(oldest)+series.LabelsKept > d.next.Load()
}

// spent tells whether so many numbers were given that the stream's numbering is to begin anew.
func (d *dictionary) spent() bool { return d.next.Load() >= math.MaxUint32/2 }

// sweep forgets the labels if no series was new since the last sweep.
func (d *dictionary) sweep() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.used {
		d.sets = nil
	}
	d.used = false
}

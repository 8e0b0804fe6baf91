package distributor

import (
	"encoding/binary"
	"hash/maphash"
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/pkg/prefetch"
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
// It is bounded, and what it forgets gets another number. It knows labels by 80 bits of hashes with secrets, so nobody can make labels that
// it mixes up; a new label is taken for one of 4096 others with a chance of 2^-68, and for one with the same value and another name with
// 2^-63 each. Their texts would not be in a cache when they are compared.
type dictionary struct {
	seeds [2]maphash.Seed
	next  atomic.Uint64 // number; changes under mu

	mu   sync.Mutex
	sets *[labelSets]labelSet // nil while it isn't needed
	used bool                 // since the last sweep
}

// labelSet is labels that share a place, the one that was used last first. It is a line of the cache.
type labelSet [4]numbered

// numbered is a label that has a number; there is none where the hash is 0.
type numbered struct {
	hash   uint64
	number series.LabelNumber
	check  uint16
	known  bool // by all owners
}

func (n *numbered) is(h labelHash) bool { return n.hash == h.hash && n.check == h.check }

// labelHash is what a label is known by: a hash, never 0, and some bits of another one, of its value.
type labelHash struct {
	hash  uint64
	check uint16
}

const (
	labelSets = 1024
	// longLabel is how many bytes a label may have at most. Series that have longer ones are written out.
	longLabel = 512
	// newAtMost is about how many labels of a request get new numbers, in one partition; series with more are written out. So no
	// batch is stale because of labels while fewer than eight such requests are built at once.
	newAtMost = series.LabelsKept / 16
	// noLabel is the oldest label that is needed where none is.
	noLabel = series.LabelNumber(math.MaxUint32)
)

func newDictionary() *dictionary {
	return &dictionary{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
}

// draft is a batch that is built, with what it has of its stream's labels.
type draft struct {
	series.Builder

	oldest  series.LabelNumber             // that it needs
	has     [series.LabelsKept / 64]uint64 // texts of these; a batch's numbers are not as far from each other
	texts   []numberAt                     // the same, of all batches of the part
	earlier int                            // so many of them are of earlier batches
	made    int                            // new numbers in all batches of the part

	hashes  []labelHash // of the series
	numbers []series.LabelNumber
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
	size, ok := d.hash(b, ls)
	if !ok || b.made >= newAtMost || !d.find(b, ls) {
		return 0
	}
	b.DefineNumbered(n, b.numbers)
	return size
}

// hash makes the hashes of a series' labels. The result is how many bytes the series takes; false if a label is too long.
func (d *dictionary) hash(b *draft, ls []labels.Label) (size int, ok bool) {
	b.hashes, size = b.hashes[:0], 2*binary.MaxVarintLen32
	for i := range ls {
		l := &ls[i]
		n := len(l.Name) + len(l.Value)
		if n > longLabel {
			return 0, false
		}
		size += n + labelBytes
		b.hashes = append(b.hashes, d.hashOf(l))
	}
	return size, true
}

func (d *dictionary) hashOf(l *labels.Label) labelHash {
	// Turned by 32, half of the hash would say nothing where name and value are the same, or are exchanged.
	h := maphash.String(d.seeds[0], l.Value) ^ bits.RotateLeft64(maphash.String(d.seeds[0], l.Name), 31)
	return labelHash{max(1, h), uint16(maphash.String(d.seeds[1], l.Value))}
}

func (h labelHash) set() uint32 { return uint32(h.hash % labelSets) }

// labelBytes is what a label takes at most beside its text: its number, and two lengths.
const labelBytes = 3 + 2*2

// find finds the numbers of the labels; false if there are no more numbers.
func (d *dictionary) find(b *draft, ls []labels.Label) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.spent() {
		return false
	}
	if d.used = true; d.sets == nil {
		d.sets = new([labelSets]labelSet)
	}
	for _, h := range b.hashes {
		prefetch.Line(unsafe.Pointer(&d.sets[h.set()]))
	}
	b.numbers = b.numbers[:0]
	for i, h := range b.hashes {
		b.numbers = append(b.numbers, d.number(b, h, &ls[i]))
	}
	return true
}

// number is that of a label. Its text is added to the batch unless that can do without. Call it under mu.
func (d *dictionary) number(b *draft, h labelHash, l *labels.Label) series.LabelNumber {
	at := h.set()
	p, is := d.sets[at].find(h)
	if !is || uint64(p.number)+series.LabelsKept/2 <= d.next.Load() {
		p.number, p.known = series.LabelNumber(d.next.Add(1)-1), false
		b.made++
	}
	b.oldest = min(b.oldest, p.number)
	if !p.known && !b.tells(numberAt{p.number, at}) {
		b.Label(p.number, *l)
	}
	return p.number
}

// find is the place of a label, the first one of the set from then on; is tells that it is there already.
func (s *labelSet) find(h labelHash) (p *numbered, is bool) {
	if s[0].is(h) {
		return &s[0], true
	}
	found, i := numbered{hash: h.hash, check: h.check}, 1
	for ; i < len(s)-1 && !s[i].is(h); i++ {
	}
	if is = s[i].is(h); is {
		found = s[i]
	}
	copy(s[1:i+1], s[:i])
	s[0] = found
	return &s[0], is
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

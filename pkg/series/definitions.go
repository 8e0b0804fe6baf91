package series

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
)

// definitions are those of a batch that is built. Series that are new together share most of their labels: a label is written
// once, where it comes first, and later only its place.
type definitions struct {
	bytes []byte
	count int
	last  Number
	pairs []written
	room  []labels.Label // empty
	// recent are places in pairs, from 1 on, of labels that had a hash. Those of earlier batches stay: nothing is believed of a place
	// before the label there was compared. So a label that others have driven out is written once more, as is one whose place is too
	// great to be remembered, and no labels make it slow.
	recent *[recentSlots]uint16
}

// written is where a label stands in the bytes.
type written struct{ name, nameEnd, value, valueEnd uint32 }

const (
	recentBits  = 11 // the table lies out of the cache when a batch begins: no more lines of it than a batch has labels
	recentSlots = 1 << recentBits

	// What is kept when no definitions come: enough for the new series of most batches.
	keptDefinitions = 64 << 10
	keptPairs       = 4096
)

// reset empties the definitions. They take much room where all series are new, and most batches have few: much room is
// kept only as long as they come.
func (d *definitions) reset() {
	if d.count == 0 && cap(d.bytes) > keptDefinitions {
		*d = definitions{}
	}
	d.bytes, d.pairs, d.count, d.last = d.bytes[:0], d.pairs[:0], 0, 0
}

// begin begins the definition of a number as a series with so many labels, which follow.
func (d *definitions) begin(n Number, labels int) {
	if d.recent == nil {
		d.recent = new([recentSlots]uint16)
	}
	d.bytes = binary.AppendUvarint(appendDelta(d.bytes, int64(n)-int64(d.last)), uint64(labels))
	d.last = n
	d.count++
}

// together is how many labels' places are read before the first is compared: the processor waits for them once.
const together = 16

// labels writes so many labels at most, each as its place if it was written before. The result is how many bytes they take at most.
func (d *definitions) labels(ls []labels.Label) (size int) {
	var slots, places [together]uint16
	for i := range ls {
		slot := hashOf(&ls[i])
		slots[i%together], places[i%together] = slot, d.recent[slot%recentSlots]
		size += 1 + stringSize(ls[i].Name) + stringSize(ls[i].Value)
	}
	p, pairs := slices.Grow(d.bytes, size), d.pairs
	for i := range ls {
		name, value, place := ls[i].Name, ls[i].Value, places[i%together]
		if n := int(place) - 1; uint(n) < uint(len(pairs)) {
			w := &pairs[n]
			if string(p[w.value:w.valueEnd]) == value && string(p[w.name:w.nameEnd]) == name {
				p = binary.AppendUvarint(p, uint64(place))
				continue
			}
		}
		p = binary.AppendUvarint(append(p, 0), uint64(len(name)))
		w := written{name: uint32(len(p)), nameEnd: uint32(len(p) + len(name))}
		p = binary.AppendUvarint(append(p, name...), uint64(len(value)))
		w.value, w.valueEnd = uint32(len(p)), uint32(len(p)+len(value))
		p = append(p, value...)
		pairs = append(pairs, w)
		if len(pairs) <= math.MaxUint16 {
			d.recent[slots[i%together]%recentSlots] = uint16(len(pairs))
		}
	}
	d.bytes, d.pairs = p, pairs
	return size
}

// hashOf has recentBits bits: of the label's lengths, and of some bytes, among which are those in which labels mostly differ.
func hashOf(l *labels.Label) uint16 {
	v, h := l.Value, uint64(len(l.Value))<<16^uint64(len(l.Name))<<8
	if n := len(l.Name); n > 0 {
		h ^= uint64(l.Name[n-1])
	}
	switch n := len(v); {
	case n >= 16:
		h ^= mixed(load(v), 1) ^ mixed(load(v[8:]), 2) ^ mixed(load(v[n/2:]), 3) ^ mixed(load(v[n-8:]), 4)
	case n >= 8:
		h ^= mixed(load(v), 1) ^ mixed(load(v[n-8:]), 4)
	case n >= 4:
		h ^= mixed(half(v), 1) ^ mixed(half(v[n-4:]), 3)
	case n > 0:
		h ^= mixed(uint64(v[0])|uint64(v[n/2])<<8|uint64(v[n-1])<<16, 2)
	}
	return uint16(h * 0x9e3779b97f4a7c15 >> (64 - recentBits))
}

func mixed(x uint64, by int) uint64 { return bits.RotateLeft64(x, 13*by) }

// load is the first eight bytes.
func load(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// half is the first four bytes.
func half(s string) uint64 {
	_ = s[3]
	return uint64(uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24)
}

// stringSize is how many bytes a string takes at most.
func stringSize(s string) int {
	if len(s) < 0x80 {
		return 1 + len(s)
	}
	return binary.MaxVarintLen32 + len(s)
}

// Definitions say which series numbers stand for. They are views of a batch, and are used again for other batches.
type Definitions struct {
	// Numbers are those that are defined.
	Numbers []Number
	// Pairs are the labels that their series are made of.
	Pairs []labels.Label

	places []uint32
	ends   []uint32 // of each number's places

	before, now []LabelNumber // room
}

// Labels are the labels of the i-th number: places in Pairs, sorted by the labels' names.
func (d *Definitions) Labels(i int) []uint32 {
	begin := uint32(0)
	if i > 0 {
		begin = d.ends[i-1]
	}
	return d.places[begin:d.ends[i]]
}

// Reset lets go of the batch, and of room that few batches need.
func (d *Definitions) Reset() {
	if clear(d.Pairs); cap(d.Pairs) > keptPairs || cap(d.places) > 4*keptPairs {
		*d = Definitions{}
	}
	d.Numbers, d.Pairs, d.places, d.ends = d.Numbers[:0], d.Pairs[:0], d.places[:0], d.ends[:0]
}

// Definitions reads what numbers the batch defines.
func (b *Batch) Definitions(d *Definitions) error {
	d.Reset()
	r := reader{p: b.definitions}
	last := int64(0)
	for n := r.count(); n > 0; n-- {
		last += r.varint()
		r.definition(d, b.whole)
		if r.bad || last < 0 || last > math.MaxUint32 {
			return fmt.Errorf("%w: definitions", ErrCorrupt)
		}
		d.Numbers = append(d.Numbers, Number(last))
	}
	return nil
}

// definition reads the labels of a definition; they are whole if each is written out, without a place.
func (r *reader) definition(d *Definitions, whole bool) {
	for n := r.many(1); n > 0 && !r.bad; n-- {
		place := uint64(0)
		if !whole {
			place = r.uvarint()
		}
		if place == 0 {
			name := r.bytes()
			d.Pairs = append(d.Pairs, labels.Label{Name: view(name), Value: view(r.bytes())})
			place = uint64(len(d.Pairs))
		} else if place > uint64(len(d.Pairs)) {
			r.fail()
			return
		}
		d.places = append(d.places, uint32(place-1))
	}
	d.ends = append(d.ends, uint32(len(d.places)))
}

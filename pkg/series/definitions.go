package series

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"

	"github.com/prometheus/prometheus/model/labels"
)

// definitions are those of a batch that is built. Series that are new together share most of their labels: a label is written
// once, where it comes first, and later only its place.
type definitions struct {
	bytes []byte
	count int
	last  Number
	pairs []written
	// recent are places in pairs, from 1 on, of labels that had a hash. Those of earlier batches stay: nothing is believed of a place
	// before the label there was compared. So a label that others have driven out is written once more, and no labels make it slow.
	recent []uint32
}

// written is where a label stands in the bytes.
type written struct{ name, nameLen, value, valueLen uint32 }

const (
	recentBits = 12
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
		d.recent = make([]uint32, 1<<recentBits)
	}
	d.bytes = appendDelta(d.bytes, int64(n)-int64(d.last))
	d.bytes = binary.AppendUvarint(d.bytes, uint64(labels))
	d.last = n
	d.count++
}

// label writes a label, or the place of the same one. The result is how many bytes it takes at most.
func (d *definitions) label(l *labels.Label) int {
	at := &d.recent[hashOf(l)]
	if n := *at - 1; int(n) < len(d.pairs) && d.has(&d.pairs[n], l) {
		d.bytes = binary.AppendUvarint(d.bytes, uint64(*at))
		return writtenOut(l)
	}
	d.bytes = append(d.bytes, 0)
	d.bytes = appendString(d.bytes, l.Name)
	w := written{name: uint32(len(d.bytes) - len(l.Name)), nameLen: uint32(len(l.Name)), valueLen: uint32(len(l.Value))}
	d.bytes = appendString(d.bytes, l.Value)
	w.value = uint32(len(d.bytes) - len(l.Value))
	d.pairs = append(d.pairs, w)
	*at = uint32(len(d.pairs))
	return writtenOut(l)
}

func (d *definitions) has(w *written, l *labels.Label) bool {
	return string(d.bytes[w.value:w.value+w.valueLen]) == l.Value && string(d.bytes[w.name:w.name+w.nameLen]) == l.Name
}

// hashOf has recentBits bits: of the label's lengths, and of some bytes, among which are those in which labels mostly differ.
func hashOf(l *labels.Label) uint32 {
	v, h := l.Value, uint64(len(l.Value))<<16^uint64(len(l.Name))<<8
	if n := len(l.Name); n > 0 {
		h ^= uint64(l.Name[n-1])
	}
	switch n := len(v); {
	case n >= 16:
		h ^= mixed(load(v), 1) ^ mixed(load(v[8:]), 2) ^ mixed(load(v[n/2:]), 3) ^ mixed(load(v[n-8:]), 4)
	case n >= 8:
		h ^= mixed(load(v), 1) ^ mixed(load(v[n-8:]), 4)
	default:
		for i := range n {
			h = h<<8 ^ uint64(v[i])
		}
	}
	return uint32(h * 0x9e3779b97f4a7c15 >> (64 - recentBits))
}

func mixed(x uint64, by int) uint64 { return bits.RotateLeft64(x, 13*by) }

// load is the first eight bytes.
func load(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// writtenOut is how many bytes a label takes at most.
func writtenOut(l *labels.Label) int { return 1 + stringSize(l.Name) + stringSize(l.Value) }

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

package series

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/prometheus/prometheus/model/labels"
)

// LabelNumber stands for a label, a name with a value, within one stream. It is said once, before or in the batch that first uses it,
// what it stands for. Numbers rise by one from 0 on, so that most are known that are still used: see LabelsKept.
type LabelNumber uint32

// LabelsKept is how many labels an owner keeps of a stream: those of the greatest numbers that were defined. A batch that
// needs another one is refused, of kind ErrUnknownNumber.
const LabelsKept = 1 << 14

// numbered are definitions of a batch that is built, by numbers of labels. Those of a series are differences from those of the series before: series of
// one target that are new together have most labels in common.
type numbered struct {
	labels     int // how many were defined, and as bytes
	labelBytes []byte
	lastLabel  LabelNumber

	count  int
	bytes  []byte
	last   Number
	before []LabelNumber
}

func (d *numbered) reset() {
	if cap(d.labelBytes)+cap(d.bytes) > keptDefinitions && d.labels+d.count == 0 {
		*d = numbered{}
	}
	*d = numbered{labelBytes: d.labelBytes[:0], bytes: d.bytes[:0], before: d.before[:0]}
}

// Label says which label a number stands for.
func (b *Builder) Label(k LabelNumber, l labels.Label) {
	d := &b.numbered
	p := appendDelta(d.labelBytes, int64(k)-int64(d.lastLabel))
	d.labelBytes = appendString(appendString(p, l.Name), l.Value)
	d.lastLabel = k
	d.labels++
}

// DefineNumbered says which series a number stands for: the one with these labels, in the order of their names. What they
// stand for was said before, or is in this batch.
func (b *Builder) DefineNumbered(n Number, ls []LabelNumber) {
	d := &b.numbered
	p := appendDelta(d.bytes, int64(n)-int64(d.last))
	p = binary.AppendUvarint(p, uint64(len(ls)))
	for i, k := range ls {
		before := LabelNumber(0)
		if i < len(d.before) {
			before = d.before[i]
		}
		p = appendDelta(p, int64(k)-int64(before))
	}
	d.bytes, d.last = p, n
	d.before = d.before[:0]
	d.before = append(d.before, ls...)
	d.count++
}

// Labels calls f for every label that the batch gives a number. It is a view of the batch.
func (b *Batch) Labels(f func(k LabelNumber, l labels.Label) error) error {
	r := reader{p: b.labels}
	last := int64(0)
	for n := r.count(); n > 0; n-- {
		last += r.varint()
		name := r.bytes()
		l := labels.Label{Name: view(name), Value: view(r.bytes())}
		if r.bad || last < 0 || last > math.MaxUint32 {
			return fmt.Errorf("%w: labels", ErrCorrupt)
		}
		if err := f(LabelNumber(last), l); err != nil {
			return err
		}
	}
	return nil
}

// Numbered adds what numbers the batch defines by numbers of labels to d; place gives the place in d.Pairs of each label, to
// which it may add it.
func (b *Batch) Numbered(d *Definitions, place func(LabelNumber) (uint32, error)) error {
	r := reader{p: b.numbered}
	last, before, now := int64(0), d.before[:0], d.now[:0]
	for n := r.count(); n > 0; n-- {
		last += r.varint()
		now = now[:0]
		for i := range r.many(1) {
			k := r.varint()
			if i < len(before) {
				k += int64(before[i])
			}
			if r.bad || k < 0 || k > math.MaxUint32 {
				return fmt.Errorf("%w: definitions by labels", ErrCorrupt)
			}
			at, err := place(LabelNumber(k))
			if err != nil {
				return err
			}
			d.places = append(d.places, at) // alone, so that no pointer is stored where there is room
			now = append(now, LabelNumber(k))
		}
		if r.bad || last < 0 || last > math.MaxUint32 {
			return fmt.Errorf("%w: definitions by labels", ErrCorrupt)
		}
		d.Numbers = append(d.Numbers, Number(last))
		d.ends = append(d.ends, uint32(len(d.places)))
		before, now = now, before
	}
	d.before, d.now = before, now
	return nil
}

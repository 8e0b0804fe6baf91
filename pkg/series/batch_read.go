package series

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unsafe"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/pkg/tenant"
)

// ErrCorrupt is wrapped by every error of reading a batch.
var ErrCorrupt = errors.New("corrupt batch")

// Batch reads an encoded batch in place: its iterators point into the bytes that it was parsed from.
type Batch struct {
	Stream StreamID
	Tenant tenant.ID

	header                                               []byte
	definitions, floats, histograms, exemplars, metadata []byte
	labels, numbered                                     []byte
	differ                                               bool // the values of the floats are differences
	whole                                                bool // each definition has its labels written out
}

// ParseBatch finds the sections of an encoded batch. What they hold is checked while it is iterated.
func ParseBatch(p []byte) (Batch, error) {
	b, err := ParseLogged(p)
	if err == nil && b.differ {
		return Batch{}, fmt.Errorf("%w: section %d", ErrCorrupt, sectionDifferences)
	}
	return b, err
}

// ParseLogged is ParseBatch for a record of a log: the values of the floats may be differences.
func ParseLogged(p []byte) (Batch, error) {
	var b Batch
	if len(p) < 9 || p[0] < wholeVersion || p[0] > batchVersion {
		return b, fmt.Errorf("%w: version or length", ErrCorrupt)
	}
	r := reader{p: p[1:]}
	b.Stream.Distributor = r.fixed64()
	b.Stream.Generation = uint32(r.uvarint())
	b.Stream.Partition = int32(r.uvarint())
	id, err := tenant.Parse(string(r.bytes()))
	if r.bad || err != nil {
		return b, fmt.Errorf("%w: header", ErrCorrupt)
	}
	b.Tenant, b.header, b.whole = id, p[:len(p)-len(r.p)], p[0] == wholeVersion
	for len(r.p) > 0 {
		kind := r.byte()
		payload := r.bytes()
		switch kind {
		case sectionDefinitions:
			b.definitions = payload
		case sectionFloats:
			r.bad = r.bad || b.differ
			b.floats = payload
		case sectionHistograms:
			b.histograms = payload
		case sectionExemplars:
			b.exemplars = payload
		case sectionMetadata:
			b.metadata = payload
		case sectionDifferences:
			r.bad = r.bad || len(b.floats) > 0
			b.floats, b.differ = payload, true
		case sectionLabels:
			b.labels = payload
		case sectionNumbered:
			b.numbered = payload
		default:
			r.bad = true
		}
		if r.bad {
			return b, fmt.Errorf("%w: section %d", ErrCorrupt, kind)
		}
	}
	return b, nil
}

// Defines tells whether the batch defines numbers, of series or of labels.
func (b *Batch) Defines() bool { return len(b.definitions)+len(b.labels)+len(b.numbered) > 0 }

// columns is what a section of floats holds.
type columns struct {
	count                  int
	continuity             uint64
	numbers, times, values []byte
}

// columns splits the section of floats; ok is false if it is corrupt.
func (b *Batch) columns() (c columns, ok bool) {
	r := reader{p: b.floats}
	c.count = r.count()
	if c.count == 0 {
		return c, len(b.floats) == 0
	}
	if b.differ {
		c.continuity = r.uvarint()
	}
	nn, nt := r.uvarint(), r.uvarint()
	size := uint64(len(r.p))
	if r.bad || nn > size || nt > size-nn {
		return columns{}, false
	}
	c.numbers, c.times, c.values = r.p[:nn], r.p[nn:nn+nt], r.p[nn+nt:]
	return c, b.differ || uint64(c.count)*8 == size-nn-nt
}

// Floats is an iterator over the float samples.
func (b *Batch) Floats() FloatIterator {
	c, ok := b.columns()
	if !ok {
		return FloatIterator{bad: true}
	}
	it := FloatIterator{numbers: reader{p: c.numbers}, times: reader{p: c.times}, values: c.values, left: c.count}
	if b.differ {
		it.differences, ok = newDifferenceReader(c.count, c.values)
		it.differ, it.bad = true, !ok
	}
	return it
}

// FloatIterator walks over the float samples of a batch.
type FloatIterator struct {
	numbers, times reader
	values         []byte
	differences    differenceReader
	left           int
	number, t      int64
	differ, bad    bool
}

// Len is how many samples are left.
func (it *FloatIterator) Len() int { return it.left }

// Next is the next sample; ok is false at the end or where the batch is corrupt.
func (it *FloatIterator) Next() (n Number, t int64, v float64, ok bool) {
	n, t, bits, ok := it.NextBits()
	return n, t, math.Float64frombits(bits), ok
}

// NextBits is Next with the value's bits; in a record with differences, with the difference.
func (it *FloatIterator) NextBits() (n Number, t int64, bits uint64, ok bool) {
	if it.left == 0 || it.bad {
		return 0, 0, 0, false
	}
	it.left--
	it.number += it.numbers.varint()
	it.t += it.times.varint()
	if it.numbers.bad || it.times.bad || it.number < 0 || it.number > math.MaxUint32 {
		it.bad = true
		return 0, 0, 0, false
	}
	if it.differ {
		return Number(it.number), it.t, it.differences.next(), true
	}
	bits = binary.LittleEndian.Uint64(it.values)
	it.values = it.values[8:]
	return Number(it.number), it.t, bits, true
}

// FloatBits is a float sample with the value's bits; in a record with differences, with the difference.
type FloatBits struct {
	Number Number
	Time   int64
	Bits   uint64
}

// Fill reads the next samples, and says how many: fewer than dst has room for at the end, or where the batch is corrupt.
func (it *FloatIterator) Fill(dst []FloatBits) int {
	dst = dst[:min(len(dst), it.left)]
	for i := range dst {
		f := &dst[i]
		var ok bool
		if f.Number, f.Time, f.Bits, ok = it.NextBits(); !ok {
			return i
		}
	}
	return len(dst)
}

// Err tells of a corrupt section, after Next said false.
func (it *FloatIterator) Err() error {
	if it.bad {
		return fmt.Errorf("%w: floats", ErrCorrupt)
	}
	return nil
}

// HistogramSample is a native histogram of one series at one time: H or FH is set.
type HistogramSample struct {
	Number Number
	Time   int64
	H      *histogram.Histogram
	FH     *histogram.FloatHistogram
}

// Histograms calls f for every histogram sample. The histogram is f's to keep.
func (b *Batch) Histograms(f func(HistogramSample) error) error {
	r := reader{p: b.histograms}
	for n := r.count(); n > 0; n-- {
		s := HistogramSample{Number: r.number(), Time: r.varint()}
		s.H, s.FH = r.histogram()
		if r.bad {
			return fmt.Errorf("%w: histograms", ErrCorrupt)
		}
		if err := f(s); err != nil {
			return err
		}
	}
	return nil
}

// Exemplars calls f for every exemplar, which is f's to keep.
func (b *Batch) Exemplars(f func(Number, exemplar.Exemplar) error) error {
	r := reader{p: b.exemplars}
	var builder labels.ScratchBuilder
	for n := r.count(); n > 0; n-- {
		number := r.number()
		e := exemplar.Exemplar{Ts: r.varint(), HasTs: true, Value: math.Float64frombits(r.fixed64()), Labels: r.labels(&builder)}
		if r.bad {
			return fmt.Errorf("%w: exemplars", ErrCorrupt)
		}
		if err := f(number, e); err != nil {
			return err
		}
	}
	return nil
}

// Metadata calls f for every metric family described, which is f's to keep.
func (b *Batch) Metadata(f func(Metadata) error) error {
	r := reader{p: b.metadata}
	for n := r.count(); n > 0; n-- {
		var m Metadata
		m.Family = string(r.bytes())
		m.Type = model.MetricType(r.bytes())
		m.Unit, m.Help = string(r.bytes()), string(r.bytes())
		if r.bad {
			return fmt.Errorf("%w: metadata", ErrCorrupt)
		}
		if err := f(m); err != nil {
			return err
		}
	}
	return nil
}

// reader takes fields off the front of p. After a field that isn't there, bad stays set and every field is zero.
type reader struct {
	p   []byte
	bad bool
}

func (r *reader) fail() { r.bad, r.p = true, nil }

func (r *reader) byte() byte {
	if len(r.p) == 0 {
		r.fail()
		return 0
	}
	b := r.p[0]
	r.p = r.p[1:]
	return b
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.p)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.p = r.p[n:]
	return v
}

func (r *reader) varint() int64 {
	if len(r.p) > 0 && r.p[0] < 0x80 {
		z := r.p[0]
		r.p = r.p[1:]
		return int64(z>>1) ^ -int64(z&1)
	}
	v, n := binary.Varint(r.p)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.p = r.p[n:]
	return v
}

func (r *reader) fixed64() uint64 {
	if len(r.p) < 8 {
		r.fail()
		return 0
	}
	v := binary.LittleEndian.Uint64(r.p)
	r.p = r.p[8:]
	return v
}

func (r *reader) float() float64 { return math.Float64frombits(r.fixed64()) }

func (r *reader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.p)) {
		r.fail()
		return nil
	}
	b := r.p[:n]
	r.p = r.p[n:]
	return b
}

// count is the number of things that follow; each takes a byte at least, so it is bounded by what is there.
func (r *reader) count() int {
	if len(r.p) == 0 {
		return 0
	}
	n := r.uvarint()
	if n > uint64(len(r.p)) {
		r.fail()
		return 1 // the caller's first field then fails and says so
	}
	return int(n)
}

func (r *reader) number() Number {
	v := r.uvarint()
	if v > math.MaxUint32 {
		r.fail()
	}
	return Number(v)
}

// labelViews appends labels to dst that are views.
func (r *reader) labelViews(dst []labels.Label) []labels.Label {
	for n := r.many(2); n > 0 && !r.bad; n-- {
		name := r.bytes()
		dst = append(dst, labels.Label{Name: view(name), Value: view(r.bytes())})
	}
	return dst
}

// labels are a copy.
func (r *reader) labels(b *labels.ScratchBuilder) labels.Labels {
	b.Reset()
	b.SetUnsafeAdd(true) // the strings live until Labels copies them
	for _, l := range r.labelViews(nil) {
		b.Add(l.Name, l.Value)
	}
	if r.bad {
		return labels.EmptyLabels()
	}
	return b.Labels()
}

// view is the bytes as a string without a copy: they must not change while it is used.
func view(p []byte) string { return unsafe.String(unsafe.SliceData(p), len(p)) }

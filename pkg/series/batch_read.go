package series

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

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
	b.Tenant, b.header, b.whole = id, p[:len(p)-r.left()], p[0] == wholeVersion
	for r.left() > 0 {
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
	rest := r.p[r.at:]
	size := uint64(len(rest))
	if r.bad || nn > size || nt > size-nn {
		return columns{}, false
	}
	c.numbers, c.times, c.values = rest[:nn], rest[nn:nn+nt], rest[nn+nt:]
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
	values         []byte // 8 of each sample; those of the samples that are left end it
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
	var one [1]FloatBits
	ok = it.Fill(one[:]) == 1
	return one[0].Number, one[0].Time, one[0].Bits, ok
}

// FloatBits is a float sample with the value's bits; in a record with differences, with the difference.
type FloatBits struct {
	Number Number
	Time   int64
	Bits   uint64
}

// Fill reads the next samples, and says how many: fewer than dst has room for at the end, or where the batch is corrupt. Many at
// once take less time than one by one.
func (it *FloatIterator) Fill(dst []FloatBits) int {
	if it.bad {
		return 0
	}
	dst = dst[:min(len(dst), it.left)]
	n := it.fillNumbers(dst)
	n = it.fillTimes(dst[:n])
	it.fillBits(dst[:n])
	it.left -= n
	it.bad = n < len(dst)
	return n
}

func (it *FloatIterator) fillNumbers(dst []FloatBits) int {
	dst = dst[:it.numbers.sums(it.number, dst)]
	for i := range dst {
		f := &dst[i]
		if it.number = f.Time; uint64(f.Time) > math.MaxUint32 {
			return i
		}
		f.Number = Number(f.Time)
	}
	return len(dst)
}

func (it *FloatIterator) fillTimes(dst []FloatBits) int {
	n := it.times.sums(it.t, dst)
	if n > 0 {
		it.t = dst[n-1].Time
	}
	return n
}

func (it *FloatIterator) fillBits(dst []FloatBits) {
	if it.differ {
		for i := range dst {
			dst[i].Bits = it.differences.next()
		}
		return
	}
	values := it.values[len(it.values)-8*it.left:]
	for i := range dst {
		dst[i].Bits = binary.LittleEndian.Uint64(values[8*i:])
	}
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

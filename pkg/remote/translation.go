package remote

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/prompb"
)

// Bounds are what a translation may cost.
type Bounds struct {
	// Samples is how many samples the result may have.
	Samples int
	// Bytes is how long the result may be, and how long its labels, written out for each sample.
	Bytes int64
	// Memory is how many bytes reading a request may take.
	Memory int64
	// Hold is asked before so many bytes, in all, are taken. Its error ends the translation.
	Hold func(bytes int64) error
}

// Refusal is what a translation left out for one reason.
type Refusal struct {
	Reason string // a word for a metric's label
	Count  int    // samples or data points
	First  string // the first one, in words
}

// Translation makes a request of remote write 2.0 of what other protocols send, so that there is one write path. It
// is used again through Reset; it is for one goroutine.
type Translation struct {
	// Refused is what could not be translated; the rest is in Body.
	Refused []Refusal
	// Skipped counts what is no number and so never a sample: strings.
	Skipped int
	// ExemplarsDropped counts the exemplars that could not be translated.
	ExemplarsDropped int

	bounds  Bounds
	now     int64
	held    int64
	base    int64 // bytes of memory besides the result's
	written int64 // bytes of labels, written out
	samples int
	symbols map[string]uint32
	table   []byte // the symbols, as fields of the request
	out     []byte // the finished series, as fields of the request
	open    []byte // the message of the series that is being written
	refs    []byte // its labels
	next    []byte
	nested  []byte
	meta    metadata.Metadata // the last one, and its references
	metaRef [2]uint32
	scratch labels.ScratchBuilder
}

// NewTranslation makes a translation; Reset is to be called first.
func NewTranslation() *Translation { return &Translation{symbols: map[string]uint32{}} }

// maxKept is how many bytes of buffers wait for the next request.
const maxKept = 4 << 20

// Reset begins a translation. now is the time of samples that bring none, in Unix milliseconds; taken is how many
// bytes of memory the request takes already.
func (t *Translation) Reset(b Bounds, now, taken int64) {
	symbols, kept := t.symbols, cap(t.out)+cap(t.table)
	clear(symbols)
	if kept > maxKept || len(symbols) > maxKept/64 {
		*t = Translation{symbols: map[string]uint32{}}
	}
	t.Refused, t.Skipped, t.ExemplarsDropped = nil, 0, 0
	t.bounds, t.now, t.base, t.held, t.written, t.samples = b, now, taken, taken, 0, 0
	t.table, t.out, t.open, t.refs = t.table[:0], t.out[:0], t.open[:0], t.refs[:0]
	t.meta, t.metaRef, t.scratch = metadata.Metadata{}, [2]uint32{}, labels.ScratchBuilder{}
	t.table = append(t.table, 4<<3|wireBytes, 0) // the first symbol is empty
	t.symbols[""] = 0
}

// Body is what was translated: a request of remote write 2.0, valid until the next Reset.
func (t *Translation) Body() []byte {
	t.flush()
	t.out = append(t.out, t.table...)
	t.table = t.table[:0]
	return t.out
}

// refuse counts what can't be translated; first is called only for the first of its reason.
func (t *Translation) refuse(why string, n int, first func() string) {
	for i := range t.Refused {
		if r := &t.Refused[i]; r.Reason == why {
			r.Count += n
			return
		}
	}
	t.Refused = append(t.Refused, Refusal{why, n, first()})
}

// sample is one sample of a series, with what belongs to it. h, fh or value counts.
type sample struct {
	time      int64
	value     float64
	h         *histogram.Histogram
	fh        *histogram.FloatHistogram
	exemplars []exemplar.Exemplar
	meta      metadata.Metadata
}

// add writes a sample of the series with these labels. Errors wrap ErrTooMany, ErrTooLarge or ErrMalformed, or are
// Bounds.Hold's.
func (t *Translation) add(ls labels.Labels, s *sample) error {
	if t.samples++; t.samples > t.bounds.Samples {
		return ErrTooMany
	}
	if err := t.series(ls, &s.meta); err != nil {
		return err
	}
	switch {
	case s.h != nil:
		return t.histogram(prompb.FromIntHistogram(s.time, s.h), s)
	case s.fh != nil:
		return t.histogram(prompb.FromFloatHistogram(s.time, s.fh), s)
	}
	m := append(t.nested[:0], 1<<3|wireFixed64)
	m = binary.LittleEndian.AppendUint64(m, math.Float64bits(s.value))
	m = binary.AppendUvarint(append(m, 2<<3|wireVarint), uint64(s.time))
	t.nested = m
	t.field(2, m)
	return t.exemplars(s)
}

func (t *Translation) histogram(h prompb.Histogram, s *sample) error {
	m, err := h.Marshal()
	if err != nil {
		return fmt.Errorf("%w: histogram: %w", ErrMalformed, err)
	}
	t.field(3, m)
	return t.exemplars(s)
}

// series opens a series unless it is the open one already.
func (t *Translation) series(ls labels.Labels, meta *metadata.Metadata) error {
	t.next = t.next[:0]
	size := 0
	ls.Range(func(l labels.Label) {
		size += len(l.Name) + len(l.Value)
		t.next = binary.AppendUvarint(t.next, uint64(t.symbol(l.Name)))
		t.next = binary.AppendUvarint(t.next, uint64(t.symbol(l.Value)))
	})
	if t.written += int64(size); t.written > t.bounds.Bytes {
		return fmt.Errorf("%w: its labels, written out for each sample, are more than %d bytes (distributor.max_request_bytes)", ErrTooLarge, t.bounds.Bytes)
	}
	if len(t.open) > 0 && bytes.Equal(t.next, t.refs) {
		return t.room()
	}
	t.flush()
	t.refs, t.next = t.next, t.refs
	t.field(1, t.refs)
	t.describe(meta)
	return t.room()
}

// describe writes what is known of the open series' metric family.
func (t *Translation) describe(m *metadata.Metadata) {
	if m.IsEmpty() {
		return
	}
	if *m != t.meta {
		t.meta, t.metaRef = *m, [2]uint32{t.symbol(m.Help), t.symbol(m.Unit)}
	}
	p := append(t.nested[:0], 1<<3|wireVarint, byte(max(0, slices.Index(metricTypes[:], m.Type))), 3<<3|wireVarint)
	p = append(binary.AppendUvarint(p, uint64(t.metaRef[0])), 4<<3|wireVarint)
	p = binary.AppendUvarint(p, uint64(t.metaRef[1]))
	t.nested = p
	t.field(5, p)
}

func (t *Translation) exemplars(s *sample) error {
	for i := range s.exemplars {
		e := &s.exemplars[i]
		if e.Labels.Len() > maxExemplarLabels || e.Labels.Has("") {
			t.ExemplarsDropped++
			continue
		}
		at := e.Ts
		if !e.HasTs {
			at = s.time
		}
		t.next = t.next[:0]
		e.Labels.Range(func(l labels.Label) {
			t.next = binary.AppendUvarint(t.next, uint64(t.symbol(l.Name)))
			t.next = binary.AppendUvarint(t.next, uint64(t.symbol(l.Value)))
		})
		p := appendField(t.nested[:0], t.next)
		p = binary.LittleEndian.AppendUint64(append(p, 2<<3|wireFixed64), math.Float64bits(e.Value))
		p = binary.AppendUvarint(append(p, 3<<3|wireVarint), uint64(at))
		t.nested = p
		t.field(4, p)
	}
	return t.room()
}

// field adds a field to the open series.
func (t *Translation) field(id byte, data []byte) {
	t.open = append(t.open, id<<3|wireBytes)
	t.open = append(binary.AppendUvarint(t.open, uint64(len(data))), data...)
}

// flush finishes the open series.
func (t *Translation) flush() {
	if len(t.open) == 0 {
		return
	}
	t.out = append(t.out, 5<<3|wireBytes)
	t.out = append(binary.AppendUvarint(t.out, uint64(len(t.open))), t.open...)
	t.open = t.open[:0]
}

// symbol is the number of a string in the table. The table has its own copy: what the string was cut from may be much
// longer.
func (t *Translation) symbol(s string) uint32 {
	if n, ok := t.symbols[s]; ok {
		return n
	}
	n := uint32(len(t.symbols))
	s = strings.Clone(s)
	t.symbols[s] = n
	t.table = append(t.table, 4<<3|wireBytes)
	t.table = append(binary.AppendUvarint(t.table, uint64(len(s))), s...)
	return n
}

// perSymbol is about what a symbol takes besides its bytes: in this map, and where the result is read.
const perSymbol = 128

// room sees to the result's bounds.
func (t *Translation) room() error {
	size := int64(len(t.out) + len(t.open) + len(t.table))
	switch {
	case size > t.bounds.Bytes:
		return fmt.Errorf("%w: as remote write, it is more than %d bytes (distributor.max_request_bytes)", ErrTooLarge, t.bounds.Bytes)
	case len(t.symbols) > maxSymbols:
		return fmt.Errorf("%w: it has more than %d different names, values and help texts", ErrTooLarge, maxSymbols)
	}
	if n := t.base + 4*size + perSymbol*int64(len(t.symbols)); n > t.held {
		t.held = n + n/4 // not for each sample anew
		return t.bounds.Hold(t.held)
	}
	return nil
}

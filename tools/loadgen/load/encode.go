package load

import (
	"encoding/binary"
	"encoding/hex"

	"github.com/klauspost/compress/s2"
)

// Protocol is a version of remote write.
type Protocol int

// The two versions of remote write.
const (
	RemoteWrite1 Protocol = 1
	RemoteWrite2 Protocol = 2
)

func (p Protocol) contentType() string {
	if p == RemoteWrite2 {
		return "application/x-protobuf;proto=io.prometheus.write.v2.Request"
	}
	return "application/x-protobuf"
}

func (p Protocol) version() string {
	if p == RemoteWrite2 {
		return "2.0.0"
	}
	return "0.1.0"
}

// point is one sample on its way into a request.
type point struct {
	series    *encodedSeries
	time      int64
	value     float64
	histogram *Histogram
	exemplar  uint64 // its trace, 0 = none
}

// encodedSeries is what an encoder keeps of a series from one request to the next.
type encodedSeries struct {
	labels []byte   // 1.0: the label fields
	refs   []uint32 // 2.0: the encoder's symbols
	help   uint32   // 2.0: the encoder's symbol
	typ    metricType
}

// encoder builds one request after another, reusing its memory. Not for concurrent use.
type encoder struct {
	proto   Protocol
	body    []byte // time series
	message []byte // 2.0: symbols and time series
	scratch []byte
	packed  []byte
	out     []byte // compressed
	symbols symbolTable
}

func newEncoder(p Protocol) *encoder {
	e := &encoder{proto: p}
	e.symbols.ids = map[string]uint32{}
	return e
}

// reset begins a request.
func (e *encoder) reset() {
	e.body = e.body[:0]
	e.symbols.begin()
}

// series prepares a series' labels once.
func (e *encoder) series(dst *encodedSeries, fam *family, ls []label) {
	dst.labels, dst.refs, dst.typ = dst.labels[:0], dst.refs[:0], fam.typ
	if e.proto == RemoteWrite1 {
		e.scratch = e.scratch[:0]
		for _, l := range ls {
			e.scratch = appendLabel(e.scratch, 1, l)
		}
		dst.labels = append(dst.labels, e.scratch...)
		return
	}
	if dst.refs == nil {
		dst.refs = make([]uint32, 0, 2*len(ls))
	}
	for _, l := range ls {
		dst.refs = append(dst.refs, e.symbols.id(l.name), e.symbols.id(l.value))
	}
	dst.help = e.symbols.id(fam.help)
}

// add appends one sample as a time series of its own, as a Prometheus sends it.
func (e *encoder) add(p point) {
	if e.proto == RemoteWrite1 {
		e.add1(p)
		return
	}
	e.add2(p)
}

// add1 writes TimeSeries as field 1: labels = 1, samples = 2, exemplars = 3, histograms = 4.
func (e *encoder) add1(p point) {
	if p.histogram == nil && p.exemplar == 0 {
		n := 2 + sampleLen(p.time)
		e.body = appendBytesHeader(e.body, 1, len(p.series.labels)+n)
		e.body = append(e.body, p.series.labels...)
		e.body = appendSampleField(e.body, 2, p.time, p.value)
		return
	}
	s := e.scratch[:0]
	if p.histogram == nil {
		s = appendSampleField(s, 2, p.time, p.value)
	}
	if p.exemplar != 0 {
		e.packed = appendLabel(e.packed[:0], 1, label{"trace_id", traceID(p.exemplar)})
		s = appendExemplar(s, 3, e.packed, p)
	}
	if p.histogram != nil {
		s = e.appendHistogramField(s, 4, p)
	}
	e.body = appendBytesHeader(e.body, 1, len(p.series.labels)+len(s))
	e.body = append(append(e.body, p.series.labels...), s...)
	e.scratch = s
}

// add2 writes TimeSeries as field 5: labels_refs = 1, samples = 2, histograms = 3, exemplars = 4, metadata = 5.
func (e *encoder) add2(p point) {
	e.packed = e.packed[:0]
	for _, id := range p.series.refs {
		e.packed = binary.AppendUvarint(e.packed, uint64(e.symbols.ref(id)))
	}
	s := appendBytesHeader(e.scratch[:0], 1, len(e.packed))
	s = append(s, e.packed...)
	if p.histogram != nil {
		s = e.appendHistogramField(s, 3, p)
	} else {
		s = appendSampleField(s, 2, p.time, p.value)
	}
	if p.exemplar != 0 {
		e.packed = binary.AppendUvarint(e.packed[:0], uint64(e.symbols.ref(e.symbols.id("trace_id"))))
		e.packed = binary.AppendUvarint(e.packed, uint64(e.symbols.once(traceID(p.exemplar))))
		refs := append(appendBytesHeader(nil, 1, len(e.packed)), e.packed...)
		s = appendExemplar(s, 4, refs, p)
	}
	help := uint64(e.symbols.ref(p.series.help))
	s = appendBytesHeader(s, 5, 2+1+varintLen(help))
	s = appendUvarintField(s, 1, uint64(p.series.typ))
	s = appendUvarintField(s, 3, help)
	e.body = append(appendBytesHeader(e.body, 5, len(s)), s...)
	e.scratch = s
}

func (e *encoder) appendHistogramField(dst []byte, field byte, p point) []byte {
	e.packed = appendHistogram(e.packed[:0], p.histogram, p.time)
	return append(appendBytesHeader(dst, field, len(e.packed)), e.packed...)
}

func appendExemplar(dst []byte, field byte, labels []byte, p point) []byte {
	dst = appendBytesHeader(dst, field, len(labels)+sampleLen(p.time))
	dst = append(dst, labels...)
	dst = appendDoubleField(dst, 2, unit(p.exemplar))
	return appendUvarintField(dst, 3, uint64(p.time))
}

func traceID(h uint64) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], h)
	binary.BigEndian.PutUint64(b[8:], mix(h, 1))
	return hex.EncodeToString(b[:])
}

// finish returns the compressed request, which is valid until the next reset, and its size before compression.
func (e *encoder) finish() ([]byte, int) {
	raw := e.body
	if e.proto == RemoteWrite2 {
		e.message = append(append(e.message[:0], e.symbols.wire...), e.body...)
		raw = e.message
	}
	if n := s2.MaxEncodedLen(len(raw)); cap(e.out) < n {
		e.out = make([]byte, n+n/4)
	}
	e.out = s2.EncodeSnappy(e.out[:cap(e.out)], raw)
	return e.out, len(raw)
}

// symbolTable numbers strings: an id for as long as the encoder lives, a ref within one request.
type symbolTable struct {
	ids   map[string]uint32
	names []string
	refs  []uint32 // by id; valid if its mark is the current request's
	marks []uint32
	mark  uint32
	next  uint32
	wire  []byte // the request's symbols, as field 4
}

func (s *symbolTable) id(name string) uint32 {
	if id, ok := s.ids[name]; ok {
		return id
	}
	id := uint32(len(s.names))
	s.ids[name] = id
	s.names, s.refs, s.marks = append(s.names, name), append(s.refs, 0), append(s.marks, 0)
	return id
}

func (s *symbolTable) begin() {
	s.mark++
	s.next = 1
	s.wire = append(s.wire[:0], 4<<3|2, 0) // symbol 0 is the empty string
}

func (s *symbolTable) ref(id uint32) uint32 {
	if s.marks[id] != s.mark {
		s.marks[id] = s.mark
		s.refs[id] = s.once(s.names[id])
	}
	return s.refs[id]
}

// once adds a symbol to this request alone.
func (s *symbolTable) once(name string) uint32 {
	s.wire = appendStringField(s.wire, 4, name)
	s.next++
	return s.next - 1
}

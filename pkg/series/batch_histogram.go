package series

import (
	"encoding/binary"
	"math"

	"github.com/prometheus/prometheus/model/histogram"
)

// A histogram in a batch: kind, counter-reset hint, schema, then the numbers field by field. All bits are kept,
// of float counts too.
const (
	integerHistogram = 0
	floatHistogram   = 1
)

func appendHistogram(dst []byte, h *histogram.Histogram) []byte {
	dst = append(dst, integerHistogram, byte(h.CounterResetHint))
	dst = binary.AppendVarint(dst, int64(h.Schema))
	dst = appendFloat(dst, h.ZeroThreshold)
	dst = binary.AppendUvarint(dst, h.ZeroCount)
	dst = binary.AppendUvarint(dst, h.Count)
	dst = appendFloat(dst, h.Sum)
	dst = appendSpans(dst, h.PositiveSpans)
	dst = appendSpans(dst, h.NegativeSpans)
	dst = appendDeltas(dst, h.PositiveBuckets)
	dst = appendDeltas(dst, h.NegativeBuckets)
	return appendFloats(dst, h.CustomValues)
}

func appendFloatHistogram(dst []byte, h *histogram.FloatHistogram) []byte {
	dst = append(dst, floatHistogram, byte(h.CounterResetHint))
	dst = binary.AppendVarint(dst, int64(h.Schema))
	dst = appendFloat(dst, h.ZeroThreshold)
	dst = appendFloat(dst, h.ZeroCount)
	dst = appendFloat(dst, h.Count)
	dst = appendFloat(dst, h.Sum)
	dst = appendSpans(dst, h.PositiveSpans)
	dst = appendSpans(dst, h.NegativeSpans)
	dst = appendFloats(dst, h.PositiveBuckets)
	dst = appendFloats(dst, h.NegativeBuckets)
	return appendFloats(dst, h.CustomValues)
}

func (r *reader) histogram() (*histogram.Histogram, *histogram.FloatHistogram) {
	kind, hint := r.byte(), histogram.CounterResetHint(r.byte())
	schema, threshold := int32(r.varint()), r.float()
	switch kind {
	case integerHistogram:
		h := &histogram.Histogram{CounterResetHint: hint, Schema: schema, ZeroThreshold: threshold}
		h.ZeroCount, h.Count, h.Sum = r.uvarint(), r.uvarint(), r.float()
		h.PositiveSpans, h.NegativeSpans = r.spans(), r.spans()
		h.PositiveBuckets, h.NegativeBuckets = r.deltas(), r.deltas()
		h.CustomValues = r.floats()
		return h, nil
	case floatHistogram:
		h := &histogram.FloatHistogram{CounterResetHint: hint, Schema: schema, ZeroThreshold: threshold}
		h.ZeroCount, h.Count, h.Sum = r.float(), r.float(), r.float()
		h.PositiveSpans, h.NegativeSpans = r.spans(), r.spans()
		h.PositiveBuckets, h.NegativeBuckets = r.floats(), r.floats()
		h.CustomValues = r.floats()
		return nil, h
	}
	r.fail()
	return nil, nil
}

func appendFloat(dst []byte, v float64) []byte {
	return binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
}

func appendFloats(dst []byte, vs []float64) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(vs)))
	for _, v := range vs {
		dst = appendFloat(dst, v)
	}
	return dst
}

func appendDeltas(dst []byte, ds []int64) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(ds)))
	for _, d := range ds {
		dst = binary.AppendVarint(dst, d)
	}
	return dst
}

func appendSpans(dst []byte, spans []histogram.Span) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(spans)))
	for _, s := range spans {
		dst = binary.AppendVarint(dst, int64(s.Offset))
		dst = binary.AppendUvarint(dst, uint64(s.Length))
	}
	return dst
}

// many is a count of things of at least size bytes each: nil slices stay nil, and memory stays within the batch's.
func (r *reader) many(size int) int {
	n := r.uvarint()
	if n > uint64(r.left()/size) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *reader) floats() []float64 {
	n := r.many(8)
	if n == 0 {
		return nil
	}
	vs := make([]float64, n)
	for i := range vs {
		vs[i] = r.float()
	}
	return vs
}

func (r *reader) deltas() []int64 {
	n := r.many(1)
	if n == 0 {
		return nil
	}
	ds := make([]int64, n)
	for i := range ds {
		ds[i] = r.varint()
	}
	return ds
}

func (r *reader) spans() []histogram.Span {
	n := r.many(2)
	if n == 0 {
		return nil
	}
	spans := make([]histogram.Span, n)
	for i := range spans {
		spans[i] = histogram.Span{Offset: int32(r.varint()), Length: uint32(r.uvarint())}
	}
	return spans
}

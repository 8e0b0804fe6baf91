package load

import (
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
)

// Histogram is a native histogram in one canonical form: buckets by absolute index, empty ones left out. Stores may
// lay the same histogram out in other spans; two are the same sample if their canonical forms are. Whole counts are exact
// below 2^53.
type Histogram struct {
	Float, Gauge  bool
	Schema        int32
	ZeroThreshold float64
	ZeroCount     float64
	Count         float64
	Sum           float64
	Positive      []Bucket
	Negative      []Bucket
	Custom        []float64 // upper bounds, for schema −53
}

// zeroThreshold is the breadth of the zero bucket that client libraries take by default, 2^-128.
const zeroThreshold = 0x1p-128

// Bucket is one bucket that has observations.
type Bucket struct {
	Index int32
	Count float64
}

func (h *Histogram) reset(k kind) {
	*h = Histogram{Positive: h.Positive[:0], Negative: h.Negative[:0], Custom: h.Custom[:0]}
	h.Float = k == nativeFloat || k == nativeGauge || k == nativeEmpty
	h.Gauge = k == nativeGauge
}

// setStale makes h the staleness marker of a histogram series.
func (h *Histogram) setStale(k kind) {
	h.reset(k)
	h.Sum = staleNaN()
}

func (h *Histogram) stale() bool { return value.IsStaleNaN(h.Sum) }

// Equal compares bit by bit. Of a staleness marker only the fact and the counts' type are compared, as nothing else is kept.
func (h *Histogram) Equal(o *Histogram) bool {
	same := func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }
	if h.Float != o.Float || !same(h.Sum, o.Sum) {
		return false
	}
	if h.stale() {
		return true
	}
	return h.Gauge == o.Gauge && h.Schema == o.Schema && same(h.ZeroThreshold, o.ZeroThreshold) &&
		same(h.ZeroCount, o.ZeroCount) && same(h.Count, o.Count) &&
		slices.Equal(h.Positive, o.Positive) && slices.Equal(h.Negative, o.Negative) && slices.Equal(h.Custom, o.Custom)
}

// histogram computes a native histogram from the series' hash and its age in steps. Each bucket is a counter, so buckets
// appear as time goes on, and the whole is a counter too (but for gauges).
func (k kind) histogram(dst *Histogram, h, age uint64) {
	dst.reset(k)
	scale := 1.0
	if dst.Float {
		scale = 0.5
	}
	count := func(i uint64) float64 {
		own := mix(h, i+1<<32)
		if k == nativeGauge {
			return scale * float64(mix(own, age)&7)
		}
		rate := float64(uint64(1)<<(own>>60&7)) / 16
		return scale * math.Floor(rate*(float64(age)+unit(mix(own, age))))
	}
	buckets, first := 4+h>>8%12, int32(h>>16%20)-10
	switch k {
	case nativeEmpty:
		dst.Schema, dst.ZeroThreshold = 2, zeroThreshold
		return
	case nativeCustom:
		dst.Schema = histogram.CustomBucketsSchema
		for i := range 6 {
			dst.Custom = append(dst.Custom, float64(uint64(64)<<(2*i)))
		}
		buckets, first = 7, 0
	default:
		dst.Schema, dst.ZeroThreshold = int32(h>>24&3), zeroThreshold
		dst.ZeroCount = count(1 << 16)
		if h>>28&3 == 0 {
			dst.Negative = appendBucket(dst.Negative, first, count(1<<17))
			dst.Negative = appendBucket(dst.Negative, first+2, count(1<<18))
		}
	}
	for i := range buckets {
		dst.Positive = appendBucket(dst.Positive, first+int32(i), count(i))
	}
	dst.Count = dst.ZeroCount
	for _, b := range dst.Positive {
		dst.Count += b.Count
	}
	for _, b := range dst.Negative {
		dst.Count += b.Count
	}
	dst.Sum = float64(dst.Count*0.0734) + unit(mix(h, age))/1024
}

func appendBucket(dst []Bucket, index int32, count float64) []Bucket {
	if count == 0 {
		return dst
	}
	return append(dst, Bucket{index, count})
}

// setProto sets h to what a remote-read answer says.
func (h *Histogram) setProto(p *prompb.Histogram) {
	*h = Histogram{Positive: h.Positive[:0], Negative: h.Negative[:0], Custom: append(h.Custom[:0], p.CustomValues...)}
	h.Float = p.IsFloatHistogram()
	h.Gauge = p.ResetHint == prompb.Histogram_GAUGE
	h.Schema, h.ZeroThreshold, h.Sum = p.Schema, p.ZeroThreshold, p.Sum
	if h.Float {
		h.Count, h.ZeroCount = p.GetCountFloat(), p.GetZeroCountFloat()
	} else {
		h.Count, h.ZeroCount = float64(p.GetCountInt()), float64(p.GetZeroCountInt())
	}
	h.Positive = protoBuckets(h.Positive, p.PositiveSpans, p.PositiveDeltas, p.PositiveCounts)
	h.Negative = protoBuckets(h.Negative, p.NegativeSpans, p.NegativeDeltas, p.NegativeCounts)
}

// protoBuckets lists the filled buckets; counts beyond the spans, or spans beyond the counts, become buckets of index −1<<31, which match nothing.
func protoBuckets(dst []Bucket, spans []prompb.BucketSpan, deltas []int64, counts []float64) []Bucket {
	index, n, sum := int32(0), 0, int64(0)
	for _, span := range spans {
		index += span.Offset
		for range span.Length {
			var c float64
			switch {
			case n < len(deltas):
				sum += deltas[n]
				c = float64(sum)
			case n < len(counts):
				c = counts[n]
			default:
				return append(dst, Bucket{Index: math.MinInt32})
			}
			dst = appendBucket(dst, index, c)
			index++
			n++
		}
	}
	if n < max(len(deltas), len(counts)) {
		dst = append(dst, Bucket{Index: math.MinInt32})
	}
	return dst
}

package series

import (
	"cmp"
	"math"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// Two samples of one series and time: the greater one stays, by an order that is total and knows nothing of where
// the samples came from. Stale markers are below everything, then come floats by their bits, integer histograms,
// float histograms. Histograms compare field by field; empty buckets don't count, because a chunk may add them.

// Wins tells whether float a stays where a and b are two values of one series and time. Of equal bits neither wins.
func Wins(a, b float64) bool {
	return cmp.Or(
		cmp.Compare(rank(chunkenc.ValFloat, a), rank(chunkenc.ValFloat, b)),
		cmp.Compare(math.Float64bits(a), math.Float64bits(b)),
	) > 0
}

// rank orders kinds of samples. v is the value of a float, the sum of a histogram.
func rank(kind chunkenc.ValueType, v float64) int {
	if value.IsStaleNaN(v) {
		return int(kind)
	}
	return int(kind) + 10
}

// CompareHistograms is > 0 if a wins over b, < 0 if b wins over a, 0 if they say the same.
func CompareHistograms(a, b *histogram.Histogram) int {
	if c := compareStale(a.Sum, b.Sum); c != 0 || value.IsStaleNaN(a.Sum) {
		return c
	}
	return cmp.Or(
		compareLayouts(layout{a.CounterResetHint, a.Schema, a.ZeroThreshold}, layout{b.CounterResetHint, b.Schema, b.ZeroThreshold}),
		cmp.Compare(a.Count, b.Count),
		cmp.Compare(a.ZeroCount, b.ZeroCount),
		compareBits(a.Sum, b.Sum),
		compareBounds(a.CustomValues, b.CustomValues),
		compareBuckets(deltaBuckets(a.PositiveSpans, a.PositiveBuckets), deltaBuckets(b.PositiveSpans, b.PositiveBuckets)),
		compareBuckets(deltaBuckets(a.NegativeSpans, a.NegativeBuckets), deltaBuckets(b.NegativeSpans, b.NegativeBuckets)),
	)
}

// CompareFloatHistograms is CompareHistograms for histograms with float counts.
func CompareFloatHistograms(a, b *histogram.FloatHistogram) int {
	if c := compareStale(a.Sum, b.Sum); c != 0 || value.IsStaleNaN(a.Sum) {
		return c
	}
	return cmp.Or(
		compareLayouts(layout{a.CounterResetHint, a.Schema, a.ZeroThreshold}, layout{b.CounterResetHint, b.Schema, b.ZeroThreshold}),
		compareBits(a.Count, b.Count),
		compareBits(a.ZeroCount, b.ZeroCount),
		compareBits(a.Sum, b.Sum),
		compareBounds(a.CustomValues, b.CustomValues),
		compareBuckets(floatBuckets(a.PositiveSpans, a.PositiveBuckets), floatBuckets(b.PositiveSpans, b.PositiveBuckets)),
		compareBuckets(floatBuckets(a.NegativeSpans, a.NegativeBuckets), floatBuckets(b.NegativeSpans, b.NegativeBuckets)),
	)
}

func compareStale(a, b float64) int {
	return cmp.Compare(rank(chunkenc.ValHistogram, a), rank(chunkenc.ValHistogram, b))
}

func compareBits(a, b float64) int { return cmp.Compare(math.Float64bits(a), math.Float64bits(b)) }

type layout struct {
	hint          histogram.CounterResetHint
	schema        int32
	zeroThreshold float64
}

// compareLayouts heeds of the hints only whether they say gauge: the others depend on the neighbours.
func compareLayouts(a, b layout) int {
	if ag, bg := a.hint == histogram.GaugeType, b.hint == histogram.GaugeType; ag != bg {
		if ag {
			return 1
		}
		return -1
	}
	return cmp.Or(cmp.Compare(a.schema, b.schema), compareBits(a.zeroThreshold, b.zeroThreshold))
}

func compareBounds(a, b []float64) int {
	for i := range min(len(a), len(b)) {
		if c := compareBits(a[i], b[i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

// buckets walks one side of a histogram, bucket by bucket.
type buckets struct {
	spans  []histogram.Span
	deltas []int64   // of an integer histogram: each count's difference from the one before
	floats []float64 // of a float histogram: the counts
	index  int32     // of the bucket that comes next
	left   uint32    // how many the current span has yet
	count  int64     // the integer count before
}

func deltaBuckets(spans []histogram.Span, deltas []int64) buckets {
	return buckets{spans: spans, deltas: deltas}
}

func floatBuckets(spans []histogram.Span, counts []float64) buckets {
	return buckets{spans: spans, floats: counts}
}

// next is the next bucket that isn't empty: its index, and its count as bits.
func (b *buckets) next() (index int32, count uint64, ok bool) {
	for {
		for b.left == 0 {
			if len(b.spans) == 0 {
				return 0, 0, false
			}
			b.index += b.spans[0].Offset
			b.left, b.spans = b.spans[0].Length, b.spans[1:]
		}
		index = b.index
		b.index++
		b.left--
		switch {
		case len(b.deltas) > 0:
			b.count += b.deltas[0]
			b.deltas = b.deltas[1:]
			count = uint64(b.count)
		case len(b.floats) > 0:
			if b.floats[0] != 0 {
				count = math.Float64bits(b.floats[0])
			}
			b.floats = b.floats[1:]
		default:
			return 0, 0, false
		}
		if count != 0 {
			return index, count, true
		}
	}
}

func compareBuckets(a, b buckets) int {
	for {
		ai, ac, aok := a.next()
		bi, bc, bok := b.next()
		switch {
		case !aok && !bok:
			return 0
		case !aok:
			return -1
		case !bok:
			return 1
		}
		if c := cmp.Or(cmp.Compare(ai, bi), cmp.Compare(ac, bc)); c != 0 {
			return c
		}
	}
}

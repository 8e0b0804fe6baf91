package load

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// The field numbers below are those of prometheus.WriteRequest (remote write 1.0, prompb/types.proto) and of
// io.prometheus.write.v2.Request (2.0, prompb/io/prometheus/write/v2/types.proto).

func varintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

func appendBytesHeader(dst []byte, field byte, n int) []byte {
	return binary.AppendUvarint(append(dst, field<<3|2), uint64(n))
}

func appendStringField(dst []byte, field byte, s string) []byte {
	return append(appendBytesHeader(dst, field, len(s)), s...)
}

func appendUvarintField(dst []byte, field byte, v uint64) []byte {
	return binary.AppendUvarint(append(dst, field<<3), v)
}

func appendDoubleField(dst []byte, field byte, v float64) []byte {
	return binary.LittleEndian.AppendUint64(append(dst, field<<3|1), math.Float64bits(v))
}

func zigzag(v int64) uint64 { return uint64(v<<1) ^ uint64(v>>63) }

// sampleLen is the size of a Sample message, which both protocols share: value = 1, timestamp = 2.
func sampleLen(t int64) int { return 1 + 8 + 1 + varintLen(uint64(t)) }

func appendSampleField(dst []byte, field byte, t int64, v float64) []byte {
	dst = appendBytesHeader(dst, field, sampleLen(t))
	dst = appendDoubleField(dst, 1, v)
	return appendUvarintField(dst, 2, uint64(t))
}

// appendLabel writes a Label as a field of a message.
func appendLabel(dst []byte, field byte, l label) []byte {
	n := 1 + varintLen(uint64(len(l.name))) + len(l.name) + 1 + varintLen(uint64(len(l.value))) + len(l.value)
	dst = appendBytesHeader(dst, field, n)
	return appendStringField(appendStringField(dst, 1, l.name), 2, l.value)
}

// appendHistogram writes a Histogram message, which both protocols share.
func appendHistogram(dst []byte, h *Histogram, t int64) []byte {
	if h.Float {
		dst = appendDoubleField(dst, 2, h.Count)
	} else {
		dst = appendUvarintField(dst, 1, uint64(h.Count))
	}
	dst = appendDoubleField(dst, 3, h.Sum)
	dst = appendUvarintField(dst, 4, zigzag(int64(h.Schema)))
	dst = appendDoubleField(dst, 5, h.ZeroThreshold)
	if h.Float {
		dst = appendDoubleField(dst, 7, h.ZeroCount)
	} else {
		dst = appendUvarintField(dst, 6, uint64(h.ZeroCount))
	}
	dst = appendBuckets(dst, 8, h.Negative, h.Float)
	dst = appendBuckets(dst, 11, h.Positive, h.Float)
	if h.Gauge {
		dst = appendUvarintField(dst, 14, 3)
	}
	dst = appendUvarintField(dst, 15, uint64(t))
	if len(h.Custom) > 0 {
		dst = append(dst, 0x82, 0x01) // field 16, length-delimited
		dst = binary.AppendUvarint(dst, uint64(8*len(h.Custom)))
		for _, v := range h.Custom {
			dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
		}
	}
	return dst
}

// appendBuckets writes spans as field, then deltas as field+1 or float counts as field+2.
func appendBuckets(dst []byte, field byte, buckets []Bucket, float bool) []byte {
	if len(buckets) == 0 {
		return dst
	}
	next := int32(0)
	for i := 0; i < len(buckets); {
		end := i + 1
		for end < len(buckets) && buckets[end].Index == buckets[end-1].Index+1 {
			end++
		}
		offset := zigzag(int64(buckets[i].Index - next))
		dst = appendBytesHeader(dst, field, 2+varintLen(offset)+varintLen(uint64(end-i)))
		dst = appendUvarintField(dst, 1, offset)
		dst = appendUvarintField(dst, 2, uint64(end-i))
		next = buckets[end-1].Index + 1
		i = end
	}
	if float {
		dst = appendBytesHeader(dst, field+2, 8*len(buckets))
		for _, b := range buckets {
			dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(b.Count))
		}
		return dst
	}
	n, last := 0, int64(0)
	for _, b := range buckets {
		n += varintLen(zigzag(int64(b.Count) - last))
		last = int64(b.Count)
	}
	dst, last = appendBytesHeader(dst, field+1, n), 0
	for _, b := range buckets {
		dst = binary.AppendUvarint(dst, zigzag(int64(b.Count)-last))
		last = int64(b.Count)
	}
	return dst
}

package quantity

import "math/bits"

// Bytes is a sum of byte-milliseconds in 128 bits. The zero value is 0.
type Bytes struct{ hi, lo uint64 }

// Add adds bytes that were held for some milliseconds; neither is negative.
func (b *Bytes) Add(bytes, millis int64) {
	hi, lo := bits.Mul64(uint64(bytes), uint64(millis))
	b.Sum(Bytes{hi, lo})
}

// Sum adds another sum.
func (b *Bytes) Sum(o Bytes) {
	var carry uint64
	b.lo, carry = bits.Add64(b.lo, o.lo, 0)
	b.hi, _ = bits.Add64(b.hi, o.hi, carry)
}

// Less is b - o; o is not more than b.
func (b Bytes) Less(o Bytes) Bytes {
	lo, borrow := bits.Sub64(b.lo, o.lo, 0)
	hi, _ := bits.Sub64(b.hi, o.hi, borrow)
	return Bytes{hi, lo}
}

// Seconds is the sum in byte-seconds, half of one rounded up; at most the greatest int64.
func (b Bytes) Seconds() int64 {
	b.Sum(Bytes{0, 500})
	if b.hi >= 500 {
		return 1<<63 - 1
	}
	q, _ := bits.Div64(b.hi, b.lo, 1000)
	return int64(min(q, 1<<63-1))
}

// Part is the i-th of n parts that add up to the sum, as equal as they can be.
func (b Bytes) Part(i, n int) Bytes {
	hi, rest := bits.Div64(0, b.hi, uint64(n))
	lo, rest := bits.Div64(rest, b.lo, uint64(n))
	part := Bytes{hi, lo}
	if uint64(i) < rest {
		part.Sum(Bytes{0, 1})
	}
	return part
}

// WholeSeconds is the sum in byte-seconds, rounded down, and Rest what that leaves in byte-milliseconds.
func (b Bytes) WholeSeconds() int64 {
	if b.hi >= 500 {
		return 1<<63 - 1
	}
	q, _ := bits.Div64(b.hi, b.lo, 1000)
	return int64(min(q, 1<<63-1))
}

// Rest is what WholeSeconds leaves.
func (b Bytes) Rest() int64 {
	_, rest := bits.Div64(b.hi%1000, b.lo, 1000)
	return int64(rest)
}

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

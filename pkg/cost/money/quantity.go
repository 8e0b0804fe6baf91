package money

import (
	"math"
	"math/bits"
	"strconv"
)

// Quantity is a sum of integers, 128 bits wide and never negative. Its zero value is 0.
type Quantity struct{ Hi, Lo uint64 }

// Units is the quantity of n. A negative n is 0.
func Units(n int64) Quantity { return Quantity{Lo: uint64(max(n, 0))} }

// Plus is q + r; it stays at the largest quantity if there is none of that size.
func (q Quantity) Plus(r Quantity) Quantity {
	lo, carry := bits.Add64(q.Lo, r.Lo, 0)
	hi, carry := bits.Add64(q.Hi, r.Hi, carry)
	if carry != 0 {
		return Quantity{Hi: math.MaxUint64, Lo: math.MaxUint64}
	}
	return Quantity{Hi: hi, Lo: lo}
}

// Minus is q - r, and 0 if r is larger.
func (q Quantity) Minus(r Quantity) Quantity {
	if q.Less(r) {
		return Quantity{}
	}
	lo, borrow := bits.Sub64(q.Lo, r.Lo, 0)
	hi, _ := bits.Sub64(q.Hi, r.Hi, borrow)
	return Quantity{Hi: hi, Lo: lo}
}

// Less tells whether q < r.
func (q Quantity) Less(r Quantity) bool { return q.Hi < r.Hi || q.Hi == r.Hi && q.Lo < r.Lo }

// IsZero tells whether q is 0.
func (q Quantity) IsZero() bool { return q.Hi|q.Lo == 0 }

// Float is near q, for ratios that are only looked at.
func (q Quantity) Float() float64 { return float64(q.Hi)*(1<<64) + float64(q.Lo) }

// String is q in decimal digits.
func (q Quantity) String() string { return string(q.Append(nil)) }

// Append appends q in decimal digits.
func (q Quantity) Append(b []byte) []byte {
	if q.Hi == 0 {
		return strconv.AppendUint(b, q.Lo, 10)
	}
	const chunk = 1e19
	hi := q.Hi / chunk
	mid, low := bits.Div64(q.Hi%chunk, q.Lo, chunk)
	return appendPadded(Quantity{Hi: hi, Lo: mid}.Append(b), low, chunk/10)
}

// appendPadded appends n with leading zeros; first is the value of its first digit.
func appendPadded(b []byte, n, first uint64) []byte {
	for ; first > max(n, 1); first /= 10 {
		b = append(b, '0')
	}
	return strconv.AppendUint(b, n, 10)
}

// Times is q × n, which fits.
func (q Quantity) Times(n uint64) Quantity {
	hi, lo := bits.Mul64(q.Lo, n)
	return Quantity{Hi: q.Hi*n + hi, Lo: lo}
}

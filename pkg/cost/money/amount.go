package money

import (
	"math/big"
	"math/bits"
)

// Amount is money: a whole number of grains, 256 bits wide, never negative, least significant word first. Rates are under 2^116 and
// quantities that a store can hold under 2^128, so products fit.
type Amount [4]uint64

// Rate is grains per unit of quantity.
type Rate struct{ hi, lo uint64 }

// IsZero tells whether nothing is paid.
func (r Rate) IsZero() bool { return r.hi|r.lo == 0 }

// Of is what q costs at the rate.
func (r Rate) Of(q Quantity) Amount {
	var a Amount
	a.product(0, r.lo, q.Lo)
	a.product(1, r.hi, q.Lo)
	a.product(1, r.lo, q.Hi)
	a.product(2, r.hi, q.Hi)
	return a
}

// product adds x × y at the word i.
func (a *Amount) product(i int, x, y uint64) {
	hi, lo := bits.Mul64(x, y)
	var carry uint64
	a[i], carry = bits.Add64(a[i], lo, 0)
	a[i+1], carry = bits.Add64(a[i+1], hi, carry)
	for i += 2; carry != 0 && i < len(a); i++ {
		a[i], carry = bits.Add64(a[i], 0, carry)
	}
}

// Add adds b to a.
func (a *Amount) Add(b Amount) {
	var carry uint64
	for i := range a {
		a[i], carry = bits.Add64(a[i], b[i], carry)
	}
}

// Plus is a + b.
func (a Amount) Plus(b Amount) Amount {
	a.Add(b)
	return a
}

// Minus is a - b, which must not be larger.
func (a Amount) Minus(b Amount) Amount {
	var borrow uint64
	for i := range a {
		a[i], borrow = bits.Sub64(a[i], b[i], borrow)
	}
	return a
}

// Cmp is -1, 0 or 1 as a is less than, equal to or larger than b.
func (a Amount) Cmp(b Amount) int {
	for i := len(a) - 1; i >= 0; i-- {
		switch {
		case a[i] < b[i]:
			return -1
		case a[i] > b[i]:
			return 1
		}
	}
	return 0
}

// IsZero tells whether a is nothing.
func (a Amount) IsZero() bool { return a == Amount{} }

// Big is a in grains.
func (a Amount) Big() *big.Int {
	i := new(big.Int)
	for w := len(a) - 1; w >= 0; w-- {
		i.Lsh(i, 64)
		i.Or(i, new(big.Int).SetUint64(a[w]))
	}
	return i
}

// amountOf is i, which is neither negative nor too large.
func amountOf(i *big.Int) Amount {
	var a Amount
	word, rest, mask := new(big.Int), new(big.Int).Set(i), new(big.Int).SetUint64(1<<64-1)
	for w := range a {
		a[w] = word.And(rest, mask).Uint64()
		rest.Rsh(rest, 64)
	}
	return a
}

// Float is near a in units of the currency, for ratios that are only looked at.
func (a Amount) Float() float64 {
	const word = 1 << 64
	return (((float64(a[3])*word+float64(a[2]))*word+float64(a[1]))*word + float64(a[0])) / (grainsPerNano * 1e9)
}

// quo divides a by a word.
func (a *Amount) quo(by uint64) {
	var rest uint64
	for i := len(a) - 1; i >= 0; i-- {
		a[i], rest = bits.Div64(rest, a[i], by)
	}
}

// Nanos is the whole billionths of the currency in a, and what is left of it.
func (a Amount) Nanos() (Nanos, Amount) {
	whole := a
	whole.quo(nanoFactor1)
	whole.quo(nanoFactor2)
	n := Nanos{Hi: whole[1], Lo: whole[0]}
	return n, a.Minus(grainRate().Of(Quantity(n)))
}

// Share is the weights' parts of a, in grains, by largest remainder; ties go to the first. Their sum is a, or nothing if all weights are 0.
func (a Amount) Share(weights []Amount) []Amount {
	parts := make([]Amount, len(weights))
	sum := new(big.Int)
	for _, w := range weights {
		sum.Add(sum, w.Big())
	}
	if sum.Sign() == 0 {
		return parts
	}
	whole, left := a.Big(), a
	rests := make([]Amount, len(weights))
	for i, w := range weights {
		q, r := new(big.Int).QuoRem(new(big.Int).Mul(whole, w.Big()), sum, new(big.Int))
		parts[i], rests[i] = amountOf(q), amountOf(r)
		left = left.Minus(parts[i])
	}
	for _, i := range Largest(rests, int(left[0])) {
		parts[i].Add(Amount{1})
	}
	return parts
}

package money

import (
	"bytes"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// Nanos is money as it is printed: billionths of the currency.
type Nanos Quantity

const (
	// Grains in a billionth of the currency, and two factors of it that are words.
	grainsPerNano = float64(nanoFactor1) * nanoFactor2
	nanoFactor1   = base
	nanoFactor2   = 1_000_000_000
)

// grainRate is grains per billionth of the currency.
func grainRate() Rate { return newRate(nanoFactor1, nanoFactor2) }

// Round is a to the nearest billionth, half of one up.
func (a Amount) Round() Nanos {
	n, rest := a.Nanos()
	if rest.Plus(rest).Cmp(grainRate().Of(Quantity{Lo: 1})) >= 0 {
		return n.Plus(Nanos{Lo: 1})
	}
	return n
}

// RoundAgainst rounds the parts of a whole that is printed as total so that they add up to it: each down, then those with the largest remainders up;
// ties go to the first. total is the sum of parts rounded down or up.
func RoundAgainst(total Nanos, parts []Amount) []Nanos {
	rounded := make([]Nanos, len(parts))
	rests := make([]Amount, len(parts))
	left := Quantity(total)
	for i, p := range parts {
		rounded[i], rests[i] = p.Nanos()
		left = left.Minus(Quantity(rounded[i]))
	}
	for _, i := range Largest(rests, int(left.Lo)) {
		rounded[i] = rounded[i].Plus(Nanos{Lo: 1})
	}
	return rounded
}

// Largest is where the n largest amounts are; of equal ones the first.
func Largest(amounts []Amount, n int) []int {
	order := make([]int, len(amounts))
	for i := range order {
		order[i] = i
	}
	if n < 1 {
		return nil
	}
	slices.SortStableFunc(order, func(i, j int) int { return amounts[j].Cmp(amounts[i]) })
	return order[:min(n, len(order))]
}

// Plus is n + m.
func (n Nanos) Plus(m Nanos) Nanos { return Nanos(Quantity(n).Plus(Quantity(m))) }

// IsZero tells whether nothing would be printed.
func (n Nanos) IsZero() bool { return Quantity(n).IsZero() }

// String is n in units of the currency, without zeros at its end.
func (n Nanos) String() string { return string(n.Append(nil)) }

// Append appends String.
func (n Nanos) Append(b []byte) []byte {
	if n.Hi != 0 {
		return n.appendLong(b)
	}
	const unit = 1_000_000_000
	b = strconv.AppendUint(b, n.Lo/unit, 10)
	if rest := n.Lo % unit; rest > 0 {
		b = appendPadded(append(b, '.'), rest, unit/10)
		b = bytes.TrimRight(b, "0")
	}
	return b
}

// appendLong is for what has more than 64 bits.
func (n Nanos) appendLong(b []byte) []byte {
	s := Quantity(n).String()
	point := len(s) - 9
	return append(b, strings.TrimSuffix(strings.TrimRight(s[:point]+"."+s[point:], "0"), ".")...)
}

// MarshalText gives String, so that JSON has decimal strings.
func (n Nanos) MarshalText() ([]byte, error) { return n.Append(nil), nil }

// InUnits is grains in units of the currency, to 40 decimals.
func InUnits(grains *big.Int) string {
	unit := new(big.Int).Mul(big.NewInt(base), big.NewInt(1e18))
	return new(big.Rat).SetFrac(grains, unit).FloatString(40)
}

// Fixed is n with so many decimals, at most 9, half up.
func (n Nanos) Fixed(decimals int) string {
	unit := uint64(1)
	for range 9 - decimals {
		unit *= 10
	}
	if decimals < 9 {
		n = n.Plus(Nanos{Lo: unit / 2})
	}
	s := Quantity(n).String()
	for len(s) < 10 {
		s = "0" + s
	}
	return strings.TrimSuffix(s[:len(s)-9]+"."+s[len(s)-9:len(s)-9+decimals], ".")
}

package money

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// Decimal is a number as a price book writes it, in units of 1e-12: up to 12 decimals and at most MaxDecimal. Never negative.
type Decimal uint64

// MaxDecimal is the largest Decimal: a million.
const MaxDecimal Decimal = 1e18

// one is the Decimal 1.
const one = 1_000_000_000_000

// ParseDecimal reads digits with at most one point. No sign, exponent, or separator.
func ParseDecimal(s string) (Decimal, error) {
	whole, part, _ := strings.Cut(s, ".")
	if whole == "" || strings.Trim(whole+part, "0123456789") != "" || strings.HasSuffix(s, ".") {
		return 0, fmt.Errorf("%q is not a decimal number like 0.031", s)
	}
	if len(part) > 12 {
		return 0, fmt.Errorf("%q has more than 12 decimals", s)
	}
	whole = strings.TrimLeft(whole, "0")
	if len(whole) > 7 {
		return 0, errTooLarge(s)
	}
	var d Decimal
	for _, c := range whole + part + strings.Repeat("0", 12-len(part)) {
		d = d*10 + Decimal(c-'0')
	}
	if d > MaxDecimal {
		return 0, errTooLarge(s)
	}
	return d, nil
}

func errTooLarge(s string) error { return fmt.Errorf("%q is larger than 1000000", s) }

// String is the decimal without zeros at its end.
func (d Decimal) String() string {
	s := fmt.Sprintf("%d.%012d", d/one, d%one)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// base × 1e18 grains are one unit of the currency. base is what makes a whole number of each Unit.
const base = 1 << 34 * 9 * 390_625

// Unit is what a price is for; its value is base per unit of quantity.
type Unit uint64

// Units of prices. The quantity's unit is in parentheses.
const (
	CoreHour Unit = base / 3_600_000_000 // also a GPU's (microseconds)
	GiBHour  Unit = base / (3600 << 30)  // (byte-seconds)
	Hour     Unit = base / 3_600_000     // (milliseconds)
	GiB      Unit = base / (1 << 30)     // (bytes)
)

// Percent is a part of a whole, in units of 1e-6: up to 4 decimals of a percent.
type Percent uint32

// Whole is 100 %.
const Whole Percent = 1_000_000

// ParsePercent reads a decimal from 0 to 100 with up to 4 decimals.
func ParsePercent(s string) (Percent, error) {
	d, err := ParseDecimal(s)
	if err != nil {
		return 0, err
	}
	if d > 100*one || d%(one/10_000) != 0 {
		return 0, errors.New("a percentage is at most 100 and has at most 4 decimals")
	}
	return Percent(d / (one / 10_000)), nil
}

// Rate is the price for each unit of quantity, of which a part is paid.
func (d Decimal) Rate(u Unit, paid Percent) Rate {
	r := newRate(uint64(d), uint64(u))
	return r.times(uint64(paid))
}

// Part is p of the rate, rounded down to a grain.
func (r Rate) Part(p Percent) Rate {
	i := r.Big()
	return RateOf(new(big.Rat).SetFrac(i.Mul(i, big.NewInt(int64(p))), big.NewInt(int64(Whole))))
}

// Split is the rates of a node's pools, so that capacities (in units of quantity for each hour) at these rates cost total an hour, in the
// proportion of weights, rounded down to a grain. A pool without capacity or weight has no rate; if none has any, all are 0.
func Split(total Decimal, paid Percent, weights [3]Rate, capacity [3]Quantity) [3]Rate {
	sum := new(big.Int)
	for i, w := range weights {
		sum.Add(sum, w.Of(capacity[i]).Big())
	}
	var rates [3]Rate
	if sum.Sign() == 0 {
		return rates
	}
	hourly := total.Rate(Hour, paid).Of(Quantity{Lo: 3_600_000}).Big()
	for i, w := range weights {
		if !capacity[i].IsZero() {
			rates[i] = RateOf(new(big.Rat).SetFrac(new(big.Int).Mul(hourly, w.Big()), sum))
		}
	}
	return rates
}

// RateOf is grains per unit, rounded down, and the largest rate there is if it is larger.
func RateOf(grains *big.Rat) Rate {
	i := new(big.Int).Quo(grains.Num(), grains.Denom())
	if i.BitLen() > 120 {
		i.Sub(i.Lsh(big.NewInt(1), 120), big.NewInt(1))
	}
	a := amountOf(i)
	return Rate{hi: a[1], lo: a[0]}
}

// Big is grains per unit of quantity.
func (r Rate) Big() *big.Int { return Amount{r.lo, r.hi}.Big() }

// Plus is r + s.
func (r Rate) Plus(s Rate) Rate {
	q := Quantity{Hi: r.hi, Lo: r.lo}.Plus(Quantity{Hi: s.hi, Lo: s.lo})
	return Rate{hi: q.Hi, lo: q.Lo}
}

func newRate(x, y uint64) Rate {
	var a Amount
	a.product(0, x, y)
	return Rate{hi: a[1], lo: a[0]}
}

func (r Rate) times(x uint64) Rate {
	a := r.Of(Quantity{Lo: x})
	return Rate{hi: a[1], lo: a[0]}
}

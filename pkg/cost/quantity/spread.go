package quantity

import (
	"math"
	"math/bits"
)

// Spread is an increase that is spread evenly over a time, and how much of that time counts: [From, To).
type Spread struct {
	From, To   int64
	begin, end int64 // what the amount is spread over
	amount     int64 // not negative
}

// NewSpread spreads an amount evenly over [from, to).
func NewSpread(from, to, amount int64) Spread { return Spread{from, to, from, to, amount} }

// Span is the time of the piece.
func (s Spread) Span() (from, to int64) { return s.From, s.To }

// Clip is the part of the piece in [from, to).
func (s Spread) Clip(from, to int64) Spread {
	s.From, s.To = max(s.From, from), min(s.To, to)
	return s
}

// Amount is how much of the increase falls into the piece: the amount until its end, rounded down, less that until its begin.
func (s Spread) Amount() int64 {
	switch {
	case s.From == s.begin && s.To == s.end:
		return s.amount
	case s.To <= s.From:
		return 0
	}
	return s.until(s.To) - s.until(s.From)
}

func (s Spread) until(t int64) int64 {
	switch t {
	case s.begin:
		return 0
	case s.end:
		return s.amount
	}
	hi, lo := bits.Mul64(uint64(s.amount), uint64(t-s.begin))
	q, _ := bits.Div64(hi, lo, uint64(s.end-s.begin)) // less than amount, since t is before end
	return int64(q)
}

// Rate is the amount per second of the whole increase, rounded down: of core-microseconds, millionths of a core.
func (s Spread) Rate() int64 {
	hi, lo := bits.Mul64(uint64(s.amount), 1000)
	length := uint64(s.end - s.begin)
	if hi >= length {
		return math.MaxInt64
	}
	q, _ := bits.Div64(hi, lo, length)
	return int64(min(q, math.MaxInt64))
}

// Bound lowers the amount to at most limit per millisecond, and tells whether it was more.
func (s Spread) Bound(limit int64) (Spread, bool) {
	hi, most := bits.Mul64(uint64(limit), uint64(s.end-s.begin))
	if hi != 0 || uint64(s.amount) <= most {
		return s, false
	}
	s.amount = int64(most)
	return s, true
}

// Counter is how a series that only grows is read.
type Counter struct {
	Bridge int64
	// Start is when it was 0, Unix milliseconds; 0 if that is unknown.
	Start int64
	// Unit is how many units of the amount one of the counter is.
	Unit float64
	// Limit is the most that it can grow per millisecond, in units of the amount: what is more is lowered to it. 0 is no limit.
	Limit int64
}

// Spreads appends the increases of a counter. A fall is a reset: the increase is then the new value. What was before the first
// sample is known if the counter's start is within the bridge, and the increase between two samples that are farther apart than the
// bridge is not. A stale marker doesn't end a counter: if the series comes back, its increase was in between.
func (c Counter) Spreads(dst []Spread, runs []Run) []Spread {
	last, at := int64(0), c.Start // the sum before and when it was so
	known := at > 0
	for _, r := range runs {
		if math.IsNaN(r.V) || r.V < 0 {
			continue
		}
		v := round(r.V, c.Unit)
		if known && at < r.T && r.T-at <= c.Bridge {
			dst = append(dst, NewSpread(at, r.T, c.increase(r.T-at, last, v)))
		}
		if r.N > 1 && r.Step <= c.Bridge {
			dst = append(dst, NewSpread(r.T, r.Last(), 0))
		}
		last, at, known = v, r.Last(), true
	}
	return dst
}

// Sum is the amount of all spreads in [from, to), and for how long there are any.
func (c Counter) Sum(runs []Run, from, to int64) (amount, known int64) {
	last, at := int64(0), c.Start
	isKnown := at > 0
	for i := range runs {
		r := &runs[i]
		if math.IsNaN(r.V) || r.V < 0 {
			continue
		}
		v := round(r.V, c.Unit)
		if length := r.T - at; isKnown && length > 0 && length <= c.Bridge && r.T > from && at < to {
			if at < from || r.T > to {
				s := NewSpread(at, r.T, c.increase(length, last, v)).Clip(from, to)
				amount, known = amount+s.Amount(), known+s.To-s.From
			} else {
				amount, known = amount+c.increase(length, last, v), known+length
			}
		}
		if r.N > 1 && r.Step <= c.Bridge {
			known += max(min(r.Last(), to)-max(r.T, from), 0)
		}
		last, at, isKnown = v, r.Last(), true
	}
	return amount, known
}

// increase from one value to another, in some milliseconds.
func (c Counter) increase(millis, before, after int64) int64 {
	grown := after - before
	if grown < 0 {
		grown = after
	}
	if hi, most := bits.Mul64(uint64(c.Limit), uint64(millis)); c.Limit > 0 && hi == 0 && uint64(grown) > most {
		return int64(most)
	}
	return grown
}

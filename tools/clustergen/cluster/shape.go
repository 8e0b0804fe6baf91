package cluster

import "math/big"

// Step is a value that holds from At until the next step.
type Step struct{ At, Value int64 }

// Shape is a right-continuous step function of time. Without a Period, At is in Unix milliseconds and the value before the first step is
// that of the first step. With one, steps are offsets from Origin + n × Period, the first at 0. A shape without steps is unset
// and 0 everywhere.
type Shape struct {
	Origin, Period int64
	Steps          []Step
}

// Constant is a shape of one value.
func Constant(v int64) Shape { return Shape{Steps: []Step{{0, v}}} }

// Set tells whether the shape has a value at all.
func (s Shape) Set() bool { return len(s.Steps) > 0 }

// At is the value at a time.
func (s Shape) At(t int64) int64 {
	if !s.Set() {
		return 0
	}
	v, _ := s.locate(t)
	return v
}

// locate returns the value at t and when it next may change.
func (s Shape) locate(t int64) (v, until int64) {
	base := int64(0)
	if s.Period > 0 {
		base = t - floorMod(t-s.Origin, s.Period)
	}
	i := 0
	for i+1 < len(s.Steps) && s.Steps[i+1].At+base <= t {
		i++
	}
	switch {
	case i+1 < len(s.Steps):
		until = s.Steps[i+1].At + base
	case s.Period > 0:
		until = base + s.Period
	default:
		until = Forever
	}
	return s.Steps[i].Value, until
}

func floorMod(a, m int64) int64 {
	if a %= m; a < 0 {
		a += m
	}
	return a
}

// pieces are the constant parts of a shape within a span, in order, unless it is unset.
func (s Shape) pieces(to []piece, in Span) []piece {
	if !s.Set() {
		return to
	}
	for t := in.From; t < in.To; {
		v, until := s.locate(t)
		until = min(until, in.To)
		to = appendPiece(to, piece{Span{t, until}, v})
		t = until
	}
	return to
}

// Sum is the integral over [from, to): millicores become core-microseconds, bytes per millisecond bytes. It must fit 63 bits.
func (s Shape) Sum(from, to int64) int64 {
	if !s.Set() || to <= from {
		return 0
	}
	sum := int64(0)
	if s.Period > 0 && to-from >= s.Period {
		n := (to - from) / s.Period
		sum = n * s.cycle()
		from += n * s.Period
	}
	for from < to {
		v, until := s.locate(from)
		until = min(until, to)
		sum += v * (until - from)
		from = until
	}
	return sum
}

func (s Shape) cycle() int64 {
	sum := int64(0)
	for i, st := range s.Steps {
		end := s.Period
		if i+1 < len(s.Steps) {
			end = s.Steps[i+1].At
		}
		sum += st.Value * (end - st.At)
	}
	return sum
}

// piece is a value that is constant for a span.
type piece struct {
	Span
	v int64
}

// appendPiece joins neighbours of equal value.
func appendPiece(to []piece, p piece) []piece {
	if p.empty() {
		return to
	}
	if n := len(to); n > 0 && to[n-1].To == p.From && to[n-1].v == p.v {
		to[n-1].To = p.To
		return to
	}
	return append(to, p)
}

// within is the part of pieces that is in a span.
func within(ps []piece, in Span) []piece {
	var out []piece
	for _, p := range ps {
		if c := p.clip(in); !c.empty() {
			out = append(out, piece{c, p.v})
		}
	}
	return out
}

// integral of pieces; bytes over an hour exceed 63 bits.
func integral(ps []piece) *big.Int {
	sum, x := new(big.Int), new(big.Int)
	for _, p := range ps {
		sum.Add(sum, x.Mul(big.NewInt(p.v), big.NewInt(p.length())))
	}
	return sum
}

func lengthOf(ps []piece) int64 {
	n := int64(0)
	for _, p := range ps {
		n += p.length()
	}
	return n
}

// valueAt is the value of the piece that t is in; ok is false between pieces.
func valueAt(ps []piece, t int64) (v int64, ok bool) {
	for _, p := range ps {
		if p.Contains(t) {
			return p.v, true
		}
	}
	return 0, false
}

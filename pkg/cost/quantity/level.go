package quantity

import "math"

// Level is a value that holds in [From, To).
type Level struct{ From, To, Value int64 }

// Span is the time of the piece.
func (l Level) Span() (from, to int64) { return l.From, l.To }

// Clip is the part of the piece in [from, to).
func (l Level) Clip(from, to int64) Level {
	return Level{max(l.From, from), min(l.To, to), l.Value}
}

// Levels appends the steps of a gauge: each value × unit, rounded, holds until the next sample, the stale marker, or the
// bridge's end. A negative value counts as 0.
func Levels(dst []Level, runs []Run, bridge int64, unit float64) []Level {
	begin, last, v := len(dst), math.NaN(), int64(0)
	for i, r := range runs {
		if math.IsNaN(r.V) {
			continue
		}
		if r.V != last {
			last, v = r.V, max(round(r.V, unit), 0)
		}
		for ; r.N > 1 && r.Step > bridge; r.T, r.N = r.T+r.Step, r.N-1 {
			dst = append(dst, Level{r.T, r.T + bridge, v})
		}
		to := r.Last() + bridge
		if i+1 < len(runs) {
			to = min(to, runs[i+1].T)
		}
		if n := len(dst); n > begin && dst[n-1].To == r.T && dst[n-1].Value == v {
			dst[n-1].To = to
		} else if to > r.T {
			dst = append(dst, Level{r.T, to, v})
		}
	}
	return dst
}

// At is the value at t and whether it is known.
func At(levels []Level, t int64) (int64, bool) {
	for _, l := range levels {
		if l.From <= t && t < l.To {
			return l.Value, true
		}
	}
	return 0, false
}

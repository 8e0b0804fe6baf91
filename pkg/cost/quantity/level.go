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
func Levels(dst []Level, samples []Sample, bridge int64, unit float64) []Level {
	begin, last, v := len(dst), math.NaN(), int64(0)
	for i, s := range samples {
		if math.IsNaN(s.V) {
			continue
		}
		to := s.T + bridge
		if i+1 < len(samples) {
			to = min(to, samples[i+1].T)
		}
		if s.V != last {
			last, v = s.V, max(round(s.V, unit), 0)
		}
		if n := len(dst); n > begin && dst[n-1].To == s.T && dst[n-1].Value == v {
			dst[n-1].To = to
		} else if to > s.T {
			dst = append(dst, Level{s.T, to, v})
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

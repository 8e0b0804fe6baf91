package quantity

import (
	"cmp"
	"math"
	"slices"
)

// Run is N samples of one value, the first at T, Unix milliseconds, each Step after the one before. V may be a stale marker; other NaNs say
// nothing. What a series says is a list of runs in the order of time: of most facts a few, of a busy counter one for each sample.
type Run struct {
	T, Step, N int64
	V          float64
}

// Last is the time of the last sample.
func (r Run) Last() int64 { return r.T + (r.N-1)*r.Step }

// Append appends a run that is after all that there are. Samples that go on as the last run does become a part of it, so that it makes
// no difference whether they come alone or many at once.
func Append(runs []Run, r Run) []Run {
	i := len(runs) - 1
	if i < 0 || math.Float64bits(runs[i].V) != math.Float64bits(r.V) {
		return append(runs, r)
	}
	last := &runs[i]
	if last.N == 1 {
		last.Step = r.T - last.T
	}
	switch {
	case last.Last()+last.Step != r.T:
		return append(runs, r)
	case r.N == 1 || r.Step == last.Step:
		last.N += r.N
		return runs
	}
	last.N++
	r.T, r.N = r.T+r.Step, r.N-1
	return append(runs, r)
}

// Count is how many samples there are.
func Count(runs []Run) (n int64) {
	for _, r := range runs {
		n += r.N
	}
	return n
}

// MinBridge is the least time for which a value holds without another sample.
const MinBridge = int64(5 * 60_000)

// Interval is a length of time that comes N times.
type Interval struct{ Length, N int64 }

// Bridge is how long a value of the series holds without another sample: max(5 min, 4 × median interval). Of an even number of intervals
// the lower one in the middle counts. Stale markers count as samples. It returns scratch for the next call.
func Bridge(runs []Run, scratch []Interval) (int64, []Interval) {
	all, short := int64(-1), int64(0)
	for i, r := range runs {
		all += r.N
		if r.N > 1 && r.Step <= MinBridge/4 {
			short += r.N - 1
		}
		if i > 0 && r.T-runs[i-1].Last() <= MinBridge/4 {
			short++
		}
	}
	if 2*short >= all {
		return MinBridge, scratch
	}
	scratch = scratch[:0]
	for i, r := range runs {
		if r.N > 1 {
			scratch = append(scratch, Interval{r.Step, r.N - 1})
		}
		if i > 0 {
			scratch = append(scratch, Interval{r.T - runs[i-1].Last(), 1})
		}
	}
	slices.SortFunc(scratch, func(a, b Interval) int { return cmp.Compare(a.Length, b.Length) })
	at, middle := 0, (all-1)/2
	for ; middle >= scratch[at].N; at++ {
		middle -= scratch[at].N
	}
	return max(MinBridge, 4*scratch[at].Length), scratch
}

// round is v × unit as an integer within what integrals bear: at most 2^62. Halves are rounded away from 0.
func round(v, unit float64) int64 {
	x := v * unit
	if math.Abs(x) < 1<<52 {
		whole := int64(x)
		switch rest := x - float64(whole); {
		case rest >= 0.5:
			whole++
		case rest <= -0.5:
			whole--
		}
		return whole
	}
	return int64(math.Min(math.Max(x, -(1<<62)), 1<<62))
}

package quantity

import (
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/value"
)

// Sample is what a series says at T, Unix milliseconds. V may be a stale marker; other NaNs say nothing.
type Sample struct {
	T int64
	V float64
}

// Stale tells whether the sample is the marker of a series' end.
func (s Sample) Stale() bool { return value.IsStaleNaN(s.V) }

// MinBridge is the least time for which a value holds without another sample.
const MinBridge = int64(5 * 60_000)

// Bridge is how long a value of the series holds without another sample: max(5 min, 4 × median interval). Of an even number of intervals
// the lower one in the middle counts. Samples are in the order of time; stale markers count as samples. It returns scratch for the next call.
func Bridge(samples []Sample, scratch []int64) (int64, []int64) {
	intervals, short := len(samples)-1, 0
	for i := 1; i < len(samples); i++ {
		if samples[i].T-samples[i-1].T <= MinBridge/4 {
			short++
		}
	}
	if 2*short >= intervals {
		return MinBridge, scratch
	}
	scratch = scratch[:0]
	for i := 1; i < len(samples); i++ {
		scratch = append(scratch, samples[i].T-samples[i-1].T)
	}
	slices.Sort(scratch)
	return max(MinBridge, 4*scratch[(intervals-1)/2]), scratch
}

// round is v × unit as an integer within what integrals bear: at most 2^62.
func round(v, unit float64) int64 {
	return int64(math.Min(math.Max(math.Round(v*unit), -(1<<62)), 1<<62))
}

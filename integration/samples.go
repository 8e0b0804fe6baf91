package integration

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
)

// Sample is one sample of a series in a form that compares bit by bit: Value holds the bits of a float, or all of a
// histogram.
type Sample struct {
	Time  int64 // milliseconds since 1970
	Value string
}

// Samples are what a read returned: for each series, under its labels in order, its samples in the order in which
// they came.
type Samples map[string][]Sample

// Count is the number of samples.
func (s Samples) Count() int {
	count := 0
	for _, samples := range s {
		count += len(samples)
	}
	return count
}

// Between returns the samples of from ≤ time ≤ to, and the series that have any.
func (s Samples) Between(from, to time.Time) Samples {
	within := Samples{}
	for series, samples := range s {
		for _, sample := range samples {
			if sample.Time >= from.UnixMilli() && sample.Time <= to.UnixMilli() {
				within[series] = append(within[series], sample)
			}
		}
	}
	return within
}

// maxDifferences is how many differences a message lists.
const maxDifferences = 8

// Diff says what got lacks of want, what it has besides, and where the two differ. It is empty when they are equal:
// the same series, the same samples in the same order, each once.
func Diff(want, got Samples) string {
	var lines []string
	for _, series := range slices.Sorted(maps.Keys(want)) {
		if line := diffSeries(want[series], got[series]); line != "" {
			lines = append(lines, series+": "+line)
		}
	}
	for _, series := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[series]; !ok {
			lines = append(lines, fmt.Sprintf("%s: not wanted, has %d samples", series, len(got[series])))
		}
	}
	if len(lines) > maxDifferences {
		lines = append(lines[:maxDifferences], fmt.Sprintf("and %d series more", len(lines)-maxDifferences))
	}
	return strings.Join(lines, "\n")
}

func diffSeries(want, got []Sample) string {
	if len(got) == 0 {
		return fmt.Sprintf("missing, with %d samples", len(want))
	}
	for i := range min(len(want), len(got)) {
		if want[i] != got[i] {
			return fmt.Sprintf("sample %d of %d is %v at %d, want %v at %d", i, len(got), got[i].Value, got[i].Time,
				want[i].Value, want[i].Time)
		}
	}
	if len(want) != len(got) {
		return fmt.Sprintf("%d samples, want %d", len(got), len(want))
	}
	return ""
}

func floatValue(v float64) string { return fmt.Sprintf("%016x", math.Float64bits(v)) }

// stale is a marker of staleness of either kind. A Prometheus sends a float for a series of histograms, and keeps it as
// a histogram itself; to a query they are the same.
var stale = floatValue(math.Float64frombits(value.StaleNaN))

// histogramValue holds everything but the hint about resets, which a store may work out for itself, and empty
// buckets, which it may add and remove.
func histogramValue(h *histogram.Histogram) string {
	if value.IsStaleNaN(h.Sum) {
		return stale
	}
	h = h.Copy().Compact(0)
	return fmt.Sprintf("int schema=%d zero=%016x/%d count=%d sum=%s +%v%v -%v%v custom=%x", h.Schema,
		math.Float64bits(h.ZeroThreshold), h.ZeroCount, h.Count, floatValue(h.Sum),
		h.PositiveSpans, h.PositiveBuckets, h.NegativeSpans, h.NegativeBuckets, h.CustomValues)
}

func floatHistogramValue(h *histogram.FloatHistogram) string {
	if value.IsStaleNaN(h.Sum) {
		return stale
	}
	h = h.Copy().Compact(0)
	return fmt.Sprintf("float schema=%d zero=%016x/%s count=%s sum=%s +%v%x -%v%x custom=%x", h.Schema,
		math.Float64bits(h.ZeroThreshold), floatValue(h.ZeroCount), floatValue(h.Count), floatValue(h.Sum),
		h.PositiveSpans, h.PositiveBuckets, h.NegativeSpans, h.NegativeBuckets, h.CustomValues)
}

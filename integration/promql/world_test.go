package promql_test

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
)

// The random world lasts from worldBegin to worldEnd, over several blocks' ranges.
const (
	worldBegin = int64(3600_000)
	worldEnd   = worldBegin + 5*3600_000
)

// worldLabels are the series of a random world: the metric's name says what its samples are.
func worldLabels() []labels.Labels {
	var all []labels.Labels
	for _, name := range []string{"requests_total", "temperature", "native", "native_float", "native_gauge", "custom", "mixed"} {
		for n := range 4 {
			all = append(all, labels.FromStrings("__name__", name, "job", []string{"api", "db"}[n/2], "instance", fmt.Sprint(n)))
		}
	}
	for _, le := range []string{"0.1", "1", "10", "+Inf"} {
		all = append(all, labels.FromStrings("__name__", "classic_bucket", "job", "api", "instance", "0", "le", le))
	}
	return append(all, labels.FromStrings("__name__", "target_info", "job", "api", "instance", "0", "version", "1.2"))
}

// randomSeries is a series that is scraped at its own pace, with gaps, resets and stale markers.
func randomSeries(rng *rand.Rand, ls labels.Labels) []sample {
	var all []sample
	pace := []int64{10_000, 15_000, 30_000, 60_000}[rng.IntN(4)]
	count := int64(0)
	for t := worldBegin + rng.Int64N(pace); t < worldEnd; t += pace + rng.Int64N(100) - 50 {
		switch rng.IntN(300) {
		case 0:
			count = 0
		case 1:
			all = append(all, stale(ls, t, kindOf(rng, ls, count)))
			t += rng.Int64N(1800_000)
			continue
		case 2:
			t += rng.Int64N(600_000)
		}
		count += rng.Int64N(5)
		s := kindOf(rng, ls, count)
		s.labels, s.t = ls, t
		all = append(all, s)
	}
	return all
}

// kindOf is a sample of the kind that a metric's name promises.
func kindOf(rng *rand.Rand, ls labels.Labels, count int64) (s sample) {
	switch ls.Get(labels.MetricName) {
	case "temperature":
		if s.v = rng.NormFloat64() * 20; rng.IntN(200) == 0 {
			s.v = []float64{math.NaN(), math.Inf(1), math.Inf(-1), 0}[rng.IntN(4)] // senders' protobuf makes -0 a 0
		}
	case "native":
		s.h = tsdbutil.GenerateTestHistogram(count)
	case "native_float":
		s.fh = tsdbutil.GenerateTestFloatHistogram(count)
	case "native_gauge":
		s.h = tsdbutil.GenerateTestGaugeHistogram(rng.Int64N(10))
	case "custom":
		s.h = tsdbutil.GenerateTestCustomBucketsHistogram(count)
	case "mixed":
		switch (count / 100) % 3 {
		case 0:
			s.v = float64(count)
		case 1:
			s.h = tsdbutil.GenerateTestHistogram(count)
		default:
			s.fh = tsdbutil.GenerateTestFloatHistogram(count)
		}
	case "target_info":
		s.v = 1
	default:
		s.v = float64(count)
	}
	return s
}

// stale marks the end of a series as its kind is marked.
func stale(ls labels.Labels, t int64, kind sample) sample {
	s := sample{labels: ls, t: t}
	v := math.Float64frombits(value.StaleNaN)
	switch {
	case kind.h != nil:
		s.h = &histogram.Histogram{Sum: v}
	case kind.fh != nil:
		s.fh = &histogram.FloatHistogram{Sum: v}
	default:
		s.v = v
	}
	return s
}

// samplesOf is a series' samples as text, every bit of floats. Empty buckets don't count, nor do hints at counter
// resets, which depend on where chunks begin, nor the kind of a stale marker: Prometheus makes it that of the sample
// before it.
func samplesOf(s storage.Series) []string {
	var all []string
	it := s.Iterator(nil)
	for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
		switch kind {
		case chunkenc.ValFloat:
			if t, v := it.At(); value.IsStaleNaN(v) {
				all = append(all, fmt.Sprintf("%d:stale", t))
			} else {
				all = append(all, fmt.Sprintf("%d:%x", t, math.Float64bits(v)))
			}
		default:
			t, h := it.AtFloatHistogram(nil)
			if value.IsStaleNaN(h.Sum) {
				all = append(all, fmt.Sprintf("%d:stale", t))
				continue
			}
			h.Compact(0)
			all = append(all, fmt.Sprintf("%d:%v %d %v %v %v", t, kind, h.Schema, h.CustomValues, h.CounterResetHint == histogram.GaugeType, h))
		}
	}
	if it.Err() != nil {
		all = append(all, it.Err().Error())
	}
	return all
}

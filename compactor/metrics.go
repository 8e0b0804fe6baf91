package compactor

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	jobs, cycles                                       *prometheus.CounterVec
	duration                                           prometheus.Histogram
	blocksIn, blocksOut, bytesIn, bytesOut             prometheus.Counter
	samples, duplicates, quarantined, expired, deleted prometheus.Counter
	lastDone                                           prometheus.Gauge
	costHours, costFailures, costBytes                 prometheus.Counter
	costDuration                                       prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer, c *Compactor) *metrics {
	f := promauto.With(reg)
	count := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: "varve_compactor_" + name, Help: help})
	}
	gauge := func(name, help string, of func() float64) {
		f.NewGaugeFunc(prometheus.GaugeOpts{Name: "varve_compactor_" + name, Help: help}, of)
	}
	gauge("pending_jobs", "Merges that could be done now, those that failed lately included.",
		func() float64 { return c.total(func(s *state) int { return s.pending }) })
	gauge("lag_seconds", "How long the merge that waits longest could have been done.", c.lag)
	gauge("quarantined_blocks", "Damaged blocks that are not compacted.",
		func() float64 { return c.total(func(s *state) int { return s.quarantined }) })
	gauge("vanished_blocks", "Blocks of catalogs that the last comparison didn't find in the bucket.",
		func() float64 { return c.total(func(s *state) int { return s.vanished }) })
	gauge("skipped_blocks", "Blocks in the bucket that the last comparison couldn't use.",
		func() float64 { return c.total(func(s *state) int { return s.skipped }) })
	gauge("cost_uncounted_hours", "Hours of costs that could be counted and were not yet.",
		func() float64 { return c.total(func(s *state) int { return s.costUncounted }) })
	gauge("cost_dirty_hours", "Hours of costs that are to be counted again, as samples came late or settings changed.",
		func() float64 { return c.total(func(s *state) int { return s.costDirty }) })
	gauge("cost_lag_seconds", "For how long some hour of the same tenant has been waiting to be counted; the longest of all tenants.", c.costLag)
	m := &metrics{
		jobs:         f.NewCounterVec(prometheus.CounterOpts{Name: "varve_compactor_jobs_total", Help: "Merges by what became of them."}, []string{"outcome"}),
		cycles:       f.NewCounterVec(prometheus.CounterOpts{Name: "varve_compactor_cycles_total", Help: "Looks at all tenants."}, []string{"outcome"}),
		blocksIn:     count("merged_blocks_total", "Blocks that were replaced by a merge."),
		blocksOut:    count("written_blocks_total", "Blocks that merges made."),
		bytesIn:      count("read_bytes_total", "Bytes of blocks copied from the bucket."),
		bytesOut:     count("written_bytes_total", "Bytes of blocks that merges made."),
		samples:      count("samples_total", "Samples that merges read."),
		duplicates:   count("duplicate_samples_total", "Samples that merges left out because another source has the same time."),
		quarantined:  count("quarantines_total", "Blocks found damaged."),
		expired:      count("expired_blocks_total", "Blocks removed for their retention."),
		deleted:      count("deleted_blocks_total", "Blocks whose data was deleted."),
		costHours:    count("cost_hours_total", "Hours of costs that were counted."),
		costFailures: count("cost_failures_total", "Times that a tenant's costs could not all be counted."),
		costBytes:    count("cost_written_bytes_total", "Bytes of cost cubes written."),
		costDuration: f.NewHistogram(prometheus.HistogramOpts{
			Name: "varve_compactor_cost_hour_duration_seconds", Help: "Time of counting one hour of one tenant's costs.",
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
			Buckets: prometheus.ExponentialBuckets(0.1, 4, 6),
		}),
		lastDone: f.NewGauge(prometheus.GaugeOpts{
			Name: "varve_compactor_last_done_timestamp_seconds", Help: "When all tenants were last looked after without an error.",
		}),
		duration: f.NewHistogram(prometheus.HistogramOpts{
			Name: "varve_compactor_job_duration_seconds", Help: "Time of one merge with its transfers.",
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
			Buckets: prometheus.ExponentialBuckets(0.1, 4, 9),
		}),
	}
	for _, o := range []outcome{merged, overtaken, twice, quarantined, noSpace, failed} {
		m.jobs.WithLabelValues(string(o))
	}
	for _, o := range []string{"done", "failed"} {
		m.cycles.WithLabelValues(o)
	}
	return m
}

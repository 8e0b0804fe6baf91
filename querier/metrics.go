package querier

import (
	"errors"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// metrics is everything that the querier counts about itself.
type metrics struct {
	requests *prometheus.HistogramVec // by route and status code
	refused  *prometheus.CounterVec   // by limit
	series   prometheus.Counter
	chunks   prometheus.Counter
	bytes    prometheus.Counter
	samples  prometheus.Counter
	blocks   prometheus.Counter
	gets     prometheus.Counter
	getBytes prometheus.Counter
	waiting  prometheus.Gauge
	running  prometheus.Gauge
	wait     prometheus.Histogram

	costsRunning prometheus.Gauge
	costHours    *prometheus.CounterVec // by where they came from
}

func newMetrics(reg prometheus.Registerer, gate int) *metrics {
	f := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: "varve_querier_" + name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return f.NewGauge(prometheus.GaugeOpts{Name: "varve_querier_" + name, Help: help})
	}
	gauge("gate_capacity_requests", "Reads that may run at once.").Set(float64(gate))
	return &metrics{
		requests: f.NewHistogramVec(native("request_duration_seconds", "Time that reads took, the wait for their turn included."), []string{"route", "code"}),
		refused: f.NewCounterVec(prometheus.CounterOpts{
			Name: "varve_querier_refused_requests_total", Help: "Reads that a limit ended, by the limit's name.",
		}, []string{"limit"}),
		series:       counter("selected_series_total", "Series that reads took, after merging."),
		chunks:       counter("selected_chunks_total", "Chunks that reads took, after merging."),
		bytes:        counter("selected_chunk_bytes_total", "Bytes of the chunks that reads took."),
		samples:      counter("selected_samples_total", "Samples that reads decoded."),
		blocks:       counter("selected_blocks_total", "Blocks that reads looked into."),
		gets:         counter("bucket_gets_total", "Requests to the bucket that reads caused."),
		getBytes:     counter("bucket_get_bytes_total", "Bytes from the bucket that reads caused."),
		waiting:      gauge("gate_waiting_requests", "Reads that wait for their turn."),
		running:      gauge("gate_running_requests", "Reads that run."),
		costsRunning: gauge("costs_running_answers", "Answers about costs that are being made."),
		costHours: f.NewCounterVec(prometheus.CounterOpts{
			Name: "varve_querier_cost_hours_total", Help: "Hours that answers about costs were made of, by where these came from: rollups and cubes of the compactor, or samples.",
		}, []string{"source"}),
		wait: f.NewHistogram(native("gate_wait_seconds", "Time that reads waited for their turn.")),
	}
}

func native(name, help string) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Name: "varve_querier_" + name, Help: help,
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
	}
}

// observe counts one request that was answered.
func (m *metrics) observe(route string, code int, took time.Duration, b *budget, s *series.Stats) {
	m.requests.WithLabelValues(route, strconv.Itoa(code)).Observe(took.Seconds())
	m.series.Add(float64(b.series.Load()))
	m.chunks.Add(float64(b.chunks.Load()))
	m.bytes.Add(float64(b.bytes.Load()))
	m.samples.Add(float64(b.samples.Load()))
	loaded := s.Load()
	m.blocks.Add(float64(loaded.Blocks))
	m.gets.Add(float64(loaded.Gets))
	m.getBytes.Add(float64(loaded.GetBytes))
	if limit, ok := errors.AsType[*tenant.LimitError](b.firstFailure()); ok {
		m.refused.WithLabelValues(string(limit.Limit)).Inc()
	}
}

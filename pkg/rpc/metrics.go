package rpc

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/varve-io/varve/pkg/series"
)

type serverMetrics struct {
	links          prometheus.Gauge
	bytes, refused prometheus.Counter
	reads          *prometheus.HistogramVec
}

func newServerMetrics(reg prometheus.Registerer) *serverMetrics {
	f := promauto.With(reg)
	return &serverMetrics{
		links:   f.NewGauge(prometheus.GaugeOpts{Name: "varve_rpc_server_links", Help: "Links from distributors that are open."}),
		bytes:   f.NewCounter(prometheus.CounterOpts{Name: "varve_rpc_server_pushed_bytes_total", Help: "Bytes of batches received."}),
		refused: f.NewCounter(prometheus.CounterOpts{Name: "varve_rpc_server_refused_calls_total", Help: "Calls that were meant for another instance or cluster."}),
		reads: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "varve_rpc_server_read_duration_seconds", Help: "Time to answer a read, sending included.",
			NativeHistogramBucketFactor: 1.1,
		}, []string{"verb", "code"}),
	}
}

// read counts a read that has ended.
func (m *serverMetrics) read(v verb, began time.Time, err error) {
	code := "ok"
	if err != nil {
		code = codeOf(err).String()
	}
	m.reads.WithLabelValues(v.String(), code).Observe(time.Since(began).Seconds())
}

// String is the verb as metrics show it.
func (v verb) String() string {
	switch v {
	case selectSeries:
		return "select"
	case labelNames:
		return "label_names"
	case labelValues:
		return "label_values"
	case exemplars:
		return "exemplars"
	case families:
		return "metadata"
	}
	return "standing"
}

type poolMetrics struct {
	links, queued prometheus.Gauge
	frozen        prometheus.Counter
	broken        *prometheus.CounterVec
}

func newPoolMetrics(reg prometheus.Registerer) *poolMetrics {
	f := promauto.With(reg)
	m := &poolMetrics{
		links:  f.NewGauge(prometheus.GaugeOpts{Name: "varve_rpc_client_links", Help: "Links to owners that are open."}),
		queued: f.NewGauge(prometheus.GaugeOpts{Name: "varve_rpc_client_queued_bytes", Help: "Bytes of batches that owners have not acked yet, all links."}),
		frozen: f.NewCounter(prometheus.CounterOpts{Name: "varve_rpc_client_frozen_peers_total", Help: "Connections closed because the owner didn't answer."}),
		broken: f.NewCounterVec(prometheus.CounterOpts{Name: "varve_rpc_client_broken_links_total", Help: "Links that broke, by the reason."}, []string{"reason"}),
	}
	f.NewGauge(prometheus.GaugeOpts{Name: "varve_rpc_client_link_capacity_bytes", Help: "Bytes of batches at which one link overflows."}).Set(maxUnackedBytes)
	return m
}

// broke counts a link that broke.
func (m *poolMetrics) broke(cause error) {
	reason := "connection"
	switch {
	case errors.Is(cause, errClosed):
		reason = "closed"
	case errors.Is(cause, errOverflow):
		reason = "overflow"
	case errors.Is(cause, series.ErrUnknownNumber):
		reason = "unknown_number"
	case errors.Is(cause, series.ErrCorrupt):
		reason = "corrupt"
	case errors.Is(cause, errProtocol):
		reason = "protocol"
	}
	m.broken.WithLabelValues(reason).Inc()
}

package bucket

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/thanos-io/objstore"
)

type metrics struct {
	operations, failures, retries *prometheus.CounterVec
	read, written                 prometheus.Counter
	duration                      *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	vec := func(name, help string) *prometheus.CounterVec {
		v := f.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"operation"})
		for _, op := range []string{
			objstore.OpIter, objstore.OpGet, objstore.OpGetRange, objstore.OpExists,
			objstore.OpUpload, objstore.OpDelete, objstore.OpAttributes,
		} {
			v.WithLabelValues(op)
		}
		return v
	}
	return &metrics{
		operations: vec("varve_bucket_operations_total", "Operations on the bucket, retries not counted."),
		failures:   vec("varve_bucket_operation_failures_total", "Operations that failed after their retries; an object that is not there is no failure."),
		retries:    vec("varve_bucket_operation_retries_total", "Attempts after the first one of an operation."),
		read:       f.NewCounter(prometheus.CounterOpts{Name: "varve_bucket_read_bytes_total", Help: "Bytes of objects received."}),
		written:    f.NewCounter(prometheus.CounterOpts{Name: "varve_bucket_written_bytes_total", Help: "Bytes of objects uploaded."}),
		duration: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:                            "varve_bucket_operation_duration_seconds",
			Help:                            "Time of an operation with its retries; of a get until the body is closed.",
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: time.Hour,
		}, []string{"operation"}),
	}
}

// done records an operation that began at start.
func (m *metrics) done(op string, start time.Time, failed bool) {
	m.operations.WithLabelValues(op).Inc()
	if failed {
		m.failures.WithLabelValues(op).Inc()
	}
	m.duration.WithLabelValues(op).Observe(time.Since(start).Seconds())
}

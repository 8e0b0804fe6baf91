package ingester

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	reg                                                              prometheus.Registerer
	samples, refused, discarded, lostRecords, logBytes               prometheus.Counter
	fenced, rotations, cutBlocks, cutFailures, shipped, shipFailures prometheus.Counter
	damagedBlocks, snapshots, snapshotFailures                       prometheus.Counter
	replayed                                                         prometheus.Gauge
	syncs                                                            prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	count := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: "varve_ingester_" + name, Help: help})
	}
	return &metrics{
		reg:              reg,
		samples:          count("samples_total", "Samples applied to heads, replayed ones included."),
		refused:          count("refused_batches_total", "Batches that were not logged."),
		discarded:        count("discarded_samples_total", "Samples that were logged and that a head refused. Anything but 0 is a bug."),
		lostRecords:      count("lost_records_total", "Acked records that a damaged log has lost."),
		snapshots:        count("snapshots_total", "Snapshots of heads written."),
		snapshotFailures: count("snapshot_failures_total", "Failed attempts to write a snapshot. A restart then replays more of the log."),
		damagedBlocks:    count("damaged_blocks_total", "Local blocks that could not be read at the start and were set aside."),
		logBytes:         count("log_bytes_total", "Bytes written to the log."),
		fenced:           count("log_fenced_total", "How often a failed write or sync ended a segment of the log."),
		rotations:        count("rotations_total", "Epochs that were ended."),
		cutBlocks:        count("cut_blocks_total", "Blocks cut from heads."),
		cutFailures:      count("cut_failures_total", "Failed attempts to cut an epoch."),
		shipped:          count("shipped_blocks_total", "Blocks uploaded and entered in the catalog."),
		shipFailures:     count("ship_failures_total", "Failed attempts to ship."),
		replayed:         f.NewGauge(prometheus.GaugeOpts{Name: "varve_ingester_replayed_records", Help: "Records of the log that the start replayed; a snapshot has the others."}),
		syncs: f.NewHistogram(prometheus.HistogramOpts{
			Name: "varve_ingester_log_sync_seconds", Help: "Time of one sync of the log.",
			NativeHistogramBucketFactor: 1.1, Buckets: prometheus.ExponentialBuckets(0.0001, 4, 8),
		}),
	}
}

// watch adds the gauges that are read off the ingester itself.
func (m *metrics) watch(i *Ingester) {
	f := promauto.With(m.reg)
	gauge := func(name, help string, of func() float64) {
		f.NewGaugeFunc(prometheus.GaugeOpts{Name: "varve_ingester_" + name, Help: help}, of)
	}
	gauge("head_series", "Series in the heads of the current epoch.", func() float64 {
		i.mu.RLock()
		e := i.current
		i.mu.RUnlock()
		n := 0
		if e != nil {
			for _, h := range e.all() {
				n += h.NumSeries()
			}
		}
		return float64(n)
	})
	gauge("backlog_batches", "Batches that are logged and wait for the replay's end.", func() float64 { return float64(i.backlog.len()) })
	gauge("old_epochs", "Epochs that wait to be cut.", func() float64 {
		i.mu.RLock()
		defer i.mu.RUnlock()
		return float64(len(i.old))
	})
	gauge("local_blocks", "Blocks on local disk.", func() float64 { return float64(len(i.blocks.all())) })
	gauge("unshipped_blocks", "Blocks that are not yet known to be in the catalog.", func() float64 {
		n := 0
		for _, b := range i.blocks.all() {
			if i.blocks.safeSince(b).IsZero() {
				n++
			}
		}
		return float64(n)
	})
	gauge("log_bytes", "Size of the log on disk.", func() float64 { return float64(i.log.Size()) })
	gauge("log_pending_bytes", "Bytes that wait for a sync.", func() float64 { return float64(i.log.Pending()) })
	gauge("registered", "1 if the bucket knows this owner, so that a lost disk would be noticed.", func() float64 {
		if i.witness.now().Registered {
			return 1
		}
		return 0
	})
	gauge("complete", "1 if this owner bears witness to all that it acked.", func() float64 {
		if i.witness.since() == 0 {
			return 1
		}
		return 0
	})
}

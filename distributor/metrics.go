package distributor

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	samples, histograms, exemplars, exemplarsDropped prometheus.Counter
	followed, found, fresh, elections                prometheus.Counter
	refused, failed, dropped                         *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	count := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	lookups := f.NewCounterVec(prometheus.CounterOpts{Name: "varve_distributor_series_lookups_total", Help: "Series of requests, by how they were found in the table: followed (it came next the last time, too), found by its key, or new."}, []string{"how"})
	return &metrics{
		dropped:          f.NewCounterVec(prometheus.CounterOpts{Name: "varve_distributor_dropped_samples_total", Help: "Samples that were taken and not stored, as their tenants asked for: write_relabel (a rule drops the series), ha_dedupe (another replica is stored)."}, []string{"reason"}),
		followed:         lookups.WithLabelValues("followed"),
		found:            lookups.WithLabelValues("found"),
		fresh:            lookups.WithLabelValues("new"),
		samples:          count("varve_distributor_samples_total", "Float samples stored on a quorum of owners."),
		histograms:       count("varve_distributor_histograms_total", "Native histograms stored on a quorum of owners."),
		exemplars:        count("varve_distributor_exemplars_total", "Exemplars stored on a quorum of owners."),
		exemplarsDropped: count("varve_distributor_exemplars_dropped_total", "Exemplars that were over a limit or invalid."),
		elections:        count("varve_distributor_ha_elections_total", "Replicas of HA pairs that this process elected."),
		refused:          f.NewCounterVec(prometheus.CounterOpts{Name: "varve_distributor_refused_samples_total", Help: "Samples refused, by the limit or rule that refused them."}, []string{"reason"}),
		failed:           f.NewCounterVec(prometheus.CounterOpts{Name: "varve_distributor_failed_requests_total", Help: "Write requests that must be sent again, by status code."}, []string{"code"}),
	}
}

// watch adds the gauges that are read off the distributor itself.
func (m *metrics) watch(reg prometheus.Registerer, d *Distributor) {
	f := promauto.With(reg)
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: "varve_distributor_active_series", Help: "Series in the table, all tenants."},
		func() float64 { return float64(d.activeSeries()) })
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: "varve_distributor_active_tenants", Help: "Tenants in the table."},
		func() float64 { return float64(len(d.senders())) })
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: "varve_distributor_table_bytes", Help: "Memory of the table that Go's own metrics don't count."},
		func() float64 { return float64(d.tableBytes()) })
}

// lookedUp counts how a request's series were found.
func (m *metrics) lookedUp(n lookups) {
	m.followed.Add(float64(n.followed))
	m.found.Add(float64(n.found))
	m.fresh.Add(float64(n.fresh))
}

// took counts a request that was taken.
func (m *metrics) took(w Written, r *refusals) {
	m.samples.Add(float64(w.Floats))
	m.histograms.Add(float64(w.Histograms))
	m.exemplars.Add(float64(w.Exemplars))
	m.dropped.WithLabelValues(string(relabelDropped)).Add(float64(w.ByRule.samples()))
	m.dropped.WithLabelValues(string(haDropped)).Add(float64(w.OfReplica.samples()))
	for _, why := range r.order {
		m.refused.WithLabelValues(string(why)).Add(float64(r.by[why].samples))
	}
}

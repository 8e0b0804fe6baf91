package remote

import (
	"math"
	"strconv"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/prompb"
)

// FromGathered is a write request of what a client library gathered at a time (Unix milliseconds), as if it had been
// scraped: summaries and histograms become the series that the text format spells out. The extra labels go to every
// series.
func FromGathered(families []*dto.MetricFamily, t int64, extra ...prompb.Label) *prompb.WriteRequest {
	g := gathered{t: t, extra: extra}
	for _, f := range families {
		g.metadata(f)
		for _, m := range f.GetMetric() {
			g.metric(f.GetName(), m)
		}
	}
	return &g.request
}

type gathered struct {
	t       int64
	extra   []prompb.Label
	request prompb.WriteRequest
}

func (g *gathered) metadata(f *dto.MetricFamily) {
	types := map[dto.MetricType]prompb.MetricMetadata_MetricType{
		dto.MetricType_COUNTER: prompb.MetricMetadata_COUNTER, dto.MetricType_GAUGE: prompb.MetricMetadata_GAUGE,
		dto.MetricType_SUMMARY: prompb.MetricMetadata_SUMMARY, dto.MetricType_HISTOGRAM: prompb.MetricMetadata_HISTOGRAM,
		dto.MetricType_GAUGE_HISTOGRAM: prompb.MetricMetadata_GAUGEHISTOGRAM,
	}
	g.request.Metadata = append(g.request.Metadata, prompb.MetricMetadata{
		Type: types[f.GetType()], MetricFamilyName: f.GetName(), Help: f.GetHelp(), Unit: f.GetUnit(),
	})
}

func (g *gathered) metric(name string, m *dto.Metric) {
	switch {
	case m.Counter != nil:
		g.add(name, m, m.Counter.GetValue())
	case m.Gauge != nil:
		g.add(name, m, m.Gauge.GetValue())
	case m.Untyped != nil:
		g.add(name, m, m.Untyped.GetValue())
	case m.Summary != nil:
		for _, q := range m.Summary.GetQuantile() {
			g.add(name, m, q.GetValue(), prompb.Label{Name: model.QuantileLabel, Value: number(q.GetQuantile())})
		}
		g.add(name+"_sum", m, m.Summary.GetSampleSum())
		g.add(name+"_count", m, float64(m.Summary.GetSampleCount()))
	case m.Histogram != nil:
		infinite := false
		for _, b := range m.Histogram.GetBucket() {
			infinite = infinite || math.IsInf(b.GetUpperBound(), 1)
			g.add(name+"_bucket", m, float64(b.GetCumulativeCount()), prompb.Label{Name: model.BucketLabel, Value: number(b.GetUpperBound())})
		}
		if !infinite {
			g.add(name+"_bucket", m, float64(m.Histogram.GetSampleCount()), prompb.Label{Name: model.BucketLabel, Value: "+Inf"})
		}
		g.add(name+"_sum", m, m.Histogram.GetSampleSum())
		g.add(name+"_count", m, float64(m.Histogram.GetSampleCount()))
	}
}

func (g *gathered) add(name string, m *dto.Metric, v float64, own ...prompb.Label) {
	ls := append([]prompb.Label{{Name: model.MetricNameLabel, Value: name}}, own...)
	for _, p := range m.GetLabel() {
		ls = append(ls, prompb.Label{Name: p.GetName(), Value: p.GetValue()})
	}
	g.request.Timeseries = append(g.request.Timeseries, prompb.TimeSeries{
		Labels: append(ls, g.extra...), Samples: []prompb.Sample{{Timestamp: g.t, Value: v}},
	})
}

func number(v float64) string {
	if math.IsInf(v, 1) {
		return "+Inf"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

package remote

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/prometheus/otlptranslator"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/storage/remote/otlptranslator/prometheusremotewrite"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// The reasons for which OTLP data points are refused before they are translated.
const (
	invalidPoint     = "invalid_point"
	invalidLabels    = "invalid_labels"
	invalidHistogram = "invalid_histogram"
)

// inspection takes out of a request what Prometheus' translator would stumble over, because it then gives up on all
// that is left of a metric and doesn't say of how much.
type inspection struct {
	t     *Translation
	o     *OTLPOptions
	namer otlptranslator.MetricNamer
}

func newInspection(t *Translation, o *OTLPOptions) *inspection {
	return &inspection{t, o, otlptranslator.MetricNamer{WithMetricSuffixes: o.Names.ShouldAddSuffixes(), UTF8Allowed: !o.Names.ShouldEscape()}}
}

func (i *inspection) metrics(md pmetric.Metrics) {
	md.ResourceMetrics().RemoveIf(func(rm pmetric.ResourceMetrics) bool {
		why, text := i.resource(rm.Resource().Attributes())
		rm.ScopeMetrics().RemoveIf(func(sm pmetric.ScopeMetrics) bool {
			sm.Metrics().RemoveIf(func(m pmetric.Metric) bool {
				if why != "" {
					i.t.refuse(why, pointsOf(m), func() string { return "resource: " + text })
					return true
				}
				return i.metric(m)
			})
			return sm.Metrics().Len() == 0
		})
		return rm.ScopeMetrics().Len() == 0
	})
}

// metric tells whether nothing is left of a metric.
func (i *inspection) metric(m pmetric.Metric) bool {
	if _, err := i.namer.Build(prometheusremotewrite.TranslatorMetricFromOtelMetric(m)); err != nil {
		i.t.refuse(invalidLabels, pointsOf(m), err.Error)
		return true
	}
	switch temporalityOf(m) {
	case pmetric.AggregationTemporalityCumulative, pmetric.AggregationTemporalityDelta:
	default:
		i.t.refuse(invalidPoint, pointsOf(m), func() string {
			return fmt.Sprintf("metric %q has no aggregation temporality; cumulative and delta are taken", shortened(m.Name()))
		})
		return true
	}
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		m.Gauge().DataPoints().RemoveIf(func(p pmetric.NumberDataPoint) bool { return i.number(m, p) })
	case pmetric.MetricTypeSum:
		m.Sum().DataPoints().RemoveIf(func(p pmetric.NumberDataPoint) bool { return i.number(m, p) })
	case pmetric.MetricTypeHistogram:
		m.Histogram().DataPoints().RemoveIf(func(p pmetric.HistogramDataPoint) bool {
			i.exemplars(p.Exemplars())
			return i.point(m, p.Timestamp(), p.Attributes())
		})
	case pmetric.MetricTypeExponentialHistogram:
		m.ExponentialHistogram().DataPoints().RemoveIf(func(p pmetric.ExponentialHistogramDataPoint) bool { return i.exponential(m, p) })
	case pmetric.MetricTypeSummary:
		m.Summary().DataPoints().RemoveIf(func(p pmetric.SummaryDataPoint) bool { return i.point(m, p.Timestamp(), p.Attributes()) })
	default:
		i.t.refuse(invalidPoint, 1, func() string { return fmt.Sprintf("metric %q is of no kind that is known", shortened(m.Name())) })
	}
	return pointsOf(m) == 0
}

func (i *inspection) number(m pmetric.Metric, p pmetric.NumberDataPoint) bool {
	i.exemplars(p.Exemplars())
	if p.ValueType() == pmetric.NumberDataPointValueTypeEmpty && !p.Flags().NoRecordedValue() {
		i.t.refuse(invalidPoint, 1, func() string { return fmt.Sprintf("a point of metric %q has no value", shortened(m.Name())) })
		return true
	}
	return i.point(m, p.Timestamp(), p.Attributes())
}

func (i *inspection) exponential(m pmetric.Metric, p pmetric.ExponentialHistogramDataPoint) bool {
	i.exemplars(p.Exemplars())
	if p.Scale() < histogram.ExponentialSchemaMin {
		i.t.refuse(invalidHistogram, 1, func() string {
			return fmt.Sprintf("a point of metric %q has scale %d, at least %d can be stored", shortened(m.Name()), p.Scale(), histogram.ExponentialSchemaMin)
		})
		return true
	}
	return i.point(m, p.Timestamp(), p.Attributes())
}

// point tells whether a data point is refused for its time or its attributes. Times are looked at here, too, because
// one that can't be meant would make the resource's target_info reach back to it.
func (i *inspection) point(m pmetric.Metric, at pcommon.Timestamp, attributes pcommon.Map) bool {
	if at == 0 || at > math.MaxInt64 {
		i.t.refuse(invalidPoint, 1, func() string { return fmt.Sprintf("a point of metric %q has no time", shortened(m.Name())) })
		return true
	}
	if why, text := i.o.Window(int64(at) / 1e6); why != "" {
		i.t.refuse(why, 1, func() string { return fmt.Sprintf("metric %q: %s", shortened(m.Name()), text) })
		return true
	}
	if why, text := i.attributes(attributes, func(string) bool { return true }); why != "" {
		i.t.refuse(why, 1, func() string { return fmt.Sprintf("metric %q: %s", shortened(m.Name()), text) })
		return true
	}
	return false
}

// resource says why nothing of a resource can be stored. Those of its attributes that all its series get are bounded.
func (i *inspection) resource(attributes pcommon.Map) (why, text string) {
	return i.attributes(attributes, func(key string) bool {
		return strings.HasPrefix(key, "service.") || slices.Contains(i.o.Promote, key)
	})
}

// attributes says why they can't be labels. The sizes of those that count are looked at here, too, because the
// translator makes labels of them for each point, which the distributor would only then refuse.
func (i *inspection) attributes(attributes pcommon.Map, counts func(key string) bool) (why, text string) {
	if name, bad := i.unnameable(attributes); bad {
		return invalidLabels, fmt.Sprintf("attribute %q has no letter or digit that a label's name could have", shortened(name))
	}
	size := int64(0)
	for key, value := range attributes.All() {
		if counts(key) {
			size += int64(len(key)) + sizeOf(value)
		}
	}
	if size > i.o.MaxLabels {
		return i.o.OverLabels(size)
	}
	return "", ""
}

// sizeOf is about how many bytes a value has as a label's.
func sizeOf(v pcommon.Value) (n int64) {
	switch v.Type() {
	case pcommon.ValueTypeStr:
		return int64(len(v.Str()))
	case pcommon.ValueTypeBytes:
		return int64(v.Bytes().Len())
	case pcommon.ValueTypeSlice:
		for _, item := range v.Slice().All() {
			n += 1 + sizeOf(item)
		}
	case pcommon.ValueTypeMap:
		for key, item := range v.Map().All() {
			n += int64(len(key)) + sizeOf(item)
		}
	}
	return n
}

func (i *inspection) exemplars(es pmetric.ExemplarSlice) {
	es.RemoveIf(func(e pmetric.Exemplar) bool {
		bad := e.ValueType() == pmetric.ExemplarValueTypeEmpty
		if bad {
			i.t.ExemplarsDropped++
		}
		return bad
	})
}

// unnameable finds an attribute whose name can't become a label's: one that is empty, or would be only underscores.
func (i *inspection) unnameable(attributes pcommon.Map) (name string, bad bool) {
	for key := range attributes.All() {
		if i.o.Names.ShouldEscape() {
			bad = strings.IndexFunc(key, alphanumeric) < 0
		} else {
			bad = strings.Trim(key, "_") == ""
		}
		if bad {
			return key, true
		}
	}
	return "", false
}

func alphanumeric(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

// temporalityOf is cumulative for metrics that know no other.
func temporalityOf(m pmetric.Metric) pmetric.AggregationTemporality {
	switch m.Type() {
	case pmetric.MetricTypeSum:
		return m.Sum().AggregationTemporality()
	case pmetric.MetricTypeHistogram:
		return m.Histogram().AggregationTemporality()
	case pmetric.MetricTypeExponentialHistogram:
		return m.ExponentialHistogram().AggregationTemporality()
	}
	return pmetric.AggregationTemporalityCumulative
}

func pointsOf(m pmetric.Metric) int {
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		return m.Gauge().DataPoints().Len()
	case pmetric.MetricTypeSum:
		return m.Sum().DataPoints().Len()
	case pmetric.MetricTypeHistogram:
		return m.Histogram().DataPoints().Len()
	case pmetric.MetricTypeExponentialHistogram:
		return m.ExponentialHistogram().DataPoints().Len()
	case pmetric.MetricTypeSummary:
		return m.Summary().DataPoints().Len()
	}
	return 0
}

// shortened keeps an error readable whatever a sender put into it.
func shortened(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}

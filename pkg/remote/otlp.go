package remote

import (
	"context"
	"fmt"

	"github.com/prometheus/otlptranslator"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/storage/remote/otlptranslator/prometheusremotewrite"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
)

// OTLPOptions say how a tenant's OTLP metrics are translated.
type OTLPOptions struct {
	JSON bool
	// Names is how names become those of metrics and labels.
	Names otlptranslator.TranslationStrategyOption
	// Promote names the resource attributes that every series of the resource gets as labels.
	Promote []string
	// MaxLabels is how many bytes the attributes of a data point may have, or those of a resource that all its series
	// get, and OverLabels the reason and the text for what has more.
	MaxLabels  int64
	OverLabels func(bytes int64) (reason, text string)
	// Window says why a time (Unix milliseconds) is not taken: a reason and its text; both are empty where it is.
	Window func(int64) (reason, text string)
}

// OTLP translates an ExportMetricsServiceRequest as Prometheus does: names, target_info, histograms, exponential
// histograms to native ones, exemplars. Deltas are kept as they are sent, as series of an unknown type. What can't be
// translated is left out and counted in Refused, in data points. Errors wrap ErrMalformed, ErrTooLarge or ErrTooMany, or
// are Bounds.Hold's. Formats: opentelemetry-proto's collector/metrics/v1/metrics_service.proto, and
// https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics.
func (t *Translation) OTLP(body []byte, o OTLPOptions) error {
	cost, err := otlpCost(body, o.JSON, t.bounds.Memory)
	if err != nil {
		return err
	}
	t.base += cost
	if err := t.room(); err != nil {
		return err
	}
	request := pmetricotlp.NewExportRequest()
	if o.JSON {
		err = request.UnmarshalJSON(body)
	} else {
		err = request.UnmarshalProto(body)
	}
	if err != nil {
		return fmt.Errorf("%w: OTLP: %w", ErrMalformed, err)
	}
	md := request.Metrics()
	newInspection(t, &o).metrics(md)

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	a := &appender{t: t, cancel: cancel}
	_, err = prometheusremotewrite.NewPrometheusConverter(a).FromMetrics(ctx, md, prometheusremotewrite.Settings{
		AddMetricSuffixes:         o.Names.ShouldAddSuffixes(),
		AllowUTF8:                 !o.Names.ShouldEscape(),
		PromoteResourceAttributes: prometheusremotewrite.NewPromoteResourceAttributes(config.OTLPConfig{PromoteResourceAttributes: o.Promote}),
		AllowDeltaTemporality:     true,
	})
	if a.err != nil {
		return a.err
	}
	if err != nil {
		return fmt.Errorf("%w: OTLP: translate: %w", ErrMalformed, first(err))
	}
	return nil
}

// first is one of many joined errors: the text of all of them would grow with the square of their number.
func first(err error) error {
	for {
		joined, ok := err.(interface{ Unwrap() []error })
		if !ok || len(joined.Unwrap()) == 0 {
			return err
		}
		err = joined.Unwrap()[0]
	}
}

// appender takes what Prometheus' translator makes. It stops it at the first error, which would otherwise be one of
// each data point.
type appender struct {
	t      *Translation
	cancel func()
	err    error
}

func (a *appender) Append(_ storage.SeriesRef, ls labels.Labels, _, at int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, o storage.AppendV2Options) (storage.SeriesRef, error) {
	if a.err == nil {
		a.err = a.t.add(ls, &sample{time: at, value: v, h: h, fh: fh, exemplars: o.Exemplars, meta: o.Metadata})
		if a.err != nil {
			a.cancel()
		}
	}
	return 0, a.err
}

func (a *appender) Commit() error   { return nil }
func (a *appender) Rollback() error { return nil }

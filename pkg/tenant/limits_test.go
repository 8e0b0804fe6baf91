package tenant

import (
	"reflect"
	"strings"
	"testing"

	"github.com/varve-io/varve/pkg/config"
)

func TestDefaultLimitsAreValid(t *testing.T) {
	for _, m := range []Machine{{}, {Cores: 1, Memory: 64 << 20}, {Cores: 2, Memory: 24 << 30}, {Cores: 256, Memory: 4 << 40}} {
		l := DefaultLimits(m)
		if err := l.Validate(); err != nil {
			t.Errorf("%+v: %v", m, err)
		}
	}
}

// A Prometheus with a million series needs no tuning where memory can hold it.
func TestDefaultLimitsHoldAMillionSeries(t *testing.T) {
	l := DefaultLimits(Machine{Cores: 2, Memory: 24 << 30})
	if l.MaxActiveSeries < 1_000_000 || l.MaxNewSeriesBurst < 1_000_000 || l.MaxQuerySeries < 1_000_000 {
		t.Errorf("too few series: %+v", l)
	}
	if small := DefaultLimits(Machine{Cores: 1, Memory: 1 << 30}); small.MaxActiveSeries > 200_000 {
		t.Errorf("%d series on 1 GiB", small.MaxActiveSeries)
	}
	if least := DefaultLimits(Machine{Cores: 1, Memory: 1}); least.MaxActiveSeries != 10_000 || least.MaxQuerySeries != 50_000 {
		t.Errorf("no floor: %+v", least)
	}
	if l.MaxSamplesBurst < l.MaxSamplesPerRequest {
		t.Errorf("a request of %d samples can never pass the burst of %d", l.MaxSamplesPerRequest, l.MaxSamplesBurst)
	}
}

func TestLimitsValidate(t *testing.T) {
	var l Limits
	l.FutureWindow, l.MaxSamplesPerSecond, l.MaxSamplesPerRequest, l.MaxSamplesBurst = -1, 5, 100, 99
	err := l.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"future_window is -1ns, must be from 0s to 365d",
		"past_window is 0s, must be from 1m to 36500d",
		"max_samples_burst is 99, must be at least 100",
		"max_query_length is 0, must be from 1 to 16MiB",
		`ha_replica_label is "", must be a label's name, another one than ha_cluster_label`,
		"ha_failover_timeout is 0s, must be from 5s to 1h",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "max_new_series_burst") {
		t.Errorf("without a rate there is no burst: %v", err)
	}
}

// The constants, the fields and the file call a limit by one name.
func TestLimitNames(t *testing.T) {
	names := []LimitName{
		FutureWindow, PastWindow,
		MaxLabelsPerSeries, MaxLabelNameLength, MaxLabelValueLength, MaxLabelsSize, MaxHistogramBuckets, MaxMetadataLength,
		MaxSamplesPerRequest, MaxExemplarsPerRequest,
		MaxSamplesPerSecond, MaxSamplesBurst, MaxActiveSeries, MaxNewSeriesPerSecond, MaxNewSeriesBurst, MaxHAReplicas,
		MaxQueryLength, MaxQueryDepth, MaxQuerySteps, MaxQueryRange, MaxQueryLookback, MaxQuerySeries, MaxQuerySamples, QueryTimeout,
	}
	fields := map[LimitName]bool{}
	for i := range reflect.TypeFor[Limits]().NumField() {
		f := reflect.TypeFor[Limits]().Field(i)
		fields[LimitName(f.Tag.Get("yaml"))] = true
		if f.Tag.Get("help") == "" {
			t.Errorf("%s has no help", f.Name)
		}
	}
	for _, name := range names {
		if !fields[name] {
			t.Errorf("no field for %s", name)
		}
		delete(fields, name)
	}
	for _, refusesNothing := range []LimitName{"partial_response", "retention", "cost_cluster_label", "cost_labels", "cost_retention", "write_relabel", "ha_dedupe", "ha_cluster_label", "ha_replica_label", "ha_failover_timeout", "otlp_translation_strategy", "otlp_promote_resource_attributes"} {
		delete(fields, refusesNothing)
	}
	if len(fields) > 0 {
		t.Errorf("no constant for %v", fields)
	}
	if _, err := config.Reference(&Limits{}); err != nil {
		t.Error(err)
	}
}

func TestLimitError(t *testing.T) {
	err := &LimitError{Limit: MaxLabelsSize, Max: 32 * config.KiB, Subject: "labels of 40000 bytes"}
	if want := "labels of 40000 bytes: over the limit max_labels_size of 32KiB"; err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

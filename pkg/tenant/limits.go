package tenant

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/prometheus/otlptranslator"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/pkg/config"
)

// Limits are the bounds that hold for one tenant. A bound counts what the
// tenant does in the whole installation, unless it says otherwise. A Limits
// that was handed out is never changed.
type Limits struct {
	// Samples: the distributor refuses what is outside, alone and by its clock.
	FutureWindow config.Duration `yaml:"future_window" help:"how far ahead of the clock a sample's time may be"`
	PastWindow   config.Duration `yaml:"past_window" help:"how far behind the clock a sample's time may be"`

	// Series: one that is over is refused; the rest of the request is stored.
	MaxLabelsPerSeries  int          `yaml:"max_labels_per_series" help:"labels that a series may have, its name included"`
	MaxLabelNameLength  int          `yaml:"max_label_name_length" help:"bytes of a label's name"`
	MaxLabelValueLength int          `yaml:"max_label_value_length" help:"bytes of a label's value"`
	MaxLabelsSize       config.Bytes `yaml:"max_labels_size" help:"bytes of all label names and values of a series"`
	MaxHistogramBuckets int          `yaml:"max_histogram_buckets" help:"populated buckets of a native histogram, positive and negative together"`
	MaxMetadataLength   int          `yaml:"max_metadata_length" help:"bytes of a metric's help text or unit; longer ones are cut"`

	// Requests: one that is over is refused whole.
	MaxSamplesPerRequest   int `yaml:"max_samples_per_request" help:"samples and histograms of one write request"`
	MaxExemplarsPerRequest int `yaml:"max_exemplars_per_request" help:"exemplars of one write request; more are dropped"`

	// Quotas: over the rate of samples is a 429, over that of new series a 503, over the number of series a 400.
	MaxSamplesPerSecond   int `yaml:"max_samples_per_second" help:"samples that may be written per second; 0 for no limit"`
	MaxSamplesBurst       int `yaml:"max_samples_burst" help:"samples that may be written at once above the rate; at least max_samples_per_request"`
	MaxActiveSeries       int `yaml:"max_active_series" help:"series that may be active at once; 0 for no limit"`
	MaxNewSeriesPerSecond int `yaml:"max_new_series_per_second" help:"series that may be created per second; 0 for no limit"`
	MaxNewSeriesBurst     int `yaml:"max_new_series_burst" help:"series that may be created at once above the rate"`

	// Rewriting: what comes in is changed before it is stored, by what the tenant asked for.
	WriteRelabel      RelabelRules    `yaml:"write_relabel" help:"relabel_configs as Prometheus has them, for each series before it is checked and stored"`
	HADedupe          bool            `yaml:"ha_dedupe" help:"store only one of the replicas of each cluster, and without the replica's label"`
	HAClusterLabel    string          `yaml:"ha_cluster_label" help:"label that names the cluster of an HA pair"`
	HAReplicaLabel    string          `yaml:"ha_replica_label" help:"label that names the replica of an HA pair"`
	HAFailoverTimeout config.Duration `yaml:"ha_failover_timeout" help:"how long the replica that is stored may be silent before another takes over; more than twice the scrape interval"`
	MaxHAReplicas     int             `yaml:"max_ha_replicas" help:"replicas of all clusters that may be known at once"`

	// Naming: how metrics of OTLP become series.
	OTLPTranslationStrategy       string            `yaml:"otlp_translation_strategy" help:"how names of OTLP metrics and attributes are written, in Prometheus' words: UnderscoreEscapingWithSuffixes, UnderscoreEscapingWithoutSuffixes, NoUTF8EscapingWithSuffixes, NoTranslation"`
	OTLPPromoteResourceAttributes config.StringList `yaml:"otlp_promote_resource_attributes" help:"resource attributes of OTLP that become labels of every series, besides those of target_info"`

	// Queries: the first five are checked before a query runs, the others while it does.
	MaxQueryLength   config.Bytes    `yaml:"max_query_length" help:"bytes of a query's text"`
	MaxQueryDepth    int             `yaml:"max_query_depth" help:"how deep a query's expressions may be nested"`
	MaxQuerySteps    int             `yaml:"max_query_steps" help:"points per series of a range query or subquery"`
	MaxQueryRange    config.Duration `yaml:"max_query_range" help:"time from start to end of a query; 0s for no limit"`
	MaxQueryLookback config.Duration `yaml:"max_query_lookback" help:"how far back from now a query sees; 0s for no limit"`
	MaxQuerySeries   int             `yaml:"max_query_series" help:"series that a query may select"`
	MaxQuerySamples  int             `yaml:"max_query_samples" help:"samples that a query may hold in memory at once"`
	QueryTimeout     config.Duration `yaml:"query_timeout" help:"how long a query may run"`
	PartialResponse  bool            `yaml:"partial_response" help:"answer with a warning, rather than with an error, where data cannot be reached"`

	// Costs.
	CostClusterLabel string            `yaml:"cost_cluster_label" help:"label that names the Kubernetes cluster of a series"`
	CostLabels       config.StringList `yaml:"cost_labels" help:"labels of pods and namespaces, by their Kubernetes names, that are kept in the cost cube; others are read from samples while these are there"`
	CostRetention    config.Duration   `yaml:"cost_retention" help:"how long costs are kept once they were counted, by whole UTC months; may be longer than retention. 0s for ever"`

	// Keeping.
	Retention config.Duration `yaml:"retention" help:"how long samples are kept; 0s for ever"`
}

// LimitName is the name of a limit in the file, in errors, and as the value of
// a metric's reason label.
type LimitName string

// The names of the limits that refuse something.
const (
	FutureWindow           LimitName = "future_window"
	PastWindow             LimitName = "past_window"
	MaxLabelsPerSeries     LimitName = "max_labels_per_series"
	MaxLabelNameLength     LimitName = "max_label_name_length"
	MaxLabelValueLength    LimitName = "max_label_value_length"
	MaxLabelsSize          LimitName = "max_labels_size"
	MaxHistogramBuckets    LimitName = "max_histogram_buckets"
	MaxMetadataLength      LimitName = "max_metadata_length"
	MaxSamplesPerRequest   LimitName = "max_samples_per_request"
	MaxExemplarsPerRequest LimitName = "max_exemplars_per_request"
	MaxSamplesPerSecond    LimitName = "max_samples_per_second"
	MaxSamplesBurst        LimitName = "max_samples_burst"
	MaxActiveSeries        LimitName = "max_active_series"
	MaxNewSeriesPerSecond  LimitName = "max_new_series_per_second"
	MaxNewSeriesBurst      LimitName = "max_new_series_burst"
	MaxHAReplicas          LimitName = "max_ha_replicas"
	MaxQueryLength         LimitName = "max_query_length"
	MaxQueryDepth          LimitName = "max_query_depth"
	MaxQuerySteps          LimitName = "max_query_steps"
	MaxQueryRange          LimitName = "max_query_range"
	MaxQueryLookback       LimitName = "max_query_lookback"
	MaxQuerySeries         LimitName = "max_query_series"
	MaxQuerySamples        LimitName = "max_query_samples"
	QueryTimeout           LimitName = "query_timeout"
)

// Value is the limit of that name; false if there is none.
func (l *Limits) Value(name LimitName) (any, bool) {
	v := reflect.ValueOf(*l)
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("yaml") == string(name) {
			return v.Field(i).Interface(), true
		}
	}
	return nil, false
}

// LimitError says what was refused by which limit.
type LimitError struct {
	Limit   LimitName
	Max     any    // the limit's value, printed with its unit
	Subject string // what was over it: "series has 70 labels"
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("%s: over the limit %s of %v", e.Subject, e.Limit, e.Max)
}

// Machine is what default limits are derived from.
type Machine struct {
	Cores  int   // that the process may use
	Memory int64 // bytes that the process may use; 0 if unknown
}

const (
	unknownMemory   = 8 << 30 // assumed where Machine does not say
	bytesPerSeries  = 4 << 10 // of memory that an active series needs, labels and index included
	bytesPerRead    = 2 << 10 // of memory that a selected series needs, samples not counted
	samplesPerCore  = 1_000_000
	creationPerCore = 50_000
)

// DefaultLimits returns the limits for a tenant of which the file says nothing.
// Rates and numbers of series follow the machine, so that they stop what it
// could not carry and nothing else: a half of its memory for active series, an
// eighth for the series of one query.
func DefaultLimits(m Machine) Limits {
	memory := m.Memory
	if memory <= 0 {
		memory = unknownMemory
	}
	cores := max(m.Cores, 1)
	activeSeries := max(int(memory/2/bytesPerSeries), 10_000)
	return Limits{
		FutureWindow:            config.Duration(10 * time.Minute),
		PastWindow:              config.Duration(3 * time.Hour),
		MaxLabelsPerSeries:      64,
		MaxLabelNameLength:      1024,
		MaxLabelValueLength:     4096,
		MaxLabelsSize:           32 * config.KiB,
		MaxHistogramBuckets:     1024,
		MaxMetadataLength:       4096,
		MaxSamplesPerRequest:    500_000,
		MaxExemplarsPerRequest:  50_000,
		MaxSamplesPerSecond:     samplesPerCore * cores,
		MaxSamplesBurst:         10 * samplesPerCore * cores,
		MaxActiveSeries:         activeSeries,
		MaxNewSeriesPerSecond:   creationPerCore * cores,
		MaxNewSeriesBurst:       activeSeries, // a sender that starts brings all its series at once
		HAClusterLabel:          "cluster",
		HAReplicaLabel:          "__replica__",
		HAFailoverTimeout:       config.Duration(30 * time.Second),
		MaxHAReplicas:           2000,
		OTLPTranslationStrategy: string(otlptranslator.UnderscoreEscapingWithSuffixes),
		MaxQueryLength:          16 * config.KiB,
		MaxQueryDepth:           256,
		MaxQuerySteps:           11_000,
		MaxQuerySeries:          max(int(memory/8/bytesPerRead), 50_000),
		MaxQuerySamples:         50_000_000,
		QueryTimeout:            config.Duration(2 * time.Minute),
		CostClusterLabel:        "cluster",
		CostRetention:           config.Duration(5 * 365 * 24 * time.Hour),
	}
}

// Validate reports every limit that can't be meant.
func (l *Limits) Validate() error {
	year := config.Duration(365 * 24 * time.Hour)
	return errors.Join(
		config.Between("future_window", l.FutureWindow, 0, year),
		config.Between("past_window", l.PastWindow, config.Duration(time.Minute), 100*year),
		config.Between("max_labels_per_series", l.MaxLabelsPerSeries, 1, 10_000),
		config.Between("max_label_name_length", l.MaxLabelNameLength, 8, 64<<10), // "__name__"
		config.Between("max_label_value_length", l.MaxLabelValueLength, 1, 1<<20),
		config.Between("max_labels_size", l.MaxLabelsSize, 64, config.MiB),
		config.Between("max_histogram_buckets", l.MaxHistogramBuckets, 1, 100_000),
		config.Between("max_metadata_length", l.MaxMetadataLength, 0, 1<<20),
		config.AtLeast("max_samples_per_request", l.MaxSamplesPerRequest, 1),
		config.AtLeast("max_exemplars_per_request", l.MaxExemplarsPerRequest, 0),
		rate("max_samples_burst", l.MaxSamplesPerSecond, l.MaxSamplesBurst, l.MaxSamplesPerRequest),
		config.AtLeast("max_samples_per_second", l.MaxSamplesPerSecond, 0),
		config.AtLeast("max_active_series", l.MaxActiveSeries, 0),
		config.AtLeast("max_new_series_per_second", l.MaxNewSeriesPerSecond, 0),
		rate("max_new_series_burst", l.MaxNewSeriesPerSecond, l.MaxNewSeriesBurst, 1),
		pair(l.HAClusterLabel, l.HAReplicaLabel),
		config.Between("ha_failover_timeout", l.HAFailoverTimeout, config.Duration(5*time.Second), config.Duration(time.Hour)),
		config.Between("max_ha_replicas", l.MaxHAReplicas, 1, 60_000),
		strategy(l.OTLPTranslationStrategy),
		config.Between("max_query_length", l.MaxQueryLength, 1, 16*config.MiB),
		config.Between("max_query_depth", l.MaxQueryDepth, 1, 10_000),
		config.Between("max_query_steps", l.MaxQuerySteps, 1, 10_000_000),
		config.AtLeast("max_query_series", l.MaxQuerySeries, 1),
		config.AtLeast("max_query_samples", l.MaxQuerySamples, 1),
		costLabels(l.CostClusterLabel, l.CostLabels),
		config.Between("cost_retention", l.CostRetention, 0, 100*year),
		config.Between("query_timeout", l.QueryTimeout, config.Duration(time.Millisecond), config.Duration(24*time.Hour)),
	)
}

// rate refuses a burst that would never let something through that takes so much at once.
func rate(field string, perSecond, burst, atOnce int) error {
	if perSecond <= 0 {
		return config.AtLeast(field, burst, 0)
	}
	return config.AtLeast(field, burst, atOnce)
}

// strategy refuses what is no way to translate names.
func strategy(s string) error {
	switch o := otlptranslator.TranslationStrategyOption(s); o {
	case otlptranslator.UnderscoreEscapingWithSuffixes, otlptranslator.UnderscoreEscapingWithoutSuffixes,
		otlptranslator.NoUTF8EscapingWithSuffixes, otlptranslator.NoTranslation:
		return nil
	}
	return config.Invalid("otlp_translation_strategy", s, "one that Prometheus has, such as UnderscoreEscapingWithSuffixes")
}

// maxCostLabels bounds the labels that rows of costs are told apart by.
const maxCostLabels = 32

func costLabels(cluster string, names []string) error {
	var errs []error
	if cluster == "" || cluster == labels.MetricName {
		errs = append(errs, config.Invalid("cost_cluster_label", cluster, "a label's name"))
	}
	if len(names) > maxCostLabels || slices.Contains(names, "") {
		errs = append(errs, config.Invalid("cost_labels", names, fmt.Sprintf("at most %d names, none empty", maxCostLabels)))
	}
	return errors.Join(errs...)
}

// pair refuses labels that can't name the replicas of a cluster.
func pair(cluster, replica string) error {
	var errs []error
	if cluster == "" || cluster == labels.MetricName {
		errs = append(errs, config.Invalid("ha_cluster_label", cluster, "a label's name"))
	}
	if replica == "" || replica == labels.MetricName || replica == cluster {
		errs = append(errs, config.Invalid("ha_replica_label", replica, "a label's name, another one than ha_cluster_label"))
	}
	return errors.Join(errs...)
}

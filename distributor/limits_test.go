package distributor_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/prompb"

	"github.com/varve-io/varve/pkg/tenant"
)

// limitRow is a limit, what is over it, and the answer.
type limitRow struct {
	limit   string // as the file has it; a tenant has its name
	with    string // what else it needs
	refuses prompb.WriteRequest
	code    int
	says    string
	relaxed string // the same limit, wide enough for the same request; what holds by default if empty
	fills   bool   // what is let through once isn't over the limit the next time
}

func limitRows(b *bed) []limitRow {
	one := func(more ...string) prompb.WriteRequest {
		return prompb.WriteRequest{Timeseries: []prompb.TimeSeries{of("m", []prompb.Sample{b.at(0, 1)}, more...)}}
	}
	names := func(prefix string) prompb.WriteRequest {
		return prompb.WriteRequest{Timeseries: []prompb.TimeSeries{of(prefix+"1", []prompb.Sample{b.at(0, 1)}), of(prefix+"2", []prompb.Sample{b.at(0, 1)})}}
	}
	at := func(d time.Duration) prompb.WriteRequest {
		return prompb.WriteRequest{Timeseries: []prompb.TimeSeries{of("m", []prompb.Sample{b.at(d, 1)})}}
	}
	buckets := one()
	buckets.Timeseries[0].Samples = nil
	buckets.Timeseries[0].Histograms = []prompb.Histogram{prompb.FromIntHistogram(b.now.UnixMilli(), &histogram.Histogram{
		Count: 3, Sum: 3, ZeroThreshold: 1e-128, PositiveSpans: []histogram.Span{{Length: 2}}, PositiveBuckets: []int64{1, 1},
	})}
	replicas := prompb.WriteRequest{Timeseries: []prompb.TimeSeries{
		of("m", []prompb.Sample{b.at(0, 1)}, "__replica__", "a", "cluster", "eu"), of("m", []prompb.Sample{b.at(0, 1)}, "__replica__", "b", "cluster", "eu"),
	}}
	return []limitRow{
		{limit: "future_window: 1m", refuses: at(2 * time.Minute), code: 400, says: "of 1m"},
		{limit: "past_window: 1h", refuses: at(-2 * time.Hour), code: 400, says: "of 1h"},
		{limit: "max_labels_per_series: 2", refuses: one("a", "1", "b", "2"), code: 400, says: "of 2"},
		{limit: "max_label_name_length: 8", refuses: one("ninebytes", "1"), code: 400, says: "of 8"},
		{limit: "max_label_value_length: 3", refuses: one("a", "four"), code: 400, says: "of 3"},
		{limit: "max_labels_size: 64", refuses: one("a", strings.Repeat("x", 64)), code: 400, says: "of 64"},
		{limit: "max_histogram_buckets: 1", refuses: buckets, code: 400, says: "of 1"},
		{limit: "max_samples_per_request: 1", refuses: names("r"), code: 400, says: "of 1"},
		{limit: "max_samples_per_second: 1", with: "max_samples_per_request: 1000, max_samples_burst: 1000",
			refuses: many(b, 501), code: 429, says: "of 1", relaxed: "max_samples_per_second: 0", fills: true},
		{limit: "max_active_series: 1", refuses: names("a"), code: 400, says: "of 1", fills: true},
		{limit: "max_new_series_per_second: 1", with: "max_new_series_burst: 1", refuses: names("n"), code: 503, says: "of 1", relaxed: "max_new_series_per_second: 0", fills: true},
		{limit: "max_ha_replicas: 1", with: "ha_dedupe: true", refuses: replicas, code: 400, says: "of 1", fills: true},
	}
}

// many is a request of so many samples.
func many(b *bed, n int) prompb.WriteRequest {
	var samples []prompb.Sample
	for i := range n {
		samples = append(samples, b.at(-time.Duration(i)*time.Millisecond, 1))
	}
	return prompb.WriteRequest{Timeseries: []prompb.TimeSeries{of("m", samples)}}
}

func (r limitRow) name() string   { name, _, _ := strings.Cut(r.limit, ":"); return name }
func (r limitRow) tenant() string { return strings.ReplaceAll(r.name(), "_", "-") }

// Each limit of writing names itself and its value where it refuses something, and is what the file says now: without a
// restart, and for series that are known, too. A file that is wrong changes nothing.
func TestLimitsNameThemselvesAndAreReloaded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "limits.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("")
	reg := prometheus.NewRegistry()
	overrides, err := tenant.NewOverrides(tenant.DefaultLimits(tenant.Machine{Cores: 2, Memory: 1 << 30}), tenant.Dependencies{File: file, Logger: slog.New(slog.DiscardHandler), Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	b := newBed(t, options{limits: overrides})
	rows := limitRows(b)
	content := func(relaxed bool) string {
		var text strings.Builder
		text.WriteString("overrides:\n")
		for _, r := range rows {
			settings := []string{r.limit}
			if relaxed {
				settings = []string{r.relaxed}
			}
			if r.with != "" {
				settings = append(settings, r.with)
			}
			fmt.Fprintf(&text, "  %s: {%s}\n", r.tenant(), strings.TrimLeft(strings.Join(settings, ", "), ", "))
		}
		return text.String()
	}
	send := func(t *testing.T, r limitRow, code int) string {
		t.Helper()
		w := b.serve(request(r.tenant(), false, v1(t, &r.refuses)))
		if w.Code != code {
			t.Errorf("status %d, want %d: %s", w.Code, code, w.Body)
		}
		return w.Body.String()
	}
	refused := func(t *testing.T, r limitRow) {
		t.Helper()
		if says, want := send(t, r, r.code), "over the limit "+r.name()+" "+r.says; !strings.Contains(says, want) {
			t.Errorf("%q doesn't say %q", says, want)
		}
	}
	for _, step := range []struct {
		name, file string
		ok         bool
		check      func(*testing.T, limitRow)
	}{
		{"by default", "", true, func(t *testing.T, r limitRow) {
			if !r.fills {
				send(t, r, 204)
			}
		}},
		{"limited", content(false), true, func(t *testing.T, r limitRow) {
			if r.name() == "max_samples_per_second" { // its burst lets it pass once
				send(t, r, 204)
			}
			refused(t, r)
		}},
		{"a wrong file", content(true) + "  nobody: {past_window: soon}\n", false, refused},
		{"relaxed", content(true), true, func(t *testing.T, r limitRow) { send(t, r, 204) }},
	} {
		write(step.file)
		if err := overrides.Reload(); (err == nil) != step.ok {
			t.Fatalf("%s: %v", step.name, err)
		}
		want := `varve_tenant_file_reload_successful{file="limits"} ` + map[bool]string{true: "1", false: "0"}[step.ok]
		if err := testutil.GatherAndCompare(reg, strings.NewReader("# HELP varve_tenant_file_reload_successful Whether the file could be read and was valid when it was last looked at; if not, its last good content holds.\n# TYPE varve_tenant_file_reload_successful gauge\n"+want+"\n"), "varve_tenant_file_reload_successful"); err != nil {
			t.Error(err)
		}
		for _, r := range rows {
			t.Run(step.name+"/"+r.name(), func(t *testing.T) { step.check(t, r) })
		}
	}
}

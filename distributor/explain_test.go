package distributor_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"

	"github.com/varve-io/varve/distributor"
	"github.com/varve-io/varve/pkg/config"
	"github.com/varve-io/varve/pkg/tenant"
)

func (b *bed) explain(id string) (distributor.Explanation, map[string]distributor.Cause) {
	b.t.Helper()
	r := httptest.NewRequest(http.MethodGet, distributor.ExplainPath, nil)
	r.Header.Set(tenant.Header, id)
	w := httptest.NewRecorder()
	b.ServeExplanation(w, r)
	var e distributor.Explanation
	if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || w.Code != http.StatusOK {
		b.t.Fatalf("%d: %v: %s", w.Code, err, w.Body)
	}
	causes := map[string]distributor.Cause{}
	for _, c := range e.Causes {
		causes[c.Reason] = c
	}
	return e, causes
}

// TestExplainWrite makes a tenant meet each way of being limited, and expects to be told of each.
func TestExplainWrite(t *testing.T) {
	b := newBed(t, options{change: func(c *distributor.Config) { c.MaxRequestBytes = 64 * config.KiB }})
	id, err := tenant.Parse("team-a")
	if err != nil {
		t.Fatal(err)
	}
	b.limits.set(id, func(l *tenant.Limits) {
		l.MaxActiveSeries, l.MaxSamplesPerSecond, l.MaxSamplesBurst, l.MaxLabelValueLength = 2, 60, 60, 100
		l.MaxSamplesPerRequest, l.MaxExemplarsPerRequest = 50, 1
	})
	long := strings.Repeat("v", 1000)
	write := func(want int, series ...prompb.TimeSeries) {
		t.Helper()
		if w := b.serve(request("team-a", false, v1(t, &prompb.WriteRequest{Timeseries: series}))); w.Code != want {
			t.Fatalf("%d, want %d: %s", w.Code, want, w.Body)
		}
	}
	samples := func(n int) (all []prompb.Sample) {
		for i := range n {
			all = append(all, b.at(time.Duration(i)*time.Millisecond, 1))
		}
		return all
	}
	exemplars := of("a", nil)
	exemplars.Exemplars = []prompb.Exemplar{{Timestamp: b.now.UnixMilli()}, {Timestamp: b.now.UnixMilli() + 1}, {Timestamp: b.now.UnixMilli() + 2}}

	write(204, of("a", samples(3)), of("b", samples(1)))
	write(400, of("a", []prompb.Sample{b.at(-24*time.Hour, 1), b.at(-25*time.Hour, 1)}), of("c", samples(2)))
	write(400, of("a", []prompb.Sample{b.at(0, 2)}, "l", long), of("", samples(1)))
	write(400, of("a", []prompb.Sample{b.at(2*time.Millisecond, 7)}))
	write(400, of("a", samples(51)))
	write(204, exemplars)
	write(204, of("b", samples(49)))
	write(429, of("b", samples(20)))
	b.serve(request("team-a", false, []byte("nonsense")))
	b.serve(request("team-a", false, v1(t, &prompb.WriteRequest{Timeseries: []prompb.TimeSeries{of(strings.Repeat("n", 1<<20), samples(1))}})))

	e, causes := b.explain("team-a")
	for reason, want := range map[string]struct {
		counts  string
		n       int64
		setting string
		value   string
		example string
	}{
		"past_window":             {"samples", 2, "past_window", "3h", `{__name__="a"}: time `},
		"max_active_series":       {"samples", 2, "max_active_series", "2", "tenant team-a has 2 active series"},
		"max_label_value_length":  {"samples", 1, "max_label_value_length", "100", `value of label "l" has 1000 bytes`},
		"invalid_labels":          {"samples", 1, "", "", "no metric name"},
		"conflict":                {"samples", 1, "", "", `"a"`},
		"max_samples_per_request": {"requests", 1, "max_samples_per_request", "50", "more samples"},
		"max_samples_per_second":  {"requests", 1, "max_samples_per_second", "60", "20 samples more"},
		"exemplars_dropped":       {"exemplars", 2, "max_exemplars_per_request", "1", `{__name__="a"}`},
		"malformed":               {"requests", 1, "", "", "snappy"},
		"max_request_bytes":       {"requests", 1, "distributor.max_request_bytes", "64KiB", "max_request_bytes"},
	} {
		c := causes[reason]
		if c.Counts != want.counts || c.FiveMinutes != want.n || c.Hour != want.n || c.Total != want.n || c.Setting != want.setting || c.Value != want.value || c.Advice == "" {
			t.Errorf("%s: %+v, want %+v", reason, c, want)
		}
		if len(c.Examples) == 0 || !strings.Contains(c.Examples[0].Text, want.example) || len(c.Examples[0].Text) > 410 {
			t.Errorf("%s: examples %+v, want %q", reason, c.Examples, want.example)
		}
		delete(causes, reason)
	}
	if len(causes) > 0 {
		t.Errorf("causes for nothing: %v", causes)
	}
	if u := e.Usage[0]; u.Limit != "max_active_series" || u.Current != 2 || u.Max != 2 || u.Source != "the test" {
		t.Errorf("usage %+v", u)
	}
	if u := e.Usage[1]; u.Limit != "max_samples_per_second" || u.Current <= 0 || u.Current > 60 || u.Max != 60 {
		t.Errorf("usage %+v", u)
	}
}

// TestExplanationsAge: counts go out of their windows, examples are the newest three, other tenants see nothing.
func TestExplanationsAge(t *testing.T) {
	b := newBed(t, options{})
	for range 5 {
		b.serve(request("team-a", false, v1(t, &prompb.WriteRequest{Timeseries: []prompb.TimeSeries{of("a", []prompb.Sample{b.at(-24*time.Hour, 1)})}})))
		b.now = b.now.Add(4 * time.Minute)
	}
	_, causes := b.explain("team-a")
	if c := causes["past_window"]; c.FiveMinutes != 1 || c.Hour != 5 || c.Total != 5 || len(c.Examples) != 3 || !c.Examples[0].Time.After(c.Examples[2].Time) {
		t.Errorf("after 20 minutes: %+v", c)
	}
	b.now = b.now.Add(50 * time.Minute)
	if _, causes = b.explain("team-a"); causes["past_window"].Hour >= 5 || causes["past_window"].Hour == 0 || causes["past_window"].Total != 5 {
		t.Errorf("after 70 minutes: %+v", causes["past_window"])
	}
	b.now = b.now.Add(24 * time.Hour)
	if _, causes = b.explain("team-a"); causes["past_window"].Hour != 0 || causes["past_window"].Total != 5 {
		t.Errorf("a day later: %+v", causes["past_window"])
	}
	if e, _ := b.explain("team-b"); len(e.Causes) != 0 || len(e.Usage) != 3 {
		t.Errorf("another tenant: %+v", e)
	}
}

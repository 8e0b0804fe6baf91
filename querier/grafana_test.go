package querier_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"

	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/querier"
)

// now is the clock of these tests, in Unix seconds.
const now = 1_700_000_000

// site is a querier over HTTP with ten minutes of samples for two tenants.
type site struct {
	t   *testing.T
	url string
}

func newSite(t *testing.T, limits defaults) site {
	t.Helper()
	recent := newHeads()
	recent.metadata = []series.Metadata{
		{Family: "requests_total", Metadata: metadata.Metadata{Type: model.MetricTypeCounter, Help: "Requests.", Unit: ""}},
		{Family: "requests_total", Metadata: metadata.Metadata{Type: model.MetricTypeCounter, Help: "Requests.", Unit: ""}},
	}
	for i, name := range []string{"anonymous", "other"} {
		id, err := tenant.Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		fill(t, recent, id, float64(i+1))
	}
	q, err := querier.New(querier.Default(), querier.Dependencies{
		Recent: recent, Older: sourcesOf{}, Limits: limits, Registerer: prometheus.NewRegistry(),
		Build: querier.BuildInfo{Version: "1.2.3"}, Now: func() time.Time { return time.Unix(now, 0) },
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	q.Register(mux)
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return site{t, srv.URL}
}

func fill(t *testing.T, recent *heads, id tenant.ID, value float64) {
	for _, ls := range []labels.Labels{
		labels.FromStrings("__name__", "requests_total", "job", "api", "http.method", "GET"),
		labels.FromStrings("__name__", "requests_total", "job", "db"),
	} {
		s, _, err := recent.of(id).Series(ls)
		if err != nil {
			t.Fatal(err)
		}
		for ts := int64(now - 600); ts <= now; ts += 15 {
			s.AppendFloat(ts*1000, value)
		}
		s.AppendExemplar(exemplar.Exemplar{Labels: labels.FromStrings("trace_id", "abc"), Value: 0.5, Ts: now * 1000, HasTs: true})
	}
}

// send answers with status and body. A body makes it a form POST, as Grafana sends it.
func (s site) send(method, path, form, tenants string) (int, string) {
	s.t.Helper()
	target, body := s.url+path, io.Reader(nil)
	if method == http.MethodPost {
		body = strings.NewReader(form)
	} else if form != "" {
		target += "?" + form
	}
	req, err := http.NewRequestWithContext(context.Background(), method, target, body)
	if err != nil {
		s.t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if tenants != "" {
		req.Header.Set("X-Scope-OrgID", tenants)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// TestGrafana sends each request as Grafana sends it, under both prefixes.
func TestGrafana(t *testing.T) {
	s := newSite(t, defaultLimits())
	const times = "start=1699999700&end=1700000000"
	selector := "match%5B%5D=" + url.QueryEscape(`requests_total{job="api"}`)
	tests := []struct {
		name, method, path, form string
		code                     int
		want                     string // the body, or a part of it after "…"
	}{
		{"tests a data source", "POST", "/query", "query=1%2B1&time=4", 200, `{"status":"success","data":{"resultType":"scalar","result":[4,"2"]}}`},
		{"draws a panel", "POST", "/query_range", "query=sum(requests_total)&start=1699999999.5&end=1700000000&step=0.5&timeout=30s", 200, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1699999999.500,"2"],[1700000000,"2"]]}]}}`},
		{"draws a wide panel", "POST", "/query_range", "query=vector(1)&start=1699890000&end=1700000000&step=10", 200, `…"resultType":"matrix"`},
		{"draws a panel with too many points", "POST", "/query_range", "query=vector(1)&start=1699000000&end=1700000000&step=1", 400, `…"errorType":"bad_data"`},
		{"draws a stat", "POST", "/query", "query=requests_total%7Bjob%3D%22db%22%7D&time=1699999993.123&timeout=30s", 200, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"requests_total","job":"db"},"value":[1699999993.123,"1"]}]}}`},
		{"shows exemplars", "POST", "/query_exemplars", "query=requests_total%7Bjob%3D%22db%22%7D&" + times, 200, `{"status":"success","data":[{"seriesLabels":{"__name__":"requests_total","job":"db"},"exemplars":[{"labels":{"trace_id":"abc"},"value":"0.5","timestamp":1700000000}]}]}`},
		{"asks for exemplars in milliseconds", "POST", "/query_exemplars", "query=test&start=1699999700000&end=1700000000000", 200, `{"status":"success","data":[]}`},
		{"starts: rules", "GET", "/rules", "", 200, `{"status":"success","data":{"groups":[]}}`},
		{"starts: alerts", "GET", "/alerts", "", 200, `{"status":"success","data":{"alerts":[]}}`},
		{"starts: metadata", "GET", "/metadata", "limit=40000", 200, `{"status":"success","data":{"requests_total":[{"type":"counter","unit":"","help":"Requests."}]}}`},
		{"starts: labels", "GET", "/labels", times + "&limit=40000", 200, `{"status":"success","data":["__name__","http.method","job"]}`},
		{"starts: names", "GET", "/label/__name__/values", times + "&limit=40000", 200, `{"status":"success","data":["requests_total"]}`},
		{"fills a variable", "GET", "/label/job/values", times + "&" + selector, 200, `{"status":"success","data":["api"]}`},
		{"fills a variable of an escaped name", "GET", "/label/U__http_2e_method/values", times, 200, `{"status":"success","data":["GET"]}`},
		{"fills a variable from series", "GET", "/series", selector + "&" + times, 200, `{"status":"success","data":[{"__name__":"requests_total","http.method":"GET","job":"api"}]}`},
		{"builds a query: series", "POST", "/series", selector + "&match%5B%5D=nothing&limit=5&" + times, 200, `…"job":"api"`},
		{"builds a query: labels", "POST", "/labels", selector + "&match%5B%5D=nothing&limit=5&" + times, 200, `{"status":"success","data":["__name__","http.method","job"]}`},
		{"posts label values", "POST", "/label/job/values", "", 405, `…"errorType":"bad_data"`},
		{"formats", "POST", "/format_query", "query=sum(a)by(b)", 200, `{"status":"success","data":"sum by (b) (a)"}`},
		{"parses", "POST", "/parse_query", "query=a", 200, `…"type":"vectorSelector"`},
		{"asks for targets", "GET", "/targets", "", 200, `…"activeTargets":[]`},
		{"asks for cardinality", "GET", "/cardinality/label_names", "", 200, `…"label_names_count":3`},
		{"asks for cardinality of values", "POST", "/cardinality/label_values", "label_names[]=job", 200, `…"series_count_total":2`},
		{"asks for active series", "POST", "/cardinality/active_series", "selector=requests_total", 200, `…{"data":[{"__name__":"requests_total"`},
		{"asks for status/tsdb", "GET", "/status/tsdb", "limit=5", 200, `…"seriesCountByMetricName":[{"name":"requests_total","value":2}]`},
		{"takes us for Thanos", "GET", "/status/flags", "", 404, `…"not_found"`},
		{"reads the configuration", "GET", "/status/config", "", 404, `…"not_found"`},
		{"deletes", "POST", "/admin/tsdb/delete_series", selector, 404, `…"not_found"`},
		{"sends nonsense", "POST", "/query", "query=sum(", 400, `…"errorType":"bad_data"`},
		{"sends no number as a time", "POST", "/query", "query=1&time=NaN", 400, `…"errorType":"bad_data"`},
		{"sends an endless time", "POST", "/query_range", "query=1&start=0&end=1e300&step=1", 400, `…"errorType":"bad_data"`},
		{"sends a step of nothing", "POST", "/query_range", "query=1&start=0&end=1&step=0", 400, `…"errorType":"bad_data"`},
		{"asks for what it costs", "POST", "/query", "query=requests_total&time=1700000000&stats=all", 200, `…"storage":{"series":2,`},
		{"joins many to many", "POST", "/query", "query=" + url.QueryEscape("requests_total + on() requests_total") + "&time=1700000000", 422, `…"errorType":"execution"`},
	}
	for _, prefix := range []string{"/api/v1", "/prometheus/api/v1"} {
		for _, tt := range tests {
			t.Run(prefix+" "+tt.name, func(t *testing.T) {
				code, body := s.send(tt.method, prefix+tt.path, tt.form, "")
				part, cut := strings.CutPrefix(tt.want, "…")
				if code != tt.code || cut && !strings.Contains(body, part) || !cut && body != tt.want {
					t.Errorf("%d %s\nwant %d %s", code, body, tt.code, tt.want)
				}
			})
		}
	}
}

func TestBuildInfo(t *testing.T) {
	_, body := newSite(t, defaultLimits()).send("GET", "/prometheus/api/v1/status/buildinfo", "", "")
	var got struct {
		Status string
		Data   struct {
			Application, Version string
			Features             map[string]string
		}
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if got.Status != "success" || got.Data.Application != "Varve" || got.Data.Version != "1.2.3" {
		t.Errorf("%+v", got)
	}
	if len(got.Data.Features) == 0 || got.Data.Features["ruler_config_api"] == "true" {
		t.Errorf("features %v: must not be empty, and must not promise rules", got.Data.Features)
	}
}

// TestRulesEditor: Grafana takes "page not found" for a server that never heard of rules.
func TestRulesEditor(t *testing.T) {
	s := newSite(t, defaultLimits())
	for _, path := range []string{"/prometheus/config/v1/rules/test/test", "/prometheus/rules", "/config/v1/rules", "/rules/test"} {
		code, body := s.send("GET", path, "subtype=mimir", "")
		if code != 404 || strings.Contains(body, "page not found") {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
}

func TestTenants(t *testing.T) {
	s := newSite(t, defaultLimits())
	const form = "time=1700000000&query="
	tests := []struct {
		tenants, query string
		code           int
		want           string
	}{
		{"", "sum(requests_total)", 200, `"result":[{"metric":{},"value":[1700000000,"2"]}]`},
		{"other", "sum(requests_total)", 200, `"result":[{"metric":{},"value":[1700000000,"4"]}]`},
		{"nobody", "sum(requests_total)", 200, `"result":[]`},
		{"anonymous|other", "sum(requests_total)", 200, `[1700000000,"6"]`},
		{"anonymous|other", "sum by (__tenant_id__) (requests_total)", 200, `{"__tenant_id__":"other"}`},
		{"anonymous|other", `sum(requests_total{__tenant_id__="other"})`, 200, `[1700000000,"4"]`},
		{"../other", "1", 400, `"errorType":"bad_data"`},
		{"a/b", "1", 400, "invalid tenant ID"},
		{"%2e%2e", "1", 400, "invalid tenant ID"},
	}
	for _, tt := range tests {
		code, body := s.send("POST", "/api/v1/query", form+url.QueryEscape(tt.query), tt.tenants)
		if code != tt.code || !strings.Contains(body, tt.want) {
			t.Errorf("%s %s: %d %s", tt.tenants, tt.query, code, body)
		}
	}
	_, body := s.send("GET", "/api/v1/label/__tenant_id__/values", "", "other|anonymous")
	if d := cmp.Diff(`{"status":"success","data":["anonymous","other"]}`, body); d != "" {
		t.Error(d)
	}
}

func TestLimits(t *testing.T) {
	l := defaultLimits()
	l.limits.MaxQuerySeries, l.limits.MaxQuerySamples = 1, 20
	s := newSite(t, l)
	for query, want := range map[string]string{
		"requests_total": "max_query_series",
		`sum(sum_over_time(requests_total{job="db"}[10m]))`: "max_query_samples",
		strings.Repeat("-", 4000) + "1":                     "max_query_depth",
	} {
		code, body := s.send("POST", "/api/v1/query", "time=1700000000&query="+url.QueryEscape(query), "")
		wantCode := 422
		if want == "max_query_depth" {
			wantCode = 400
		}
		if code != wantCode || !strings.Contains(body, want) {
			t.Errorf("%.60s: %d %s, want %d naming %s", query, code, body, wantCode, want)
		}
	}
}

func TestFederate(t *testing.T) {
	code, body := newSite(t, defaultLimits()).send("GET", "/federate", "match%5B%5D=requests_total", "")
	want := "# TYPE requests_total untyped\nrequests_total{"
	if code != 200 || !strings.HasPrefix(body, want) || !strings.Contains(body, `job="db"} 1 1700000000000`) {
		t.Errorf("%d %s", code, body)
	}
}

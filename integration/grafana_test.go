package integration

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
)

// Each request that Grafana sends, to a real process over HTTP, under both prefixes.
func TestGrafanaAsksARealProcess(t *testing.T) {
	t.Parallel()
	n := Varve(t, "all", nil)
	n.Start()
	n.WaitReady()
	now := time.Now().Truncate(time.Second)
	for _, job := range []string{"api", "db"} {
		header := http.Header{"Content-Type": {"application/x-protobuf"}, "Content-Encoding": {"snappy"}}
		if _, err := (API{URL: n.URL}).do("/api/v1/push", header, writeRequest(t, job, now)); err != nil {
			t.Fatal(err)
		}
	}
	times := fmt.Sprintf("&start=%d&end=%d", now.Unix()-300, now.Unix())
	selector := "match[]=" + url.QueryEscape(`requests_total{job="api"}`)
	for _, request := range []struct {
		does, method, path, form string
		want                     string // a part of the body
	}{
		{"tests a data source", "POST", "query", "query=1%2B1&time=4", `{"status":"success","data":{"resultType":"scalar","result":[4,"2"]}}`},
		{"asks who answers", "GET", "status/buildinfo", "", `"version":`},
		{"draws a panel", "POST", "query_range", "query=sum(requests_total)&step=0.5&timeout=30s" + times, `"resultType":"matrix","result":[{"metric":{},"values":[[`},
		{"draws a wide panel", "POST", "query_range", fmt.Sprintf("query=vector(1)&start=%d&end=%d&step=10", now.Unix()-109_990, now.Unix()), `"resultType":"matrix"`},
		{"draws a stat", "POST", "query", fmt.Sprintf("query=requests_total{job=%%22db%%22}&time=%d.123&timeout=30s", now.Unix()), `"value":[` + fmt.Sprint(now.Unix()) + `.123,"42"]`},
		{"shows exemplars", "POST", "query_exemplars", "query=requests_total" + times, `"trace_id":"abc"`},
		{"starts: exemplars", "POST", "query_exemplars", fmt.Sprintf("query=test&start=%d&end=%d", now.UnixMilli()-1000, now.UnixMilli()), `"status":"success"`},
		{"starts: rules", "GET", "rules", "", `"status":"success"`},
		{"starts: metadata", "GET", "metadata", "limit=40000", `"requests_total":[{"type":"counter"`},
		{"starts: labels", "GET", "labels", "limit=40000" + times, `"data":["__name__","http.method","job"]`},
		{"starts: names", "GET", "label/__name__/values", "limit=40000" + times, `"data":["requests_total"]`},
		{"fills a variable", "GET", "label/job/values", selector + times, `"data":["api"]`},
		{"fills a variable of an escaped name", "GET", "label/U__http_2e_method/values", times[1:], `"data":["GET"]`},
		{"fills a variable from series", "GET", "series", selector + times, `"job":"api"`},
		{"builds a query: series", "POST", "series", selector + "&match[]=nothing&limit=5" + times, `"job":"api"`},
		{"builds a query: labels", "POST", "labels", selector + "&match[]=nothing&limit=5" + times, `"job"`},
	} {
		for _, prefix := range []string{"/api/v1/", "/prometheus/api/v1/"} {
			code, body := ask(t, request.method, n.URL+prefix+request.path, request.form)
			if code != http.StatusOK || !strings.Contains(body, request.want) {
				t.Errorf("Grafana %s (%s %s): status %d, %.500s, want %s in it", request.does, request.method, prefix+request.path, code, body, request.want)
			}
		}
	}
}

// ask sends a form as Grafana does and returns status and body.
func ask(t *testing.T, method, target, form string) (int, string) {
	t.Helper()
	var content io.Reader
	if method == http.MethodPost {
		content = strings.NewReader(form)
	} else {
		target += "?" + form
	}
	req, err := http.NewRequestWithContext(t.Context(), method, target, content)
	if err != nil {
		t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var body bytes.Buffer
	if _, err := body.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body.String()
}

// get returns the body of a page.
func get(t *testing.T, page string) string {
	t.Helper()
	code, body := ask(t, http.MethodGet, page, "")
	if code != http.StatusOK {
		t.Fatalf("get %s: status %d", page, code)
	}
	return body
}

// writeRequest is remote write 1.0 of one series with five minutes of samples, an exemplar and metadata.
func writeRequest(t *testing.T, job string, end time.Time) []byte {
	t.Helper()
	series := prompb.TimeSeries{Labels: []prompb.Label{
		{Name: "__name__", Value: "requests_total"}, {Name: "http.method", Value: "GET"}, {Name: "job", Value: job},
	}}
	for at := end.Add(-5 * time.Minute); !at.After(end); at = at.Add(15 * time.Second) {
		series.Samples = append(series.Samples, prompb.Sample{Timestamp: at.UnixMilli(), Value: 42})
	}
	series.Exemplars = []prompb.Exemplar{{Labels: []prompb.Label{{Name: "trace_id", Value: "abc"}}, Value: 0.5, Timestamp: end.UnixMilli()}}
	request := prompb.WriteRequest{
		Timeseries: []prompb.TimeSeries{series},
		Metadata:   []prompb.MetricMetadata{{Type: prompb.MetricMetadata_COUNTER, MetricFamilyName: "requests_total", Help: "Requests."}},
	}
	raw, err := request.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return snappy.Encode(nil, raw)
}

package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
)

// API is the Prometheus HTTP API of a Prometheus or of a Varve.
type API struct {
	URL    string // without a slash at the end
	Tenant string // none is named if empty
}

// StatusError is an answer other than 2xx.
type StatusError struct {
	Code int
	Body string // its beginning
}

// Error names the status and quotes the body.
func (e *StatusError) Error() string { return fmt.Sprintf("status %d: %s", e.Code, e.Body) }

// Everything is the matcher of all series.
func Everything() *labels.Matcher {
	return labels.MustNewMatcher(labels.MatchRegexp, labels.MetricName, ".+")
}

// jobIs is the matcher of what a Prometheus scraped under the job's name.
func jobIs(job string) *labels.Matcher { return labels.MustNewMatcher(labels.MatchEqual, "job", job) }

// Read returns raw samples by remote read: markers of staleness and the bits of NaN as they are stored.
func (a API) Read(from, to time.Time, matchers ...*labels.Matcher) (Samples, error) {
	query := &prompb.Query{StartTimestampMs: from.UnixMilli(), EndTimestampMs: to.UnixMilli()}
	for _, m := range matchers {
		query.Matchers = append(query.Matchers, &prompb.LabelMatcher{
			Type: matcherTypes[m.Type], Name: m.Name, Value: m.Value,
		})
	}
	request := &prompb.ReadRequest{
		Queries:               []*prompb.Query{query},
		AcceptedResponseTypes: []prompb.ReadRequest_ResponseType{prompb.ReadRequest_SAMPLES},
	}
	raw, err := request.Marshal()
	if err != nil {
		return nil, fmt.Errorf("encode a remote read: %w", err)
	}
	header := http.Header{
		"Content-Type": {"application/x-protobuf"}, "Content-Encoding": {"snappy"},
		"X-Prometheus-Remote-Read-Version": {"0.1.0"},
	}
	body, err := a.do("/api/v1/read", header, snappy.Encode(nil, raw))
	if err != nil {
		return nil, fmt.Errorf("remote read from %s: %w", a.URL, err)
	}
	return decodeRead(body)
}

var matcherTypes = map[labels.MatchType]prompb.LabelMatcher_Type{
	labels.MatchEqual: prompb.LabelMatcher_EQ, labels.MatchNotEqual: prompb.LabelMatcher_NEQ,
	labels.MatchRegexp: prompb.LabelMatcher_RE, labels.MatchNotRegexp: prompb.LabelMatcher_NRE,
}

func decodeRead(body []byte) (Samples, error) {
	raw, err := snappy.Decode(nil, body)
	if err != nil {
		return nil, fmt.Errorf("decompress a remote read: %w", err)
	}
	var response prompb.ReadResponse
	if err := response.Unmarshal(raw); err != nil {
		return nil, fmt.Errorf("decode a remote read: %w", err)
	}
	samples := Samples{}
	for _, result := range response.Results {
		for _, series := range result.Timeseries {
			name := seriesName(series.Labels)
			if _, ok := samples[name]; ok {
				return nil, fmt.Errorf("decode a remote read: %s came twice", name)
			}
			if decoded := decodeSeries(series); len(decoded) > 0 { // a series may come without samples
				samples[name] = decoded
			}
		}
	}
	return samples, nil
}

// seriesName is the labels in the order in which they came: one out of order is another series.
func seriesName(pairs []prompb.Label) string {
	var b strings.Builder
	for i, pair := range pairs {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s=%q", pair.Name, pair.Value)
	}
	return b.String()
}

// decodeSeries merges floats and histograms by time. Each kind must come in order, which comparing shows.
func decodeSeries(series *prompb.TimeSeries) []Sample {
	samples := make([]Sample, 0, len(series.Samples)+len(series.Histograms))
	for _, s := range series.Samples {
		samples = append(samples, Sample{Time: s.Timestamp, Value: floatValue(s.Value)})
	}
	for _, h := range series.Histograms {
		value := ""
		if h.IsFloatHistogram() {
			value = floatHistogramValue(h.ToFloatHistogram())
		} else {
			value = histogramValue(h.ToIntHistogram())
		}
		samples = append(samples, Sample{Time: h.Timestamp, Value: value})
	}
	if len(series.Samples) > 0 && len(series.Histograms) > 0 {
		slices.SortStableFunc(samples, func(a, b Sample) int { return int(a.Time - b.Time) })
	}
	return samples
}

// Answer is what a query returned.
type Answer struct {
	Samples  Samples // values as the JSON has them
	Warnings []string
}

// Query evaluates an instant query that returns a vector or a matrix.
func (a API) Query(query string, at time.Time) (Answer, error) {
	form := url.Values{"query": {query}, "time": {strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', 3, 64)}}
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	body, err := a.do("/api/v1/query", header, []byte(form.Encode()))
	if err != nil {
		return Answer{}, fmt.Errorf("query %s at %s: %w", query, a.URL, err)
	}
	answer, err := decodeAnswer(body)
	if err != nil {
		return Answer{}, fmt.Errorf("decode the answer of %s to %s: %w", a.URL, query, err)
	}
	return answer, nil
}

// response is the JSON of a query's answer. Each pair is a time in seconds and a value.
type response struct {
	Status   string   `json:"status"`
	Warnings []string `json:"warnings"`
	Data     struct {
		Result []struct {
			Metric     map[string]string    `json:"metric"`
			Value      *[2]json.RawMessage  `json:"value"`
			Values     [][2]json.RawMessage `json:"values"`
			Histogram  *[2]json.RawMessage  `json:"histogram"`
			Histograms [][2]json.RawMessage `json:"histograms"`
		} `json:"result"`
	} `json:"data"`
}

func decodeAnswer(body []byte) (Answer, error) {
	var r response
	if err := json.Unmarshal(body, &r); err != nil {
		return Answer{}, err
	}
	if r.Status != "success" {
		return Answer{}, fmt.Errorf("status %q", r.Status)
	}
	answer := Answer{Samples: Samples{}, Warnings: r.Warnings}
	for _, series := range r.Data.Result {
		pairs := append(series.Values, series.Histograms...)
		for _, single := range []*[2]json.RawMessage{series.Value, series.Histogram} {
			if single != nil {
				pairs = append(pairs, *single)
			}
		}
		name := labels.FromMap(series.Metric).String()
		for _, pair := range pairs {
			seconds, err := strconv.ParseFloat(string(pair[0]), 64)
			if err != nil {
				return Answer{}, fmt.Errorf("time %s: %w", pair[0], err)
			}
			sample := Sample{Time: int64(seconds*1000 + 0.5), Value: string(pair[1])}
			answer.Samples[name] = append(answer.Samples[name], sample)
		}
	}
	return answer, nil
}

// do posts and returns the body of an answer of 2xx.
func (a API) do(path string, header http.Header, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.URL+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header = header
	if a.Tenant != "" {
		req.Header.Set("X-Scope-OrgID", a.Tenant)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		return nil, &StatusError{Code: resp.StatusCode, Body: string(answer[:min(len(answer), 512)])}
	}
	return answer, nil
}

// Metrics returns the process's own metrics from /metrics: for each name the sum over its series.
func Metrics(baseURL string) (map[string]float64, error) {
	resp, err := client.Get(baseURL + "/metrics")
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read %s/metrics: %w", baseURL, err)
	}
	sums := map[string]float64{}
	for line := range strings.Lines(string(body)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, _, _ := strings.Cut(line, "{")
		name, _, _ = strings.Cut(name, " ")
		value, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("read %s/metrics: %q: %w", baseURL, line, err)
		}
		sums[name] += value
	}
	return sums, nil
}

package load

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/prompb"
)

// Selection is what one read asks for.
type Selection struct {
	Tenant    string
	From, To  int64  // From ≤ time < To, Unix milliseconds
	Metric    string // this metric, or
	NotMetric string // none of these, a regular expression
	Cluster   string // "" = any
}

// Source reads samples back. Read calls each for every series of the answer, which it may reuse; partial says that
// the server warned. Text says that values come as text: no payloads of NaN, no staleness markers, no buckets.
type Source interface {
	Read(ctx context.Context, sel Selection, each func(*ReadSeries)) (partial bool, err error)
	Text() bool
}

// ReadSeries is a series as it was read.
type ReadSeries struct {
	prompb.TimeSeries
	Text bool
}

func (s *ReadSeries) name() string {
	var parts []string
	for _, l := range s.Labels {
		parts = append(parts, l.Name+"="+strconv.Quote(l.Value))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// FinalError is an answer that another attempt would not change.
type FinalError struct {
	Status int
	Text   string
}

// Error gives the status and the beginning of the body.
func (e *FinalError) Error() string { return fmt.Sprintf("status %d: %s", e.Status, e.Text) }

// HTTPSource is where a Prometheus-like server is asked: URL is what /api/v1/read and /api/v1/query are appended to.
type HTTPSource struct {
	URL    string
	Header http.Header
	Client *http.Client
}

// maxAnswer bounds the size of one answer.
const maxAnswer = 1 << 30

func (h *HTTPSource) post(ctx context.Context, path, tenant string, header http.Header, body []byte) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(h.URL, "/")+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for _, hs := range []http.Header{h.Header, header} {
		maps.Copy(r.Header, hs)
	}
	if tenant != "" {
		r.Header.Set("X-Scope-OrgID", tenant)
	}
	client := h.Client
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(r)
	if err != nil || resp.StatusCode == http.StatusOK {
		return resp, err
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
	final := &FinalError{resp.StatusCode, strings.TrimSpace(string(text))}
	if resp.StatusCode/100 == 4 && resp.StatusCode != http.StatusTooManyRequests {
		return nil, final
	}
	return nil, fmt.Errorf("%s", final.Error())
}

// RemoteRead reads by /api/v1/read with whole samples: every bit of floats and native histograms.
type RemoteRead struct{ HTTPSource }

// Text is false: remote read is exact.
func (*RemoteRead) Text() bool { return false }

// Read implements Source.
func (r *RemoteRead) Read(ctx context.Context, sel Selection, each func(*ReadSeries)) (bool, error) {
	q := &prompb.Query{StartTimestampMs: sel.From, EndTimestampMs: sel.To - 1}
	if sel.Metric != "" {
		q.Matchers = append(q.Matchers, &prompb.LabelMatcher{Type: prompb.LabelMatcher_EQ, Name: metricName, Value: sel.Metric})
	} else {
		q.Matchers = append(q.Matchers,
			&prompb.LabelMatcher{Type: prompb.LabelMatcher_NRE, Name: metricName, Value: sel.NotMetric},
			&prompb.LabelMatcher{Type: prompb.LabelMatcher_NEQ, Name: metricName})
	}
	if sel.Cluster != "" {
		q.Matchers = append(q.Matchers, &prompb.LabelMatcher{Type: prompb.LabelMatcher_EQ, Name: "cluster", Value: sel.Cluster})
	}
	req := &prompb.ReadRequest{Queries: []*prompb.Query{q}, AcceptedResponseTypes: []prompb.ReadRequest_ResponseType{prompb.ReadRequest_SAMPLES}}
	raw, err := req.Marshal()
	if err != nil {
		return false, fmt.Errorf("encode remote read: %w", err)
	}
	resp, err := r.post(ctx, "/api/v1/read", sel.Tenant, http.Header{
		"Content-Type": {"application/x-protobuf"}, "Content-Encoding": {"snappy"}, "X-Prometheus-Remote-Read-Version": {"0.1.0"},
	}, snappy.Encode(nil, raw))
	if err != nil {
		return false, fmt.Errorf("remote read: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return false, fmt.Errorf("remote read: %w", err)
	}
	if body, err = snappy.Decode(nil, body); err != nil {
		return false, fmt.Errorf("remote read: decompress: %w", err)
	}
	var ans prompb.ReadResponse
	if err := ans.Unmarshal(body); err != nil {
		return false, fmt.Errorf("remote read: decode: %w", err)
	}
	for _, res := range ans.Results {
		for _, s := range res.Timeseries {
			each(&ReadSeries{TimeSeries: *s})
		}
	}
	return false, nil
}

// Query reads by /api/v1/query with range selectors: what users see, but not every bit.
type Query struct{ HTTPSource }

// Text is true: the answer is JSON.
func (*Query) Text() bool { return true }

// queryAnswer is the part of a query's answer that is looked at.
type queryAnswer struct {
	Warnings []string `json:"warnings"`
	Data     struct {
		Result []struct {
			Metric     map[string]string    `json:"metric"`
			Values     [][2]json.RawMessage `json:"values"`
			Histograms [][2]json.RawMessage `json:"histograms"`
		} `json:"result"`
	} `json:"data"`
}

// Read implements Source.
func (r *Query) Read(ctx context.Context, sel Selection, each func(*ReadSeries)) (bool, error) {
	expr := fmt.Sprintf("__name__=%q", sel.Metric)
	if sel.Metric == "" {
		expr = fmt.Sprintf(`__name__!~%q,__name__!=""`, sel.NotMetric)
	}
	if sel.Cluster != "" {
		expr += fmt.Sprintf(",cluster=%q", sel.Cluster)
	}
	// A range selector leaves its left end out.
	form := url.Values{"query": {fmt.Sprintf("{%s}[%dms]", expr, sel.To-sel.From)}, "time": {strconv.FormatFloat(float64(sel.To-1)/1000, 'f', 3, 64)}}
	resp, err := r.post(ctx, "/api/v1/query", sel.Tenant, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, []byte(form.Encode()))
	if err != nil {
		return false, fmt.Errorf("query: %w", err)
	}
	defer resp.Body.Close()
	var ans queryAnswer
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&ans); err != nil {
		return false, fmt.Errorf("query: decode: %w", err)
	}
	for _, res := range ans.Data.Result {
		s := &ReadSeries{Text: true}
		for name, value := range res.Metric {
			s.Labels = append(s.Labels, prompb.Label{Name: name, Value: value})
		}
		slices.SortFunc(s.Labels, func(a, b prompb.Label) int { return strings.Compare(a.Name, b.Name) })
		if err := s.addText(res.Values, res.Histograms); err != nil {
			return false, fmt.Errorf("query: decode: %w", err)
		}
		each(s)
	}
	return len(ans.Warnings) > 0, nil
}

func (s *ReadSeries) addText(values, histograms [][2]json.RawMessage) error {
	for _, p := range values {
		ts, err := textTime(p[0])
		if err != nil {
			return err
		}
		v, err := strconv.ParseFloat(strings.Trim(string(p[1]), `"`), 64)
		if err != nil {
			return err
		}
		s.Samples = append(s.Samples, prompb.Sample{Timestamp: ts, Value: v})
	}
	for _, p := range histograms {
		ts, err := textTime(p[0])
		if err != nil {
			return err
		}
		var h struct {
			Count float64 `json:"count,string"`
			Sum   float64 `json:"sum,string"`
		}
		if err := json.Unmarshal(p[1], &h); err != nil {
			return err
		}
		s.Histograms = append(s.Histograms, prompb.Histogram{
			Timestamp: ts, Sum: h.Sum, Count: &prompb.Histogram_CountFloat{CountFloat: h.Count}, ZeroCount: &prompb.Histogram_ZeroCountFloat{},
		})
	}
	return nil
}

// textTime reads seconds with up to three decimals.
func textTime(b json.RawMessage) (int64, error) {
	whole, frac, _ := strings.Cut(string(b), ".")
	return strconv.ParseInt(whole+(frac + "000")[:3], 10, 64)
}

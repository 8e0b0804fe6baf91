package promql_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/varve-io/varve/pkg/tenant"
)

// sample is one of a series; h or fh is set for a histogram.
type sample struct {
	labels labels.Labels
	start  int64 // start timestamp, 0 for none
	t      int64
	v      float64
	h      *histogram.Histogram
	fh     *histogram.FloatHistogram
}

func (s *sample) isFloat() bool { return s.h == nil && s.fh == nil }

// protocol is a version of remote write.
type protocol struct {
	contentType, version string
	encode               func([]sample) ([]byte, error)
}

var (
	writeV1 = protocol{"application/x-protobuf", "0.1.0", encodeV1}
	writeV2 = protocol{"application/x-protobuf;proto=io.prometheus.write.v2.Request", "2.0.0", encodeV2}
)

// write sends samples as a Prometheus would. All of them must be taken.
func (i *installation) write(id tenant.ID, p protocol, samples []sample) error {
	if len(samples) == 0 {
		return nil
	}
	body, err := p.encode(samples)
	if err != nil {
		return err
	}
	r := httptest.NewRequest(http.MethodPost, "/api/v1/push", bytes.NewReader(snappy.Encode(nil, body)))
	r.Header.Set("Content-Type", p.contentType)
	r.Header.Set("Content-Encoding", "snappy")
	r.Header.Set("X-Prometheus-Remote-Write-Version", p.version)
	r.Header.Set(tenant.Header, id.String())
	w := httptest.NewRecorder()
	i.distributor.ServeHTTP(w, r)
	if w.Code != http.StatusNoContent {
		return fmt.Errorf("write of %d samples: status %d: %s", len(samples), w.Code, w.Body)
	}
	return checkWritten(w.Header(), samples)
}

// checkWritten compares what the receiver says that it stored with what was sent.
func checkWritten(h http.Header, samples []sample) error {
	floats := 0
	for n := range samples {
		if samples[n].isFloat() {
			floats++
		}
	}
	for name, want := range map[string]int{"Samples": floats, "Histograms": len(samples) - floats} {
		if got := h.Get("X-Prometheus-Remote-Write-" + name + "-Written"); got != strconv.Itoa(want) {
			return fmt.Errorf("%s written: %s of %d", name, got, want)
		}
	}
	return nil
}

// bySeries groups samples by series and by whether they are floats, as remote write 2.0 wants it, in their order.
func bySeries(samples []sample) [][]sample {
	at := map[string]int{}
	var groups [][]sample
	for _, s := range samples {
		key := fmt.Sprint(s.isFloat(), s.labels)
		n, ok := at[key]
		if !ok {
			n = len(groups)
			at[key] = n
			groups = append(groups, nil)
		}
		groups[n] = append(groups[n], s)
	}
	return groups
}

func encodeV1(samples []sample) ([]byte, error) {
	var req prompb.WriteRequest
	for _, g := range bySeries(samples) {
		ts := prompb.TimeSeries{Labels: prompb.FromLabels(g[0].labels, nil)}
		for _, s := range g {
			switch {
			case s.h != nil:
				ts.Histograms = append(ts.Histograms, prompb.FromIntHistogram(s.t, s.h))
			case s.fh != nil:
				ts.Histograms = append(ts.Histograms, prompb.FromFloatHistogram(s.t, s.fh))
			default:
				ts.Samples = append(ts.Samples, prompb.Sample{Timestamp: s.t, Value: s.v})
			}
		}
		req.Timeseries = append(req.Timeseries, ts)
	}
	return req.Marshal()
}

func encodeV2(samples []sample) ([]byte, error) {
	var req writev2.Request
	symbols := writev2.NewSymbolTable()
	for _, g := range bySeries(samples) {
		ts := writev2.TimeSeries{LabelsRefs: symbols.SymbolizeLabels(g[0].labels, nil)}
		for _, s := range g {
			switch {
			case s.h != nil:
				ts.Histograms = append(ts.Histograms, writev2.FromIntHistogram(s.start, s.t, s.h))
			case s.fh != nil:
				ts.Histograms = append(ts.Histograms, writev2.FromFloatHistogram(s.start, s.t, s.fh))
			default:
				ts.Samples = append(ts.Samples, writev2.Sample{StartTimestamp: s.start, Timestamp: s.t, Value: s.v})
			}
		}
		req.Timeseries = append(req.Timeseries, ts)
	}
	req.Symbols = symbols.Symbols()
	return req.Marshal()
}

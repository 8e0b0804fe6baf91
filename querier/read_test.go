package querier_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/varve-io/varve/querier"
)

func (s site) read(body []byte) *http.Response {
	s.t.Helper()
	res, err := http.Post(s.url+"/prometheus/api/v1/read", "application/x-protobuf", bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

func readRequest(t *testing.T, start, end int64, types ...prompb.ReadRequest_ResponseType) []byte {
	t.Helper()
	req := prompb.ReadRequest{AcceptedResponseTypes: types, Queries: []*prompb.Query{{
		StartTimestampMs: start, EndTimestampMs: end,
		Matchers: []*prompb.LabelMatcher{{Type: prompb.LabelMatcher_EQ, Name: "job", Value: "db"}},
	}}}
	raw, err := req.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return snappy.Encode(nil, raw)
}

// TestRemoteRead reads 20 of the 41 samples in both forms; the range begins within a chunk.
func TestRemoteRead(t *testing.T) {
	s := newSite(t, defaultLimits())
	const start, end = (now - 300) * 1000, (now - 15) * 1000

	res := s.read(readRequest(t, start, end))
	packed, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 {
		t.Fatal(res.Status, err, string(packed))
	}
	raw, err := snappy.Decode(nil, packed)
	if err != nil {
		t.Fatal(err)
	}
	var got prompb.ReadResponse
	if err := got.Unmarshal(raw); err != nil {
		t.Fatal(err)
	}
	if n := len(got.Results[0].Timeseries[0].Samples); n != 20 {
		t.Errorf("%d samples, want 20", n)
	}

	res = s.read(readRequest(t, start, end, prompb.ReadRequest_STREAMED_XOR_CHUNKS))
	frames, samples := remote.NewChunkedReader(res.Body, 1<<20, nil), 0
	for {
		var frame prompb.ChunkedReadResponse
		if err := frames.NextProto(&frame); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		for _, c := range frame.ChunkedSeries[0].Chunks {
			chunk, err := chunkenc.FromData(chunkenc.Encoding(c.Type), c.Data)
			if err != nil {
				t.Fatal(err)
			}
			samples += chunk.NumSamples()
		}
	}
	if samples != 20 {
		t.Errorf("%d samples in chunks, want 20", samples)
	}
}

func TestHostileRemoteRead(t *testing.T) {
	s := newSite(t, defaultLimits())
	many := prompb.ReadRequest{Queries: []*prompb.Query{{}}}
	for range 1000 {
		many.Queries[0].Matchers = append(many.Queries[0].Matchers, &prompb.LabelMatcher{Name: "a", Value: "b"})
	}
	raw, err := many.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string][]byte{
		"declared length":   {0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2, 3},
		"many matchers":     snappy.Encode(nil, raw),
		"end before start":  readRequest(t, 10, 5),
		"no protobuf":       snappy.Encode(nil, []byte("hello")),
		"longer than a MiB": bytes.Repeat([]byte{1}, 2<<20),
	} {
		if res := s.read(body); res.StatusCode != 400 {
			t.Errorf("%s: %s", name, res.Status)
		}
	}
}

// TestTooFewWitnesses: a read that can't see every acknowledged sample is a 503 that says so, or marked where the
// tenant chose that, on every route and in remote read.
func TestTooFewWitnesses(t *testing.T) {
	for _, partial := range []bool{false, true} {
		c := newCluster(t, "x", "y")
		c.owners["xa"].err, c.owners["xb"].err = errors.New("refused"), errors.New("refused")
		limits := defaultLimits()
		limits.limits.PartialResponse = partial
		q, err := querier.New(querier.Default(), querier.Dependencies{
			Recent: querier.Fanout{Ring: c, Owners: c}, Older: sourcesOf{}, Limits: limits, Registerer: prometheus.NewRegistry(),
		})
		if err != nil {
			t.Fatal(err)
		}
		srv := httptest.NewServer(q)
		defer srv.Close()
		s := site{t, srv.URL}
		for _, path := range []string{"/query?query=%7Bp!=%22%22%7D&time=5", "/labels", "/label/p/values", "/series?match%5B%5D=%7Bp!=%22%22%7D"} {
			code, body := s.send("GET", "/api/v1"+path, "", "")
			if partial && (code != 200 || !strings.Contains(body, `"warnings":["partial answer: too few`)) {
				t.Errorf("partial %s: %d %s", path, code, body)
			}
			if !partial && (code != 503 || !strings.Contains(body, `"errorType":"unavailable"`)) {
				t.Errorf("%s: %d %s", path, code, body)
			}
		}
		if res := s.read(readRequest(t, 0, 5000)); !partial && res.StatusCode != 503 {
			t.Errorf("remote read: %s", res.Status)
		}
	}
}

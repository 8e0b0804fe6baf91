package distributor_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/varve-io/varve/distributor"
	"github.com/varve-io/varve/pkg/config"
	"github.com/varve-io/varve/pkg/tenant"
)

// post is a write request of any protocol.
func post(path, id, media string, body []byte) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
	if media != "" {
		r.Header.Set("Content-Type", media)
	}
	if id != "" {
		r.Header.Set(tenant.Header, id)
	}
	return r
}

// otlpGauge is an OTLP request of a gauge with points at distances from now; their values count up from 1.
func (b *bed) otlpGauge(at ...time.Duration) pmetricotlp.ExportRequest {
	md := pmetric.NewMetrics()
	m := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName("m")
	points := m.SetEmptyGauge().DataPoints()
	for i, d := range at {
		p := points.AppendEmpty()
		p.SetTimestamp(pcommon.NewTimestampFromTime(b.now.Add(d)))
		p.SetIntValue(int64(i + 1))
	}
	return pmetricotlp.NewExportRequestFromMetrics(md)
}

func TestOTLPContract(t *testing.T) {
	b := newBed(t, options{})
	bits := math.Float64bits
	limited, _ := tenant.Parse("limited")
	b.limits.set(limited, func(l *tenant.Limits) { l.MaxSamplesPerRequest = 1 })
	slow, _ := tenant.Parse("slow")
	b.limits.set(slow, func(l *tenant.Limits) { l.MaxSamplesPerSecond, l.MaxSamplesBurst = 1, 1 })
	for n, tt := range []struct {
		name, tenant string
		at           []time.Duration
		code         int
		rejected     int64
		says         []string
		want         map[string]uint64
	}{
		{"all stored", "a", []time.Duration{0, time.Second}, 200, 0, nil, map[string]uint64{`{__name__="m"} 0s`: bits(1), `{__name__="m"} 1s`: bits(2)}},
		{"again", "a", []time.Duration{0, time.Second}, 200, 0, nil, map[string]uint64{`{__name__="m"} 0s`: bits(1), `{__name__="m"} 1s`: bits(2)}},
		{"some refused", "b", []time.Duration{-4 * time.Hour, 0, 11 * time.Minute}, 200, 2, []string{"past_window: 1", "future_window: 1", "10m", "the rest is stored"}, map[string]uint64{`{__name__="m"} 0s`: bits(2)}},
		{"all refused", "c", []time.Duration{-4 * time.Hour}, 200, 1, []string{"past_window: 1", "3h"}, map[string]uint64{}},
		{"some refused later", "d", []time.Duration{0}, 200, 0, nil, map[string]uint64{`{__name__="m"} 0s`: bits(1)}},
		{"conflict", "d", []time.Duration{-time.Second, 0}, 200, 1, []string{"1 of 2 samples refused", "conflict: 1"}, map[string]uint64{`{__name__="m"} 0s`: bits(2), `{__name__="m"} -1s`: bits(1)}},
		{"too many", "limited", []time.Duration{0, 1}, 400, 0, []string{"max_samples_per_request of 1"}, map[string]uint64{}},
		{"over the rate", "slow", []time.Duration{0, time.Second}, 429, 0, []string{"max_samples_per_second of 1"}, map[string]uint64{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			request := b.otlpGauge(tt.at...)
			asJSON := n%2 == 0
			path, media, marshal := "/otlp/v1/metrics", "application/x-protobuf", request.MarshalProto
			if asJSON {
				path, media, marshal = "/api/v1/otlp/v1/metrics", "application/json", request.MarshalJSON
			}
			body, err := marshal()
			if err != nil {
				t.Fatal(err)
			}
			w := b.serve(post(path, tt.tenant, media, body))
			if w.Code != tt.code || w.Header().Get("Content-Type") != media {
				t.Errorf("%d %s: %s, want %d", w.Code, w.Header().Get("Content-Type"), w.Body, tt.code)
			}
			message, rejected := otlpAnswer(t, w, asJSON)
			if rejected != tt.rejected {
				t.Errorf("%d rejected, want %d", rejected, tt.rejected)
			}
			for _, part := range tt.says {
				if !strings.Contains(message, part) {
					t.Errorf("%q doesn't say %q", message, part)
				}
			}
			if (w.Header().Get("Retry-After") != "") != (tt.code == 429) {
				t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
			}
			if d := cmp.Diff(tt.want, b.stored(tt.tenant)); d != "" {
				t.Errorf("stored (-want +got):\n%s", d)
			}
		})
	}
}

// otlpAnswer reads an answer: a partial success, or a google.rpc.Status.
func otlpAnswer(t *testing.T, w *httptest.ResponseRecorder, asJSON bool) (message string, rejected int64) {
	t.Helper()
	if w.Code == 200 {
		response := pmetricotlp.NewExportResponse()
		unmarshal := response.UnmarshalProto
		if asJSON {
			unmarshal = response.UnmarshalJSON
		}
		if err := unmarshal(w.Body.Bytes()); err != nil {
			t.Fatal(err)
		}
		return response.PartialSuccess().ErrorMessage(), response.PartialSuccess().RejectedDataPoints()
	}
	var status spb.Status
	if asJSON {
		if err := json.Unmarshal(w.Body.Bytes(), &status); err != nil {
			t.Fatal(err)
		}
	} else if err := proto.Unmarshal(w.Body.Bytes(), &status); err != nil {
		t.Fatal(err)
	}
	if status.Code == 0 || status.Message == "" {
		t.Errorf("an error that says nothing: %v", &status)
	}
	return status.Message, 0
}

// What text and lines are answered.
func TestTextContract(t *testing.T) {
	b := newBed(t, options{})
	bits := math.Float64bits
	const text, lines = "/api/v1/import/prometheus", "/api/v2/write?precision=ms"
	for n, tt := range []struct {
		name, path, body string
		code             int
		says             []string
		header           string
		want             map[string]uint64
	}{
		{"text", text, "# TYPE m gauge\nm{a=\"b\"} 1\n", 204, nil, "", map[string]uint64{`{__name__="m", a="b"} 0s`: bits(1)}},
		{"text with a bad line", text, "m 1\nm{ 2\nn 3\n", 400, []string{"invalid_line: 1", "line 2", "the rest is stored"}, "", map[string]uint64{`{__name__="m"} 0s`: bits(1), `{__name__="n"} 0s`: bits(3)}},
		{"text with a bad line and a late sample", text, "m 1 1000\nm{ 2\nn 3\n", 400, []string{"invalid_line: 1", "line 2", "1 of 2 samples refused, the rest is stored", "past_window"}, "", map[string]uint64{`{__name__="n"} 0s`: bits(3)}},
		{"no text", text, "", 204, nil, "", map[string]uint64{}},
		{"lines", lines, fmt.Sprintf("m,a=b value=1,x=2 %d", b.now.UnixMilli()), 204, nil, "", map[string]uint64{`{__name__="m", a="b"} 0s`: bits(1), `{__name__="m_x", a="b"} 0s`: bits(2)}},
		{"lines of version 1", "/write?db=x&precision=s", fmt.Sprintf("m value=1 %d", b.now.Unix()), 204, nil, "", map[string]uint64{`{__name__="m"} ` + b.now.Truncate(time.Second).Sub(b.now).String(): bits(1)}},
		{"lines below their own path", "/influx/write", "m value=1", 204, nil, "", map[string]uint64{`{__name__="m"} 0s`: bits(1)}},
		{"a bad line", lines, "m value=1\nm value\n", 400, []string{`"code":"invalid"`, "partial write", "invalid_line: 1", "line 2"}, "", map[string]uint64{`{__name__="m"} 0s`: bits(1)}},
		{"strings", lines, `m value=1,s="x"`, 204, nil, "1", map[string]uint64{`{__name__="m"} 0s`: bits(1)}},
		{"no such precision", "/write?precision=days", "m value=1", 400, []string{"precision", "days"}, "", map[string]uint64{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id := fmt.Sprint("row-", n)
			w := b.serve(post(tt.path, id, "", []byte(tt.body)))
			if w.Code != tt.code {
				t.Errorf("%d, want %d: %s", w.Code, tt.code, w.Body)
			}
			for _, part := range tt.says {
				if !strings.Contains(w.Body.String(), part) {
					t.Errorf("%q doesn't say %q", w.Body, part)
				}
			}
			if got := w.Header().Get("X-Varve-Strings-Skipped"); got != tt.header {
				t.Errorf("%q strings skipped, want %q", got, tt.header)
			}
			if d := cmp.Diff(tt.want, b.stored(id)); d != "" {
				t.Errorf("stored (-want +got):\n%s", d)
			}
		})
	}
}

func gzipped(t testing.TB, body []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstandard(t testing.TB, body []byte) []byte {
	t.Helper()
	e, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return e.EncodeAll(body, nil)
}

// Encodings, media types and sizes, of every protocol that isn't remote write.
func TestProtocolsOfOthers(t *testing.T) {
	b := newBed(t, options{change: func(c *distributor.Config) { c.MaxRequestBytes = 64 * config.KiB }})
	body, err := b.otlpGauge(0).MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	bodies := map[string][]byte{"/otlp/v1/metrics": body, "/api/v2/write": []byte("m value=1"), "/api/v1/import/prometheus": []byte("m 1")}
	for path, body := range bodies {
		ok, media := 204, ""
		if strings.HasPrefix(path, "/otlp") {
			ok, media = 200, "application/x-protobuf"
		}
		bomb := bytes.Repeat([]byte("\n"), 1<<20)
		for _, tt := range []struct {
			name, encoding, media string
			body                  []byte
			code                  int
		}{
			{"as it is", "", media, body, ok},
			{"identity", "identity", media, body, ok},
			{"gzip", "gzip", media, gzipped(t, body), ok},
			{"zstd", "zstd", media, zstandard(t, body), ok},
			{"snappy", "snappy", media, body, 415},
			{"two encodings", "gzip, gzip", media, gzipped(t, gzipped(t, body)), 415},
			{"no gzip", "gzip", media, body, 400},
			{"no zstd", "zstd", media, body, 400},
			{"H9: gzip bomb", "gzip", media, gzipped(t, bomb), 413},
			{"H9: zstd bomb", "zstd", media, zstandard(t, bomb), 413},
			{"too long", "", media, bomb, 413},
			{"another type", "", "image/png", body, 415},
		} {
			t.Run(path+" "+tt.name, func(t *testing.T) {
				r := post(path, "", tt.media, tt.body)
				if tt.encoding != "" {
					r.Header.Set("Content-Encoding", tt.encoding)
				}
				if w := b.serve(r); w.Code != tt.code {
					t.Errorf("%d, want %d: %s", w.Code, tt.code, w.Body)
				}
			})
		}
		r := post(path, "", media, body)
		r.Method = http.MethodPut
		if w := b.serve(r); w.Code != 405 || w.Header().Get("Allow") != http.MethodPost {
			t.Errorf("%s PUT: %d", path, w.Code)
		}
	}
	if w := b.serve(post("/api/v1/import/prometheus", "", "application/openmetrics-text; version=1.0.0", []byte("m 1\n"))); w.Code != 400 || !strings.Contains(w.Body.String(), "# EOF") {
		t.Errorf("OpenMetrics that is cut off: %d %s", w.Code, w.Body)
	}
	if w := b.serve(post("/api/v1/import/prometheus", "", "application/openmetrics-text; version=1.0.0", []byte("m 1\n# EOF\n"))); w.Code != 204 {
		t.Errorf("OpenMetrics: %d %s", w.Code, w.Body)
	}
}

// H9 and H3 for OTLP: what would cost a careless server its memory, its stack or its time is refused, soon and cheaply.
func TestHostileOTLP(t *testing.T) {
	b := newBed(t, options{change: func(c *distributor.Config) { c.MaxInflightBytes = 256 * config.MiB }})
	now := binary.LittleEndian.AppendUint64([]byte{3<<3 | 1}, uint64(b.now.UnixNano()))
	point := append(now, binary.LittleEndian.AppendUint64([]byte{6<<3 | 1}, 1)...) // as_int
	text := func(id int, s string) []byte { return field(id, []byte(s)) }
	attribute := func(key string, value []byte) []byte { return slices.Concat(text(1, key), field(2, value)) }
	gauge := func(points []byte) []byte { return field(2, slices.Concat(text(1, "m"), field(5, points))) }
	request := func(resource, metrics []byte) []byte {
		return field(1, slices.Concat(field(1, resource), field(2, metrics)))
	}
	nested := text(1, "x")
	for range 5000 {
		nested = field(5, field(1, nested))
	}
	long := func(n int) []byte { return field(1, attribute("service.name", text(1, strings.Repeat("x", n)))) }
	series := func(n int) []byte {
		var p []byte
		for i := range n {
			p = append(p, field(1, append(point, field(7, attribute("i", text(1, fmt.Sprint(i))))...))...)
		}
		return p
	}
	bounds := append(point, field(7, times(500_000, binary.LittleEndian.AppendUint64(nil, 1)))...)
	bounds = append(bounds, field(6, times(500_000, binary.LittleEndian.AppendUint64(nil, 1)))...)
	for _, tt := range []struct {
		name  string
		body  []byte
		codes []int
		says  string
	}{
		{"4 million empty resources", times(4<<20, field(1, nil)), []int{413}, "max_inflight_bytes"},
		{"4 million empty metrics", request(nil, times(4<<20, field(2, nil))), []int{413}, "max_inflight_bytes"},
		{"4 million empty points", request(nil, gauge(times(4<<20, field(1, nil)))), []int{413}, "max_inflight_bytes"},
		{"4 million empty attributes", request(times(4<<20, field(1, nil)), nil), []int{413}, "max_inflight_bytes"},
		{"attributes nested without end", request(field(1, attribute("a", nested)), gauge(field(1, point))), []int{400}, "nested"},
		{"a long name for many series", request(long(16<<20), gauge(series(10_000))), []int{200}, "max_labels_size"},
		{"a name that all labels' bytes can hold", request(long(30<<10), gauge(series(10_000))), []int{413}, "written out"},
		{"half a million bounds", request(long(4000), field(2, slices.Concat(text(1, "m"), field(9, slices.Concat([]byte{2 << 3, 2}, field(1, bounds)))))), []int{413}, "written out"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w *httptest.ResponseRecorder
			took, allocated := time.Hour, uint64(math.MaxUint64)
			for range 5 { // the machine may be busy with something else
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				begun := time.Now()
				w = b.serve(post("/otlp/v1/metrics", "hostile", "application/x-protobuf", tt.body))
				took = min(took, time.Since(begun))
				runtime.ReadMemStats(&after)
				if allocated = min(allocated, after.TotalAlloc-before.TotalAlloc); took < goal && allocated < most {
					break
				}
			}
			t.Logf("%v, %d MiB, of a body of %d KiB", took, allocated>>20, len(tt.body)>>10)
			if !slices.Contains(tt.codes, w.Code) || !strings.Contains(w.Body.String(), tt.says) {
				t.Errorf("status %d, want one of %v that says %q: %.300s", w.Code, tt.codes, tt.says, w.Body)
			}
			if took > 2*goal || allocated > most {
				t.Errorf("it took %v and %d MiB, want less than %v and %d MiB", took, allocated>>20, 2*goal, most>>20)
			}
		})
	}
}

// What other protocols leave out is explained to the tenant as what is refused of remote write.
func TestWhatIsLeftOutIsExplained(t *testing.T) {
	b := newBed(t, options{})
	b.serve(post("/api/v2/write", "left", "", []byte("n value=1,s=\"x\"\nn value\n")))
	body, err := b.otlpGauge(-4*time.Hour, 0).MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	b.serve(post("/otlp/v1/metrics", "left", "application/x-protobuf", body))
	b.serve(post("/otlp/v1/metrics", "left", "application/x-protobuf", []byte{1}))
	id, _ := tenant.Parse("left")
	got := map[string]string{}
	for _, c := range b.Explain(id).Causes {
		got[c.Reason] = fmt.Sprint(c.Total, " ", c.Counts)
		if c.Advice == "" || len(c.Examples) == 0 {
			t.Errorf("%s says nothing: %+v", c.Reason, c)
		}
	}
	want := map[string]string{"invalid_line": "1 lines", "string_value": "1 values", "past_window": "1 samples", "malformed": "1 requests"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("explained (-want +got):\n%s", d)
	}
}

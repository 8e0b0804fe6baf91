package distributor_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/s2"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"

	"github.com/varve-io/varve/distributor"
	"github.com/varve-io/varve/pkg/config"
	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// send is one request and what must come back.
type send struct {
	series []prompb.TimeSeries
	code   int
	says   []string // parts of the answer's body
}

// The contract for what is stored and what is refused: a 2xx means all of it, a 400 says what was left out and why.
func TestWriteContract(t *testing.T) {
	b := newBed(t, options{})
	one := func(s ...prompb.Sample) []prompb.TimeSeries { return []prompb.TimeSeries{of("m", s)} }
	bits := math.Float64bits
	tests := []struct {
		name  string
		limit func(*tenant.Limits)
		sends []send
		want  map[string]uint64
	}{
		{"all stored", nil, []send{{one(b.at(0, 1), b.at(time.Second, 2)), 204, nil}},
			map[string]uint64{`{__name__="m"} 0s`: bits(1), `{__name__="m"} 1s`: bits(2)}},
		{"nothing sent", nil, []send{{nil, 204, nil}}, map[string]uint64{}},
		{"any order", nil, []send{{one(b.at(0, 1)), 204, nil}, {one(b.at(-time.Hour, 2), b.at(-2*time.Hour, 3)), 204, nil}},
			map[string]uint64{`{__name__="m"} 0s`: bits(1), `{__name__="m"} -1h0m0s`: bits(2), `{__name__="m"} -2h0m0s`: bits(3)}},
		{"exact duplicate", nil, []send{{one(b.at(0, 1)), 204, nil}, {one(b.at(0, 1)), 204, nil}},
			map[string]uint64{`{__name__="m"} 0s`: bits(1)}},
		{"another value at the same time", nil, []send{
			{one(b.at(0, 1)), 204, nil},
			{one(b.at(0, 2), b.at(time.Second, 3)), 400, []string{"1 of 2 samples refused", "conflict: 1", `__name__="m"`}},
		}, map[string]uint64{`{__name__="m"} 0s`: bits(2), `{__name__="m"} 1s`: bits(3)}},
		{"too old", nil, []send{{one(b.at(-4*time.Hour, 1), b.at(0, 2)), 400, []string{"1 of 2 samples refused, the rest is stored", "past_window", "3h", `{__name__="m"}`}}},
			map[string]uint64{`{__name__="m"} 0s`: bits(2)}},
		{"too far ahead", nil, []send{{one(b.at(11*time.Minute, 1), b.at(0, 2)), 400, []string{"1 of 2", "future_window", "10m"}}},
			map[string]uint64{`{__name__="m"} 0s`: bits(2)}},
		{"the edges of the window", nil, []send{{one(b.at(-3*time.Hour, 1), b.at(10*time.Minute, 2)), 204, nil}},
			map[string]uint64{`{__name__="m"} -3h0m0s`: bits(1), `{__name__="m"} 10m0s`: bits(2)}},
		{"H7: times that can't be meant, then a normal one", nil, []send{
			{one(prompb.Sample{}), 400, []string{"past_window"}},
			{one(prompb.Sample{Timestamp: math.MinInt64}), 400, []string{"past_window"}},
			{one(prompb.Sample{Timestamp: math.MaxInt64}), 400, []string{"future_window"}},
			{one(b.at(365*24*time.Hour, 1), b.at(-365*24*time.Hour, 1), b.at(3*time.Hour, 1)), 400, []string{"3 of 3", "future_window: 2", "past_window: 1"}},
			{one(b.at(0, 1)), 204, nil},
		}, map[string]uint64{`{__name__="m"} 0s`: bits(1)}},
		{"H5: unsorted labels are one series with sorted ones", nil, []send{
			{[]prompb.TimeSeries{of("m", []prompb.Sample{b.at(0, 1)}, "z", "1", "a", "2")}, 204, nil},
			{[]prompb.TimeSeries{of("m", []prompb.Sample{b.at(time.Second, 2)}, "a", "2", "z", "1")}, 204, nil},
		}, map[string]uint64{`{__name__="m", a="2", z="1"} 0s`: bits(1), `{__name__="m", a="2", z="1"} 1s`: bits(2)}},
		{"H5: an empty value is an absent label", nil, []send{{[]prompb.TimeSeries{of("m", []prompb.Sample{b.at(0, 1)}, "gone", "")}, 204, nil}},
			map[string]uint64{`{__name__="m"} 0s`: bits(1)}},
		{"H5: labels that can't be", nil, []send{
			{[]prompb.TimeSeries{of("m", []prompb.Sample{b.at(0, 1)}, "twice", "1", "twice", "2")}, 400, []string{"invalid_labels: 1", "twice"}},
			{[]prompb.TimeSeries{of("m", []prompb.Sample{b.at(0, 1)}, "", "x")}, 400, []string{"invalid_labels: 1", "name"}},
			{[]prompb.TimeSeries{of("", []prompb.Sample{b.at(0, 1)}, "a", "b")}, 400, []string{"invalid_labels: 1", "__name__"}},
			{[]prompb.TimeSeries{{Samples: []prompb.Sample{b.at(0, 1)}}}, 400, []string{"invalid_labels: 1", "__name__"}},
			{[]prompb.TimeSeries{of("m", []prompb.Sample{b.at(0, 1)}, "bad\xff", "x")}, 400, []string{"UTF-8"}},
			{[]prompb.TimeSeries{of("m", []prompb.Sample{b.at(0, 1)}, "a", "bad\xff"), of("m", []prompb.Sample{b.at(0, 7)})}, 400, []string{"1 of 2 samples", "UTF-8"}},
		}, map[string]uint64{`{__name__="m"} 0s`: bits(7)}},
		{"several reasons in one answer", func(l *tenant.Limits) { l.MaxLabelsPerSeries = 2 }, []send{{[]prompb.TimeSeries{
			of("m", []prompb.Sample{b.at(0, 1), b.at(-5*time.Hour, 1)}),
			of("m", []prompb.Sample{b.at(0, 1), b.at(time.Second, 1)}, "a", "1", "b", "2"),
			{Samples: []prompb.Sample{b.at(0, 1)}},
		}, 400, []string{"4 of 5 samples refused", "past_window: 1", "max_labels_per_series: 2", "over the limit max_labels_per_series of 2", "invalid_labels: 1"}}},
			map[string]uint64{`{__name__="m"} 0s`: bits(1)}},
		{"limits of labels", func(l *tenant.Limits) { l.MaxLabelNameLength, l.MaxLabelValueLength, l.MaxLabelsSize = 8, 20, 64 }, []send{
			{[]prompb.TimeSeries{of("m", []prompb.Sample{b.at(0, 1)}, "much_too_long", "1")}, 400, []string{"max_label_name_length of 8"}},
			{[]prompb.TimeSeries{of("m", []prompb.Sample{b.at(0, 1)}, "a", strings.Repeat("x", 21))}, 400, []string{"max_label_value_length of 20"}},
			{[]prompb.TimeSeries{of("m", []prompb.Sample{b.at(0, 1)}, "a", strings.Repeat("x", 20), "b", strings.Repeat("x", 20), "c", strings.Repeat("x", 20))}, 400, []string{"max_labels_size of 64"}},
		}, map[string]uint64{}},
		{"too many active series", func(l *tenant.Limits) { l.MaxActiveSeries = 2 }, []send{{[]prompb.TimeSeries{
			of("a", []prompb.Sample{b.at(0, 1)}), of("b", []prompb.Sample{b.at(0, 1)}), of("c", []prompb.Sample{b.at(0, 1)}), of("a", []prompb.Sample{b.at(time.Second, 2)}),
		}, 400, []string{"1 of 4", "max_active_series", "of 2"}}},
			map[string]uint64{`{__name__="a"} 0s`: bits(1), `{__name__="a"} 1s`: bits(2), `{__name__="b"} 0s`: bits(1)}},
		{"too many samples in a request", func(l *tenant.Limits) { l.MaxSamplesPerRequest = 2 }, []send{
			{one(b.at(0, 1), b.at(time.Second, 1), b.at(2*time.Second, 1)), 400, []string{"max_samples_per_request of 2"}},
		}, map[string]uint64{}},
	}
	for n, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id := fmt.Sprint("row-", n)
			if parsed, err := tenant.Parse(id); err == nil && tt.limit != nil {
				b.limits.set(parsed, tt.limit)
			}
			for _, s := range tt.sends {
				w := b.serve(request(id, false, v1(t, &prompb.WriteRequest{Timeseries: s.series})))
				if w.Code != s.code {
					t.Errorf("status %d, want %d: %s", w.Code, s.code, w.Body)
				}
				for _, part := range s.says {
					if !strings.Contains(w.Body.String(), part) {
						t.Errorf("answer %q doesn't say %q", w.Body, part)
					}
				}
				if w.Code == 400 && w.Header().Get("Retry-After") != "" {
					t.Error("an answer that isn't to be retried has a Retry-After")
				}
			}
			if d := cmp.Diff(tt.want, b.stored(id)); d != "" {
				t.Errorf("stored (-want +got):\n%s", d)
			}
		})
	}
}

func TestOverTheRate(t *testing.T) {
	b := newBed(t, options{})
	id, _ := tenant.Parse("busy")
	b.limits.set(id, func(l *tenant.Limits) { l.MaxSamplesPerSecond, l.MaxSamplesBurst = 1, 3 })
	body := v1(t, &prompb.WriteRequest{Timeseries: []prompb.TimeSeries{of("m", []prompb.Sample{b.at(0, 1), b.at(time.Second, 2)})}})
	if w := b.serve(request("busy", false, body)); w.Code != 204 {
		t.Errorf("within the burst: %d %s", w.Code, w.Body)
	}
	w := b.serve(request("busy", false, body))
	if w.Code != 429 || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "max_samples_per_second of 1") {
		t.Errorf("over the rate: %d %v %s", w.Code, w.Header(), w.Body)
	}
	if w := b.serve(request("calm", false, body)); w.Code != 204 {
		t.Errorf("another tenant: %d %s", w.Code, w.Body)
	}
	b.now = b.now.Add(2 * time.Second)
	if w := b.serve(request("busy", false, body)); w.Code != 204 {
		t.Errorf("after a pause: %d %s", w.Code, w.Body)
	}
}

// Where sending again helps, the answer is 503, and says when.
func TestUnavailable(t *testing.T) {
	body := func(t *testing.T, b *bed) []byte {
		return v1(t, &prompb.WriteRequest{Timeseries: []prompb.TimeSeries{of("m", []prompb.Sample{b.at(0, 1)})}})
	}
	check := func(t *testing.T, b *bed, r *http.Request, least, most int) {
		t.Helper()
		w := b.serve(r)
		after, err := strconv.Atoi(w.Header().Get("Retry-After"))
		if w.Code != 503 || err != nil || after < least || after > most {
			t.Errorf("status %d, Retry-After %q, want 503 and %d to %d s: %s", w.Code, w.Header().Get("Retry-After"), least, most, w.Body)
		}
	}
	t.Run("no partition", func(t *testing.T) {
		b := newBed(t, options{view: ring.NewView(2, 1, nil)})
		check(t, b, request("", false, body(t, b)), 1, 2)
	})
	t.Run("no quorum", func(t *testing.T) {
		b := newBed(t, options{view: ring.NewView(2, 3, []ring.Partition{{State: ring.Active, Tokens: []uint32{1}, Owners: []ring.Owner{{Instance: "a"}}}})})
		r := request("", false, body(t, b))
		r.Header.Set("Retry-Attempt", "6")
		check(t, b, r, 16, 48)
		r = request("", false, body(t, b))
		r.Header.Set("Retry-Attempt", "99999999999999999999")
		check(t, b, r, 1, 2)
	})
	t.Run("too much at once", func(t *testing.T) {
		b := newBed(t, options{change: func(c *distributor.Config) { c.MaxInflightBytes = 64 * config.KiB }})
		reading, release := make(chan struct{}), make(chan struct{})
		slow := request("", false, nil)
		slow.Body, slow.ContentLength = io.NopCloser(&slowBody{reading, release, body(t, b)}), 1<<20
		done := make(chan int)
		go func() { done <- b.serve(slow).Code }()
		<-reading
		check(t, b, request("", false, body(t, b)), 1, 2)
		close(release)
		if code := <-done; code != 204 {
			t.Errorf("the request that was there first: %d", code)
		}
		if w := b.serve(request("", false, body(t, b))); w.Code != 204 {
			t.Errorf("afterwards: %d %s", w.Code, w.Body)
		}
	})
	t.Run("a body that doesn't say its length", func(t *testing.T) {
		b := newBed(t, options{change: func(c *distributor.Config) { c.MaxInflightBytes = 64 * config.KiB }})
		reading, release := make(chan struct{}), make(chan struct{})
		slow := request("", false, nil)
		slow.Body, slow.ContentLength = io.NopCloser(&slowBody{reading, release, body(t, b)}), -1
		done := make(chan int)
		go func() { done <- b.serve(slow).Code }()
		<-reading
		check(t, b, request("", false, body(t, b)), 1, 2)
		close(release)
		if code := <-done; code != 204 {
			t.Errorf("the request that was there first: %d", code)
		}
	})
}

// slowBody tells when it is read, and goes on when it may.
type slowBody struct {
	reading, release chan struct{}
	rest             []byte
}

func (s *slowBody) Read(p []byte) (int, error) {
	if s.reading != nil {
		close(s.reading)
		<-s.release
		s.reading = nil
	}
	n := copy(p, s.rest)
	if s.rest = s.rest[n:]; n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func TestProtocolErrors(t *testing.T) {
	b := newBed(t, options{})
	body := v1(t, &prompb.WriteRequest{Timeseries: []prompb.TimeSeries{of("m", []prompb.Sample{b.at(0, 1)})}})
	tests := []struct {
		name   string
		change func(*http.Request)
		code   int
	}{
		{"as it should be", func(*http.Request) {}, 204},
		{"no encoding named", func(r *http.Request) { r.Header.Del("Content-Encoding") }, 204},
		{"the message named", func(r *http.Request) {
			r.Header.Set("Content-Type", "application/x-protobuf;proto=prometheus.WriteRequest")
		}, 204},
		{"GET", func(r *http.Request) { r.Method = http.MethodGet }, 405},
		{"PUT", func(r *http.Request) { r.Method = http.MethodPut }, 405},
		{"JSON", func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }, 415},
		{"no type", func(r *http.Request) { r.Header.Del("Content-Type") }, 415},
		{"unknown message", func(r *http.Request) { r.Header.Set("Content-Type", "application/x-protobuf;proto=a.b.C") }, 415},
		{"gzip", func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }, 415},
		{"no body", func(r *http.Request) { r.Body, r.ContentLength = http.NoBody, 0 }, 400},
		{"not snappy", func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("hello, world")) }, 400},
		{"two tenants", func(r *http.Request) { r.Header.Set(tenant.Header, "a|b") }, 400},
		{"two tenant headers", func(r *http.Request) { r.Header[http.CanonicalHeaderKey(tenant.Header)] = []string{"a", "b"} }, 400},
	}
	for _, name := range []string{
		"../..", "..", ".", "a/b", "%2e%2e", strings.Repeat("a", 151), "__markers__", "__MARKERS__", "user-index.json.gz", "bucket-index.json.gz",
		"tеam", "team\x00", "a b", "a\\b", "trailing.", "a\r\nX-Evil: 1", "Varve",
	} {
		tests = append(tests, struct {
			name   string
			change func(*http.Request)
			code   int
		}{fmt.Sprintf("H11: tenant %.20q", name), func(r *http.Request) { r.Header[http.CanonicalHeaderKey(tenant.Header)] = []string{name} }, 400})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := request("", false, body)
			tt.change(r)
			w := b.serve(r)
			if w.Code != tt.code {
				t.Errorf("status %d, want %d: %s", w.Code, tt.code, w.Body)
			}
			if tt.code == 405 && w.Header().Get("Allow") != http.MethodPost {
				t.Error("405 without Allow")
			}
			if tt.code >= 400 && strings.TrimSpace(w.Body.String()) == "" {
				t.Error("a refusal that says nothing")
			}
		})
	}
}

func TestTokens(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens.yaml")
	entry := func(name, scope, expires string) string {
		return fmt.Sprintf("- name: %s\n  sha256: [%x]\n  scopes: [%s]\n  tenants: [team-a]\n%s", name, sha256.Sum256([]byte(name+"-secret")), scope, expires)
	}
	text := "tokens:\n" + entry("writer", "write", "") + entry("reader", "read", "") + entry("admin", "admin", "") + entry("late", "write", "  expires: 2020-01-01\n")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBed(t, options{tokens: file})
	body := v1(t, &prompb.WriteRequest{Timeseries: []prompb.TimeSeries{of("m", []prompb.Sample{b.at(0, 1)})}})
	said := map[int]string{}
	for _, tt := range []struct {
		name, secret, tenant string
		code                 int
	}{
		{"right", "writer-secret", "team-a", 204},
		{"the token's only tenant", "writer-secret", "", 204},
		{"none", "", "team-a", 401},
		{"unknown", "guess", "team-a", 401},
		{"expired", "late-secret", "team-a", 401},
		{"a tenant of others", "writer-secret", "team-b", 403},
		{"a tenant that nobody has", "writer-secret", "no-such", 403},
		{"read on write", "reader-secret", "team-a", 403},
		{"admin on write", "admin-secret", "team-a", 403},
	} {
		for _, basic := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, basic %v", tt.name, basic), func(t *testing.T) {
				r := request(tt.tenant, false, body)
				switch {
				case tt.secret == "":
				case basic:
					r.SetBasicAuth("any", tt.secret)
				default:
					r.Header.Set("Authorization", "Bearer "+tt.secret)
				}
				w := b.serve(r)
				if w.Code != tt.code {
					t.Errorf("status %d, want %d: %s", w.Code, tt.code, w.Body)
				}
				if before, ok := said[w.Code]; ok && w.Code != 204 && before != w.Body.String() {
					t.Errorf("refusals of one kind read differently: %q, %q", before, w.Body)
				}
				said[w.Code] = w.Body.String()
				if tt.secret != "" && strings.Contains(w.Body.String(), tt.secret) {
					t.Error("the answer repeats the secret")
				}
			})
		}
	}
}

// H6: every bit of a float is kept.
func TestFloatsAreKeptBitByBit(t *testing.T) {
	b := newBed(t, options{})
	all := []uint64{
		value.NormalNaN, value.StaleNaN, value.StaleNaN + 1, 0x7ff8_dead_beef_0001, 0xfff8_0000_0000_0000, 0x7ff0_0000_0000_0001,
		math.Float64bits(math.Inf(1)), math.Float64bits(math.Inf(-1)), 1 << 63, 0, 1, 1<<63 | 1, math.Float64bits(math.MaxFloat64),
	}
	want := map[string]uint64{}
	var samples []prompb.Sample
	for n, bits := range all {
		d := time.Duration(n) * time.Second
		samples = append(samples, b.at(d, math.Float64frombits(bits)))
		want[fmt.Sprintf(`{__name__="m"} %v`, d)] = bits
	}
	for _, id := range []string{"one", "two"} {
		// By hand: Prometheus' encoder leaves out a zero, and takes -0 for one.
		label := field(1, append(field(1, []byte("__name__")), field(2, []byte("m"))...))
		if id == "two" {
			label = field(1, []byte{1, 2})
		}
		for _, s := range samples {
			label = append(label, field(2, sampleField(s))...)
		}
		body := field(1, label)
		if id == "two" {
			body = slices.Concat(field(4, nil), field(4, []byte("__name__")), field(4, []byte("m")), field(5, label))
		}
		body = s2.EncodeSnappy(nil, body)
		if w := b.serve(request(id, id == "two", body)); w.Code != 204 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if d := cmp.Diff(want, b.stored(id)); d != "" {
			t.Errorf("tenant %s (-want +got):\n%s", id, d)
		}
	}
}

// sampleField is a sample's message.
func sampleField(s prompb.Sample) []byte {
	out := binary.LittleEndian.AppendUint64([]byte{1<<3 | 1}, math.Float64bits(s.Value))
	return binary.AppendUvarint(append(out, 2<<3), uint64(s.Timestamp))
}

func v2Samples(s []prompb.Sample) []writev2.Sample {
	out := make([]writev2.Sample, len(s))
	for i := range s {
		out[i] = writev2.Sample{Timestamp: s[i].Timestamp, Value: s[i].Value}
	}
	return out
}

// Histograms of all kinds come out as they went in.
func TestHistogramsAreKept(t *testing.T) {
	b := newBed(t, options{})
	stale := &histogram.Histogram{Sum: math.Float64frombits(value.StaleNaN)}
	integers := []*histogram.Histogram{tsdbutil.GenerateTestHistogram(3), tsdbutil.GenerateTestCustomBucketsHistogram(2), {}, stale}
	floats := []*histogram.FloatHistogram{
		tsdbutil.GenerateTestFloatHistogram(4), tsdbutil.GenerateTestCustomBucketsFloatHistogram(5), {},
		{Schema: 3, PositiveSpans: []histogram.Span{{Offset: 1, Length: 2}}, PositiveBuckets: []float64{0, 0}}, // count 0 with buckets
	}
	var one, two []prompb.Histogram
	at := func(n int) int64 { return b.now.Add(time.Duration(n) * time.Second).UnixMilli() }
	for n, h := range integers {
		one = append(one, prompb.FromIntHistogram(at(n), h))
	}
	for n, h := range floats {
		two = append(two, prompb.FromFloatHistogram(at(n), h))
	}
	w := b.serve(request("t", false, v1(t, &prompb.WriteRequest{Timeseries: []prompb.TimeSeries{
		{Labels: []prompb.Label{{Name: "__name__", Value: "i"}}, Histograms: one},
		{Labels: []prompb.Label{{Name: "__name__", Value: "f"}}, Histograms: two},
	}})))
	if w.Code != 204 || w.Header().Get("X-Prometheus-Remote-Write-Histograms-Written") != "8" {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	found := 0
	b.each("t", func(_ string, it chunkenc.Iterator, kind chunkenc.ValueType) {
		found++
		switch kind {
		case chunkenc.ValHistogram:
			ts, h := it.AtHistogram(nil)
			n := int(ts-at(0)) / 1000
			if series.CompareHistograms(h, integers[n]) != 0 {
				t.Errorf("integer histogram %d: %v, want %v", n, h, integers[n])
			}
		case chunkenc.ValFloatHistogram:
			ts, h := it.AtFloatHistogram(nil)
			n := int(ts-at(0)) / 1000
			if series.CompareFloatHistograms(h, floats[n]) != 0 {
				t.Errorf("float histogram %d: %v, want %v", n, h, floats[n])
			}
		default:
			t.Errorf("kind %v", kind)
		}
	})
	if found != len(integers)+len(floats) {
		t.Errorf("%d histograms, want %d", found, len(integers)+len(floats))
	}
}

// H8: histograms that can't be are refused by themselves, and end nothing.
func TestHistogramsThatCantBe(t *testing.T) {
	b := newBed(t, options{})
	staleSum := math.Float64frombits(value.StaleNaN)
	spans := func(n int) []prompb.BucketSpan { return make([]prompb.BucketSpan, n) }
	tests := []struct {
		name string
		h    prompb.Histogram
		says string
	}{
		{"fewer buckets than spans say", prompb.Histogram{PositiveSpans: []prompb.BucketSpan{{Length: 1 << 31}}, PositiveDeltas: []int64{1}}, "invalid_histogram"},
		{"more buckets than spans say", prompb.Histogram{PositiveDeltas: []int64{1, 2, 3}}, "invalid_histogram"},
		{"span lengths that overflow", prompb.Histogram{PositiveSpans: []prompb.BucketSpan{{Length: math.MaxUint32}, {Length: math.MaxUint32}}}, "invalid_histogram"},
		{"negative offset", prompb.Histogram{PositiveSpans: []prompb.BucketSpan{{Length: 1}, {Offset: -5, Length: 1}}, PositiveDeltas: []int64{1, 1}, Count: &prompb.Histogram_CountInt{CountInt: 3}}, "invalid_histogram"},
		{"negative count", prompb.Histogram{PositiveSpans: []prompb.BucketSpan{{Length: 1}}, PositiveDeltas: []int64{-1}}, "invalid_histogram"},
		{"negative float count", prompb.Histogram{Count: &prompb.Histogram_CountFloat{CountFloat: -1}}, "invalid_histogram"},
		{"schema 1000", prompb.Histogram{Schema: 1000}, "invalid_histogram"},
		{"schema 20", prompb.Histogram{Schema: 20}, "invalid_histogram"},
		{"schema -1000", prompb.Histogram{Schema: -1000}, "invalid_histogram"},
		{"float, schema 1000", prompb.Histogram{Schema: 1000, Count: &prompb.Histogram_CountFloat{}}, "invalid_histogram"},
		{"custom bounds out of order", prompb.Histogram{Schema: -53, CustomValues: []float64{2, 1}}, "invalid_histogram"},
		{"custom bounds with a zero bucket", prompb.Histogram{Schema: -53, ZeroThreshold: 1, CustomValues: []float64{1}}, "invalid_histogram"},
		{"too many buckets", prompb.Histogram{PositiveSpans: []prompb.BucketSpan{{Length: 2000}}, PositiveDeltas: make([]int64, 2000)}, "max_histogram_buckets of 1024"},
		{"too many spans", prompb.Histogram{PositiveSpans: spans(2000)}, "max_histogram_buckets of 1024"},
		{"too many custom bounds", prompb.Histogram{Schema: -53, CustomValues: ascending(2000)}, "max_histogram_buckets of 1024"},
		{"stale, but with spans that can't be", prompb.Histogram{Sum: staleSum, PositiveSpans: []prompb.BucketSpan{{Length: math.MaxUint32}}}, ""},
		{"stale, but with a schema that can't be", prompb.Histogram{Sum: staleSum, Schema: 1000, Count: &prompb.Histogram_CountFloat{}}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id := strings.Map(func(r rune) rune {
				if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
					return r
				}
				return '_'
			}, tt.name)
			tt.h.Timestamp = b.now.UnixMilli()
			after := prompb.FromFloatHistogram(b.now.UnixMilli()+1, tsdbutil.GenerateTestFloatHistogram(1))
			w := b.serve(request(id, false, v1(t, &prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{Labels: []prompb.Label{{Name: "__name__", Value: "h"}}, Histograms: []prompb.Histogram{tt.h, after}}}})))
			stored := 0
			b.each(id, func(string, chunkenc.Iterator, chunkenc.ValueType) { stored++ })
			switch {
			case tt.says == "" && (w.Code != 204 || stored != 2):
				t.Errorf("status %d, %d stored, want 204 and 2: %s", w.Code, stored, w.Body)
			case tt.says != "" && (w.Code != 400 || stored != 1 || !strings.Contains(w.Body.String(), tt.says)):
				t.Errorf("status %d, %d stored, want 400 that says %q, and 1: %s", w.Code, stored, tt.says, w.Body)
			}
		})
	}
}

func ascending(n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = float64(i)
	}
	return out
}

// What 2.0 demands of an answer's headers, to the last one.
func TestWrittenHeaders(t *testing.T) {
	b := newBed(t, options{})
	old := b.now.Add(-24 * time.Hour).UnixMilli()
	st := writev2.NewSymbolTable()
	refs := func(kv ...string) []uint32 { return st.SymbolizeLabels(labels.FromStrings(kv...), nil) }
	w := &writev2.Request{Timeseries: []writev2.TimeSeries{
		{LabelsRefs: refs("__name__", "http_total"), Samples: v2Samples([]prompb.Sample{b.at(0, 1), b.at(time.Second, 2), b.at(-24*time.Hour, 3)}),
			Exemplars: []writev2.Exemplar{
				{LabelsRefs: refs("trace_id", "abc"), Value: 5, Timestamp: b.now.UnixMilli()},
				{LabelsRefs: refs("trace_id", strings.Repeat("x", 200)), Value: 6, Timestamp: b.now.UnixMilli()}, // longer than OpenMetrics has it
				{LabelsRefs: refs("trace_id", "old"), Value: 7, Timestamp: old},
			},
			Metadata: writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_COUNTER, HelpRef: st.Symbolize("Requests."), UnitRef: st.Symbolize("req")}},
		{LabelsRefs: refs("__name__", "latency"), Histograms: []writev2.Histogram{writev2.FromIntHistogram(0, b.now.UnixMilli(), tsdbutil.GenerateTestHistogram(1)), writev2.FromFloatHistogram(0, old, tsdbutil.GenerateTestFloatHistogram(1))}},
	}}
	w.Symbols = st.Symbols()
	r := b.serve(request("t", true, v2(t, w)))
	if r.Code != 400 {
		t.Errorf("status %d: %s", r.Code, r.Body)
	}
	for kind, want := range map[string]string{"Samples": "2", "Histograms": "1", "Exemplars": "1"} {
		if got := r.Header().Get("X-Prometheus-Remote-Write-" + kind + "-Written"); got != want {
			t.Errorf("%s-Written is %q, want %q", kind, got, want)
		}
	}
	id, _ := tenant.Parse("t")
	found, _, err := b.ingester.Exemplars(context.Background(), series.Query{Tenant: id, MaxTime: math.MaxInt64}, nil)
	if err != nil || len(found) != 1 || len(found[0].Exemplars) != 1 {
		t.Fatalf("exemplars: %v, %v", found, err)
	}
	if e := found[0].Exemplars[0]; !e.Equals(exemplar.Exemplar{Labels: labels.FromStrings("trace_id", "abc"), Value: 5, Ts: b.now.UnixMilli(), HasTs: true}) {
		t.Errorf("exemplar: %+v", e)
	}
	families, _, err := b.ingester.Metadata(context.Background(), id)
	want := []series.Metadata{{Family: "http_total", Metadata: metadata.Metadata{Type: model.MetricTypeCounter, Help: "Requests.", Unit: "req"}}}
	if d := cmp.Diff(want, families); err != nil || d != "" {
		t.Error(err, d)
	}
	// A request that failed has written nothing.
	if r := b.serve(request("t", true, []byte("nonsense"))); r.Header().Get("X-Prometheus-Remote-Write-Samples-Written") != "0" {
		t.Errorf("%d %v", r.Code, r.Header())
	}
}

// Metadata of 1.0 comes in requests of its own.
func TestMetadataByItself(t *testing.T) {
	b := newBed(t, options{})
	w := b.serve(request("t", false, v1(t, &prompb.WriteRequest{Metadata: []prompb.MetricMetadata{
		{Type: prompb.MetricMetadata_GAUGE, MetricFamilyName: "up", Help: "Is it?", Unit: ""},
		{Type: 77, MetricFamilyName: "odd", Help: strings.Repeat("x", 10_000)},
		{MetricFamilyName: ""},
	}})))
	if w.Code != 204 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	id, _ := tenant.Parse("t")
	families, _, err := b.ingester.Metadata(context.Background(), id)
	want := []series.Metadata{
		{Family: "odd", Metadata: metadata.Metadata{Type: model.MetricTypeUnknown, Help: strings.Repeat("x", 4096)}},
		{Family: "up", Metadata: metadata.Metadata{Type: model.MetricTypeGauge, Help: "Is it?"}},
	}
	if d := cmp.Diff(want, families); err != nil || d != "" {
		t.Error(err, d)
	}
}

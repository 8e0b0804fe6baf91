package remote

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

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
	"github.com/prometheus/prometheus/tsdb/tsdbutil"

	"github.com/varve-io/varve/pkg/series"
)

type got struct {
	Labels     string
	Floats     []Float
	Histograms []Histogram
	Exemplars  []exemplar.Exemplar
	Metadata   []series.Metadata
}

func read(t testing.TB, p Protocol, body []byte) ([]got, []series.Metadata, error) {
	t.Helper()
	return readGuessing(NewRequest(NewHasher()), p, body, func(int) Guess { return Guess{} })
}

// readGuessing reads a request, with a guess for each of its series.
func readGuessing(r *Request, p Protocol, body []byte, guess func(int) Guess) ([]got, []series.Metadata, error) {
	if err := r.Reset(p, body); err != nil {
		return nil, nil, err
	}
	var all []got
	for r.Next(guess(len(all))) {
		ls, err := r.Labels(nil, 100)
		if err != nil {
			return nil, nil, err
		}
		beyond := func(l labels.Label) bool {
			return strings.ContainsFunc(l.Name+l.Value, func(c rune) bool { return c >= 0x80 })
		}
		if r.ASCII(ls) && slices.ContainsFunc(ls, beyond) {
			return nil, nil, fmt.Errorf("taken for ASCII: %q", ls)
		}
		g := got{Labels: labels.New(ls...).String(), Floats: append([]Float(nil), r.Series.Floats...), Histograms: append([]Histogram(nil), r.Series.Histograms...)}
		if err := r.Exemplars(math.MaxInt, func(e exemplar.Exemplar) { g.Exemplars = append(g.Exemplars, e) }); err != nil {
			return nil, nil, err
		}
		m, ok, err := r.SeriesMetadata()
		if err != nil {
			return nil, nil, err
		}
		if ok {
			g.Metadata = append(g.Metadata, m)
		}
		all = append(all, g)
	}
	var families []series.Metadata
	err := errors.Join(r.Err(), r.Metadata(func(m series.Metadata) { families = append(families, m) }))
	return all, families, err
}

var (
	integer  = tsdbutil.GenerateTestHistogram(3)
	custom   = tsdbutil.GenerateTestCustomBucketsFloatHistogram(2)
	nothing  = &histogram.FloatHistogram{}
	oddFloat = math.Float64frombits(value.StaleNaN + 5)
)

var wantSeries = []got{
	{
		Labels:     `{__name__="up", zone="ü"}`,
		Floats:     []Float{{1000, 1}, {-5, math.Inf(-1)}, {2000, math.Float64frombits(value.StaleNaN)}, {3000, oddFloat}},
		Histograms: []Histogram{{Time: 7, H: integer}, {Time: 8, FH: custom}, {Time: 9, FH: nothing}},
		Exemplars:  []exemplar.Exemplar{{Labels: labels.FromStrings("trace_id", "abc"), Value: 2.5, Ts: 3, HasTs: true}},
	},
	{Labels: `{__name__="down"}`, Floats: []Float{{0, 0}}},
}

var bitwise = cmp.Options{
	cmp.Comparer(labels.Equal),
	cmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }),
	cmp.Comparer(func(a, b *histogram.FloatHistogram) bool { return a == b || a != nil && b != nil && a.Equals(b) }),
	cmp.Comparer(func(a, b *histogram.Histogram) bool { return a == b || a != nil && b != nil && a.Equals(b) }),
}

func v1Body(t testing.TB) []byte {
	w := prompb.WriteRequest{
		Timeseries: []prompb.TimeSeries{
			{
				Labels:     []prompb.Label{{Name: "zone", Value: "ü"}, {Name: "__name__", Value: "up"}, {Name: "gone", Value: ""}},
				Samples:    []prompb.Sample{{Timestamp: 1000, Value: 1}, {Timestamp: -5, Value: math.Inf(-1)}, {Timestamp: 2000, Value: math.Float64frombits(value.StaleNaN)}, {Timestamp: 3000, Value: oddFloat}},
				Exemplars:  []prompb.Exemplar{{Labels: []prompb.Label{{Name: "trace_id", Value: "abc"}}, Value: 2.5, Timestamp: 3}},
				Histograms: []prompb.Histogram{prompb.FromIntHistogram(7, integer), prompb.FromFloatHistogram(8, custom), prompb.FromFloatHistogram(9, nothing)},
			},
			{Labels: []prompb.Label{{Name: "__name__", Value: "down"}}, Samples: []prompb.Sample{{}}},
		},
		Metadata: []prompb.MetricMetadata{{Type: prompb.MetricMetadata_GAUGE, MetricFamilyName: "up", Help: "is it", Unit: "s"}},
	}
	p, err := w.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func v2Body(t testing.TB) []byte {
	st := writev2.NewSymbolTable()
	refs := func(kv ...string) []uint32 {
		var out []uint32
		for _, s := range kv {
			out = append(out, st.Symbolize(s))
		}
		return out
	}
	w := writev2.Request{Timeseries: []writev2.TimeSeries{
		{
			LabelsRefs: refs("zone", "ü", "__name__", "up"),
			Samples:    []writev2.Sample{{Timestamp: 1000, Value: 1}, {Timestamp: -5, Value: math.Inf(-1)}, {Timestamp: 2000, Value: math.Float64frombits(value.StaleNaN), StartTimestamp: 77}, {Timestamp: 3000, Value: oddFloat}},
			Exemplars:  []writev2.Exemplar{{LabelsRefs: refs("trace_id", "abc"), Value: 2.5, Timestamp: 3}},
			Histograms: []writev2.Histogram{writev2.FromIntHistogram(0, 7, integer), writev2.FromFloatHistogram(0, 8, custom), writev2.FromFloatHistogram(0, 9, nothing)},
			Metadata:   writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_GAUGE, HelpRef: st.Symbolize("is it"), UnitRef: st.Symbolize("s")},
		},
		{LabelsRefs: refs("__name__", "down"), Samples: []writev2.Sample{{}}},
	}}
	w.Symbols = st.Symbols()
	p, err := w.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEveryFieldOfBothProtocols(t *testing.T) {
	gauge := metadata.Metadata{Type: model.MetricTypeGauge, Help: "is it", Unit: "s"}
	all, families, err := read(t, WriteV1, v1Body(t))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(wantSeries, all, bitwise); d != "" {
		t.Error("1.0:", d)
	}
	if d := cmp.Diff([]series.Metadata{{Family: "up", Metadata: gauge}}, families); d != "" {
		t.Error("1.0:", d)
	}
	if all, _, err = read(t, WriteV2, v2Body(t)); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]series.Metadata{{Metadata: gauge}}, all[0].Metadata); d != "" {
		t.Error("2.0:", d)
	}
	all[0].Metadata = nil
	if d := cmp.Diff(wantSeries, all, bitwise); d != "" {
		t.Error("2.0:", d)
	}
}

// A field order that no known sender uses is legal protobuf all the same.
func TestScatteredLabelsAreGathered(t *testing.T) {
	label := func(n, v string) []byte {
		p, _ := (&prompb.Label{Name: n, Value: v}).Marshal()
		return appendField(nil, p)
	}
	sample, _ := (&prompb.Sample{Value: 1, Timestamp: 2}).Marshal()
	sampleField := append([]byte{2<<3 | wireBytes, byte(len(sample))}, sample...)
	for _, ts := range [][]byte{
		bytes.Join([][]byte{label("a", "1"), sampleField, label("b", "2")}, nil),
		bytes.Join([][]byte{sampleField, label("a", "1"), label("b", "2")}, nil),
	} {
		all, _, err := read(t, WriteV1, appendField(nil, ts))
		if err != nil {
			t.Fatal(err)
		}
		if all[0].Labels != `{a="1", b="2"}` || len(all[0].Floats) != 1 {
			t.Errorf("read %+v", all[0])
		}
	}
}

func TestMalformedRequestsAreRefused(t *testing.T) {
	v2 := func(mod func(*writev2.Request)) []byte {
		w := writev2.Request{Symbols: []string{"", "a", "b"}, Timeseries: []writev2.TimeSeries{{LabelsRefs: []uint32{1, 2}}}}
		mod(&w)
		p, _ := w.Marshal()
		return p
	}
	for name, c := range map[string]struct {
		p    Protocol
		body []byte
	}{
		"symbol out of range":        {WriteV2, v2(func(w *writev2.Request) { w.Timeseries[0].LabelsRefs[1] = 3 })},
		"greatest reference":         {WriteV2, v2(func(w *writev2.Request) { w.Timeseries[0].LabelsRefs[1] = math.MaxUint32 })},
		"odd references":             {WriteV2, v2(func(w *writev2.Request) { w.Timeseries[0].LabelsRefs = []uint32{1} })},
		"first symbol not empty":     {WriteV2, v2(func(w *writev2.Request) { w.Symbols[0] = "x" })},
		"metadata outside the table": {WriteV2, v2(func(w *writev2.Request) { w.Timeseries[0].Metadata.HelpRef = 9 })},
		"too many symbols":           {WriteV2, bytes.Repeat([]byte{4<<3 | wireBytes, 0}, maxSymbols+1)},
		"cut off":                    {WriteV1, v1Body(t)[:50]},
		"group":                      {WriteV1, []byte{1<<3 | 3}},
		"empty label name":           {WriteV1, []byte("\x0a\x02\x0a\x00")},
	} {
		if _, _, err := read(t, c.p, c.body); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestBodyIsRefusedByItsDeclaredSize(t *testing.T) {
	post := func(p []byte) *http.Request { return httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(p)) }
	var b Body
	var raw []byte
	inflate := func(body []byte) ([]byte, error) {
		if err := b.Receive(post(body), 1<<20); err != nil {
			return nil, err
		}
		got, err := b.Inflate(raw, 1<<20)
		if got != nil {
			raw = got[:cap(got)]
		}
		return got, err
	}
	for name, c := range map[string]struct {
		body []byte
		want error
	}{
		"4 GiB declared in 8 bytes": {[]byte("\xff\xff\xff\xff\x0f\x00\x00\x00"), ErrTooLarge},
		"90 MB of zeros":            {s2.EncodeSnappy(nil, make([]byte, 90<<20)), ErrTooLarge},
		"not snappy":                {[]byte("hello"), ErrMalformed},
		"long":                      {make([]byte, 2<<20), ErrTooLarge},
	} {
		if _, err := inflate(c.body); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	if cap(b.packed)+cap(raw) > 2<<20 {
		t.Errorf("%d bytes were allocated for bodies that were refused", cap(b.packed)+cap(raw))
	}
	for _, want := range []string{"fine", "finer", "ok"} {
		if got, err := inflate(s2.EncodeSnappy(nil, []byte(want))); err != nil || string(got) != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
}

func TestProtocolOf(t *testing.T) {
	for ct, want := range map[string]Protocol{
		"application/x-protobuf":                                       WriteV1,
		"application/x-protobuf;proto=prometheus.WriteRequest":         WriteV1,
		"application/x-protobuf; proto=io.prometheus.write.v2.Request": WriteV2,
		"application/x-protobuf;proto=other":                           0,
		"application/json":                                             0,
		"":                                                             0,
	} {
		got, err := ProtocolOf(http.Header{"Content-Type": {ct}, "Content-Encoding": {"snappy"}})
		if got != want || (want == 0) != errors.Is(err, ErrUnsupported) {
			t.Errorf("%q: got %v, %v", ct, got, err)
		}
	}
	if _, err := ProtocolOf(http.Header{"Content-Type": {"application/x-protobuf"}, "Content-Encoding": {"gzip"}}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("gzip: got %v", err)
	}
}

func FuzzWriteV1(f *testing.F) {
	f.Add(v1Body(f))
	f.Add(v1Body(f)[:60])
	f.Fuzz(func(t *testing.T, p []byte) { fuzz(t, WriteV1, p) })
}

func FuzzWriteV2(f *testing.F) {
	f.Add(v2Body(f))
	f.Add(v2Body(f)[:60])
	f.Fuzz(func(t *testing.T, p []byte) { fuzz(t, WriteV2, p) })
}

// Whatever is guessed, the same is read.
func fuzz(t *testing.T, p Protocol, body []byte) {
	want, families, err := read(t, p, body)
	if err != nil && !errors.Is(err, ErrMalformed) {
		t.Errorf("error of another kind: %v", err)
	}
	if err != nil {
		return
	}
	r := NewRequest(NewHasher())
	var keys []Guess
	for _, after := range []int{0, 0, 1} { // no guess, the right ones, those of the series before
		again, sameFamilies, err := readGuessing(r, p, body, func(n int) Guess {
			s := &r.Series
			if n > 0 && len(keys) < n {
				keys = append(keys, Guess{s.Key.Hi, s.Front})
			}
			if at := n - after; at >= 0 && at < len(keys) {
				return keys[at]
			}
			return Guess{}
		})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, again, bitwise); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff(families, sameFamilies); d != "" {
			t.Error(d)
		}
	}
}

// A guess is right for the same label fields, and for nothing that only begins like them.
func TestGuesses(t *testing.T) {
	label := func(n, v string) []byte {
		p, _ := (&prompb.Label{Name: n, Value: v}).Marshal()
		return appendField(nil, p)
	}
	field := func(id byte, p []byte) []byte { return append([]byte{id<<3 | wireBytes, byte(len(p))}, p...) }
	sample := field(2, []byte{2<<3 | wireVarint, 7})
	ab := slices.Concat(label("a", "1"), label("b", "2"))
	v2 := func(symbols []string, refs ...uint32) []byte {
		p, err := (&writev2.Request{Symbols: symbols, Timeseries: []writev2.TimeSeries{{LabelsRefs: refs, Samples: []writev2.Sample{{Timestamp: 7}}}}}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	many := make([]string, 20_001) // so that references have three bytes
	many[300], many[20_000] = "a", "1"
	for _, tt := range []struct {
		name        string
		p           Protocol
		first, then []byte
		labels      string
		guessed     bool
	}{
		{"the same", WriteV1, field(1, slices.Concat(ab, sample)), field(1, slices.Concat(ab, sample)), `{a="1", b="2"}`, true},
		{"two samples", WriteV1, field(1, slices.Concat(ab, sample)), field(1, slices.Concat(ab, sample, sample)), `{a="1", b="2"}`, true},
		{"another value", WriteV1, field(1, slices.Concat(ab, sample)), field(1, slices.Concat(label("a", "1"), label("b", "3"), sample)), `{a="1", b="3"}`, false},
		{"one label more", WriteV1, field(1, slices.Concat(ab, sample)), field(1, slices.Concat(ab, label("c", "3"), sample)), `{a="1", b="2", c="3"}`, false},
		{"one label less", WriteV1, field(1, slices.Concat(ab, sample)), field(1, slices.Concat(label("a", "1"), sample)), `{a="1"}`, false},
		{"a label behind the sample", WriteV1, field(1, slices.Concat(ab, sample)), field(1, slices.Concat(ab, sample, label("c", "3"))), `{a="1", b="2", c="3"}`, false},
		{"a label whose tag is longer than it must be", WriteV1, field(1, slices.Concat(ab, sample)), field(1, slices.Concat(ab, []byte{0x8a, 0}, label("c", "3")[1:], sample)), `{a="1", b="2", c="3"}`, false},
		{"scattered, then not", WriteV1, field(1, slices.Concat(label("a", "1"), sample, label("b", "2"))), field(1, slices.Concat(ab, sample)), `{a="1", b="2"}`, true},
		{"2.0, numbered otherwise", WriteV2, v2([]string{"", "a", "1"}, 1, 2), v2(many, 300, 20_000), `{a="1"}`, true},
		{"2.0, name and value change places", WriteV2, v2([]string{"", "a", "b"}, 1, 2), v2([]string{"", "a", "b"}, 2, 1), `{b="a"}`, false},
		{"2.0, labels change places", WriteV2, v2([]string{"", "a", "b", "c"}, 1, 2, 3, 2), v2([]string{"", "a", "b", "c"}, 3, 2, 1, 2), `{a="b", c="b"}`, false},
		{"2.0, a label twice", WriteV2, v2([]string{"", "a", "b"}, 1, 2), v2([]string{"", "a", "b"}, 1, 2, 1, 2), `{a="b", a="b"}`, false},
	} {
		r := NewRequest(NewHasher())
		if _, _, err := readGuessing(r, tt.p, tt.first, func(int) Guess { return Guess{} }); err != nil {
			t.Fatal(err)
		}
		guess := Guess{r.Series.Key.Hi, r.Series.Front}
		all, _, err := readGuessing(r, tt.p, tt.then, func(int) Guess { return guess })
		if err != nil || all[0].Labels != tt.labels || r.Series.Guessed != tt.guessed || all[0].Floats[0].Time != 7 {
			t.Errorf("%s: read %v, guessed %v, %v", tt.name, all, r.Series.Guessed, err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	var w prompb.WriteRequest
	st := writev2.NewSymbolTable()
	var w2 writev2.Request
	for i := range 2000 {
		ls := labels.FromStrings("__name__", "container_cpu_usage_seconds_total", "cluster", "prod-eu-1", "container", "app",
			"cpu", "total", "image", "registry.example.com/team/app:v1.2.3", "instance", fmt.Sprintf("10.0.%d.%d:10250", i/256, i%256),
			"job", "kubelet", "namespace", "payments", "node", fmt.Sprint("node-", i%100), "pod", fmt.Sprintf("app-7d4b9c-%05d", i))
		w.Timeseries = append(w.Timeseries, prompb.TimeSeries{Labels: prompb.FromLabels(ls, nil), Samples: []prompb.Sample{{Value: float64(i), Timestamp: 1700000000000}}})
		w2.Timeseries = append(w2.Timeseries, writev2.TimeSeries{LabelsRefs: st.SymbolizeLabels(ls, nil), Samples: []writev2.Sample{{Value: float64(i), Timestamp: 1700000000000}}})
	}
	w2.Symbols = st.Symbols()
	p1, _ := w.Marshal()
	p2, _ := w2.Marshal()
	for name, c := range map[string]struct {
		p    Protocol
		body []byte
	}{"v1": {WriteV1, p1}, "v2": {WriteV2, p2}} {
		b.Run(name, func(b *testing.B) {
			r := NewRequest(NewHasher())
			guesses := make([]Guess, 2001)
			b.ReportAllocs()
			for b.Loop() {
				if err := r.Reset(c.p, c.body); err != nil {
					b.Fatal(err)
				}
				for n := 0; r.Next(guesses[n]); n++ {
					guesses[n] = Guess{r.Series.Key.Hi, r.Series.Front}
				}
				if r.Err() != nil {
					b.Fatal(r.Err())
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/2000, "ns/sample")
		})
	}
}

// One byte beyond ASCII is noticed, wherever in the labels it stands, and however long they are: lengths have such bytes, too.
func TestASCII(t *testing.T) {
	for _, l := range []struct{ name, value int }{{1, 24}, {1, 123}, {1, 124}, {3, 127}, {3, 128}, {127, 1}, {128, 1}, {300, 200}, {1, 1 << 14}, {20, 1<<14 - 30}} {
		for at := -1; at < l.name+l.value; at += 1 + at/25 {
			both := []byte(strings.Repeat("x", l.name+l.value))
			if at >= 0 {
				both[at] = 0x80
			}
			long := prompb.Label{Name: string(both[:l.name]), Value: string(both[l.name:])}
			ts := prompb.TimeSeries{Labels: []prompb.Label{{Name: "a", Value: "b"}, {Name: "empty"}, long}, Samples: []prompb.Sample{{Timestamp: -1, Value: -1}}}
			w := prompb.WriteRequest{Timeseries: []prompb.TimeSeries{ts}}
			body, err := w.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			r := NewRequest(NewHasher())
			if err := r.Reset(WriteV1, body); err != nil || !r.Next(Guess{}) {
				t.Fatal(err, r.Err())
			}
			ls, err := r.Labels(nil, 10)
			if err != nil {
				t.Fatal(err)
			}
			if got := r.ASCII(ls); got != (at < 0) {
				t.Errorf("%+v with a byte at %d: %v", l, at, got)
			}
		}
	}
}

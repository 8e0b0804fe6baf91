package distributor_test

import (
	"encoding/binary"
	"math"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

// field is a protobuf field of bytes.
func field(id int, data []byte) []byte {
	out := binary.AppendUvarint(nil, uint64(id)<<3|2)
	out = binary.AppendUvarint(out, uint64(len(data)))
	return append(out, data...)
}

func times(n int, p []byte) []byte { return slices.Repeat(p, n) }

// H1–H4 and H8: what would cost a careless server its memory or its time is refused, soon and cheaply.
func TestHostileBodies(t *testing.T) {
	b := newBed(t, options{})
	pack := func(raw []byte) []byte { return s2.EncodeSnappy(nil, raw) }
	label := func(name, value string) []byte {
		return field(1, append(field(1, []byte(name)), field(2, []byte(value))...))
	}
	named := label("__name__", "m")
	sample := field(2, sampleField(b.at(0, 0)))
	one := func(parts ...[]byte) []byte { return pack(field(1, slices.Concat(parts...))) }
	tests := []struct {
		name  string
		v2    bool
		body  []byte
		codes []int
		says  string
	}{
		{"H1: 2 GiB declared in 8 bytes", false, append(binary.AppendUvarint(nil, 2<<30), 1, 2, 3), []int{400, 413}, ""},
		{"H1: 4 GiB - 1 declared in 8 bytes", false, append(binary.AppendUvarint(nil, math.MaxUint32), 1, 2, 3), []int{400, 413}, ""},
		{"H1: more than can be", false, append(binary.AppendUvarint(nil, math.MaxUint64), 1, 2, 3), []int{400, 413}, ""},
		{"H1: 30 MB declared in 8 bytes", false, append(binary.AppendUvarint(nil, 30<<20), 1, 2, 3), []int{400}, ""},
		{"H2: 90 MB of zeros", false, pack(make([]byte, 90<<20)), []int{400, 413}, ""},
		{"H2: 31 MB of zeros", false, pack(make([]byte, 31<<20)), []int{400}, ""},
		{"H3: 4 million empty series", false, pack(times(4<<20, field(1, nil))), []int{400}, "max_samples_per_request"},
		{"H3: 4 million empty series of 2.0", true, pack(append(field(4, nil), times(4<<20, field(5, nil))...)), []int{400}, "max_samples_per_request"},
		{"H3: 2 million empty labels", false, one(times(2<<20, field(1, nil)), sample), []int{400}, "label"},
		{"H3: 2 million empty samples", false, one(named, times(2<<20, field(2, nil))), []int{400}, "max_samples_per_request"},
		{"H3: 2 million empty histograms", false, one(named, times(2<<20, field(4, nil))), []int{400}, ""},
		{"H3: 2 million empty exemplars", false, one(named, sample, times(2<<20, field(3, nil))), []int{204, 400}, ""},
		{"H3: 2 million empty families", false, pack(times(2<<20, field(3, nil))), []int{204, 400}, ""},
		{"H4: a million labels", false, one(named, times(1_000_000, label("a", "b")), sample), []int{400}, "label"},
		{"H4: a value of 1 MB", false, one(named, label("a", strings.Repeat("x", 1<<20)), sample), []int{400}, "max_label_value_length"},
		{"H4: a name of 64 KB", false, one(named, label(strings.Repeat("x", 64<<10), "a"), sample), []int{400}, "max_label_name_length"},
		{"H8: a label reference out of range", true, v2(t, &writev2.Request{Symbols: []string{"", "__name__"}, Timeseries: []writev2.TimeSeries{{LabelsRefs: []uint32{1, 99}, Samples: make([]writev2.Sample, 1)}}}), []int{400}, "reference"},
		{"H8: an odd number of references", true, v2(t, &writev2.Request{Symbols: []string{"", "__name__", "m"}, Timeseries: []writev2.TimeSeries{{LabelsRefs: []uint32{1, 2, 1}, Samples: []writev2.Sample{{Timestamp: b.now.UnixMilli()}}}}}), []int{400}, ""},
		{"H8: first symbol isn't empty", true, v2(t, &writev2.Request{Symbols: []string{"x", "__name__"}}), []int{400}, "symbol"},
		{"H8: 4 million symbols", true, pack(times(4<<20, field(4, nil))), []int{400}, "symbols"},
		{"H8: help out of range", true, v2(t, &writev2.Request{Symbols: []string{"", "__name__", "m"}, Timeseries: []writev2.TimeSeries{{LabelsRefs: []uint32{1, 2}, Samples: []writev2.Sample{{Timestamp: b.now.UnixMilli()}}, Metadata: writev2.Metadata{HelpRef: 77}}}}), []int{400}, ""},
		{"a message that ends too soon", false, pack([]byte{1<<3 | 2, 100, 1, 2}), []int{400}, ""},
		{"a field of 2^63 bytes", false, pack(append([]byte{1<<3 | 2}, binary.AppendUvarint(nil, 1<<63)...)), []int{400}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var w *httptest.ResponseRecorder
			took, allocated := time.Hour, uint64(math.MaxUint64)
			for range 5 { // the machine may be busy with something else
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				begun := processor(t)
				w = b.serve(request("hostile", tt.v2, tt.body))
				took = min(took, processor(t)-begun)
				runtime.ReadMemStats(&after)
				if allocated = min(allocated, after.TotalAlloc-before.TotalAlloc); took < goal && allocated < most {
					break
				}
			}
			if !slices.Contains(tt.codes, w.Code) || !strings.Contains(w.Body.String(), tt.says) {
				t.Errorf("status %d, want one of %v that says %q: %.300s", w.Code, tt.codes, tt.says, w.Body)
			}
			if w.Body.Len() > 2000 {
				t.Errorf("the answer has %d bytes", w.Body.Len())
			}
			if took > goal || allocated > most {
				t.Errorf("it took %v and %d MiB, want less than %v and %d MiB", took, allocated>>20, goal, most>>20)
			}
		})
	}
	if w := b.serve(request("hostile", false, v1(t, &prompb.WriteRequest{Timeseries: []prompb.TimeSeries{of("after", []prompb.Sample{b.at(0, 1)})}}))); w.Code != 204 {
		t.Errorf("a normal request afterwards: %d %s", w.Code, w.Body)
	}
}

// processor is the time that this process has had on processors: a busy machine doesn't lengthen it.
func processor(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// goal and most are how long a hostile request may keep a processor busy, and what it may allocate in all.
const (
	goal = 100 * time.Millisecond * slowdown
	most = 128 << 20
)

// FuzzWrite sends any bytes as a body: nothing but an answer may come of it.
func FuzzWrite(f *testing.F) {
	b := newBed(f, options{})
	f.Add(false, s2.EncodeSnappy(nil, nil))
	raw, err := (&prompb.WriteRequest{
		Timeseries: []prompb.TimeSeries{of("m", []prompb.Sample{b.at(0, 1)}, "a", "b")},
		Metadata:   []prompb.MetricMetadata{{MetricFamilyName: "m", Help: "h"}},
	}).Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(false, raw)
	f.Add(true, raw)
	two, err := (&writev2.Request{Symbols: []string{"", "__name__", "m"}, Timeseries: []writev2.TimeSeries{{LabelsRefs: []uint32{1, 2}, Samples: v2Samples([]prompb.Sample{b.at(0, 1)})}}}).Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(true, two)
	f.Fuzz(func(t *testing.T, v2 bool, raw []byte) {
		w := b.serve(request("", v2, s2.EncodeSnappy(nil, raw)))
		if w.Code != 204 && w.Code != 400 {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
	})
}

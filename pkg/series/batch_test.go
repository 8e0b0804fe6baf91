package series

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"pgregory.net/rapid"

	"github.com/varve-io/varve/pkg/tenant"
)

func TestFloatsComeBackBitForBit(t *testing.T) {
	type sample struct {
		n    Number
		t    int64
		bits uint64
	}
	rapid.Check(t, func(t *rapid.T) {
		samples := rapid.SliceOf(rapid.Custom(func(t *rapid.T) sample {
			return sample{Number(rapid.Uint32().Draw(t, "n")), rapid.Int64().Draw(t, "t"), rapid.Uint64().Draw(t, "v")}
		})).Draw(t, "samples")
		var b Builder
		b.Reset(StreamID{Distributor: 1 << 63, Generation: 7, Partition: 3}, tenant.Anonymous)
		for _, s := range samples {
			b.Float(s.n, s.t, math.Float64frombits(s.bits))
		}
		batch, err := ParseBatch(b.AppendTo(nil))
		if err != nil {
			t.Fatal(err)
		}
		if batch.Stream != b.Stream() || batch.Tenant != tenant.Anonymous {
			t.Fatalf("header came back as %+v", batch)
		}
		it := batch.Floats()
		for i, want := range samples {
			n, ts, v, ok := it.Next()
			if !ok || n != want.n || ts != want.t || math.Float64bits(v) != want.bits {
				t.Fatalf("sample %d came back as %v %v %v %v, want %v", i, n, ts, v, ok, want)
			}
		}
		if _, _, _, ok := it.Next(); ok || it.Err() != nil {
			t.Fatalf("more samples than went in, or %v", it.Err())
		}
	})
}

func everything() *Builder {
	b := &Builder{}
	b.Reset(StreamID{Distributor: 42, Generation: 1, Partition: 0}, tenant.Anonymous)
	b.Define(9, labels.FromStrings("__name__", "up", "instance", "a:1"))
	b.Define(3, labels.FromStrings("__name__", "down", "ü", "€"))
	b.Define(4, labels.FromStrings("__name__", "up", "ü", "€"))
	b.Label(70_000, labels.Label{Name: "ü", Value: "€"})
	b.Label(3, labels.Label{Name: "__name__", Value: ""})
	b.DefineNumbered(1<<32-1, []LabelNumber{3, 70_000})
	b.DefineNumbered(0, []LabelNumber{1<<32 - 1})
	b.Float(9, 1000, math.Float64frombits(value.StaleNaN))
	b.Float(3, 1000, math.Copysign(0, -1))
	b.Histogram(9, 2000, tsdbutil.GenerateTestHistogram(5))
	b.FloatHistogram(9, 3000, tsdbutil.GenerateTestCustomBucketsFloatHistogram(2))
	b.FloatHistogram(9, 3001, &histogram.FloatHistogram{})
	b.Exemplar(3, exemplar.Exemplar{Ts: 5, HasTs: true, Value: 1.5, Labels: labels.FromStrings("trace_id", "x")})
	b.Metadata(Metadata{Family: "up", Metadata: metadata.Metadata{Type: model.MetricTypeGauge, Unit: "s", Help: "is it up"}})
	return b
}

type content struct {
	Definitions map[Number]string
	Labels      map[LabelNumber]string
	Numbered    map[Number][]LabelNumber
	Floats      int
	Histograms  []HistogramSample
	Exemplars   []exemplar.Exemplar
	Metadata    []Metadata
}

func readAll(b *Batch) (content, error) {
	c := content{Definitions: map[Number]string{}, Labels: map[LabelNumber]string{}, Numbered: map[Number][]LabelNumber{}}
	var d Definitions
	var byNumbers Definitions
	var ks []LabelNumber
	place := func(k LabelNumber) (uint32, error) { ks = append(ks, k); return uint32(len(ks) - 1), nil }
	err := errors.Join(b.Definitions(&d), b.Numbered(&byNumbers, place), b.Labels(func(k LabelNumber, l labels.Label) error {
		c.Labels[k] = strings.Clone(l.Name) + "=" + strings.Clone(l.Value)
		return nil
	}))
	for i, n := range byNumbers.Numbers {
		for _, at := range byNumbers.Labels(i) {
			c.Numbered[n] = append(c.Numbered[n], ks[at])
		}
	}
	for i, n := range d.Numbers {
		var ls []labels.Label
		for _, place := range d.Labels(i) {
			ls = append(ls, d.Pairs[place])
		}
		c.Definitions[n] = labels.New(ls...).String()
	}
	it := b.Floats()
	for {
		if _, _, _, ok := it.Next(); !ok {
			break
		}
		c.Floats++
	}
	return c, errors.Join(err, it.Err(),
		b.Histograms(func(s HistogramSample) error { c.Histograms = append(c.Histograms, s); return nil }),
		b.Exemplars(func(_ Number, e exemplar.Exemplar) error { c.Exemplars = append(c.Exemplars, e); return nil }),
		b.Metadata(func(m Metadata) error { c.Metadata = append(c.Metadata, m); return nil }))
}

func TestEverySectionComesBack(t *testing.T) {
	batch, err := ParseBatch(everything().AppendTo(nil))
	if err != nil {
		t.Fatal(err)
	}
	got, err := readAll(&batch)
	if err != nil {
		t.Fatal(err)
	}
	want := content{
		Definitions: map[Number]string{9: `{__name__="up", instance="a:1"}`, 3: `{__name__="down", "ü"="€"}`, 4: `{__name__="up", "ü"="€"}`},
		Labels:      map[LabelNumber]string{70_000: "ü=€", 3: "__name__="},
		Numbered:    map[Number][]LabelNumber{1<<32 - 1: {3, 70_000}, 0: {1<<32 - 1}},
		Floats:      2,
		Histograms: []HistogramSample{
			{Number: 9, Time: 2000, H: tsdbutil.GenerateTestHistogram(5)},
			{Number: 9, Time: 3000, FH: tsdbutil.GenerateTestCustomBucketsFloatHistogram(2)},
			{Number: 9, Time: 3001, FH: &histogram.FloatHistogram{}},
		},
		Exemplars: []exemplar.Exemplar{{Ts: 5, HasTs: true, Value: 1.5, Labels: labels.FromStrings("trace_id", "x")}},
		Metadata:  []Metadata{{Family: "up", Metadata: metadata.Metadata{Type: model.MetricTypeGauge, Unit: "s", Help: "is it up"}}},
	}
	if d := cmp.Diff(want, got, cmp.Comparer(labels.Equal)); d != "" {
		t.Error(d)
	}
}

func FuzzBatch(f *testing.F) {
	whole := everything().AppendTo(nil)
	f.Add(whole)
	f.Add(append([]byte{wholeVersion}, whole[1:]...))
	for i := range whole {
		f.Add(whole[:i])
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		b, err := ParseBatch(p)
		if err != nil {
			return
		}
		if _, err := readAll(&b); err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("error of another kind: %v", err)
		}
	})
}

// numberings are the numbers of series in the order in which they were new, and of those that come and go: anywhere, and some behind others.
// A processor learns what is repeated soon, so there are many.
func numberings() map[string][]Number {
	all := map[string][]Number{}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range benchBatches * benchFloats {
		all["order"] = append(all["order"], Number(i))
		all["churn"] = append(all["churn"], Number(r.IntN(700_000)))
		all["mixed"] = append(all["mixed"], Number(r.IntN(1<<20)>>r.IntN(20)))
	}
	return all
}

const (
	benchBatches = 50
	benchFloats  = 2000
)

func benchBatch(bl *Builder, numbers []Number) {
	bl.Reset(StreamID{Distributor: 1}, tenant.Anonymous)
	for _, n := range numbers {
		bl.Float(n, 1_700_000_000_000, float64(n))
	}
}

func BenchmarkBuilder(b *testing.B) {
	for name, numbers := range numberings() {
		b.Run(name, func(b *testing.B) {
			var bl Builder
			var out []byte
			b.ReportAllocs()
			for b.Loop() {
				for some := range slices.Chunk(numbers, benchFloats) {
					benchBatch(&bl, some)
					out = bl.AppendTo(out[:0])
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(numbers)), "ns/sample")
		})
	}
}

func BenchmarkFloats(b *testing.B) {
	for name, numbers := range numberings() {
		b.Run(name, func(b *testing.B) {
			var batches []Batch
			for some := range slices.Chunk(numbers, benchFloats) {
				var bl Builder
				benchBatch(&bl, some)
				batch, err := ParseBatch(bl.AppendTo(nil))
				if err != nil {
					b.Fatal(err)
				}
				batches = append(batches, batch)
			}
			var room [16]FloatBits
			b.ReportAllocs()
			for b.Loop() {
				for i := range batches {
					for it := batches[i].Floats(); it.Fill(room[:]) > 0; {
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(numbers)), "ns/sample")
		})
	}
}

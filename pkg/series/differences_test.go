package series

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"github.com/varve-io/varve/pkg/tenant"
)

// fataler is a test, of rapid too.
type fataler interface {
	Helper()
	Fatal(args ...any)
}

// logged turns the batch into a record, with differences from what last has of each number, which it brings up to date.
func logged(tb fataler, encoded []byte, c Continuity, last map[Number]uint64) []byte {
	tb.Helper()
	b, err := ParseBatch(encoded)
	if err != nil {
		tb.Fatal(err)
	}
	var d Differences
	it := b.Floats()
	d.Reset(it.Len())
	for {
		n, _, bits, ok := it.NextBits()
		if !ok {
			break
		}
		d.Add(bits ^ last[n])
		last[n] = bits
	}
	rec, err := b.AppendLogged(nil, c, &d)
	if err != nil {
		tb.Fatal(err)
	}
	return rec
}

func TestDifferencesComeBackBitForBit(t *testing.T) {
	// Floats of every kind, and differences of every shape: a few bytes anywhere.
	value := rapid.Custom(func(t *rapid.T) uint64 {
		special := []float64{0, math.Copysign(0, -1), math.NaN(), math.Inf(1), math.Inf(-1), math.SmallestNonzeroFloat64, 1, -1}
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			return math.Float64bits(rapid.SampledFrom(special).Draw(t, "special"))
		case 1:
			return rapid.Uint64().Draw(t, "bits") << rapid.IntRange(0, 63).Draw(t, "left") >> rapid.IntRange(0, 63).Draw(t, "right")
		case 2:
			return math.Float64bits(float64(rapid.Int32().Draw(t, "int")))
		}
		return rapid.Uint64().Draw(t, "bits")
	})
	rapid.Check(t, func(t *rapid.T) {
		var b Builder
		wrote, read := map[Number]uint64{}, map[Number]uint64{}
		for c := (Continuity{Sequence: rapid.Uint64Range(0, 1<<63-10).Draw(t, "sequence"), Anew: true}); c.Sequence%3 != 0 || c.Anew; c = (Continuity{Sequence: c.Sequence + 1}) {
			b.Reset(StreamID{Distributor: 7}, tenant.Anonymous)
			numbers := rapid.SliceOfN(rapid.Map(rapid.IntRange(0, 9), func(n int) Number { return Number(n) }), 1, 50).Draw(t, "numbers")
			var values []uint64
			for _, n := range numbers {
				v := value.Draw(t, "v")
				values = append(values, v)
				b.Float(n, int64(len(values)), math.Float64frombits(v))
			}
			batch, err := ParseLogged(logged(t, b.AppendTo(nil), c, wrote))
			if err != nil {
				t.Fatal(err)
			}
			if got, ok := batch.Continuity(); !ok || got != c {
				t.Fatalf("continuity came back as %+v %v, want %+v", got, ok, c)
			}
			it := batch.Floats()
			for i, want := range values {
				n, ts, x, ok := it.NextBits()
				read[n] ^= x
				if !ok || n != numbers[i] || ts != int64(i+1) || read[n] != want {
					t.Fatalf("value %d came back as %x of %d at %d (%v), want %x of %d", i, read[n], n, ts, ok, want, numbers[i])
				}
			}
			if _, _, _, ok := it.NextBits(); ok || it.Err() != nil {
				t.Fatalf("more differences than went in, or %v", it.Err())
			}
		}
	})
}

// Every code is taken by some difference, and every difference by the shortest that has room for it.
func TestCodesCoverAllDifferences(t *testing.T) {
	taken := map[uint8]bool{codeOf[8<<4|8]: true}
	for from := range uint(8) {
		for to := from; to < 8; to++ {
			x := uint64(1)<<(8*from) | uint64(1)<<(8*to)
			code := codeOf[(7-to)<<4|from]
			taken[code] = true
			var d Differences
			d.Reset(1)
			d.Add(x)
			r, ok := newDifferenceReader(1, append(append([]byte{}, d.codes...), d.payload[:d.used]...))
			if !ok || r.next() != x {
				t.Errorf("%x does not come back with code %d", x, code)
			}
			for c, s := range stretches {
				if uint(s.above) <= from && uint(s.above+s.bytes) > to && s.bytes < stretches[code].bytes {
					t.Errorf("%x takes code %d, but %d is shorter", x, code, c)
				}
			}
		}
	}
	if len(taken) != len(stretches) {
		t.Errorf("only %d codes are taken", len(taken))
	}
}

func TestGoldenRecord(t *testing.T) {
	want := golden(t, "record-v3.txt")
	id, err := tenant.Parse("t1")
	if err != nil {
		t.Fatal(err)
	}
	var b Builder
	b.Reset(StreamID{Distributor: 0x0807060504030201, Generation: 5, Partition: 3}, id)
	for i, v := range []float64{1, 1, 2, 0.1, 0.1} {
		b.Float(7, 1_700_000_000_000+15_000*int64(i), v)
	}
	b.Label(5, labels.Label{Name: "a", Value: "bc"})
	b.DefineNumbered(7, []LabelNumber{5})
	if got := logged(t, b.AppendTo(nil), Continuity{Sequence: 9, Anew: true}, map[Number]uint64{}); !bytes.Equal(got, want) {
		t.Errorf("the record is\n%x\nthe golden one is\n%x", got, want)
	}
	if _, err := ParseLogged(want); err != nil {
		t.Error(err)
	}
	if _, err := ParseBatch(want); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a distributor's batch with differences: %v", err)
	}
}

func TestDamagedDifferencesAreCorrupt(t *testing.T) {
	var b Builder
	b.Reset(StreamID{Distributor: 1}, tenant.Anonymous)
	for n := range Number(3) {
		b.Float(n, 1, float64(n)+0.1)
	}
	whole := logged(t, b.AppendTo(nil), Continuity{}, map[Number]uint64{})
	for i := range whole {
		batch, err := ParseLogged(whole[:i])
		if err == nil {
			err = drain(&batch)
		}
		if err == nil && batch.Floats().left > 0 {
			t.Errorf("the first %d of %d bytes are read", i, len(whole))
		}
	}
}

func drain(b *Batch) error {
	it := b.Floats()
	for {
		if _, _, _, ok := it.NextBits(); !ok {
			return it.Err()
		}
	}
}

func FuzzLogged(f *testing.F) {
	whole := logged(f, everything().AppendTo(nil), Continuity{Sequence: 300}, map[Number]uint64{})
	f.Add(whole)
	for i := range whole {
		f.Add(whole[:i])
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		b, err := ParseLogged(p)
		if err != nil {
			return
		}
		if _, err := readAll(&b); err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("error of another kind: %v", err)
		}
	})
}

func BenchmarkDifferences(b *testing.B) {
	var bl Builder
	bl.Reset(StreamID{Distributor: 1}, tenant.Anonymous)
	for n := range Number(2000) {
		bl.Float(n, 1_700_000_000_000, float64(n)*[]float64{1, 1, 1.1, 4096}[n%4])
	}
	batch, err := ParseBatch(bl.AppendTo(nil))
	if err != nil {
		b.Fatal(err)
	}
	var d Differences
	var rec []byte
	var room [16]FloatBits
	b.ReportAllocs()
	for b.Loop() {
		it := batch.Floats()
		d.Reset(it.Len())
		for last := uint64(0); ; {
			some := room[:it.Fill(room[:])]
			for i := range some {
				d.Add(some[i].Bits ^ last)
				last = some[i].Bits
			}
			if len(some) == 0 {
				break
			}
		}
		rec, _ = batch.AppendLogged(rec[:0], Continuity{}, &d)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/2000, "ns/sample")
}

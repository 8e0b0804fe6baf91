package head

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// checkXOR encodes samples here and with Prometheus' encoder, and compares after each.
func checkXOR(t *testing.T, samples []sample) {
	t.Helper()
	theirs := chunkenc.NewXORChunk()
	app, err := theirs.Appender()
	if err != nil {
		t.Fatal(err)
	}
	var ours xor
	ours.reset()
	for i, s := range samples {
		ours.append(s.t, s.v)
		app.Append(0, s.t, s.v)
		if got := ours.appendTo(nil); !bytes.Equal(got, theirs.Bytes()) || ours.size() != len(got) {
			t.Fatalf("after sample %d of %v:\ngot  %x\nwant %x", i, samples, got, theirs.Bytes())
		}
		if ours.minT() != samples[0].t {
			t.Fatalf("first time %d of %v", ours.minT(), samples)
		}
	}
	used := cap(ours.buf)
	ours.reset()
	for _, s := range samples {
		ours.append(s.t, s.v)
	}
	if got := ours.appendTo(nil); len(samples) > 0 && !bytes.Equal(got, theirs.Bytes()) || cap(ours.buf) != used {
		t.Fatalf("in a used buffer: %x, want %x", got, theirs.Bytes())
	}
}

var oddFloats = []float64{
	0, math.Copysign(0, -1), 1, -1, math.NaN(), math.Float64frombits(value.StaleNaN), math.Float64frombits(0xfff8000000000001),
	math.Inf(1), math.Inf(-1), math.MaxFloat64, math.SmallestNonzeroFloat64, math.Float64frombits(math.MaxUint64), 0.1, 1e300,
}

// steps are where the codes of times change.
var steps = []int64{
	0, 1, -1, 8191, 8192, 8193, -8190, -8191, -8192, 65535, 65536, 65537, -65535, -65536, 524287, 524288, 524289, -524287, -524288,
	15_000, math.MaxInt64, math.MinInt64, math.MaxInt64 / 2, 1 << 33,
}

func TestXORIsThatOfPrometheus(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, a := range steps {
		for _, b := range steps {
			checkXOR(t, []sample{{a, 1}, {a + b, 1}, {a + 2*b + a, 2}, {b, 3}, {b + a, 3}, {b, 3}})
		}
	}
	for _, a := range oddFloats {
		for _, b := range oddFloats {
			checkXOR(t, []sample{{1, a}, {2, b}, {3, a}, {4, a}, {5, b}})
		}
	}
	for range 3000 {
		samples := make([]sample, r.IntN(200))
		at, v := r.Int64N(1<<42), r.Float64()
		for i := range samples {
			at += 15_000
			if r.IntN(4) == 0 {
				at += steps[r.IntN(len(steps))]
			}
			switch r.IntN(6) {
			case 0:
				v = oddFloats[r.IntN(len(oddFloats))]
			case 1:
				v = math.Float64frombits(r.Uint64())
			case 2:
				v = math.Float64frombits(math.Float64bits(v) ^ 1<<r.IntN(64))
			default:
				v += float64(r.IntN(50))
			}
			samples[i] = sample{at, v}
		}
		checkXOR(t, samples)
	}
}

func FuzzXORIsThatOfPrometheus(f *testing.F) {
	f.Add([]byte("0123456789abcdef0123456789abcdef0123456789abcdef"))
	for _, d := range steps {
		var p []byte
		for i, v := range oddFloats {
			p = binary.LittleEndian.AppendUint64(p, uint64(int64(i)*d))
			p = binary.LittleEndian.AppendUint64(p, math.Float64bits(v))
		}
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		var samples []sample
		for ; len(p) >= 16; p = p[16:] {
			samples = append(samples, sample{int64(binary.LittleEndian.Uint64(p)), math.Float64frombits(binary.LittleEndian.Uint64(p[8:]))})
		}
		checkXOR(t, samples)
	})
}

package quantity

import (
	"math"
	"math/big"
	"slices"
	"sort"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/prometheus/model/value"
	"pgregory.net/rapid"
)

var stale = math.Float64frombits(value.StaleNaN)

// sample is one alone.
type sample struct {
	T int64
	V float64
}

func runsOf(samples []sample) (out []Run) {
	for _, s := range samples {
		out = Append(out, Run{T: s.T, N: 1, V: s.V})
	}
	return out
}

// samplesOf is a random series: uneven and even intervals, equal values, gaps, markers, NaNs, resets. The bridge of its test is some 10 ms.
func samplesOf(t *rapid.T, name string) []sample {
	out := make([]sample, rapid.IntRange(0, 12).Draw(t, name))
	at, step := int64(1000), int64(0)
	for i := range out {
		again := i > 0 && rapid.IntRange(0, 2).Draw(t, "again") > 0
		if !again {
			step = rapid.Int64Range(1, 25).Draw(t, "interval")
		}
		at += step
		out[i] = sample{at, float64(rapid.IntRange(0, 1<<20).Draw(t, "value"))}
		switch kind := rapid.IntRange(0, 15).Draw(t, "kind"); {
		case again:
			out[i].V = out[i-1].V
		case kind == 0:
			out[i].V = stale
		case kind == 1:
			out[i].V = math.NaN()
		}
	}
	return out
}

// stepAt is the definition of a step, for one millisecond.
func stepAt(samples []sample, bridge, t int64) (int64, bool) {
	var last *sample
	for i := range samples {
		if samples[i].T <= t {
			last = &samples[i]
		}
	}
	if last == nil || math.IsNaN(last.V) || t >= last.T+bridge {
		return 0, false
	}
	return int64(last.V), true
}

// counterAt is what a counter grew in [t, t+1): the parts until both ends, each rounded down, by way of rationals.
func counterAt(samples []sample, c Counter, t int64) (int64, bool) {
	before := sample{c.Start, 0}
	for _, s := range samples {
		if math.IsNaN(s.V) {
			continue
		}
		if before.T > 0 && before.T <= t && t < s.T && s.T-before.T <= c.Bridge {
			inc := s.V - before.V
			if inc < 0 {
				inc = s.V
			}
			until := func(t int64) int64 {
				r := big.NewRat(int64(inc)*(t-before.T), s.T-before.T)
				return new(big.Int).Div(r.Num(), r.Denom()).Int64()
			}
			return until(t+1) - until(t), true
		}
		before = s
	}
	return 0, false
}

// Against the definition, millisecond by millisecond.
func TestIntegralsAreThoseOfEachMillisecond(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		usage, memory, request := samplesOf(t, "usage"), samplesOf(t, "memory"), samplesOf(t, "request")
		bridge := rapid.Int64Range(1, 30).Draw(t, "bridge")
		c := Counter{Bridge: bridge, Start: rapid.Int64Range(0, 1).Draw(t, "has start") * rapid.Int64Range(980, 1030).Draw(t, "start"), Unit: 1}
		from := rapid.Int64Range(980, 1300).Draw(t, "from")
		to := from + rapid.Int64Range(0, 200).Draw(t, "length")
		want, wantRAM := CPU{}, RAM{}
		for ms := from; ms < to; ms++ {
			r, _ := stepAt(request, bridge, ms)
			if u, ok := counterAt(usage, c, ms); ok {
				want.Used, want.Unused, want.Request, want.Known = want.Used+u, want.Unused+max(r-u, 0), want.Request+r, want.Known+1
			}
			if u, ok := stepAt(memory, bridge, ms); ok {
				wantRAM.Used.Add(u, 1)
				wantRAM.Unused.Add(max(r-u, 0), 1)
				wantRAM.Request.Add(r, 1)
				wantRAM.Known++
			}
		}
		got, gotRAM := CPU{}, RAM{}
		requests := Levels(nil, runsOf(request), bridge, 1)
		got.Add(c.Spreads(nil, runsOf(usage)), requests, from, to)
		gotRAM.Add(Levels(nil, runsOf(memory), bridge, 1), requests, from, to)
		if got != want || gotRAM != wantRAM {
			t.Fatalf("got %v and %v, want %v and %v", got, gotRAM, want, wantRAM)
		}
	})
}

// What is added up at once is what its pieces are together.
func TestSum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		runs := runsOf(samplesOf(t, "usage"))
		c := Counter{Bridge: rapid.Int64Range(1, 30).Draw(t, "bridge"), Start: rapid.Int64Range(0, 1).Draw(t, "has start") * rapid.Int64Range(980, 1030).Draw(t, "start"), Unit: 1}
		limit := rapid.SampledFrom([]int64{0, 1, 100, 10_000}).Draw(t, "limit")
		from := rapid.Int64Range(980, 1300).Draw(t, "from")
		to := from + rapid.Int64Range(0, 200).Draw(t, "length")
		amount, known := int64(0), int64(0)
		for _, s := range c.Spreads(nil, runs) {
			if limit > 0 {
				s, _ = s.Bound(limit)
			}
			if s = s.Clip(from, to); s.To > s.From {
				amount, known = amount+s.Amount(), known+s.To-s.From
			}
		}
		c.Limit = limit
		if a, k := c.Sum(runs, from, to); a != amount || k != known {
			t.Fatalf("%d in %d ms, want %d in %d", a, k, amount, known)
		}
	})
}

func TestIntegralsTelescope(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		usage, memory, request := samplesOf(t, "usage"), samplesOf(t, "memory"), samplesOf(t, "request")
		cuts := rapid.SliceOf(rapid.Int64Range(990, 1400)).Draw(t, "cuts")
		cuts = append(cuts, 900, 1500)
		slices.Sort(cuts)
		spreads, levels := Counter{Bridge: 20, Unit: 1e6}.Spreads(nil, runsOf(usage)), Levels(nil, runsOf(memory), 20, 1)
		requests := Levels(nil, runsOf(request), 20, 1)
		var whole, parts CPU
		var wholeRAM, partsRAM RAM
		whole.Add(spreads, requests, 900, 1500)
		wholeRAM.Add(levels, requests, 900, 1500)
		for i := 1; i < len(cuts); i++ {
			parts.Add(spreads, requests, cuts[i-1], cuts[i])
			partsRAM.Add(levels, requests, cuts[i-1], cuts[i])
		}
		if whole != parts || wholeRAM != partsRAM {
			t.Fatalf("whole %v %v, parts %v %v", whole, wholeRAM, parts, partsRAM)
		}
	})
}

// A list that is filled from another keeps its own and takes of the other only what it lacks.
func TestFill(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := Levels(nil, runsOf(samplesOf(t, "a")), 9, 1), Levels(nil, runsOf(samplesOf(t, "b")), 9, 1)
		got := Fill(nil, a, b)
		for ms := int64(990); ms < 1400; ms++ {
			want, ok := At(a, ms)
			if !ok {
				want, ok = At(b, ms)
			}
			if v, known := At(got, ms); v != want || known != ok {
				t.Fatalf("at %d: %d %v, want %d %v", ms, v, known, want, ok)
			}
		}
		if twice := Fill(nil, got, b); !cmp.Equal(got, twice) {
			t.Fatalf("filled twice: %v, once %v", twice, got)
		}
	})
}

func TestCombine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := Levels(nil, runsOf(samplesOf(t, "a")), 9, 1), Levels(nil, runsOf(samplesOf(t, "b")), 9, 1)
		got := Combine(nil, a, b, Excess)
		for ms := int64(990); ms < 1400; ms++ {
			av, aOK := At(a, ms)
			bv, bOK := At(b, ms)
			if v, ok := At(got, ms); ok != (aOK || bOK) || ok && v != max(av-bv, 0) {
				t.Fatalf("at %d: %d %v of %d and %d", ms, v, ok, av, bv)
			}
		}
	})
}

// Runs are the samples they are made of, one at a time or many at once.
func TestRuns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		samples := samplesOf(t, "samples")
		runs := runsOf(samples)
		var got []sample
		var again []Run
		for _, r := range runs {
			again = Append(again, r)
			for i := range r.N {
				got = append(got, sample{r.T + i*r.Step, r.V})
			}
		}
		if !cmp.Equal(samples, got, cmpopts.EquateNaNs(), cmpopts.EquateEmpty()) || Count(runs) != int64(len(samples)) {
			t.Fatalf("%v are the runs %v", samples, runs)
		}
		if !cmp.Equal(runs, again, cmpopts.EquateNaNs()) {
			t.Fatalf("%v, once more %v", runs, again)
		}
	})
}

func TestBridge(t *testing.T) {
	every := func(n int, ms int64) []sample {
		out := make([]sample, n)
		for i := range out {
			out[i].T = int64(i) * ms
		}
		return out
	}
	for _, c := range []struct {
		name    string
		samples []sample
		want    int64
	}{
		{"none", nil, 300_000},
		{"one", every(1, 1), 300_000},
		{"15 s", every(240, 15_000), 300_000},
		{"75 s", every(50, 75_000), 300_000},
		{"80 s", every(50, 80_000), 320_000},
		{"5 min", every(20, 300_000), 1_200_000},
		{"one of two", []sample{{T: 0}, {T: 100_000}, {T: 300_000}}, 400_000},
	} {
		if got, _ := Bridge(runsOf(c.samples), nil); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestCounterAtItsEdges(t *testing.T) {
	for _, c := range []struct {
		name    string
		counter Counter
		samples []sample
		want    int64 // millicore-milliseconds of all
	}{
		{"no start", Counter{Bridge: 100, Unit: 1e6}, []sample{{1000, 5}, {1050, 7}}, 2_000_000},
		{"start within the bridge", Counter{Bridge: 100, Unit: 1e6, Start: 901}, []sample{{1000, 5}, {1050, 7}}, 7_000_000},
		{"start farther away", Counter{Bridge: 100, Unit: 1e6, Start: 899}, []sample{{1000, 5}, {1050, 7}}, 2_000_000},
		{"start after the first sample", Counter{Bridge: 100, Unit: 1e6, Start: 1001}, []sample{{1000, 5}, {1050, 7}}, 2_000_000},
		{"reset", Counter{Bridge: 100, Unit: 1e6}, []sample{{1000, 5}, {1050, 3}}, 3_000_000},
		{"gap", Counter{Bridge: 100, Unit: 1e6}, []sample{{1000, 5}, {1101, 7}, {1200, 8}}, 1_000_000},
		{"a marker between", Counter{Bridge: 100, Unit: 1e6}, []sample{{1000, 5}, {1050, stale}, {1100, 7}}, 2_000_000},
		{"rounded, then subtracted", Counter{Bridge: 100, Unit: 1e6}, []sample{{1000, 0.4e-6}, {1050, 0.6e-6}, {1060, 1.4e-6}, {1070, 1.6e-6}}, 2},
		{"absurd", Counter{Bridge: 100, Unit: 1e6}, []sample{{1000, 0}, {1050, math.Inf(1)}}, 1 << 62},
	} {
		var got CPU
		got.Add(c.counter.Spreads(nil, runsOf(c.samples)), nil, 0, 2000)
		if got.Used != c.want {
			t.Errorf("%s: %d, want %d", c.name, got.Used, c.want)
		}
	}
}

func TestBytesAreWide(t *testing.T) {
	var b Bytes
	b.Add(24<<40, 3_600_000) // more than 2^64 in one
	b.Add(24<<40, 3_600_000)
	if got, want := b.Seconds(), int64(24<<40)*7200; got != want {
		t.Errorf("%d, want %d", got, want)
	}
	b = Bytes{}
	b.Add(1, 499)
	if b.Seconds() != 0 {
		t.Error("0.499 rounds to 1")
	}
	b.Add(1, 1)
	if b.Seconds() != 1 {
		t.Error("0.5 rounds to 0")
	}
	if got := (Bytes{1 << 60, 0}).Seconds(); got != math.MaxInt64 {
		t.Errorf("%d is not the most", got)
	}
}

func TestBoundAndRate(t *testing.T) {
	s := NewSpread(1000, 3000, 10_000_000) // 5 cores for 2 s
	if got := s.Rate(); got != 5_000_000 {
		t.Errorf("rate %d", got)
	}
	if b, over := s.Bound(5000); over || b != s {
		t.Error("bounded by what it is")
	}
	b, over := s.Bound(4000)
	if b.Amount() != 8_000_000 || !over || b.Clip(1000, 2000).Amount() != 4_000_000 {
		t.Errorf("bounded to %v", b)
	}
}

func TestBuckets(t *testing.T) {
	b := NewBuckets(10_000, 1_000_000_000)
	for _, c := range []struct {
		v    int64
		want int32
	}{{0, 0}, {9_999, 0}, {10_000, 1}, {20_499, 1}, {20_500, 2}, {31_525, 3}, {1 << 60, int32(len(b.ends) - 1)}} {
		if got := b.Index(c.v); got != c.want {
			t.Errorf("%d is in %d, want %d", c.v, got, c.want)
		}
	}
	for v := int64(1); v > 0; v = v*21/20 + 1 {
		for _, v := range []int64{v - 1, v, v + 1, b.ends[b.Index(v)] - 1, b.ends[b.Index(v)]} {
			want := int32(sort.Search(len(b.ends)-1, func(i int) bool { return v < b.ends[i] }))
			if got := b.Index(v); got != want {
				t.Fatalf("%d is in %d, want %d", v, got, want)
			}
		}
	}
	if b.End(1) != 20_500 {
		t.Errorf("bucket 1 ends at %d", b.End(1))
	}
}

func TestNoAllocationPerSample(t *testing.T) {
	runs := make([]Run, 480)
	for i := range runs {
		runs[i] = Run{int64(i) * 15_000, 0, 1, float64(i)}
	}
	requests := []Level{{0, 1 << 40, 500}}
	spreads, levels := make([]Spread, 0, 480), make([]Level, 0, 480)
	if n := testing.AllocsPerRun(10, func() {
		bridge, _ := Bridge(runs, nil)
		spreads = Counter{Bridge: bridge, Unit: 1e6}.Spreads(spreads[:0], runs)
		levels = Levels(levels[:0], runs, bridge, 1)
		var c CPU
		var r RAM
		c.Add(spreads, requests, 0, 3_600_000)
		r.Add(levels, requests, 0, 3_600_000)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkSeries(b *testing.B) {
	runs := make([]Run, 480)
	for i := range runs {
		runs[i] = Run{int64(i) * 15_000, 0, 1, float64(i * i % 77777)}
	}
	spreads := make([]Spread, 0, 480)
	requests := []Level{{0, 1 << 40, 500}}
	b.ReportAllocs()
	for b.Loop() {
		var c CPU
		bridge, _ := Bridge(runs, nil)
		spreads = Counter{Bridge: bridge, Unit: 1e6}.Spreads(spreads[:0], runs)
		c.Add(spreads, requests, 1_800_000, 5_400_000)
	}
}

package sourcetest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
)

// begin is shortly before a multiple of two hours, where blocks begin.
const begin = 100*7200_000 - 1000

// labelled is series with one sample each, so that their ranges are exact.
func labelled() []Series {
	sets := [][]string{
		{"__name__", "up"},
		{"__name__", "up", "instance", "1", "job", "a"},
		{"__name__", "up", "instance", "2", "job", "a"},
		{"__name__", "up", "instance", "1", "job", "b"},
		{"__name__", "up", "instance", "10", "job", "b", "zone", "ä"},
		{"__name__", "down", "job", "a.b"},
		{"__name__", "down", "job", "a|b"},
		{"__name__", "down", "Zone", "upper", "job", "a"},
		{"__name__", "down", "job", strings.Repeat("long", 500)},
		{"__name__", "quoted", "with \"quotes\" and ☃", "\x00\n\\"},
		{"job", "a"},
		{"zone", "nameless"},
	}
	all := make([]Series, len(sets))
	for n, s := range sets {
		all[n] = Series{labels.FromStrings(s...), []Sample{{t: begin + int64(n)*500, v: float64(n)}}}
	}
	return all
}

// sampled is series of all kinds, of one chunk and of many.
func sampled() []Series {
	rng := rand.New(rand.NewPCG(1, 2))
	all := []Series{
		{labels.FromStrings("__name__", "odd"), oddFloats()},
		{labels.FromStrings("__name__", "one"), []Sample{{t: begin, v: 1}}},
		{labels.FromStrings("__name__", "far"), []Sample{{t: begin - 50*7200_000, v: 1}, {t: begin, v: 2}, {t: begin + 7*7200_000, v: 3}}},
		{labels.FromStrings("__name__", "before 1970"), []Sample{{t: -7200_001, v: 1}, {t: -1, v: 2}, {t: 0, v: 3}, {t: 1, v: 4}}},
		{labels.FromStrings("__name__", "late"), shuffled(rng, many(700, 0))},
		{labels.FromStrings("__name__", "mixed"), mixed(rng)},
	}
	for kind := range kinds {
		all = append(all,
			Series{labels.FromStrings("__name__", "few", "kind", fmt.Sprint(kind)), many(3, kind)},
			Series{labels.FromStrings("__name__", "many", "kind", fmt.Sprint(kind)), many(600, kind)})
	}
	return all
}

// many is n samples of a kind, 15 s apart.
func many(n, kind int) []Sample {
	out := make([]Sample, n)
	for i := range out {
		out[i] = sampleOf(kind, i)
		out[i].t = begin + int64(i)*15_000
	}
	return out
}

const kinds = 8

// sampleOf is the i-th sample of a kind; every 50th is a stale marker.
func sampleOf(kind, i int) Sample {
	stale := math.Float64frombits(value.StaleNaN)
	n := int64(i)
	var s Sample
	switch kind {
	case 0:
		s.v = float64(i)
	case 1:
		s.v = math.Sin(float64(i)) * 1e300
	case 2:
		s.h = tsdbutil.GenerateTestHistogram(n)
	case 3:
		s.fh = tsdbutil.GenerateTestFloatHistogram(n)
	case 4:
		s.h = tsdbutil.GenerateTestGaugeHistogram(n % 7)
	case 5:
		s.fh = tsdbutil.GenerateTestGaugeFloatHistogram(n % 7)
	case 6:
		s.h = tsdbutil.GenerateTestCustomBucketsHistogram(n)
	default:
		s.fh = tsdbutil.GenerateTestCustomBucketsFloatHistogram(n)
	}
	if i%50 != 49 {
		return s
	}
	switch {
	case s.h != nil:
		s.h = &histogram.Histogram{Sum: stale}
	case s.fh != nil:
		s.fh = &histogram.FloatHistogram{Sum: stale}
	default:
		s.v = stale
	}
	return s
}

// mixed changes its kind, its buckets and its pace.
func mixed(rng *rand.Rand) []Sample {
	var out []Sample
	t := int64(begin)
	for i := range 400 {
		s := sampleOf((i/3)%kinds, rng.IntN(100))
		t += 1 + rng.Int64N(60_000)
		s.t = t
		out = append(out, s)
	}
	out[7].fh, out[7].h, out[7].v = &histogram.FloatHistogram{}, nil, 0 // no count, no bucket
	return out
}

// oddFloats is values whose bits are easily lost.
func oddFloats() []Sample {
	bits := []uint64{
		0x7ff8000000000000, 0x7ff8000000000001, 0x7ff0000000000001, value.NormalNaN, value.StaleNaN, 0xfff8000000000123,
		math.Float64bits(math.Copysign(0, -1)), 0, math.Float64bits(math.Inf(1)), math.Float64bits(math.Inf(-1)), 1,
		math.Float64bits(math.MaxFloat64), math.Float64bits(0.1), math.Float64bits(-0.1),
	}
	out := make([]Sample, len(bits))
	for i, b := range bits {
		out[i] = Sample{t: begin + int64(i), v: math.Float64frombits(b)}
	}
	return out
}

func shuffled(rng *rand.Rand, s []Sample) []Sample {
	rng.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
	return s
}

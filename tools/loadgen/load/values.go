package load

import (
	"math"

	"github.com/prometheus/prometheus/model/value"
)

// kind is the shape of a series' values.
type kind uint8

const (
	counterInt    kind = iota // whole increments, some idle, some reset now and then
	counterBytes              // large whole increments
	counterNanos              // seconds with nanoseconds, as cAdvisor's CPU time
	counterCentis             // seconds in hundredths, as the kernel's CPU time
	gaugeConst                // param, or one of a few values, for ever
	gaugeOne                  // always 1
	gaugeFlag                 // 0 or 1, changes seldom
	gaugeSeldom               // small whole number, changes every few dozen steps
	gaugePages                // bytes in pages of 4096, noisy
	gaugeNoise                // two decimals, noisy
	gaugeFloat                // full precision, noisy
	gaugeTime                 // a Unix time in the past, for ever
	summary                   // quantiles: NaN when idle, and the other odd floats
	bucket                    // cumulative bucket of a classic histogram; param = share of observations below
	bucketCount               // its count
	bucketSum                 // its sum
	nativeInt                 // exponential, integer counts
	nativeFloat               // exponential, float counts
	nativeGauge               // exponential, float counts, gauge
	nativeCustom              // custom buckets, integer counts
	nativeEmpty               // a float histogram whose count stays 0
)

func (k kind) native() bool { return k >= nativeInt }

// counter says whether exemplars may hang on a series of this kind.
func (k kind) counter() bool {
	return k <= counterCentis || k == bucket || k == bucketCount
}

// mix hashes two words into one (the finaliser of SplitMix64).
func mix(a, b uint64) uint64 {
	z := a + (b+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// unit maps a hash to [0, 1).
func unit(h uint64) float64 { return float64(h>>11) / (1 << 53) }

func staleNaN() float64 { return math.Float64frombits(value.StaleNaN) }

// climb is a counter's exact position after age steps: it rises by 0.1 to 1.9 times its rate each step, a quarter of
// all counters stand still, and one in sixteen is reset every few hundred steps. Conversions keep
// the compiler from fusing operations, so that all machines agree on the bits.
func climb(h, age uint64, rate float64) float64 {
	rate *= float64(uint64(1)<<(h>>58&7)) * (1 + float64(h>>32&1023)/1024)
	if h>>54&3 == 0 {
		return rate * 100
	}
	if h>>50&15 == 0 {
		age %= 200 + h>>20&511
	}
	moved := float64(age) + float64(0.9*unit(mix(h, age)))
	return rate * (moved + 1)
}

// value computes a float series' value from the series' hash and its age in steps.
func (k kind) value(h, age uint64, param float64) float64 {
	switch k {
	case counterInt:
		return math.Floor(climb(h, age, 0.3))
	case counterBytes:
		return math.Floor(climb(h, age, 3000))
	case counterNanos:
		return math.Floor(climb(h, age, 1.5e7)) / 1e9
	case counterCentis:
		return math.Floor(climb(h, age, 10)) / 100
	case bucket:
		return math.Floor(math.Floor(climb(h, age, 2)) * param)
	case bucketCount:
		return math.Floor(climb(h, age, 2))
	case bucketSum:
		return climb(h, age, 2) * 0.0734
	}
	return k.gauge(h, age, param)
}

func (k kind) gauge(h, age uint64, param float64) float64 {
	switch k {
	case gaugeConst:
		return param * float64(uint64(1)<<(h>>60&3))
	case gaugeOne:
		return 1
	case gaugeFlag:
		return float64(mix(h, age/128) & 1)
	case gaugeSeldom:
		return float64(mix(h, age/(16+h>>50&31)) % 64)
	case gaugePages:
		base := 1<<10 + h>>40&(1<<16-1)
		return float64(4096 * (base + mix(h, age)%(base/16)))
	case gaugeNoise:
		return float64(h>>44&1023+mix(h, age)%512) / 100
	case gaugeFloat:
		return param * (1 + unit(mix(h, age)))
	case gaugeTime:
		return 1.7e9 + float64(h>>40)
	}
	return quantile(mix(h, age/4))
}

// quantile is a summary's value; one in four is a float that careless code loses or changes.
func quantile(h uint64) float64 {
	switch h & 31 {
	case 0, 1, 2:
		return math.Float64frombits(value.NormalNaN)
	case 3:
		return math.Float64frombits(0x7ff8000000000000 | h>>32) // a NaN with a payload
	case 4:
		return math.Copysign(0, -1)
	case 5:
		return math.Inf(1)
	case 6:
		return math.Inf(-1)
	case 7:
		return math.Float64frombits(h >> 20 & 0xffff) // denormal
	}
	return unit(h) / 100
}

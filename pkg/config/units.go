package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a span of time, written 30s, 2h, 1d12h; units ns, us, ms, s, m,
// h, d (24 h), w (7 d), y (365 d). It is never negative.
type Duration time.Duration

const day = 24 * time.Hour

// ParseDuration reads what [Duration] describes, also with decimals (1.5h) and 0.
func ParseDuration(s string) (Duration, error) {
	if s == "0" {
		return 0, nil
	}
	var sum time.Duration
	rest := s
	for rest != "" {
		n := len(rest) - len(strings.TrimLeft(rest, "0123456789."))
		u := n + len(rest[n:]) - len(strings.TrimLeft(rest[n:], "nuµmshdwy"))
		part, err := durationPart(rest[:n], rest[n:u])
		if err != nil || sum+part < sum {
			return 0, badDuration(s)
		}
		sum, rest = sum+part, rest[u:]
	}
	if s == "" {
		return 0, badDuration(s)
	}
	return Duration(sum), nil
}

func badDuration(s string) error {
	return fmt.Errorf("%q is not a duration such as 30s, 2h or 1d", s)
}

func durationPart(number, unit string) (time.Duration, error) {
	longer := map[string]time.Duration{"d": day, "w": 7 * day, "y": 365 * day}[unit]
	if longer == 0 {
		return time.ParseDuration(number + unit)
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || f*float64(longer) >= math.MaxInt64 {
		return 0, badDuration(number + unit)
	}
	return time.Duration(f * float64(longer)), nil
}

// String returns the canonical form, which ParseDuration reads: 1d12h, 1m30s, 0s.
func (d Duration) String() string {
	rest := time.Duration(d)
	if rest <= 0 { // zero, or not from ParseDuration
		return rest.String()
	}
	var b strings.Builder
	for _, u := range []struct {
		span time.Duration
		name string
	}{
		{day, "d"},
		{time.Hour, "h"},
		{time.Minute, "m"},
		{time.Second, "s"},
		{time.Millisecond, "ms"},
		{time.Microsecond, "us"},
		{1, "ns"},
	} {
		if n := rest / u.span; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			rest %= u.span
		}
	}
	return b.String()
}

// MarshalText returns String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is ParseDuration.
func (d *Duration) UnmarshalText(text []byte) (err error) {
	v, err := ParseDuration(string(text))
	if err == nil {
		*d = v
	}
	return err
}

// Bytes is a number of bytes, written 64MiB, 1.5GiB, 100MB or plain: KiB, MiB,
// GiB, TiB and PiB count in 1024, KB, MB, GB, TB and PB in 1000. It is never negative.
type Bytes int64

// The binary units.
const (
	KiB Bytes = 1 << (10 * (iota + 1))
	MiB
	GiB
	TiB
	PiB
)

// ParseBytes reads what [Bytes] describes.
func ParseBytes(s string) (Bytes, error) {
	n := len(s) - len(strings.TrimLeft(s, "0123456789."))
	scale, ok := map[string]float64{
		"": 1, "B": 1,
		"KiB": float64(KiB), "MiB": float64(MiB), "GiB": float64(GiB), "TiB": float64(TiB), "PiB": float64(PiB),
		"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "PB": 1e15,
	}[strings.TrimSpace(s[n:])]
	if whole, err := strconv.ParseInt(s[:n], 10, 64); err == nil && ok && scale == 1 {
		return Bytes(whole), nil // exact, where a float would round
	}
	f, err := strconv.ParseFloat(s[:n], 64)
	if err != nil || !ok || f*scale >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is not a size such as 64MiB, 1GiB or 4096", s)
	}
	return Bytes(f * scale), nil
}

// String returns the size in the largest binary unit that has it whole: 64MiB, 1000.
func (b Bytes) String() string {
	for _, u := range []struct {
		size Bytes
		name string
	}{{PiB, "PiB"}, {TiB, "TiB"}, {GiB, "GiB"}, {MiB, "MiB"}, {KiB, "KiB"}} {
		if b != 0 && b%u.size == 0 {
			return fmt.Sprintf("%d%s", b/u.size, u.name)
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// MarshalText returns String.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText is ParseBytes.
func (b *Bytes) UnmarshalText(text []byte) error {
	v, err := ParseBytes(string(text))
	if err == nil {
		*b = v
	}
	return err
}

// StringList is a list of strings: comma-separated, or a YAML list. Spaces
// around an item and empty items don't count.
type StringList []string

// String returns the items with commas between.
func (l StringList) String() string { return strings.Join(l, ",") }

// UnmarshalText replaces the list.
func (l *StringList) UnmarshalText(text []byte) error {
	items := StringList{}
	for item := range strings.SplitSeq(string(text), ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	*l = items
	return nil
}

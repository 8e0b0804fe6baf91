package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"
)

func TestParseDuration(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want time.Duration
		out  string // empty if in is refused
	}{
		{"0", 0, "0s"},
		{"0s", 0, "0s"},
		{"30s", 30 * time.Second, "30s"},
		{"90s", 90 * time.Second, "1m30s"},
		{"2h", 2 * time.Hour, "2h"},
		{"24h", day, "1d"},
		{"1d12h", 36 * time.Hour, "1d12h"},
		{"1.5d", 36 * time.Hour, "1d12h"},
		{"1w", 7 * day, "7d"},
		{"1y", 365 * day, "365d"},
		{"1500ms", 1500 * time.Millisecond, "1s500ms"},
		{"1us1ns", 1001, "1us1ns"},
		{"5µs", 5 * time.Microsecond, "5us"},
		{"", 0, ""},
		{"5", 0, ""},
		{"d", 0, ""},
		{"-1h", 0, ""},
		{"1h ", 0, ""},
		{"1 h", 0, ""},
		{"1H", 0, ""},
		{"1hh", 0, ""},
		{"1..5h", 0, ""},
		{"300y", 0, ""},
		{"200y200y", 0, ""},
		{"999999999999999999999d", 0, ""},
		{strings.Repeat("9", 400) + "d", 0, ""},
	} {
		d, err := ParseDuration(tc.in)
		if (err == nil) != (tc.out != "") {
			t.Errorf("%q: error %v", tc.in, err)
		} else if err == nil && (time.Duration(d) != tc.want || d.String() != tc.out) {
			t.Errorf("%q: %v, want %v", tc.in, d, tc.out)
		}
	}
}

func TestParseBytes(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want int64
		out  string // empty if in is refused
	}{
		{"0", 0, "0"},
		{"512", 512, "512"},
		{"512B", 512, "512"},
		{"1024", 1024, "1KiB"},
		{"64MiB", 64 << 20, "64MiB"},
		{"1.5GiB", 3 << 29, "1536MiB"},
		{"1 GiB", 1 << 30, "1GiB"},
		{"1KB", 1000, "1000"},
		{"2TiB", 2 << 40, "2TiB"},
		{"9223372036854775807", 1<<63 - 1, "9223372036854775807"},
		{"9223372036854775808", 0, ""},
		{"8192PiB", 0, ""},
		{"", 0, ""},
		{"MiB", 0, ""},
		{"-1", 0, ""},
		{"1mib", 0, ""},
		{"1.2.3MiB", 0, ""},
	} {
		b, err := ParseBytes(tc.in)
		if (err == nil) != (tc.out != "") {
			t.Errorf("%q: error %v", tc.in, err)
		} else if err == nil && (int64(b) != tc.want || b.String() != tc.out) {
			t.Errorf("%q: %d %v, want %v", tc.in, int64(b), b, tc.out)
		}
	}
}

func TestUnitsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := Duration(rapid.Int64Min(0).Draw(t, "duration"))
		if got, err := ParseDuration(d.String()); err != nil || got != d {
			t.Errorf("%d prints %v, reads %d, error %v", int64(d), d, int64(got), err)
		}
		b := Bytes(rapid.Int64Min(0).Draw(t, "bytes"))
		if got, err := ParseBytes(b.String()); err != nil || got != b {
			t.Errorf("%d prints %v, reads %d, error %v", int64(b), b, int64(got), err)
		}
	})
}

func TestSecretNeverShows(t *testing.T) {
	type section struct{ Key Secret }
	type hidden struct {
		key     Secret
		section section
	}
	s := NewSecret("hunter2")
	for _, v := range []any{s, &s, section{s}, &section{s}, hidden{s, section{s}}, []Secret{s}, map[string]Secret{"a": s}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%X"} {
			if out := fmt.Sprintf(verb, v); strings.Contains(out, "hunter2") || strings.Contains(strings.ToLower(out), "68756e74657232") {
				t.Errorf("%s of %T: %s", verb, v, out)
			}
		}
		var b bytes.Buffer
		slog.New(slog.NewJSONHandler(&b, nil)).Info("m", "v", v)
		slog.New(slog.NewTextHandler(&b, nil)).Info("m", "v", v)
		if j, err := json.Marshal(v); err == nil {
			b.Write(j)
		}
		if y, err := yaml.Marshal(v); err == nil {
			b.Write(y)
		}
		if strings.Contains(b.String(), "hunter2") {
			t.Errorf("%T: %s", v, b.String())
		}
	}
	if got := s.String() + s.Reveal() + (Secret{}).String() + (Secret{}).Reveal(); got != "***hunter2" {
		t.Errorf("got %s", got)
	}
}

func FuzzUnits(f *testing.F) {
	for _, s := range []string{"1d12h", "0", "1.5h", "64MiB", "9223372036854775807", "1e5s", "..s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := ParseDuration(s); err == nil && d < 0 {
			t.Errorf("duration %q is %d", s, d)
		}
		if b, err := ParseBytes(s); err == nil && b < 0 {
			t.Errorf("bytes %q is %d", s, b)
		}
	})
}

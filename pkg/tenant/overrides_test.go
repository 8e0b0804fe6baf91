package tenant

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/varve-io/varve/pkg/config"
)

func mustParse(t testing.TB, name string) ID {
	t.Helper()
	id, err := Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// testFile is a file that a test changes, and the dependencies to watch it.
type testFile struct {
	Dependencies
	reg *prometheus.Registry
	log *bytes.Buffer
}

func newTestFile(t testing.TB, text string) testFile {
	t.Helper()
	f := testFile{reg: prometheus.NewRegistry(), log: &bytes.Buffer{}}
	f.Dependencies = Dependencies{
		File: filepath.Join(t.TempDir(), "file.yaml"), Registerer: f.reg, Logger: slog.New(slog.NewTextHandler(f.log, nil)),
	}
	f.write(t, text)
	return f
}

func (f testFile) write(t testing.TB, text string) {
	t.Helper()
	if err := os.WriteFile(f.File, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// metric checks one of the metrics of the watched file.
func (f testFile) metric(t *testing.T, name string, want string) {
	t.Helper()
	text := "# TYPE " + name + " "
	kind := "gauge"
	if strings.HasSuffix(name, "_total") {
		kind = "counter"
	}
	families, err := f.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			text = "# HELP " + name + " " + family.GetHelp() + "\n" + text
		}
	}
	if err := testutil.GatherAndCompare(f.reg, strings.NewReader(text+kind+"\n"+want+"\n"), name); err != nil {
		t.Error(err)
	}
}

func TestOverridesLayers(t *testing.T) {
	f := newTestFile(t, `
overrides:
  team-a:
    max_active_series: 5000000
    retention: 30d
  team-b: &b
    partial_response: true
    max_query_length: 1KiB
  team-c: *b
  team-d:
defaults:
  retention: 1y
  max_query_depth: 9
`)
	base := DefaultLimits(Machine{Cores: 2, Memory: 8 << 30})
	o, err := NewOverrides(base, f.Dependencies)
	if err != nil {
		t.Fatal(err)
	}
	other := base
	other.Retention, other.MaxQueryDepth = config.Duration(365*24*time.Hour), 9
	a, b := other, other
	a.MaxActiveSeries, a.Retention = 5_000_000, config.Duration(30*24*time.Hour)
	b.PartialResponse, b.MaxQueryLength = true, config.KiB
	for name, want := range map[string]Limits{"team-a": a, "team-b": b, "team-c": b, "team-d": other, "nobody": other} {
		if diff := cmp.Diff(want, *o.For(mustParse(t, name))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestOverridesWithoutFile(t *testing.T) {
	base := DefaultLimits(Machine{})
	o, err := NewOverrides(base, Dependencies{Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(base, *o.For(Anonymous)); diff != "" {
		t.Error(diff)
	}
	if err := o.Reload(); err != nil || o.Generation() != 1 {
		t.Errorf("error %v, generation %d", err, o.Generation())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := o.Run(ctx); err != nil {
		t.Error(err)
	}
}

func TestOverridesErrors(t *testing.T) {
	for _, tc := range []struct{ name, file, want string }{
		{"unknown key", "override: {}\n", `FILE:1: unknown key "override", must be defaults or overrides`},
		{"unknown default", "defaults:\n  retentoin: 1d\n", `FILE:2: unknown option "retentoin"`},
		{"unknown limit", "overrides:\n  a:\n    nope: 1\n  b:\n    retention: soon\n", "FILE:3: unknown option \"nope\"\nFILE:5: retention: \"soon\" is not a duration such as 30s, 2h or 1d"},
		{"refused value", "overrides:\n  a:\n    max_query_depth: 0\n", `max_query_depth is 0 (file FILE:3), must be from 1 to 10000`},
		{"bad tenant", "overrides:\n  ../x:\n    max_query_depth: 1\n", `FILE:2: invalid tenant ID: "../x" holds '/'; allowed are letters, digits, '_', '.' and '-'`},
		{"tenant twice", "overrides:\n  a: {}\n  a: {}\n", `FILE:3: "a" is already in line 2`},
		{"list", "- a\n", `FILE:1: must be names with values`},
		{"tenant as list", "overrides:\n  a: [1]\n", `FILE:2: the file must hold options, as name: value`},
		{"bad default, said once", "defaults:\n  max_query_depth: 0\noverrides:\n  a: {}\n  b: {}\n", `max_query_depth is 0 (file FILE:2), must be from 1 to 10000`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newTestFile(t, tc.file)
			_, err := NewOverrides(DefaultLimits(Machine{}), f.Dependencies)
			if err == nil {
				t.Fatal("no error")
			}
			got := strings.TrimPrefix(strings.ReplaceAll(err.Error(), f.File, "FILE"), "load limits: ")
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOverridesBrokenReloadKeepsTheOld(t *testing.T) {
	f := newTestFile(t, "defaults: {retention: 1d}\n")
	o, err := NewOverrides(DefaultLimits(Machine{}), f.Dependencies)
	if err != nil {
		t.Fatal(err)
	}
	check := func(retention string, generation uint64, successful string) {
		t.Helper()
		if got := o.For(Anonymous).Retention.String(); got != retention || o.Generation() != generation {
			t.Errorf("retention %s in generation %d, want %s in %d", got, o.Generation(), retention, generation)
		}
		f.metric(t, "varve_tenant_file_reload_successful", `varve_tenant_file_reload_successful{file="limits"} `+successful)
	}
	check("1d", 1, "1")
	if err := o.Reload(); err != nil {
		t.Error(err)
	}
	check("1d", 1, "1") // nothing changed

	f.write(t, "defaults: {retention: never}\n")
	for range 2 { // an error stays one until the file is mended
		if err := o.Reload(); err == nil {
			t.Error("no error")
		}
	}
	check("1d", 1, "0")
	f.metric(t, "varve_tenant_file_reload_failures_total", `varve_tenant_file_reload_failures_total{file="limits"} 1`)

	f.write(t, "defaults: {retention: 2d}\n")
	if err := o.Reload(); err != nil {
		t.Error(err)
	}
	check("2d", 2, "1")

	if err := os.Remove(f.File); err != nil {
		t.Fatal(err)
	}
	if err := o.Reload(); err == nil {
		t.Error("no error for a missing file")
	}
	check("2d", 2, "0")

	f.write(t, strings.Repeat("# long\n", maxFileSize/7+1))
	if err := o.Reload(); err == nil || !strings.Contains(err.Error(), "over 16 MiB") {
		t.Errorf("error %v for a huge file", err)
	}
}

func TestOverridesRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTestFile(t, "defaults: {retention: 1d}\n")
		o, err := NewOverrides(DefaultLimits(Machine{}), f.Dependencies)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- o.Run(ctx) }()
		step := func(text, want string) {
			t.Helper()
			f.write(t, text)
			time.Sleep(2 * pollPeriod)
			synctest.Wait()
			if got := o.For(Anonymous).Retention.String(); got != want {
				t.Errorf("retention %s after %q, want %s", got, text, want)
			}
		}
		step("defaults: {retention: 1d}\n", "1d")
		step("defaults: {retention: 2d}\n", "2d")
		step("defaults: {retention: x}\n", "2d")
		step("defaults: {retention: 2d}\n", "2d")
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		log := f.log.String()
		if strings.Count(log, "file reloaded") != 2 || strings.Count(log, "reload failed") != 1 {
			t.Errorf("log:\n%s", log)
		}
	})
}

func TestOverridesAtOnce(t *testing.T) {
	f := newTestFile(t, "defaults: {retention: 1d}\n")
	o, err := NewOverrides(DefaultLimits(Machine{}), f.Dependencies)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			last := uint64(0)
			for range 1000 {
				g, l := o.Generation(), o.For(Anonymous)
				if g < last || l.Retention == 0 {
					t.Errorf("generation %d after %d, retention %v", g, last, l.Retention)
					return
				}
				last = g
			}
		})
	}
	wg.Go(func() {
		for i := range 20 {
			f.write(t, "defaults: {retention: "+[]string{"1d", "2d", "bad"}[i%3]+"}\n")
			_ = o.Reload() // bad or half written is the point
		}
	})
	wg.Wait()
}

func FuzzOverrides(f *testing.F) {
	f.Add([]byte("defaults: {retention: 1d}\noverrides:\n  a: &a {max_query_depth: 3}\n  b: *a\n"))
	f.Add([]byte("overrides: &o\n  a: *o\n"))
	f.Add([]byte("&a {? *a : b}"))
	f.Add([]byte("defaults: {write_relabel: [{regex: &x x, action: drop}, {target_label: *x, replacement: $1}]}\n"))
	base := DefaultLimits(Machine{})
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseOverrides("f", data, base)
		if err == nil && s.defaults.Validate() != nil {
			t.Error("limits that are not valid were taken")
		}
	})
}

func BenchmarkOverridesFor(b *testing.B) {
	f := newTestFile(b, "overrides:\n  team-a: {retention: 1d}\n")
	o, err := NewOverrides(DefaultLimits(Machine{}), f.Dependencies)
	if err != nil {
		b.Fatal(err)
	}
	id := mustParse(b, "team-a")
	b.ReportAllocs()
	for b.Loop() {
		o.For(id)
	}
}

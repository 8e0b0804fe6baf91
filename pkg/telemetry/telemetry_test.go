package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConfig(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
	err := Config{Level: "loud", Format: "xml"}.Validate()
	want := "level is \"loud\", must be one of debug, info, warn, error\nformat is \"xml\", must be one of text, json"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	if _, err := NewLogger(Config{Level: "loud", Format: "text"}, io.Discard); err == nil {
		t.Error("a logger for a level that does not exist")
	}
}

func TestLogger(t *testing.T) {
	for _, tc := range []struct {
		config Config
		want   []string // message of each line, in text or JSON
	}{
		{Config{Level: "debug", Format: "text"}, []string{"d", "i", "w", "e"}},
		{Config{Level: "warn", Format: "text"}, []string{"w", "e"}},
		{Config{Level: "info", Format: "json"}, []string{"i", "w", "e"}},
		{Config{Level: "error", Format: "json"}, []string{"e"}},
	} {
		var b bytes.Buffer
		l, err := NewLogger(tc.config, &b)
		if err != nil {
			t.Fatal(err)
		}
		l.Debug("d")
		l.Info("i")
		l.Warn("w")
		l.Error("e", "forged", "x\nmsg=y")
		var got []string
		for line := range strings.Lines(b.String()) {
			var j struct{ Msg string }
			if tc.config.Format == "json" {
				if err := json.Unmarshal([]byte(line), &j); err != nil {
					t.Errorf("%s: %v", line, err)
				}
			} else if _, rest, ok := strings.Cut(line, "msg="); ok {
				j.Msg = rest[:1]
			}
			got = append(got, j.Msg)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%+v: %s", tc.config, diff)
		}
	}
}

func TestHealth(t *testing.T) {
	h := NewHealth("ring", "ingester")
	ask := func(handler http.HandlerFunc) (int, string) {
		w := httptest.NewRecorder()
		handler(w, httptest.NewRequest(http.MethodGet, "/", nil))
		return w.Code, w.Body.String()
	}
	check := func(code int, body string) {
		t.Helper()
		if gotCode, gotBody := ask(h.ServeReady); gotCode != code || gotBody != body {
			t.Errorf("ready: %d %q, want %d %q", gotCode, gotBody, code, body)
		}
		if gotCode, gotBody := ask(h.ServeHealthy); gotCode != 200 || gotBody != "healthy\n" {
			t.Errorf("healthy: %d %q", gotCode, gotBody)
		}
	}
	check(503, "ingester: starting\nring: starting\n")
	h.Set("ring", nil)
	h.Set("ingester", errors.New("replaying the log: 40 % of 3 GiB"))
	check(503, "ingester: replaying the log: 40 % of 3 GiB\n")
	h.Set("ingester", nil)
	check(200, "ready\n")
	h.Set("process", errors.New("stopping"))
	check(503, "process: stopping\n")
}

func TestAdminMux(t *testing.T) {
	reg := NewRegistry(Build{Version: "v1.2.3", Revision: "abc", GoVersion: "go1"})
	server := httptest.NewServer(NewAdminMux(reg, NewHealth("x")))
	defer server.Close()
	defer server.Client().CloseIdleConnections()
	for _, tc := range []struct {
		method, path string
		code         int
		want         string
	}{
		{"GET", "/metrics", 200, `varve_build_info{goversion="go1",revision="abc",version="v1.2.3"} 1`},
		{"GET", "/metrics", 200, "process_resident_memory_bytes"},
		{"GET", "/metrics", 200, "go_goroutines"},
		{"GET", "/-/ready", 503, "x: starting"},
		{"GET", "/-/healthy", 200, "healthy"},
		{"GET", "/debug/pprof/", 200, "goroutine"},
		{"GET", "/debug/pprof/goroutine?debug=1", 200, "goroutine profile"},
		{"GET", "/debug/pprof/symbol", 200, "num_symbols"},
		{"POST", "/debug/pprof/symbol", 200, "num_symbols"},
		{"POST", "/metrics", 405, ""},
		{"GET", "/other", 404, ""},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tc.method, server.URL+tc.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != tc.code || !strings.Contains(string(body), tc.want) {
			t.Errorf("%s %s: %d, want %d with %q in\n%s", tc.method, tc.path, resp.StatusCode, tc.code, tc.want, body)
		}
	}
}

func TestReadBuild(t *testing.T) {
	if b := ReadBuild(); b.Version == "" || !strings.HasPrefix(b.GoVersion, "go") {
		t.Errorf("%+v", b)
	}
}

func clearOTel(t *testing.T) {
	for _, name := range []string{
		"OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
		"OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_TRACES_SAMPLER", "OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES",
	} {
		t.Setenv(name, "") // which puts it back afterwards
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTracingIsOffUnlessAsked(t *testing.T) {
	for _, tc := range []struct {
		env map[string]string
		on  bool
	}{
		{nil, false},
		{map[string]string{"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, false},
		{map[string]string{"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"}, false},
		{map[string]string{"OTEL_TRACES_EXPORTER": "console"}, true},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, true},
		{map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1"}, true},
	} {
		clearOTel(t)
		for k, v := range tc.env {
			t.Setenv(k, v)
		}
		tracing, err := NewTracing(t.Context(), Build{})
		if err != nil {
			t.Fatal(err)
		}
		_, span := tracing.Provider().Tracer("t").Start(t.Context(), "s")
		if span.IsRecording() != tc.on {
			t.Errorf("%v: recording %v", tc.env, !tc.on)
		}
		if err := tracing.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
	clearOTel(t)
	t.Setenv("OTEL_TRACES_EXPORTER", "nonsense")
	if _, err := NewTracing(t.Context(), Build{}); err == nil {
		t.Error("an unknown exporter is accepted")
	}
}

// A span of a request arrives at a real OTLP endpoint, as a child of the caller's.
func TestTracingSendsSpans(t *testing.T) {
	bodies := make(chan []byte, 10)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		bodies <- body
	}))
	defer collector.Close()
	clearOTel(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "site=cellar")
	tracing, err := NewTracing(t.Context(), Build{Version: "v9"})
	if err != nil {
		t.Fatal(err)
	}
	h := NewHTTP(slog.New(slog.DiscardHandler), NewRegistry(Build{}), tracing.Provider())
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("traceparent", "00-0102030405060708090a0b0c0d0e0f10-1112131415161718-01")
	h.Handler("/the/route", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(httptest.NewRecorder(), r)
	if err := tracing.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	body := <-bodies
	for _, want := range []string{"/the/route", "varve", "v9", "cellar", "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10"} {
		if !bytes.Contains(body, []byte(want)) {
			t.Errorf("%q is missing in what was sent", want)
		}
	}
}

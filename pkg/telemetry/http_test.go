package telemetry

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.opentelemetry.io/otel/trace/noop"
)

// counts returns how many requests were measured, by route and code.
func counts(t *testing.T, reg *prometheus.Registry) map[string]uint64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]uint64{}
	for _, f := range families {
		if f.GetName() != "varve_http_request_duration_seconds" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetHistogram().Schema == nil {
				t.Error("not a native histogram")
			}
			got[m.GetLabel()[1].GetValue()+" "+m.GetLabel()[0].GetValue()] += m.GetHistogram().GetSampleCount()
		}
	}
	return got
}

func TestHTTP(t *testing.T) {
	var log bytes.Buffer
	reg := prometheus.NewRegistry()
	h := NewHTTP(slog.New(slog.NewTextHandler(&log, nil)), reg, noop.NewTracerProvider())
	mux := http.NewServeMux()
	handle := func(route string, f http.HandlerFunc) { mux.Handle(route, h.Handler(route, f)) }
	handle("/silent", func(http.ResponseWriter, *http.Request) {})
	handle("/write", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	handle("/teapot", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusTeapot)
	})
	handle("/flush", func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		if got := testutil.ToFloat64(h.inFlight.WithLabelValues("/flush")); got != 1 {
			t.Errorf("%v in flight", got)
		}
		if err := http.NewResponseController(w).SetReadDeadline(time.Time{}); err != nil {
			t.Errorf("the connection is out of reach: %v", err)
		}
	})
	handle("/bug", func(http.ResponseWriter, *http.Request) { panic("oh no") })
	handle("/late", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("half", 10_000))
		panic("too late")
	})
	handle("/abort", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	server := httptest.NewUnstartedServer(mux)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.Start()
	defer server.Close()

	for path, want := range map[string]int{
		"/silent": 200, "/write": 200, "/teapot": 418, "/flush": 200, "/bug": 500, "/late": 0, "/abort": 0, // 0: broken off
	} {
		if got := get(t, server, path); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	server.Close() // waits for the handlers
	want := map[string]uint64{
		"/silent 200": 1, "/write 200": 1, "/teapot 418": 1, "/flush 200": 1, "/bug 500": 1, "/late aborted": 1, "/abort aborted": 1,
	}
	if diff := cmp.Diff(want, counts(t, reg)); diff != "" {
		t.Error(diff)
	}
	if n := testutil.ToFloat64(h.panics); n != 2 || strings.Count(log.String(), "handler panicked") != 2 || !strings.Contains(log.String(), "oh no") {
		t.Errorf("%v panics, log:\n%s", n, log.String())
	}
	if got := testutil.ToFloat64(h.inFlight.WithLabelValues("/bug")); got != 0 {
		t.Errorf("%v in flight after a panic", got)
	}
}

// get returns the code of a complete answer, 0 for one that was broken off.
func get(t *testing.T, server *httptest.Server, path string) int {
	t.Helper()
	resp, err := server.Client().Get(server.URL + path)
	if err != nil {
		return 0
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0
	}
	return resp.StatusCode
}

func TestCodeLabelIsBounded(t *testing.T) {
	for code, want := range map[int]string{200: "200", 599: "599", 0: "other", 700: "other", -1: "other"} {
		if got := codeLabel(code, false); got != want {
			t.Errorf("%d: %s", code, got)
		}
	}
}

func BenchmarkHTTP(b *testing.B) {
	h := NewHTTP(slog.New(slog.DiscardHandler), prometheus.NewRegistry(), noop.NewTracerProvider())
	handler := h.Handler("/x", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	r, w := httptest.NewRequest(http.MethodGet, "/x", nil), httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		handler.ServeHTTP(w, r)
	}
}

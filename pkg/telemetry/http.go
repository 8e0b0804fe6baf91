package telemetry

import (
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// HTTP measures and traces the requests of HTTP servers.
type HTTP struct {
	logger   *slog.Logger
	tracer   trace.Tracer
	duration *prometheus.HistogramVec
	inFlight *prometheus.GaugeVec
	panics   prometheus.Counter
}

// NewHTTP returns an HTTP; one serves all listeners of a process.
func NewHTTP(logger *slog.Logger, reg prometheus.Registerer, tracers trace.TracerProvider) *HTTP {
	auto := promauto.With(reg)
	return &HTTP{
		logger: logger,
		tracer: tracers.Tracer("github.com/varve-io/varve/pkg/telemetry"),
		duration: auto.NewHistogramVec(prometheus.HistogramOpts{
			Name:                            "varve_http_request_duration_seconds",
			Help:                            "Time to serve a request, from its header to the end of its answer.",
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: time.Hour,
		}, []string{"route", "code"}),
		inFlight: auto.NewGaugeVec(prometheus.GaugeOpts{
			Name: "varve_http_requests_in_flight",
			Help: "Requests that are being served.",
		}, []string{"route"}),
		panics: auto.NewCounter(prometheus.CounterOpts{
			Name: "varve_http_panics_total",
			Help: "Requests whose handler panicked: each is a bug.",
		}),
	}
}

// Handler wraps the handler of one route. route becomes a label, so it must
// come from the program and not from the request. A panic of next is logged and
// answered with 500 where nothing was answered yet.
func (h *HTTP) Handler(route string, next http.Handler) http.Handler {
	inFlight := h.inFlight.WithLabelValues(route)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inFlight.Inc()
		defer inFlight.Dec()
		start := time.Now()
		ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := h.tracer.Start(ctx, route, trace.WithSpanKind(trace.SpanKindServer),
			trace.WithAttributes(attribute.String("http.route", route), attribute.String("http.request.method", r.Method)))
		defer span.End()
		rec := &recorder{ResponseWriter: w}
		aborted := h.serve(route, next, rec, r.WithContext(ctx))

		code := codeLabel(rec.status(), aborted)
		span.SetAttributes(attribute.Int("http.response.status_code", rec.status()))
		if aborted || rec.status() >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, code)
		}
		h.duration.WithLabelValues(route, code).Observe(time.Since(start).Seconds())
		if aborted {
			panic(http.ErrAbortHandler) // so that net/http breaks the connection
		}
	})
}

// serve calls next and reports whether the connection is to be broken off.
func (h *HTTP) serve(route string, next http.Handler, rec *recorder, r *http.Request) (aborted bool) {
	defer func() {
		cause := recover()
		if cause == nil {
			return
		}
		aborted = rec.code != 0 // what was begun must not look complete
		if err, ok := cause.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			aborted = true
			return
		}
		h.panics.Inc()
		h.logger.Error("handler panicked", "route", route, "cause", cause, "stack", string(debug.Stack()))
		if !aborted {
			http.Error(rec, "internal error", http.StatusInternalServerError)
		}
	}()
	next.ServeHTTP(rec, r)
	return false
}

// codeLabel returns the status code as a label, "aborted" for an answer that was broken off.
func codeLabel(code int, aborted bool) string {
	if aborted {
		return "aborted"
	}
	if code < 100 || code > 599 {
		return "other"
	}
	return strconv.Itoa(code)
}

// recorder remembers the status code of an answer.
type recorder struct {
	http.ResponseWriter

	code int // 0 until the header is written
}

// WriteHeader remembers the first final code.
func (r *recorder) WriteHeader(code int) {
	if r.code == 0 && (code >= 200 || code == http.StatusSwitchingProtocols) {
		r.code = code
	}
	r.ResponseWriter.WriteHeader(code)
}

// Write implies 200, as in net/http.
func (r *recorder) Write(p []byte) (int, error) {
	if r.code == 0 {
		r.code = http.StatusOK
	}
	return r.ResponseWriter.Write(p)
}

// Flush is for handlers that ask for an http.Flusher, as streamed remote read does.
func (r *recorder) Flush() {
	if r.code == 0 {
		r.code = http.StatusOK
	}
	_ = http.NewResponseController(r.ResponseWriter).Flush() // the interface has no error
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) status() int {
	if r.code == 0 {
		return http.StatusOK
	}
	return r.code
}

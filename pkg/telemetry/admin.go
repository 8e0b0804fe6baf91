package telemetry

import (
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// NewAdminMux returns what the admin listener serves at least: /metrics,
// /-/ready, /-/healthy and /debug/pprof/. Callers may add routes.
func NewAdminMux(g prometheus.Gatherer, h *Health) *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", MetricsHandler(g))
	mux.HandleFunc("GET /-/ready", h.ServeReady)
	mux.HandleFunc("GET /-/healthy", h.ServeHealthy)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol) // long lists
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// maxScrapes is how many scrapes may gather at once; more are refused with 503.
const maxScrapes = 4

// MetricsHandler serves the metrics of g in the format that the client asks for.
func MetricsHandler(g prometheus.Gatherer) http.Handler {
	return promhttp.HandlerFor(g, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes, EnableOpenMetrics: true})
}

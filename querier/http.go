package querier

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/promql"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// TenantHeader names the tenant of a request, or several, "a|b", of a federated read.
const TenantHeader = "X-Scope-OrgID"

const (
	maxFormBytes = 1 << 20
	maxSeconds   = 1e14 // of a time in a request, in Unix seconds; 3 million years
)

// endpoint is one path below the prefixes.
type endpoint struct {
	methods []string
	path    string
	handler http.Handler
	// heavy reads wait for a place in the gate.
	heavy bool
}

// routes is the whole API. A path that isn't listed is a 404, whatever Prometheus' API would do with it.
func (q *Querier) routes() http.Handler {
	get, both, post := []string{"GET"}, []string{"GET", "POST"}, []string{"POST"}
	api, own := q.prometheusAPI(), q.ownHandlers()
	table := []endpoint{
		{both, "/query", api, true},
		{both, "/query_range", api, true},
		{both, "/query_exemplars", api, true},
		{both, "/format_query", api, false},
		{both, "/parse_query", api, false},
		{both, "/labels", api, true},
		{get, "/label/{name}/values", api, true},
		{both, "/series", api, true},
		{get, "/rules", api, false},
		{get, "/alerts", api, false},
		{post, "/read", q.remoteRead(api), true},
		{get, "/metadata", own["metadata"], true},
		{get, "/targets", own["targets"], false},
		{get, "/status/buildinfo", own["buildinfo"], false},
		{get, "/status/tsdb", own["tsdb"], true},
		{both, "/cardinality/label_names", own["label_names"], true},
		{both, "/cardinality/label_values", own["label_values"], true},
		{both, "/cardinality/active_series", own["active_series"], true},
		{both, "/cost/report", q.costs(cost.AskReport), true},
		{both, "/cost/assets", q.costs(cost.AskAssets), true},
		{both, "/cost/utilization", q.costs(cost.AskUtilization), true},
		{both, "/cost/scale-events", q.costs(cost.AskScaleEvents), true},
		{[]string{"GET", "PUT"}, "/cost/pricebook", http.HandlerFunc(q.pricebook), false},
	}
	mux := http.NewServeMux()
	for _, prefix := range []string{"/prometheus", ""} {
		for _, r := range table {
			for _, m := range r.methods {
				mux.Handle(m+" "+prefix+"/api/v1"+r.path, http.StripPrefix(prefix+"/api/v1", q.edge(r)))
			}
			mux.Handle(prefix+"/api/v1"+r.path, wrongMethod(r.methods))
		}
		mux.Handle("GET "+prefix+"/federate", q.edge(endpoint{path: "/federate", handler: own["federate"], heavy: true}))
		for _, rules := range []string{"/config/v1/rules", "/rules"} {
			mux.Handle(prefix+rules, own["no_rules"])
			mux.Handle(prefix+rules+"/", own["no_rules"])
		}
	}
	mux.Handle("/", own["unknown"])
	return mux
}

// wrongMethod answers 405: Grafana then tries again with GET.
func wrongMethod(allowed []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		writeError(w, http.StatusMethodNotAllowed, "bad_data", fmt.Errorf("method %s is not allowed here", r.Method))
	})
}

// edge is what every request passes: tenants, bounds, a place in the gate; and what it cost is counted.
func (q *Querier) edge(r endpoint) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		begun, b, stats := time.Now(), &budget{}, &series.Stats{}
		out := &answer{ResponseWriter: w, budget: b, code: http.StatusOK}
		defer func() { q.metrics.observe(r.path, out.code, time.Since(begun), b, stats) }()
		ctx, err := q.admit(req, b)
		if err != nil {
			writeError(out, http.StatusBadRequest, "bad_data", err)
			return
		}
		ctx, cancel := context.WithTimeout(series.WithStats(ctx, stats), min(time.Duration(q.config.Timeout), time.Duration(b.limits.QueryTimeout)))
		defer cancel()
		if err := parseForm(out, req); err != nil {
			code := http.StatusBadRequest
			if errors.As(err, new(*http.MaxBytesError)) {
				code = http.StatusRequestEntityTooLarge
			}
			writeError(out, code, "bad_data", err)
			return
		}
		if err := checkForm(req, &b.limits); err != nil {
			writeError(out, http.StatusBadRequest, "bad_data", b.failed(err))
			return
		}
		if r.heavy {
			if err := q.enter(ctx); err != nil {
				writeError(out, http.StatusServiceUnavailable, "timeout", b.failed(err))
				return
			}
			defer q.leave()
		}
		r.handler.ServeHTTP(out, req.WithContext(ctx))
	})
}

// admit finds out whose data is read and which limits hold.
func (q *Querier) admit(r *http.Request, b *budget) (context.Context, error) {
	ctx := r.Context()
	ids, ok := TenantsFrom(ctx)
	if !ok {
		ids = []tenant.ID{tenant.Anonymous}
		if names := r.Header.Get(TenantHeader); names != "" {
			var err error
			if ids, err = tenant.ParseMany(names); err != nil {
				return nil, fmt.Errorf("header %s: %w", TenantHeader, err)
			}
		}
		ctx = WithTenants(ctx, ids)
	}
	b.limits = strictest(q.limits, ids)
	return withBudget(ctx, b), nil
}

// enter waits for a place in the gate for as long as the request may take.
func (q *Querier) enter(ctx context.Context) error {
	begun := time.Now()
	q.metrics.waiting.Inc()
	defer func() {
		q.metrics.waiting.Dec()
		q.metrics.wait.Observe(time.Since(begun).Seconds())
	}()
	select {
	case q.gate <- struct{}{}:
		q.metrics.running.Inc()
		return nil
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.Canceled) {
			return promql.ErrQueryCanceled("queue")
		}
		return fmt.Errorf("the read waited too long for its turn: %d run at once (querier.max_concurrent)", q.config.MaxConcurrent)
	}
}

func (q *Querier) leave() {
	<-q.gate
	q.metrics.running.Dec()
}

// parseForm reads a form in the body within bounds; other bodies are left to the handler.
func parseForm(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxFormBytes)
	if r.Method == http.MethodPut { // curl says that any body is a form
		r.Form = r.URL.Query()
		return nil
	}
	if err := r.ParseForm(); err != nil {
		return fmt.Errorf("parse form: %w", err)
	}
	return nil
}

// checkForm refuses texts that are too long or too deep, and numbers that are none.
func checkForm(r *http.Request, l *tenant.Limits) error {
	for _, name := range []string{"query", "match[]", "selector"} {
		for _, text := range r.Form[name] {
			if err := checkText(l, text); err != nil {
				return fmt.Errorf("parameter %q: %w", name, err)
			}
		}
	}
	for _, name := range []string{"time", "start", "end", "step", "timeout"} {
		v, err := strconv.ParseFloat(r.Form.Get(name), 64)
		if err == nil && !(math.Abs(v) <= maxSeconds) {
			return fmt.Errorf("parameter %q: %q is not a time", name, r.Form.Get(name))
		}
	}
	return nil
}

// answer notes the status, and gives Prometheus' remote read, which knows 500 only, the one that the error has.
type answer struct {
	http.ResponseWriter
	budget *budget
	code   int
	sent   bool
}

// WriteHeader implements http.ResponseWriter. An interim answer is not the one that is noted.
func (a *answer) WriteHeader(code int) {
	if a.sent {
		return
	}
	if code < http.StatusOK {
		a.ResponseWriter.WriteHeader(code)
		return
	}
	if code == http.StatusInternalServerError {
		if better, ok := statusOf(a.budget.firstFailure()); ok {
			code = better
		}
	}
	a.code, a.sent = code, true
	a.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (a *answer) Write(p []byte) (int, error) {
	a.sent = true
	return a.ResponseWriter.Write(p)
}

// Flush implements http.Flusher.
func (a *answer) Flush() {
	a.sent = true
	_ = http.NewResponseController(a.ResponseWriter).Flush()
}

// reply is the envelope of Prometheus' API.
type reply struct {
	Status    string   `json:"status"`
	Data      any      `json:"data,omitempty"`
	ErrorType string   `json:"errorType,omitempty"`
	Error     string   `json:"error,omitempty"`
	Warnings  []string `json:"warnings,omitempty"`
}

func writeError(w http.ResponseWriter, code int, kind string, err error) {
	writeJSON(w, code, reply{Status: "error", ErrorType: kind, Error: err.Error()})
}

func writeData(w http.ResponseWriter, data any, warnings []string) {
	writeJSON(w, http.StatusOK, reply{Status: "success", Data: data, Warnings: warnings})
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		code, body = http.StatusInternalServerError, []byte(`{"status":"error","errorType":"internal","error":"the answer can't be written as JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(body) // the client is gone if this fails
}

// writeFailure answers with the type and status that Prometheus' API would give the error.
func writeFailure(w http.ResponseWriter, err error) {
	err = storageError(err)
	code, _ := statusOf(err)
	kind := map[int]string{
		http.StatusServiceUnavailable: "unavailable", http.StatusUnprocessableEntity: "execution", statusClientClosed: "canceled",
	}[code]
	if errors.As(err, new(promql.ErrQueryTimeout)) {
		kind = "timeout"
	}
	if kind == "" {
		code, kind = http.StatusInternalServerError, "internal"
	}
	writeError(w, code, kind, err)
}

package distributor

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/varve-io/varve/pkg/remote"
	"github.com/varve-io/varve/pkg/tenant"
)

// Paths are where write requests are taken.
var Paths = [...]string{"/api/v1/push", "/api/v1/write"}

// ServeHTTP takes a write request: 204 if all of it is stored, 400 with the reasons if some of it was refused (the
// rest is stored), 429 over a tenant's own rate, 503 where sending it again will help (some of it may be stored).
func (d *Distributor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "write requests are POSTs", http.StatusMethodNotAllowed)
		return
	}
	written, err := d.write(r)
	// 2.0 demands these; a sender of 1.0 learns from them what a 400 means.
	h := w.Header()
	h.Set("X-Prometheus-Remote-Write-Samples-Written", strconv.Itoa(written.Floats))
	h.Set("X-Prometheus-Remote-Write-Histograms-Written", strconv.Itoa(written.Histograms))
	h.Set("X-Prometheus-Remote-Write-Exemplars-Written", strconv.Itoa(written.Exemplars))
	switch {
	case err != nil:
		d.fail(w, r, err)
	case written.Refused > 0:
		http.Error(w, written.Message, http.StatusBadRequest)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

func (d *Distributor) write(r *http.Request) (Written, error) {
	protocol, err := remote.ProtocolOf(r.Header)
	if err != nil {
		return Written{}, err
	}
	identity, err := d.deps.Auth.Authenticate(r, tenant.ScopeWrite)
	if err != nil {
		return Written{}, err
	}
	// What a request takes is its body, inflated to several times that, and about as much again as batches; writeOut
	// sees to what is more. One that doesn't say its length may be as long as is allowed.
	weight := max(r.ContentLength, 4096) * 8
	if r.ContentLength < 0 {
		weight = int64(d.cfg.MaxRequestBytes)
	}
	req := d.requests.Get().(*request)
	defer d.requests.Put(req)
	defer req.release()
	if err := req.hold(weight); err != nil {
		return Written{}, err
	}
	body, err := req.body.Read(r, int64(d.cfg.MaxRequestBytes))
	if err != nil {
		return Written{}, err
	}
	return req.push(r.Context(), identity.Tenant(), protocol, body)
}

// fail answers with the status that an error means.
func (d *Distributor) fail(w http.ResponseWriter, r *http.Request, err error) {
	status := statusOf(err)
	if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter(r.Header.Get("Retry-Attempt"))))
	}
	if status >= 500 {
		d.metrics.failed.WithLabelValues(strconv.Itoa(status)).Inc()
		d.log.DebugContext(r.Context(), "write failed", "error", err)
	}
	http.Error(w, err.Error(), status)
}

func statusOf(err error) int {
	var limit *tenant.LimitError
	switch {
	case errors.Is(err, remote.ErrUnsupported):
		return http.StatusUnsupportedMediaType
	case errors.Is(err, remote.ErrTooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, ErrRate):
		return http.StatusTooManyRequests
	case errors.Is(err, remote.ErrMalformed), errors.As(err, &limit):
		return http.StatusBadRequest
	case errors.Is(err, tenant.ErrUnauthenticated), errors.Is(err, tenant.ErrForbidden), errors.Is(err, tenant.ErrInvalidID):
		return tenant.HTTPStatus(err)
	}
	return http.StatusServiceUnavailable
}

// retryAfter is in seconds: 1 for the first attempt, doubling to 64, give or take a half, so that senders that failed
// together don't come back together.
func retryAfter(attempt string) int {
	n, err := strconv.Atoi(attempt)
	if err != nil || n < 1 {
		n = 1
	}
	base := time.Second << min(n-1, 6)
	return max(1, int((base/2+rand.N(base)).Round(time.Second)/time.Second))
}

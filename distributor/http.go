package distributor

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/varve-io/varve/pkg/remote"
	"github.com/varve-io/varve/pkg/tenant"
)

// Paths are where write requests are taken: remote write, OTLP, Influx lines, Prometheus' text.
var Paths = [...]string{
	"/api/v1/push", "/api/v1/write",
	"/otlp/v1/metrics", "/api/v1/otlp/v1/metrics",
	"/write", "/api/v2/write", "/influx/write",
	"/api/v1/import/prometheus",
}

// protocol is one way of writing: how its requests are stored, and how they are answered.
type protocol struct {
	store  func(*request, *http.Request, tenant.ID) (Written, error)
	answer func(*Distributor, http.ResponseWriter, *http.Request, Written, error)
}

func protocolOf(path string) protocol {
	switch {
	case strings.HasSuffix(path, "/v1/metrics"):
		return protocol{(*request).otlp, (*Distributor).answerOTLP}
	case strings.HasSuffix(path, "/api/v2/write"), strings.HasSuffix(path, "/influx/write"), strings.TrimPrefix(path, "/prometheus") == "/write":
		return protocol{(*request).influx, (*Distributor).answerInflux}
	case strings.HasSuffix(path, "/import/prometheus"):
		return protocol{(*request).text, (*Distributor).answer}
	}
	return protocol{(*request).remoteWrite, (*Distributor).answerRemoteWrite}
}

var errMethod = errors.New("write requests are POSTs") // 405

// ServeHTTP takes a write request of the protocol that its path names. All of it is stored: 204, of OTLP 200. Some of it
// is refused, the rest is stored: 400 with the reasons, of OTLP 200 with a partial success. 429 over a tenant's own
// rate, 503 where sending it again will help (some of it may be stored).
func (d *Distributor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p := protocolOf(r.URL.Path)
	written, err := d.write(r, p.store)
	p.answer(d, w, r, written, err)
}

func (d *Distributor) write(r *http.Request, store func(*request, *http.Request, tenant.ID) (Written, error)) (written Written, err error) {
	if r.Method != http.MethodPost {
		return Written{}, errMethod
	}
	identity, err := d.deps.Auth.Authenticate(r, tenant.ScopeWrite)
	if err != nil {
		return Written{}, err
	}
	defer func() { d.noteFailure(identity.Tenant(), written, err) }()
	// What a request takes is its body, inflated to several times that, and about as much again as batches; writeOut
	// sees to what is more. One that doesn't say its length may be as long as is allowed.
	weight := max(r.ContentLength, 4096) * 8
	if r.ContentLength < 0 {
		weight = int64(d.cfg.MaxRequestBytes)
	}
	req := d.requests.Get().(*request)
	defer d.requests.Put(req)
	defer req.release()
	req.holder = d.sender(identity.Tenant())
	if err := req.hold(weight); err != nil {
		return Written{}, err
	}
	return store(req, r, identity.Tenant())
}

func (r *request) remoteWrite(h *http.Request, id tenant.ID) (Written, error) {
	protocol, err := remote.ProtocolOf(h.Header)
	if err != nil {
		return Written{}, err
	}
	if err := r.inflate(h); err != nil {
		return Written{}, err
	}
	return r.push(h.Context(), id, protocol, r.raw)
}

// inflate receives a body and inflates it on the request's desk.
func (r *request) inflate(h *http.Request) error {
	body := r.d.bodies.Get().(*remote.Body)
	defer r.d.bodies.Put(body)
	limit := int64(r.d.cfg.MaxRequestBytes)
	if err := body.Receive(h, limit); err != nil {
		return err
	}
	r.sitDown()
	raw, err := body.Inflate(r.raw[:cap(r.raw)], limit)
	if err == nil {
		r.raw = raw
	}
	return err
}

func (d *Distributor) answerRemoteWrite(w http.ResponseWriter, r *http.Request, written Written, err error) {
	// 2.0 demands these; a sender of 1.0 learns from them what a 400 means.
	// What its tenant wants dropped counts as written: a sender would take it for lost.
	h, a, b := w.Header(), written.ByRule, written.OfReplica
	h.Set("X-Prometheus-Remote-Write-Samples-Written", strconv.Itoa(written.Floats+a.Floats+b.Floats))
	h.Set("X-Prometheus-Remote-Write-Histograms-Written", strconv.Itoa(written.Histograms+a.Histograms+b.Histograms))
	h.Set("X-Prometheus-Remote-Write-Exemplars-Written", strconv.Itoa(written.Exemplars+a.Exemplars+b.Exemplars))
	d.answer(w, r, written, err)
}

func (d *Distributor) answer(w http.ResponseWriter, r *http.Request, written Written, err error) {
	switch {
	case err != nil:
		http.Error(w, err.Error(), d.fail(w, r, err))
	case written.Refused > 0:
		http.Error(w, written.Message, http.StatusBadRequest)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// fail is the status that an error means. It sets the headers that go with it.
func (d *Distributor) fail(w http.ResponseWriter, r *http.Request, err error) int {
	status := statusOf(err)
	if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter(r.Header.Get("Retry-Attempt"))))
	}
	if status >= 500 {
		d.metrics.failed.WithLabelValues(strconv.Itoa(status)).Inc()
		d.log.DebugContext(r.Context(), "write failed", "error", err)
	}
	if status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", http.MethodPost)
	}
	return status
}

func statusOf(err error) int {
	var limit *tenant.LimitError
	switch {
	case errors.Is(err, errMethod):
		return http.StatusMethodNotAllowed
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

package load

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// request is one encoded remote-write request.
type request struct {
	body    []byte
	tenant  string
	samples int64
}

// Waits between attempts, as a Prometheus takes them by default.
const (
	minBackoff = 30 * time.Millisecond
	maxBackoff = 5 * time.Second
)

// decide sends a request until it is acked or refused, or given up.
func (w *Writer) decide(ctx context.Context, req request) (State, int) {
	begin := time.Now()
	doubt := false // an earlier attempt may have stored something
	for attempt := 0; ; attempt++ {
		ans := w.attempt(ctx, req, attempt)
		switch {
		case ans.err == nil && ans.status/100 == 2:
			if ans.written >= 0 && ans.written < req.samples {
				w.short.Add(req.samples - ans.written)
				w.fail("status %d, but %d of %d samples written", ans.status, ans.written, req.samples)
			}
			return Acked, ans.status
		case ans.err == nil && ans.status/100 != 5:
			w.fail("status %d: %s", ans.status, ans.text)
			return refusal(ans, doubt), ans.status
		}
		doubt = true
		if ans.err != nil {
			w.fail("%v", ans.err)
		} else {
			w.fail("status %d: %s", ans.status, ans.text)
		}
		wait := min(minBackoff<<min(attempt, 10), maxBackoff)
		if ans.retryAfter > 0 {
			wait = ans.retryAfter
		}
		wait += time.Duration(rand.Int64N(int64(wait)/8 + 1))
		if w.cfg.RetryFor > 0 && time.Since(begin)+wait > w.cfg.RetryFor || !sleep(ctx, wait) {
			return Unknown, ans.status
		}
		w.retries.Add(1)
	}
}

// refusal says what a 4xx promises. Only 400 can be about some samples of a request; it is a refusal of all of them
// if the answer counts 0 written.
func refusal(ans answer, doubt bool) State {
	switch {
	case doubt:
		return Unknown
	case ans.status != http.StatusBadRequest || ans.written == 0:
		return Refused
	}
	return Partial
}

func (w *Writer) fail(format string, args ...any) {
	s := strings.TrimSpace(fmt.Sprintf(format, args...))
	w.lastErr.Store(&s)
}

// answer is what one attempt got.
type answer struct {
	status     int
	written    int64 // samples and histograms that the server says it stored; −1 = it doesn't say
	retryAfter time.Duration
	text       string // the beginning of a body that is not a 2xx's
	err        error
}

// attempt sends a request once. It outlives ctx by at most the timeout, so that an ending run leaves few unknowns.
func (w *Writer) attempt(ctx context.Context, req request, attempt int) answer {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.cfg.Timeout)
	defer cancel()
	body := &reusedBody{Reader: bytes.NewReader(req.body), closed: make(chan struct{})}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.cfg.URL, body)
	if err != nil {
		return answer{written: -1, err: err}
	}
	r.ContentLength = int64(len(req.body))
	w.header(r.Header, req.tenant, attempt)
	resp, err := w.client.Do(r)
	<-body.closed // the transport may read the body, which is about to be reused, until then
	if err != nil {
		return answer{written: -1, err: err}
	}
	defer resp.Body.Close()
	ans := answer{status: resp.StatusCode, written: written(resp.Header)}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)) // lets the connection be used again
	if ans.status/100 != 2 {
		ans.text = string(text)
	}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		ans.retryAfter = time.Duration(s) * time.Second
	}
	return ans
}

func (w *Writer) header(h http.Header, tenant string, attempt int) {
	maps.Copy(h, w.cfg.Header)
	h.Set("Content-Encoding", "snappy")
	h.Set("Content-Type", w.cfg.Protocol.contentType())
	h.Set("User-Agent", "varve-loadgen")
	h.Set("X-Prometheus-Remote-Write-Version", w.cfg.Protocol.version())
	if tenant != "" {
		h.Set("X-Scope-OrgID", tenant)
	}
	if attempt > 0 {
		h.Set("Retry-Attempt", strconv.Itoa(attempt))
	}
}

func written(h http.Header) int64 {
	samples, err1 := strconv.ParseInt(h.Get("X-Prometheus-Remote-Write-Samples-Written"), 10, 64)
	histograms, err2 := strconv.ParseInt(h.Get("X-Prometheus-Remote-Write-Histograms-Written"), 10, 64)
	if err1 != nil && err2 != nil {
		return -1
	}
	return samples + histograms
}

// reusedBody tells when the transport is done with it.
type reusedBody struct {
	*bytes.Reader
	once   sync.Once
	closed chan struct{}
}

// Close is called by the transport, once or more.
func (b *reusedBody) Close() error {
	b.once.Do(func() { close(b.closed) })
	return nil
}

package querier

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/prompb"

	"github.com/varve-io/varve/pkg/tenant"
)

const (
	maxReadQueries  = 64
	maxReadMatchers = 512
)

// remoteRead checks a remote read request before Prometheus' handler answers it, with what was written only.
func (q *Querier) remoteRead(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body) // bounded by parseForm
		if err == nil {
			err = checkRead(body, &budgetFrom(r.Context()).limits)
		}
		if err != nil {
			http.Error(w, budgetFrom(r.Context()).failed(err).Error(), http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r.WithContext(withoutCosts(r.Context())))
	})
}

// checkRead refuses a request that would cost too much.
func checkRead(body []byte, l *tenant.Limits) error {
	n, err := snappy.DecodedLen(body)
	if err != nil {
		return fmt.Errorf("decode remote read: %w", err)
	}
	if n > maxFormBytes {
		return fmt.Errorf("decode remote read: %d bytes unpacked, at most %d are allowed", n, maxFormBytes)
	}
	plain, err := snappy.Decode(nil, body)
	if err != nil {
		return fmt.Errorf("decode remote read: %w", err)
	}
	var req prompb.ReadRequest
	if err := req.Unmarshal(plain); err != nil {
		return fmt.Errorf("decode remote read: %w", err)
	}
	if len(req.Queries) > maxReadQueries {
		return fmt.Errorf("remote read: %d queries, at most %d are allowed", len(req.Queries), maxReadQueries)
	}
	for _, query := range req.Queries {
		if err := checkReadQuery(query, l); err != nil {
			return fmt.Errorf("remote read: %w", err)
		}
	}
	return nil
}

func checkReadQuery(q *prompb.Query, l *tenant.Limits) error {
	if q == nil || q.EndTimestampMs < q.StartTimestampMs {
		return errors.New("the query's end is before its start")
	}
	if len(q.Matchers) > maxReadMatchers {
		return fmt.Errorf("%d matchers, at most %d are allowed", len(q.Matchers), maxReadMatchers)
	}
	for _, m := range q.Matchers {
		if len(m.Name)+len(m.Value) > int(l.MaxQueryLength) {
			return &tenant.LimitError{Limit: tenant.MaxQueryLength, Max: l.MaxQueryLength, Subject: "a matcher is too long"}
		}
	}
	length := q.EndTimestampMs - q.StartTimestampMs
	if length < 0 { // it doesn't fit
		length = q.EndTimestampMs
	}
	return checkRange(l, length)
}

package querier

import (
	"context"
	"errors"
	"io/fs"
	"net/http"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/tsdb"
	apiv1 "github.com/prometheus/prometheus/web/api/v1"

	"github.com/varve-io/varve/pkg/tenant"
)

// UnavailableError says that a read could not be answered completely now and may be tried again: 503.
type UnavailableError struct{ Reason string }

// Error implements error.
func (e *UnavailableError) Error() string { return e.Reason }

// Is lets Prometheus' API answer with its error type "unavailable", which it keeps for a database that isn't ready.
func (e *UnavailableError) Is(target error) bool { return target == tsdb.ErrNotReady }

// storageError gives an error of a source the type that makes the API answer with the right status.
func storageError(err error) error {
	var limit *tenant.LimitError
	var unavailable *UnavailableError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &limit), errors.As(err, &unavailable):
		return err
	case errors.Is(err, context.Canceled):
		return promql.ErrQueryCanceled("selecting series")
	case errors.Is(err, context.DeadlineExceeded):
		return promql.ErrQueryTimeout("selecting series")
	}
	if errors.Is(err, fs.ErrNotExist) { // a block was deleted under a read that took too long; the next one finds its heir
		return &UnavailableError{Reason: err.Error()}
	}
	return promql.ErrStorage{Err: err}
}

// statusOf is the HTTP status of an error of storageError; ok is false where the API's own choice is right.
func statusOf(err error) (code int, ok bool) {
	var (
		limit    *tenant.LimitError
		stored   promql.ErrStorage
		timeout  promql.ErrQueryTimeout
		canceled promql.ErrQueryCanceled
	)
	switch {
	case errors.Is(err, tsdb.ErrNotReady), errors.As(err, &timeout), errors.Is(err, context.DeadlineExceeded):
		return http.StatusServiceUnavailable, true
	case errors.As(err, &limit):
		return http.StatusUnprocessableEntity, true
	case errors.As(err, &canceled):
		return statusClientClosed, true
	case errors.As(err, &stored):
		return http.StatusInternalServerError, true
	}
	return 0, false
}

// statusClientClosed is what servers note when the client went away before the answer.
const statusClientClosed = 499

// overrideStatus implements Prometheus' OverrideErrorCode. A limit that the request alone shows stays a 400.
func overrideStatus[K ~int](kind K, err error) (int, bool) {
	if int(kind) == int(apiv1.ErrorBadData) {
		return 0, false
	}
	return statusOf(err)
}

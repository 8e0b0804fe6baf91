package bucket

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/minio/minio-go/v7"
	"github.com/thanos-io/objstore"
	"google.golang.org/api/googleapi"
)

const (
	maxAttempts   = 5
	firstBackoff  = 200 * time.Millisecond
	maxBackoff    = 5 * time.Second
	headerTimeout = 30 * time.Second
)

// backoff waits before the attempt that follows the given one (from 1): a random time up to a bound that doubles
// with each attempt. It returns the context's error if that ends first.
func backoff(ctx context.Context, attempt int) error {
	bound := min(firstBackoff<<(attempt-1), maxBackoff)
	timer := time.NewTimer(bound/4 + rand.N(bound))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// transient tells whether the same call may succeed a little later.
func (b *retrying) transient(ctx context.Context, err error) bool {
	var final finalError
	switch {
	case err == nil, ctx.Err() != nil, b.local:
		return false
	case errors.As(err, &final), errors.Is(err, ErrName), errors.Is(err, objstore.ErrOptionNotSupported):
		return false
	case b.inner.IsObjNotFoundErr(err), b.inner.IsAccessDeniedErr(err):
		return false
	}
	code := statusCode(err)
	return code < 400 || code >= 500 || code == http.StatusRequestTimeout || code == http.StatusTooManyRequests
}

// statusCode is the HTTP status inside a provider's error, 0 without one: the connection failed then.
func statusCode(err error) int {
	var s3Err minio.ErrorResponse
	var gcsErr *googleapi.Error
	var azureErr *azcore.ResponseError
	switch {
	case errors.As(err, &s3Err):
		return s3Err.StatusCode
	case errors.As(err, &gcsErr):
		return gcsErr.Code
	case errors.As(err, &azureErr):
		return azureErr.StatusCode
	}
	return 0
}

// finalError is an error of the caller's own code (a reader, a callback): it is passed on, never retried.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

// sourceReader marks the errors of an uploaded reader as final.
type sourceReader struct {
	io.ReadSeeker
	size int64
}

func (s sourceReader) Read(p []byte) (int, error) {
	n, err := s.ReadSeeker.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = finalError{err}
	}
	return n, err
}

// ObjectSize lets providers send the object in parts of a good size.
func (s sourceReader) ObjectSize() (int64, error) { return s.size, nil }

package rpc

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// remoteError is an error that came over the wire: the peer's words, and the kind that errors.Is finds.
type remoteError struct {
	kind error
	text string
}

// Error implements error.
func (e *remoteError) Error() string { return e.text }

// Unwrap implements errors.Unwrap.
func (e *remoteError) Unwrap() error { return e.kind }

// codeOf is how an error's kind is written on the wire.
func codeOf(err error) codes.Code {
	var limit *tenant.LimitError
	switch {
	case errors.Is(err, series.ErrUnknownNumber):
		return codes.FailedPrecondition
	case errors.Is(err, series.ErrCorrupt):
		return codes.DataLoss
	case errors.Is(err, series.ErrInvalid):
		return codes.InvalidArgument
	case errors.Is(err, series.ErrLimited), errors.As(err, &limit):
		return codes.ResourceExhausted
	case errors.Is(err, series.ErrUnavailable):
		return codes.Unavailable
	case errors.Is(err, series.ErrNotFound):
		return codes.NotFound
	case errors.Is(err, context.Canceled):
		return codes.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded
	}
	return codes.Internal
}

// kindOf is codeOf the other way round. What gRPC itself reports falls in the same kinds: a connection that broke, a
// stream that was cancelled by the other side, and a method that a peer of another version doesn't have are
// unavailable.
func kindOf(c codes.Code) error {
	switch c {
	case codes.FailedPrecondition:
		return series.ErrUnknownNumber
	case codes.DataLoss:
		return series.ErrCorrupt
	case codes.InvalidArgument:
		return series.ErrInvalid
	case codes.ResourceExhausted:
		return series.ErrLimited
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded, codes.Unimplemented, codes.Aborted:
		return series.ErrUnavailable
	case codes.NotFound:
		return series.ErrNotFound
	}
	return series.ErrInternal
}

// toWire gives an error the form in which gRPC carries it.
func toWire(err error) error {
	if err == nil {
		return nil
	}
	return status.Error(codeOf(err), err.Error())
}

// fromWire is the error that a call ended with. The caller's own cancellation stays what it is.
func fromWire(ctx context.Context, address string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s := status.Convert(err)
	return &remoteError{kindOf(s.Code()), fmt.Sprintf("%s: %s", address, s.Message())}
}

// breaks tells whether an owner's refusal of a batch ends the link: the dictionary must begin anew.
func breaks(err error) bool {
	return errors.Is(err, series.ErrUnknownNumber) || errors.Is(err, series.ErrCorrupt)
}

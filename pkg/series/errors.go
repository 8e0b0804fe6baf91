package series

import "errors"

// The kinds of errors that keep their meaning between processes. What goes wrong in a component wraps one of them, or
// counts as internal.
var (
	// ErrInvalid: the request can't be meant; sending it again does not help.
	ErrInvalid = errors.New("invalid")
	// ErrLimited: the request is over a bound.
	ErrLimited = errors.New("over a limit")
	// ErrUnavailable: not now; the same may succeed later or elsewhere.
	ErrUnavailable = errors.New("unavailable")
	// ErrNotFound: there is no such thing.
	ErrNotFound = errors.New("not found")
	// ErrInternal: a fault of the process that answered.
	ErrInternal = errors.New("internal error")
)

package series

import (
	"errors"

	"github.com/oklog/ulid/v2"
)

// Standing is what an owner of a partition says of its answer to a read: how far the reader may rely on it.
type Standing struct {
	// CompleteSince is 0 if the owner has everything that it ever acked and has not yet let go. Otherwise it lost, or
	// never had, what was received before this time (Unix milliseconds), and bears no witness to it.
	CompleteSince int64
	// ShippedBefore: of what it received before this time (Unix milliseconds) everything is in the catalog.
	ShippedBefore int64
	// Released are blocks that the owner let go of lately. A catalog that doesn't know one of them is too old.
	Released []ulid.ULID
	// Held are the blocks on its own disk that the answer is made of; the same in the bucket have nothing more.
	Held []ulid.ULID
	// Partitions are those that the owner knows of, ordered. A reader that knows fewer looks again.
	Partitions []int32
}

// ErrUnknownNumber: a batch uses a number that its stream has not defined. The stream must begin anew.
var ErrUnknownNumber = errors.New("series number is not defined in this stream")

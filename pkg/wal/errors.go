package wal

import (
	"errors"
	"fmt"
)

// Errors of Append, Wait and the epochs. Compare with errors.Is.
var (
	// ErrUnavailable is wrapped by every error after which the same record may be tried again later.
	ErrUnavailable = errors.New("log unavailable")
	// ErrFenced means that a write or sync failed; the record is not durable.
	ErrFenced = fmt.Errorf("log fenced (%w)", ErrUnavailable)
	// ErrDiskFull means that the file system has less than Options.LowWater bytes left, or none.
	ErrDiskFull = fmt.Errorf("disk almost full (%w)", ErrUnavailable)
	// ErrOverloaded means that Options.MaxPending bytes wait for a sync.
	ErrOverloaded = fmt.Errorf("too many bytes wait for a sync (%w)", ErrUnavailable)
	// ErrClosed means that Run has ended or was told to.
	ErrClosed = fmt.Errorf("log closed (%w)", ErrUnavailable)
	// ErrTermOver means that the epoch has changed, or that the log was fenced, since the term given to AppendIn.
	ErrTermOver = errors.New("term of the log is over")
	// ErrTooLarge means that the record exceeds MaxRecordBytes.
	ErrTooLarge = errors.New("record too large")
	// ErrLocked means that another process, or another Log, holds the directory.
	ErrLocked = errors.New("log directory is locked by another process")
	// ErrEpochInUse means that the log may still write into the epoch.
	ErrEpochInUse = errors.New("epoch is in use")
)

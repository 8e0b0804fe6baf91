package wal

import (
	"errors"
	"fmt"
	"time"
)

// Defaults of Options.
const (
	DefaultSegmentBytes = 128 << 20
	DefaultMaxPending   = 64 << 20
	DefaultReserveBytes = 64 << 20
	DefaultLowWater     = 256 << 20
)

// MaxRecordBytes is the largest record that Append takes.
const MaxRecordBytes = 32 << 20

// Options says where a log lives and how much it may hold. A zero field means its default.
type Options struct {
	// Dir is the log's directory. One process holds it at a time; it is made if it is missing.
	Dir string
	// SegmentBytes is the size at which the next group goes to a new segment.
	SegmentBytes int64
	// MaxPending bounds the bytes that wait for a sync; beyond it Append answers ErrOverloaded.
	MaxPending int64
	// ReserveBytes is the size of a file that is given up when the disk is full, so that what frees space can be
	// finished. Negative means none.
	ReserveBytes int64
	// LowWater is the number of free bytes below which Append answers ErrDiskFull. Negative means no such check.
	LowWater int64
	// NoCompression writes frames as they are. By default a frame is compressed (S2) where that makes it smaller.
	NoCompression bool
	// FS is the file system; nil means the operating system's.
	FS FS
	// Now is the clock for the creation time in headers; nil means time.Now.
	Now func() time.Time
	// Events are told of what the log does.
	Events Events
}

// Events are callbacks for logging and metrics. Each may be nil. They are called by Open and by the goroutine of Run,
// and hold it up while they run; they must not call the log.
type Events struct {
	// Synced is called after each group that was written and synced.
	Synced func(SyncInfo)
	// Segment is called after a new segment is ready.
	Segment func(epoch, segment uint64)
	// Fenced is called when a write or sync failed and the log stopped taking records.
	Fenced func(err error)
	// Recovered is called when the log takes records again, with the time for which it did not.
	Recovered func(down time.Duration)
	// RetryFailed is called for each failed attempt to begin a new segment.
	RetryFailed func(err error)
	// Space is called when the disk becomes almost full, and when it no longer is; free is in bytes.
	Space func(full bool, free int64)
	// Warning is called for an error that costs nothing by itself, such as a leftover that can't be removed.
	Warning func(err error)
}

// SyncInfo describes one group that became durable.
type SyncInfo struct {
	Records  int           // records in the group
	Bytes    int64         // their bytes as appended
	Written  int64         // bytes written to the file, with headers and after compression
	Duration time.Duration // of writing and syncing
	Sync     time.Duration // of the sync alone
}

func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		return o, errors.New("wal: no directory given")
	}
	o.SegmentBytes = orDefault(o.SegmentBytes, DefaultSegmentBytes)
	o.MaxPending = orDefault(o.MaxPending, DefaultMaxPending)
	o.ReserveBytes = orDefault(o.ReserveBytes, DefaultReserveBytes)
	o.LowWater = orDefault(o.LowWater, DefaultLowWater)
	if o.SegmentBytes < 0 || o.MaxPending < 0 {
		return o, fmt.Errorf("wal: segment size %d and pending limit %d must be positive", o.SegmentBytes, o.MaxPending)
	}
	if o.FS == nil {
		o.FS = OS{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Events = o.Events.orNothing()
	return o, nil
}

func orDefault(v, def int64) int64 {
	if v == 0 {
		return def
	}
	return v
}

func (e Events) orNothing() Events {
	if e.Synced == nil {
		e.Synced = func(SyncInfo) {}
	}
	if e.Segment == nil {
		e.Segment = func(uint64, uint64) {}
	}
	if e.Fenced == nil {
		e.Fenced = func(error) {}
	}
	if e.Recovered == nil {
		e.Recovered = func(time.Duration) {}
	}
	if e.RetryFailed == nil {
		e.RetryFailed = func(error) {}
	}
	if e.Space == nil {
		e.Space = func(bool, int64) {}
	}
	if e.Warning == nil {
		e.Warning = func(error) {}
	}
	return e
}

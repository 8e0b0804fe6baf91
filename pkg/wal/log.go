package wal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"
)

const (
	lockName    = "LOCK"
	reserveName = "RESERVE"
)

// Log is the ingester's log. All methods may be called concurrently.
type Log struct {
	o    Options
	lock io.Closer
	wake chan struct{} // tells Run that the queue is not empty

	mu       sync.Mutex
	term     Term
	queue    []*group // what waits for Run; all but the last are closed to records
	pending  int64    // bytes appended and not yet synced
	refuse   error    // why Append takes nothing: fenced or closed
	full     error    // why Append takes nothing: space
	disk     map[uint64]int64
	onDisk   uint64   // the epoch that Run writes into; older ones may be dropped
	free     [][]byte // frame buffers to use again
	fencedAt time.Time
	found    []segmentFile // what Open found, for Replay; not changed afterwards

	dropMu sync.Mutex // one DropEpoch at a time

	w writer // Run's own
}

// Term is a stretch of the log without a fence and without a change of epoch. Whoever appends records that refer to
// earlier ones begins anew in each term: after a fence the earlier records may be gone, and epochs are dropped singly.
type Term struct {
	Epoch  uint64
	Fences uint64 // how often the log was fenced since Open
}

// Position is the place of a record in the log. It is cheap to copy; it keeps some hundred bytes alive.
type Position struct {
	g *group
	n int // its place in the group
}

// Number is the record's number in its epoch, as a replay tells it. It is known once Wait has returned nil.
func (p Position) Number() uint64 { return p.g.first + uint64(p.n) }

// Term returns the term in which the record was appended.
func (p Position) Term() Term { return p.g.term }

// group is what one sync makes durable at once.
type group struct {
	term   Term
	frames []frameBuffer
	count  int
	first  uint64 // number of its first record, set when it is written
	bytes  int64
	sealed bool          // takes no more records
	done   chan struct{} // closed when err is final
	err    error
}

type frameBuffer struct {
	raw   []byte
	count uint32
}

// Open opens the log in o.Dir, or begins one, and locks the directory until Close. It finds out where the last process
// stopped, but writes nothing into the segments that it left. Call Replay and Run next, in any order.
func Open(o Options) (*Log, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := o.FS.MkdirAll(o.Dir); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	syncParents(o)
	lock, err := o.FS.Lock(filepath.Join(o.Dir, lockName))
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	l := &Log{o: o, lock: lock, wake: make(chan struct{}, 1), disk: map[uint64]int64{}}
	if err := l.load(); err != nil {
		lock.Close()
		return nil, fmt.Errorf("open log: %w", err)
	}
	return l, nil
}

// syncParents makes the directory itself durable. Those above may belong to others, so an error is only a warning.
func syncParents(o Options) {
	for dir := filepath.Clean(o.Dir); dir != filepath.Dir(dir); {
		dir = filepath.Dir(dir)
		if err := o.FS.SyncDir(dir); err != nil {
			o.Events.Warning(fmt.Errorf("sync directory: %w", err))
		}
	}
}

// Close releases the directory. Call it after Run has returned.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lock == nil {
		return nil
	}
	l.refuse = ErrClosed
	l.failLocked(ErrClosed)
	err := l.lock.Close()
	l.lock = nil
	return err
}

// Append takes a copy of rec into the group that is synced next, and returns its place there. It does not wait for the
// disk: the record is durable once Wait returns nil. Records are replayed in the order of their Appends.
//
// It fails with ErrFenced, ErrDiskFull, ErrOverloaded or ErrClosed, all of which wrap ErrUnavailable, or with
// ErrTooLarge; then nothing was appended.
func (l *Log) Append(rec []byte) (Position, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.appendLocked(rec)
}

// AppendIn is Append if the log's term is still t, and fails with ErrTermOver otherwise.
func (l *Log) AppendIn(t Term, rec []byte) (Position, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t != l.term {
		return Position{}, ErrTermOver
	}
	return l.appendLocked(rec)
}

func (l *Log) appendLocked(rec []byte) (Position, error) {
	size := int64(len(rec)) + binary.MaxVarintLen64
	switch {
	case l.refuse != nil:
		return Position{}, l.refuse
	case l.full != nil:
		return Position{}, l.full
	case len(rec) > MaxRecordBytes:
		return Position{}, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(rec), MaxRecordBytes)
	case l.pending > 0 && l.pending+size > l.o.MaxPending:
		return Position{}, ErrOverloaded
	}
	g := l.collectingLocked()
	f := l.frameLocked(g, len(rec))
	f.raw = binary.AppendUvarint(f.raw, uint64(len(rec)))
	f.raw = append(f.raw, rec...)
	f.count++
	g.count++
	g.bytes += size
	l.pending += size
	return Position{g, g.count - 1}, nil
}

// collectingLocked returns the group that takes records.
func (l *Log) collectingLocked() *group {
	if n := len(l.queue); n > 0 && !l.queue[n-1].sealed {
		return l.queue[n-1]
	}
	g := &group{term: l.term, done: make(chan struct{})}
	l.queue = append(l.queue, g)
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return g
}

// frameLocked returns the frame of g that takes n more bytes.
func (l *Log) frameLocked(g *group, n int) *frameBuffer {
	if i := len(g.frames); i == 0 || len(g.frames[i-1].raw)+n+binary.MaxVarintLen64 > frameTarget {
		var buf []byte
		if k := len(l.free); k > 0 {
			buf, l.free = l.free[k-1], l.free[:k-1]
		}
		g.frames = append(g.frames, frameBuffer{raw: buf})
	}
	return &g.frames[len(g.frames)-1]
}

// Wait returns when the record at p is durable, with nil, or when it will never be known to be, with ErrFenced or
// ErrClosed. If ctx ends first its cause is returned and the record's fate is open.
func (l *Log) Wait(ctx context.Context, p Position) error {
	if p.g == nil {
		return errors.New("wal: wait for a position that Append did not return")
	}
	select {
	case <-p.g.done:
		return p.g.err
	default:
	}
	select {
	case <-p.g.done:
		return p.g.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Term returns the term in which Append works now.
func (l *Log) Term() Term {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.term
}

// Pending returns the bytes that wait for a sync; Options.MaxPending bounds them.
func (l *Log) Pending() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pending
}

// Healthy returns nil if Append takes records, or why it does not.
func (l *Log) Healthy() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refuse != nil {
		return l.refuse
	}
	return l.full
}

// failLocked ends every group in the queue with err.
func (l *Log) failLocked(err error) {
	for _, g := range l.queue {
		l.finishLocked(g, err)
	}
	l.queue = nil
}

// finishLocked makes the outcome of a group known and takes its buffers back.
func (l *Log) finishLocked(g *group, err error) {
	const keep = 64
	for _, f := range g.frames {
		if len(l.free) < keep && cap(f.raw) <= 2*frameTarget {
			l.free = append(l.free, f.raw[:0])
		}
	}
	l.pending -= g.bytes
	g.frames, g.sealed, g.err = nil, true, err
	close(g.done)
}

// now is the creation time of a header.
func (l *Log) now() int64 { return l.o.Now().UnixMilli() }

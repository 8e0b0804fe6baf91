package wal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

const (
	tickEvery  = 500 * time.Millisecond // how often an idle log looks at the free space and writes its mark
	writeBytes = 1 << 20                // frames are gathered up to this before they are written
)

// writer is what Run alone uses.
type writer struct {
	running bool
	number  uint64   // the last segment number used
	seg     *segment // nil while fenced
	tail    tail
	synced  uint64 // the epoch whose directory entry is known to be durable
	out     []byte
	reserve bool // the reserve file exists
	full    bool // the disk is almost full
}

// tail is how far the log counts: what the next segment's header says about its predecessor.
type tail struct {
	id     segmentID
	length int64
	next   uint64 // number of the next record in the tail's epoch
}

// Run writes and syncs what is appended, until ctx ends; then it makes durable what was appended so far, and returns
// nil, or why it could not. It must run for Wait to return, and can run once.
func (l *Log) Run(ctx context.Context) error {
	l.mu.Lock()
	if l.w.running || l.lock == nil {
		l.mu.Unlock()
		return errors.New("wal: run called twice, or after close")
	}
	l.w.running = true
	l.mu.Unlock()

	l.openReserve()
	if err := l.begin(l.Term().Epoch); err != nil {
		l.fence(nil, err)
	}
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		if l.w.seg == nil && !l.recover(ctx) {
			break
		}
		if g := l.take(); g != nil {
			l.commit(g)
			continue
		}
		select {
		case <-ctx.Done():
		case <-l.wake:
		case <-tick.C:
			l.checkSpace()
			l.mark()
		}
	}
	return l.drain()
}

// take removes the oldest group from the queue and seals it; nil if there is none.
func (l *Log) take() *group {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		return nil
	}
	g := l.queue[0]
	g.sealed = true
	l.queue = append(l.queue[:0], l.queue[1:]...)
	return g
}

// commit makes one group durable and wakes those who wait for it, or fences the log.
func (l *Log) commit(g *group) {
	if err := l.ready(g); err != nil {
		l.fence(g, err)
		return
	}
	if g.count == 0 {
		l.finish(g, 0)
		return
	}
	start, before := time.Now(), l.w.tail.length
	if err := l.writeGroup(g); err != nil {
		l.fence(g, fmt.Errorf("write segment %v: %w", l.w.seg.header.id, err))
		return
	}
	written := time.Now()
	if err := l.w.seg.file.Sync(); err != nil {
		l.fence(g, fmt.Errorf("sync segment %v: %w", l.w.seg.header.id, err))
		return
	}
	l.w.seg.marked = false
	l.w.tail.length = l.w.seg.written
	l.w.tail.next += uint64(g.count)
	size := l.w.tail.length - before
	info := SyncInfo{Records: g.count, Bytes: g.bytes, Written: size, Duration: time.Since(start), Sync: time.Since(written)}
	l.finish(g, size)
	l.o.Events.Synced(info)
	l.checkSpace()
}

// finish tells that g is durable and has added size bytes to its epoch.
func (l *Log) finish(g *group, size int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.disk[l.onDisk] += size
	l.finishLocked(g, nil)
}

// ready begins a new segment if g belongs to a later epoch than the one that is open, or if that one is large enough.
// A group of an earlier epoch has no records: it was queued by NextEpoch while the log was fenced.
func (l *Log) ready(g *group) error {
	epoch := l.w.seg.header.id.epoch
	switch {
	case g.term.Epoch > epoch:
		return l.begin(g.term.Epoch)
	case l.w.seg.written >= l.o.SegmentBytes && g.count > 0:
		return l.begin(epoch)
	}
	return nil
}

func (l *Log) writeGroup(g *group) error {
	g.first = l.w.tail.next
	h := frameHeader{base: g.first, first: g.first}
	fw := frameWriter{marker: l.w.seg.header.marker, off: l.w.seg.written, compress: !l.o.NoCompression}
	out := l.w.out[:0]
	for _, f := range g.frames {
		h.count = f.count
		out = fw.append(out, h, f.raw)
		h.first += uint64(f.count)
		if len(out) >= writeBytes {
			if err := l.w.seg.write(out); err != nil {
				return err
			}
			out = out[:0]
		}
	}
	if cap(out) <= 4*writeBytes {
		l.w.out = out
	}
	if len(out) == 0 {
		return nil
	}
	return l.w.seg.write(out)
}

// mark writes, without a sync, that everything before is synced. With it a reader can tell damage to the last group from
// a group that a crash tore.
func (l *Log) mark() {
	if l.w.seg == nil || l.w.seg.marked {
		return
	}
	h := frameHeader{base: l.w.tail.next, first: l.w.tail.next}
	fw := frameWriter{marker: l.w.seg.header.marker, off: l.w.seg.written}
	if err := l.w.seg.write(fw.append(nil, h, nil)); err != nil {
		l.fence(nil, fmt.Errorf("write segment %v: %w", l.w.seg.header.id, err))
		return
	}
	l.w.seg.marked = true
}

// begin closes the current segment and opens a new one in epoch. That its header could be written and synced is the
// proof that the disk works again after a fence.
func (l *Log) begin(epoch uint64) error {
	l.closeSegment()
	l.w.number++
	h := segmentHeader{
		id: segmentID{epoch, l.w.number}, prev: l.w.tail.id, prevLength: l.w.tail.length, prevEnd: l.w.tail.next, created: l.now(),
	}
	if l.w.tail.id.epoch == epoch {
		h.first = l.w.tail.next
	}
	if _, err := rand.Read(h.marker[:]); err != nil {
		return fmt.Errorf("make marker: %w", err)
	}
	seg, err := l.create(h)
	if err != nil {
		return fmt.Errorf("begin segment %v: %w", h.id, err)
	}
	l.w.seg = seg
	l.w.tail = tail{id: h.id, length: headerBytes, next: h.first}
	l.mu.Lock()
	l.onDisk = epoch
	l.disk[epoch] += headerBytes
	l.mu.Unlock()
	l.o.Events.Segment(epoch, h.id.number)
	return nil
}

// create makes the file of a segment, durably. A file that could not be finished is removed: it holds no record.
func (l *Log) create(h segmentHeader) (*segment, error) {
	dir := filepath.Join(l.o.Dir, epochName(h.id.epoch))
	if err := l.o.FS.MkdirAll(dir); err != nil {
		return nil, err
	}
	path := h.id.path(l.o.Dir)
	f, err := l.o.FS.Create(path)
	if err != nil {
		return nil, err
	}
	seg := &segment{header: h, file: f, marked: true}
	if err := l.establish(seg, dir); err != nil {
		f.Close()
		if rmErr := l.o.FS.RemoveAll(path); rmErr != nil {
			l.o.Events.Warning(fmt.Errorf("remove unfinished segment: %w", rmErr))
		}
		return nil, err
	}
	return seg, nil
}

func (l *Log) establish(seg *segment, dir string) error {
	if err := seg.write(seg.header.encode()); err != nil {
		return err
	}
	if err := seg.file.Sync(); err != nil {
		return err
	}
	if err := l.o.FS.SyncDir(dir); err != nil {
		return err
	}
	if l.w.synced == seg.header.id.epoch {
		return nil
	}
	if err := l.o.FS.SyncDir(l.o.Dir); err != nil {
		return err
	}
	l.w.synced = seg.header.id.epoch
	return nil
}

// closeSegment closes the current segment. What matters in it is synced, so an error costs nothing.
func (l *Log) closeSegment() {
	if l.w.seg == nil {
		return
	}
	if err := l.w.seg.file.Close(); err != nil {
		l.o.Events.Warning(fmt.Errorf("close segment %v: %w", l.w.seg.header.id, err))
	}
	l.w.seg = nil
}

// drain ends the log: it takes no more records, and syncs those that it has.
func (l *Log) drain() error {
	l.mu.Lock()
	fenced := l.refuse
	l.refuse = ErrClosed
	l.mu.Unlock()
	for l.w.seg != nil {
		g := l.take()
		if g == nil {
			break
		}
		l.commit(g)
	}
	l.mu.Lock()
	if !errors.Is(l.refuse, ErrClosed) {
		fenced = l.refuse
		l.refuse = ErrClosed
	}
	l.failLocked(ErrClosed)
	l.mu.Unlock()
	if l.w.seg == nil {
		return fenced
	}
	l.mark()
	if l.w.seg != nil {
		if err := l.w.seg.file.Sync(); err != nil {
			l.o.Events.Warning(fmt.Errorf("sync last mark: %w", err))
		}
	}
	l.closeSegment()
	return nil
}

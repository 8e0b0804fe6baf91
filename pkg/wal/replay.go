package wal

import (
	"context"
	"errors"
	"fmt"
)

// Damage is what a replay could not read.
type Damage struct {
	// Records is the number of acked records that are missing.
	Records uint64
	// Uncounted tells that a segment's header is unreadable, so that more records may be missing than Records says.
	Uncounted bool
	// Bytes is the length of all holes.
	Bytes int64
	// Holes are the places, at most 100 of them.
	Holes []Hole
	// Tail tells that the log ends with a group that is incomplete, of TailBytes bytes. It was never acked.
	Tail      bool
	TailBytes int64
}

// Hole is a stretch of a segment that is damaged.
type Hole struct {
	Epoch, Segment uint64
	Offset, Bytes  int64
	Records        uint64 // acked records lost there
	Reason         string

	last bool // it reaches to the end of the segment: the next header tells how many records it held
}

const maxHoles = 100

// Lossy tells that acked records are missing, or may be.
func (d Damage) Lossy() bool { return d.Records > 0 || d.Uncounted }

func (d Damage) String() string {
	return fmt.Sprintf("%d records lost (uncounted: %t) in %d holes of %d bytes, torn tail of %d bytes",
		d.Records, d.Uncounted, len(d.Holes), d.Bytes, d.TailBytes)
}

func (d *Damage) add(h Hole) {
	d.Records += h.Records
	d.Bytes += h.Bytes
	if len(d.Holes) < maxHoles {
		d.Holes = append(d.Holes, h)
	}
}

// lost counts records that are missing before the segment id, and puts them down to the hole that ends just there.
func (d *Damage) lost(id segmentID, n uint64) {
	if i := len(d.Holes) - 1; i >= 0 && d.Holes[i].last {
		d.Holes[i].Records += n
		d.Holes[i].last = false
		d.Records += n
		return
	}
	d.add(Hole{Epoch: id.epoch, Segment: id.number, Records: n, Reason: "records before this segment missing"})
}

// load looks at what is on disk, and finds out where the log ends.
func (l *Log) load() error {
	epochs, leftovers, err := listEpochs(l.o.FS, l.o.Dir)
	if err != nil {
		return err
	}
	for _, path := range leftovers {
		if err := l.o.FS.RemoveAll(path); err != nil {
			l.o.Events.Warning(fmt.Errorf("remove dropped epoch: %w", err))
		}
	}
	l.term.Epoch = 1
	for _, epoch := range epochs {
		found, err := listSegments(l.o.FS, l.o.Dir, epoch)
		if err != nil {
			return err
		}
		l.term.Epoch = max(epoch, 1)
		l.disk[epoch] = 0
		for _, s := range found {
			l.disk[epoch] += s.size
			l.w.number = max(l.w.number, s.id.number)
		}
		l.w.found = append(l.w.found, found...)
	}
	return l.findTail()
}

// findTail reads the last segment to see where the log ends, and syncs it: what is replayed now shall be there the next
// time, though a process that was killed may not have synced it.
func (l *Log) findTail() error {
	for i := len(l.w.found) - 1; i >= 0; i-- {
		s := l.w.found[i]
		if s.err != nil {
			continue
		}
		f, err := l.o.FS.Open(s.path)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := f.Sync(); err != nil {
			l.o.Events.Warning(fmt.Errorf("sync segment %v: %w", s.id, err))
		}
		rp := &replay{log: l, ctx: context.Background(), segments: l.w.found}
		r := rp.reader(i, f)
		r.next = s.header.first
		if err := r.read(); err != nil {
			return err
		}
		l.w.tail = tail{id: s.id, length: r.end, next: r.next}
		l.onDisk = s.id.epoch
		return nil
	}
	return nil
}

// Replay calls fn with every record on disk, epoch by epoch and within each in the order of the Appends. The record is
// fn's only until it returns. Progress, which may be nil, is told the bytes read so far of all. An error of fn or of ctx
// ends the replay. Damage never does: its records are left out and reported. Replay must be called before Run.
func (l *Log) Replay(ctx context.Context, fn func(epoch uint64, rec []byte) error, progress func(done, total int64)) (Damage, error) {
	l.mu.Lock()
	running := l.w.running
	l.mu.Unlock()
	if running {
		return Damage{}, errors.New("wal: replay after run")
	}
	rp := &replay{log: l, ctx: ctx, fn: fn, progress: progress, segments: l.w.found}
	for _, s := range rp.segments {
		rp.total += s.size
	}
	err := rp.run()
	return rp.damage, err
}

// replay is one pass over the segments.
type replay struct {
	log      *Log
	ctx      context.Context
	fn       func(epoch uint64, rec []byte) error // nil: only look for the end
	progress func(done, total int64)
	segments []segmentFile

	done, total int64
	epoch       uint64
	next        uint64 // number of the next record in the epoch
	damage      Damage
	scratch     []byte
}

func (rp *replay) run() error {
	for i, s := range rp.segments {
		if s.id.epoch != rp.epoch {
			rp.epoch, rp.next = s.id.epoch, 0
		}
		if err := rp.segment(i); err != nil {
			return fmt.Errorf("replay segment %v: %w", s.id, err)
		}
		rp.endOfEpoch(i)
		rp.done += s.size
		if rp.progress != nil {
			rp.progress(rp.done, rp.total)
		}
	}
	return nil
}

func (rp *replay) segment(i int) error {
	s := rp.segments[i]
	if s.unborn() {
		return nil
	}
	if s.err != nil {
		rp.damage.Uncounted = true
		rp.damage.add(Hole{Epoch: s.id.epoch, Segment: s.id.number, Bytes: s.size, Reason: s.err.Error(), last: true})
		return nil
	}
	f, err := rp.log.o.FS.Open(s.path)
	if err != nil {
		return err
	}
	defer f.Close()
	if s.header.first > rp.next {
		rp.damage.lost(s.id, s.header.first-rp.next)
	}
	r := rp.reader(i, f)
	r.next = s.header.first
	if err := r.read(); err != nil {
		return err
	}
	rp.next = r.next
	return nil
}

// endOfEpoch looks whether the header of the next epoch knows more records of this one.
func (rp *replay) endOfEpoch(i int) {
	id := rp.segments[i].id
	if i+1 < len(rp.segments) && rp.segments[i+1].id.epoch == id.epoch {
		return
	}
	for _, s := range rp.segments[i+1:] {
		if s.err == nil && s.header.prev.epoch == id.epoch && s.header.prevEnd > rp.next {
			rp.damage.lost(s.id, s.header.prevEnd-rp.next)
			return
		}
	}
}

// reader returns a reader of segment i up to where its successor says that it counts.
func (rp *replay) reader(i int, f File) *segmentReader {
	s := rp.segments[i]
	r := &segmentReader{in: f, id: s.id, marker: s.header.marker, limit: s.size, open: true, damage: &rp.damage, emit: rp.emit}
	for _, later := range rp.segments[i+1:] {
		if !later.unborn() {
			r.open = false
		}
		if later.err == nil && later.header.prev == s.id {
			r.limit = min(r.limit, later.header.prevLength)
		}
	}
	return r
}

func (rp *replay) emit(h frameHeader, payload []byte, off int64) error {
	if err := rp.ctx.Err(); err != nil {
		return context.Cause(rp.ctx)
	}
	raw, err := decodePayload(h, payload, rp.scratch)
	if err != nil {
		return err
	}
	if h.flags&flagCompressed != 0 {
		rp.scratch = raw
	}
	if err := eachRecord(raw, h.count, func([]byte) error { return nil }); err != nil || rp.fn == nil {
		return err
	}
	if rp.progress != nil {
		rp.progress(rp.done+off, rp.total)
	}
	return eachRecord(raw, h.count, func(rec []byte) error { return rp.fn(rp.epoch, rec) })
}

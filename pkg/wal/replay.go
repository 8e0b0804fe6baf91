package wal

import (
	"context"
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
		l.found = append(l.found, found...)
	}
	return l.findTail()
}

// findTail reads the last segment to see where the log ends, and syncs it: what is replayed now shall be there the next
// time, though a process that was killed may not have synced it.
func (l *Log) findTail() error {
	for i := len(l.found) - 1; i >= 0; i-- {
		s := l.found[i]
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
		rp := &replay{log: l, ctx: context.Background(), segments: l.found}
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

// Replaying says what a Replay reads, and who is told.
type Replaying struct {
	// Record gets every record on disk, epoch by epoch and within each in the order of the Appends. Number is the
	// record's in its epoch. The record is Record's only until it returns. An error ends the replay.
	Record func(epoch, number uint64, rec []byte) error
	// From is the number of the first record that is wanted of an epoch; nil wants all of every epoch. What stands
	// before is passed over without a look at what is in it, so damage there goes unnoticed.
	From func(epoch uint64) uint64
	// Progress, which may be nil, is told the bytes read so far of all.
	Progress func(done, total int64)
}

// Replay reads what Open found on disk. Damage doesn't end it: records that are damaged are left out and reported.
// Run may have begun: what was appended since Open is not replayed.
func (l *Log) Replay(ctx context.Context, r Replaying) (Damage, error) {
	rp := &replay{log: l, ctx: ctx, Replaying: r, segments: l.found}
	for _, s := range rp.segments {
		rp.total += s.size
	}
	err := rp.run()
	return rp.damage, err
}

// replay is one pass over the segments.
type replay struct {
	Replaying // Record is nil where only the end is looked for
	log       *Log
	ctx       context.Context
	segments  []segmentFile

	done, total int64
	epoch       uint64
	from        uint64 // number of the first record wanted of it
	next        uint64 // number of the next record in it
	damage      Damage
	scratch     []byte
}

func (rp *replay) run() error {
	for i, s := range rp.segments {
		if s.id.epoch != rp.epoch {
			rp.epoch, rp.next, rp.from = s.id.epoch, 0, 0
			if rp.From != nil {
				rp.from = rp.From(s.id.epoch)
			}
		}
		if err := rp.segment(i); err != nil {
			return fmt.Errorf("replay segment %v: %w", s.id, err)
		}
		rp.endOfEpoch(i)
		rp.done += s.size
		if rp.Progress != nil {
			rp.Progress(rp.done, rp.total)
		}
	}
	return nil
}

func (rp *replay) segment(i int) error {
	s := rp.segments[i]
	if s.unborn() {
		return nil
	}
	if end, ok := rp.endOf(i); ok && end <= rp.from {
		rp.next = max(rp.next, end)
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

// endOf is the number after the last record of segment i, if the segment behind it tells.
func (rp *replay) endOf(i int) (uint64, bool) {
	if i+1 >= len(rp.segments) {
		return 0, false
	}
	s := rp.segments[i+1]
	return s.header.prevEnd, s.err == nil && s.header.prev == rp.segments[i].id
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
	if h.first+uint64(h.count) <= rp.from {
		return nil
	}
	raw, err := decodePayload(h, payload, rp.scratch)
	if err != nil {
		return err
	}
	if h.flags&flagCompressed != 0 {
		rp.scratch = raw
	}
	if err := eachRecord(raw, h.count, func([]byte) error { return nil }); err != nil || rp.Record == nil {
		return err
	}
	if rp.Progress != nil {
		rp.Progress(rp.done+off, rp.total)
	}
	number := h.first
	return eachRecord(raw, h.count, func(rec []byte) error {
		number++
		if number <= rp.from {
			return nil
		}
		return rp.Record(rp.epoch, number-1, rec)
	})
}

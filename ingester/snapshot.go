package ingester

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/varve-io/varve/pkg/head"
	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/pkg/wal"
)

// A snapshot is what an epoch's heads and streams hold as of one record of its log, so that a restart replays only what
// comes after that record. It lies in the epoch's directory of the log and goes with it.
//
// It only saves time: the log keeps everything, and where a snapshot is missing or damaged the log is replayed whole. So
// it need not be exact: heads may already hold samples that came after the record, and get them twice then, which is
// no event. Only the streams must be as of that very record, because what the log says is relative to them.
//
// What doesn't change any more (labels, sealed chunks) is appended to one file and written once. What changes is
// written anew each time, to another file, which names how far the first one counts.

// When a snapshot is due.
const (
	snapshotSamples = 16_000_000       // so many samples are replayed in a few seconds
	snapshotEvery   = 10 * time.Minute // where fewer come
	snapshotShare   = 20               // a twentieth of the time at most goes into snapshots
	snapshotAtStop  = 1_000_000        // and at a stop, if so many came since the latest
	snapshotLook    = time.Second
)

const (
	openName     = "open.snapshot"
	chunksSuffix = ".chunks.snapshot"
)

// snapshotMark is the record at which a snapshot is taken.
const snapshotMark = 0xE1

// snapshots writes those of the current epoch.
type snapshots struct {
	i       *Ingester
	samples atomic.Int64 // logged since the latest

	epoch  *epoch // that chunks belongs to
	chunks frameWriter
	name   string // of chunks
	saved  map[tenant.ID]*savedHead
	closed []byte
	opened []byte
}

// savedHead is what chunks has of a head.
type savedHead struct {
	series int      // so many series
	sealed []uint32 // and of each so many sealed chunks
}

// loop takes snapshots until ctx ends.
func (s *snapshots) loop(ctx context.Context) error {
	tick := time.NewTicker(snapshotLook)
	defer tick.Stop()
	last, took := time.Now(), time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		n, since := s.samples.Load(), time.Since(last)
		if n == 0 || since < snapshotShare*took || n < snapshotSamples && since < snapshotEvery {
			continue
		}
		begun := time.Now()
		s.try(ctx)
		last, took = time.Now(), time.Since(begun)
	}
}

// last takes one more at a graceful stop, if a restart would take a while without it.
func (s *snapshots) last(ctx context.Context) {
	defer s.close()
	if s.samples.Load() > snapshotAtStop {
		s.try(ctx)
	}
}

// try makes a snapshot, or tells why it can't be.
func (s *snapshots) try(ctx context.Context) {
	if err := s.take(ctx); err != nil && ctx.Err() == nil {
		s.i.metrics.snapshotFailures.Inc()
		s.i.logger.Warn("snapshot: a restart will replay more of the log", "error", err)
	}
}

// take makes a snapshot.
func (s *snapshots) take(ctx context.Context) error {
	at, err := s.mark()
	if err != nil {
		return err
	}
	s.samples.Store(0)
	if err := s.begin(at.epoch); err != nil {
		return err
	}
	dir := s.i.log.EpochDir(at.epoch.number)
	f, err := os.Create(filepath.Join(dir, openName+".tmp"))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := s.write(ctx, at, &frameWriter{file: f}); err != nil {
		s.close() // what chunks has may not be what saved says
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := s.commit(at.epoch, dir); err != nil {
		return err
	}
	s.i.metrics.snapshots.Inc()
	s.removeOthers(dir)
	return nil
}

// marked is the state of the streams at one record.
type marked struct {
	epoch   *epoch
	started time.Time
	pos     wal.Position
	streams []*stream
}

// mark stops the writes for as long as it takes to copy the streams' references, 10 ms for a million of them.
func (s *snapshots) mark() (m marked, err error) {
	i := s.i
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.recovering {
		return m, errors.New("the log is being replayed")
	}
	m.epoch, m.started = i.current, i.started[i.current.number]
	if m.pos, err = i.log.Append([]byte{snapshotMark}); err != nil {
		return m, err
	}
	m.epoch.inflight.Wait()
	i.streamsMu.RLock()
	defer i.streamsMu.RUnlock()
	for _, st := range i.streams {
		if st.term == m.pos.Term() { // one of an older term defines everything anew
			m.streams = append(m.streams, st.copy())
		}
	}
	return m, nil
}

// begin opens a file for chunks, unless it has the epoch's already.
func (s *snapshots) begin(e *epoch) error {
	if s.epoch == e {
		return nil
	}
	s.close()
	name := fmt.Sprintf("%d%s", time.Now().UnixNano(), chunksSuffix)
	f, err := os.OpenFile(filepath.Join(s.i.log.EpochDir(e.number), name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	s.epoch, s.name, s.chunks.file, s.chunks.length, s.saved = e, name, f, 0, map[tenant.ID]*savedHead{}
	return nil
}

func (s *snapshots) close() {
	if s.chunks.file != nil {
		s.chunks.file.Close()
	}
	s.epoch, s.saved, s.chunks.file = nil, nil, nil
}

// write writes both files.
func (s *snapshots) write(ctx context.Context, at marked, open *frameWriter) error {
	for id, h := range at.epoch.all() {
		if err := s.head(ctx, id, h, open); err != nil {
			return err
		}
	}
	for _, st := range at.streams {
		if err := writeStream(open, st); err != nil {
			return err
		}
	}
	for _, rec := range s.i.families.batches(func(tenant.ID) bool { return true }) {
		if err := open.write(frameRecord, rec, true); err != nil {
			return err
		}
	}
	if err := s.chunks.file.Sync(); err != nil {
		return err
	}
	// A record's number counts only once it is durable: after a failed write it is given to another.
	if err := s.i.log.Wait(ctx, at.pos); err != nil {
		return err
	}
	end := binary.AppendUvarint(nil, at.pos.Number())
	end = appendString(end, s.name)
	end = binary.AppendUvarint(end, uint64(s.chunks.length))
	end = binary.LittleEndian.AppendUint64(end, uint64(at.started.UnixMilli()))
	return open.end(end)
}

// head writes what is new of a head since the last time, and what is open in it.
func (s *snapshots) head(ctx context.Context, id tenant.ID, h *head.Head, open *frameWriter) error {
	of := s.saved[id]
	if of == nil {
		of = &savedHead{}
		s.saved[id] = of
	}
	all := h.All()
	if err := s.series(id, h, all, of.series); err != nil {
		return err
	}
	of.sealed = append(of.sealed, make([]uint32, all.Len()-of.series)...)
	of.series = all.Len()
	begin := appendString(nil, id.String())
	s.closed, s.opened = append(s.closed[:0], begin...), append(s.opened[:0], begin...)
	for k := range all.Len() {
		s.one(uint64(k), all.At(k), &of.sealed[k])
		last := k == all.Len()-1
		if last || len(s.opened) >= frameTarget {
			if err := flush(open, frameOpen, &s.opened, len(begin)); err != nil {
				return err
			}
		}
		if last || len(s.closed) >= frameTarget {
			if err := flush(&s.chunks, frameSealed, &s.closed, len(begin)); err != nil {
				return err
			}
		}
		if k%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return open.write(frameShared, h.AppendShared(begin), true)
}

// one copies what is open of a series, and the chunks that were sealed since the last time. What is open comes first: if
// it is sealed meanwhile, it is in both.
func (s *snapshots) one(k uint64, ser *head.Series, sealed *uint32) {
	s.opened = ser.AppendOpen(binary.AppendUvarint(s.opened, k))
	before := len(s.closed)
	closed, now := ser.AppendSealed(binary.AppendUvarint(s.closed, k), int(*sealed))
	if s.closed = closed; now == int(*sealed) {
		s.closed = closed[:before]
	}
	*sealed = uint32(now)
}

// flush writes a frame if there is anything in it behind what each begins with.
func flush(w *frameWriter, kind byte, payload *[]byte, begin int) error {
	if len(*payload) == begin {
		return nil
	}
	err := w.write(kind, *payload, false)
	*payload = (*payload)[:begin]
	return err
}

// series writes the labels of those from first on.
func (s *snapshots) series(id tenant.ID, h *head.Head, all head.List, first int) error {
	var p []byte
	for first < all.Len() {
		p = binary.AppendUvarint(appendString(p[:0], id.String()), uint64(first))
		var n int
		p, n = h.AppendSeries(p, all, first, frameTarget)
		if err := s.chunks.write(frameSeries, p, true); err != nil {
			return err
		}
		first += n
	}
	return nil
}

// commit puts the new file in the place of the old one, if the epoch is still the current one.
func (s *snapshots) commit(e *epoch, dir string) error {
	s.i.mu.RLock()
	defer s.i.mu.RUnlock()
	if s.i.current != e {
		return errors.New("the epoch has ended meanwhile")
	}
	name := filepath.Join(dir, openName)
	if err := os.Rename(name+".tmp", name); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// removeOthers removes the chunks of an earlier process.
func (s *snapshots) removeOthers(dir string) {
	all, err := os.ReadDir(dir)
	for _, f := range all {
		if name := f.Name(); strings.HasSuffix(name, chunksSuffix) && name != s.name {
			err = errors.Join(err, os.Remove(filepath.Join(dir, name)))
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.i.logger.Warn("remove an old snapshot", "error", err)
	}
}

package ingester

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"

	"github.com/varve-io/varve/pkg/head"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/pkg/wal"
)

// ErrNotReady: the ingester is starting or stopping, or is still replaying its log and can't keep more of what comes. It is of kind series.ErrUnavailable.
var ErrNotReady = fmt.Errorf("%w: the ingester is starting or stopping", series.ErrUnavailable)

// Receipt stands for a batch that is in the log's buffer.
type Receipt struct {
	log     *wal.Log
	pos     wal.Position
	applied <-chan struct{}
	ack     series.Ack
}

// applied is that of batches which nobody can read before they are applied.
var applied = closed()

func closed() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// Wait returns once the batch is synced, and applied if reads are answered: after that, a read sees it and a restart keeps it. If the log
// failed, the batch may or may not come back after a restart.
func (r *Receipt) Wait(ctx context.Context) (series.Ack, error) {
	if err := r.log.Wait(ctx, r.pos); err != nil {
		return series.Ack{}, logError(err)
	}
	select {
	case <-r.applied:
		return r.ack, nil
	case <-ctx.Done():
		return series.Ack{}, context.Cause(ctx)
	}
}

// resolved is a batch whose numbers have become series. Nothing of it points into the batch's bytes.
type resolved struct {
	tenant     tenant.ID
	of         head.List // in which the series are
	floats     []floatOf
	histograms []histogramOf
	exemplars  []exemplarOf
	metadata   []series.Metadata
	size       int // of the batch, while it waits in the backlog
}

// floatOf has no pointers: there are many.
type floatOf struct {
	series uint32 // its place in the list
	t      int64
	v      float64
}

type histogramOf struct {
	series uint32
	series.HistogramSample
}

type exemplarOf struct {
	series uint32
	exemplar.Exemplar
}

var resolvedPool = sync.Pool{New: func() any { return new(resolved) }}

// coding is the room in which a batch becomes a record.
type coding struct {
	differences series.Differences
	record      []byte
}

var codingPool = sync.Pool{New: func() any { return new(coding) }}

// Push takes the next batch of a stream. Batches of one stream must be pushed in their order, one at a time; Push
// returns when the batch's place in the log is fixed, and applies it in the background. It keeps nothing of the bytes.
// The error says why nothing of the batch was taken; if it is series.ErrUnknownNumber the stream must begin anew.
func (i *Ingester) Push(batch []byte) (*Receipt, error) {
	b, err := series.ParseBatch(batch)
	if err != nil {
		return nil, err
	}
	i.mu.RLock()
	defer i.mu.RUnlock()
	if !i.accepting {
		return nil, ErrNotReady
	}
	push := i.pushNow
	if i.recovering {
		push = i.pushLate
	}
	r, err := push(&b, batch)
	if err != nil {
		i.metrics.refused.Inc()
	}
	return r, err
}

// pushNow logs a batch and applies it in the background.
func (i *Ingester) pushNow(b *series.Batch, batch []byte) (*Receipt, error) {
	e := i.current
	r := resolvedPool.Get().(*resolved)
	pos, err := i.logBatch(e, r, b, batch)
	if err != nil {
		return nil, err
	}
	i.snapshots.samples.Add(int64(len(r.floats) + len(r.histograms)))
	applied := make(chan struct{})
	receipt := &Receipt{log: i.log, pos: pos, applied: applied}
	e.inflight.Add(1)
	go func() {
		defer e.inflight.Done()
		receipt.ack = i.apply(r)
		close(applied)
		r.reset()
		resolvedPool.Put(r)
	}()
	return receipt, nil
}

// logBatch resolves the batch and appends it to the log, in the order of its stream.
func (i *Ingester) logBatch(e *epoch, r *resolved, b *series.Batch, batch []byte) (wal.Position, error) {
	c := codingPool.Get().(*coding)
	defer codingPool.Put(c)
	st := i.stream(b.Stream)
	st.mu.Lock()
	defer st.mu.Unlock()
	st.used = i.deps.Now()
	for {
		st.begin(i.log.Term())
		st.scratch.Reset(b.Stream, b.Tenant)
		d := st.dictionary(b.Tenant, e.head(b.Tenant))
		pos, err := wal.Position{}, r.resolve(d, b, func() (err error) {
			r.floats, err = d.code(b, r.floats, &c.differences)
			return err
		})
		if err == nil && !st.scratch.Empty() {
			c.record = st.scratch.AppendTo(c.record[:0])
			pos, err = i.log.AppendIn(st.term, c.record)
		}
		if err == nil {
			pos, err = i.logRecord(st, c, b, batch)
		}
		if err == nil {
			return pos, nil
		}
		if b.Defines() || !st.scratch.Empty() {
			st.term = wal.Term{} // what was marked as defined in the log may not be
		}
		st.next.Anew = true // and the values are not those of the log
		if !errors.Is(err, wal.ErrTermOver) {
			return wal.Position{}, logError(err)
		}
	}
}

// logRecord appends a batch that is resolved: as it came if it has no floats, else with their differences.
func (i *Ingester) logRecord(st *stream, c *coding, b *series.Batch, batch []byte) (wal.Position, error) {
	n := c.differences.Len()
	if n == 0 {
		return i.log.AppendIn(st.term, batch)
	}
	var err error
	if c.record, err = b.AppendLogged(c.record[:0], st.next, &c.differences); err != nil {
		return wal.Position{}, err
	}
	pos, err := i.log.AppendIn(st.term, c.record)
	if err == nil {
		st.logged(n)
	}
	return pos, err
}

// resolve finds the series of everything in the batch; floats does so for its floats, behind the definitions.
func (r *resolved) resolve(d dictionary, b *series.Batch, floats func() error) error {
	r.reset()
	r.tenant = b.Tenant
	defer func() { r.of = d.settle() }()
	if err := d.define(b); err != nil {
		return err
	}
	return errors.Join(floats(),
		b.Histograms(func(hs series.HistogramSample) error {
			s, err := d.resolve(hs.Number)
			if err == nil {
				r.histograms = append(r.histograms, histogramOf{s.series, hs})
			}
			return err
		}),
		b.Exemplars(func(n series.Number, e exemplar.Exemplar) error {
			s, err := d.resolve(n)
			if err == nil {
				r.exemplars = append(r.exemplars, exemplarOf{s.series, e})
			}
			return err
		}),
		b.Metadata(func(m series.Metadata) error { r.metadata = append(r.metadata, m); return nil }))
}

func (r *resolved) reset() {
	clear(r.histograms)
	clear(r.exemplars)
	clear(r.metadata)
	*r = resolved{floats: r.floats[:0], histograms: r.histograms[:0], exemplars: r.exemplars[:0], metadata: r.metadata[:0]}
}

// apply adds a logged batch to its heads.
func (i *Ingester) apply(r *resolved) series.Ack {
	var ack series.Ack
	lost := 0
	note := func(o head.Outcome, s *head.Series, t int64) {
		switch o {
		case head.Conflict:
			if ack.Conflicts++; ack.Conflicts == 1 {
				ack.First = fmt.Sprintf("%s has another value at %s", s.Labels(), model.Time(t).Time().UTC().Format(time.RFC3339Nano))
			}
		case head.Sealed, head.Malformed:
			lost++
		}
	}
	for some := range slices.Chunk(r.floats, touched) {
		touch(&r.of, some)
		for _, f := range some {
			s := r.of.At(int(f.series))
			if o := s.AppendFloat(f.t, f.v); o != head.Stored {
				note(o, s, f.t)
			}
		}
	}
	for _, h := range r.histograms {
		s := r.of.At(int(h.series))
		if h.H != nil {
			note(s.AppendHistogram(h.Time, h.H), s, h.Time)
		} else {
			note(s.AppendFloatHistogram(h.Time, h.FH), s, h.Time)
		}
	}
	for _, e := range r.exemplars {
		r.of.At(int(e.series)).AppendExemplar(e.Exemplar)
	}
	for _, m := range r.metadata {
		i.families.put(r.tenant, m)
	}
	i.metrics.samples.Add(float64(len(r.floats) + len(r.histograms)))
	if lost > 0 {
		i.metrics.discarded.Add(float64(lost))
		i.logger.Error("samples were logged that the head refused", "tenant", r.tenant, "samples", lost)
	}
	return ack
}

// touched is how many series are touched at once: processors wait for about as many pieces of memory at a time.
const touched = 16

// touch touches the series of some floats.
//
//go:noinline
func touch(of *head.List, floats []floatOf) (all bool) {
	all = true
	for i := range floats {
		all = of.At(int(floats[i].series)).Touch() && all
	}
	return all
}

// stream is the dictionary that a batch belongs to.
func (i *Ingester) stream(id series.StreamID) *stream {
	i.streamsMu.RLock()
	s := i.streams[id]
	i.streamsMu.RUnlock()
	if s != nil {
		return s
	}
	i.streamsMu.Lock()
	defer i.streamsMu.Unlock()
	if s = i.streams[id]; s == nil {
		s = &stream{id: id, used: i.deps.Now(), next: series.Continuity{Sequence: uint64(rand.Uint32())}}
		i.streams[id] = s
		for old := range i.streams { // a new generation ends those before it
			if old.Distributor == id.Distributor && old.Partition == id.Partition && old.Generation+1 < id.Generation {
				delete(i.streams, old)
			}
		}
	}
	return s
}

// dropStreams forgets the dictionaries that were not used for long: their distributors are gone.
func (i *Ingester) dropStreams() {
	before := i.deps.Now().Add(-max(2*time.Duration(i.cfg.HeadPeriod), streamsFor))
	i.streamsMu.Lock()
	defer i.streamsMu.Unlock()
	for id, s := range i.streams {
		s.mu.Lock()
		if s.used.Before(before) {
			delete(i.streams, id)
		}
		s.mu.Unlock()
	}
}

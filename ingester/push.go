package ingester

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"

	"github.com/varve-io/varve/pkg/head"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/wal"
)

// ErrNotReady: the log is still being replayed, or the ingester is stopping. It is of kind series.ErrUnavailable.
var ErrNotReady = fmt.Errorf("%w: the ingester is starting or stopping", series.ErrUnavailable)

// Receipt stands for a batch that is in the log's buffer.
type Receipt struct {
	log     *wal.Log
	pos     wal.Position
	applied chan struct{}
	ack     series.Ack
}

// Wait returns once the batch is synced and applied: after that, a read sees it and a restart keeps it. If the log
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

// resolved is a batch whose numbers have become series.
type resolved struct {
	batch      series.Batch
	floats     []*head.Series
	histograms []histogramOf
	exemplars  []exemplarOf
}

type histogramOf struct {
	*head.Series
	series.HistogramSample
}

type exemplarOf struct {
	*head.Series
	exemplar.Exemplar
}

var resolvedPool = sync.Pool{New: func() any { return new(resolved) }}

// Push takes the next batch of a stream. Batches of one stream must be pushed in their order, one at a time; Push
// returns when the batch's place in the log is fixed, and applies it in the background. The error says why nothing of
// it was taken; if it is series.ErrUnknownNumber the stream must begin anew.
func (i *Ingester) Push(batch []byte) (*Receipt, error) {
	b, err := series.ParseBatch(batch)
	if err != nil {
		return nil, err
	}
	r := resolvedPool.Get().(*resolved)
	r.batch = b

	i.mu.RLock()
	defer i.mu.RUnlock()
	if !i.accepting {
		return nil, ErrNotReady
	}
	e := i.current
	pos, err := i.logBatch(e, r, batch)
	if err != nil {
		i.metrics.refused.Inc()
		return nil, err
	}
	receipt := &Receipt{log: i.log, pos: pos, applied: make(chan struct{})}
	e.inflight.Add(1)
	go func() {
		defer e.inflight.Done()
		receipt.ack = i.apply(r)
		close(receipt.applied)
		r.reset()
		resolvedPool.Put(r)
	}()
	return receipt, nil
}

// logBatch resolves the batch and appends it to the log, in the order of its stream.
func (i *Ingester) logBatch(e *epoch, r *resolved, batch []byte) (wal.Position, error) {
	st := i.stream(r.batch.Stream)
	st.mu.Lock()
	defer st.mu.Unlock()
	st.used = i.deps.Now()
	for {
		term := i.log.Term()
		st.begin(term)
		st.scratch.Reset(r.batch.Stream, r.batch.Tenant)
		pos, err := wal.Position{}, r.resolve(st, e.head(r.batch.Tenant))
		if err == nil && !st.scratch.Empty() {
			pos, err = i.log.AppendIn(term, st.scratch.AppendTo(nil))
		}
		if err == nil {
			pos, err = i.log.AppendIn(term, batch)
		}
		if err == nil {
			return pos, nil
		}
		st.term = wal.Term{} // what was marked as logged may not be
		if !errors.Is(err, wal.ErrTermOver) {
			return wal.Position{}, logError(err)
		}
	}
}

// resolve finds the series of everything in the batch; h is its tenant's head.
func (r *resolved) resolve(st *stream, h *head.Head) error {
	r.floats, r.histograms, r.exemplars = r.floats[:0], r.histograms[:0], r.exemplars[:0]
	d := dictionary{st, h, st.tenant(r.batch.Tenant)}
	err := r.batch.Definitions(d.define)
	if err != nil {
		return err
	}
	it := r.batch.Floats()
	for {
		n, _, _, ok := it.Next()
		if !ok {
			break
		}
		s, err := d.resolve(n)
		if err != nil {
			return err
		}
		r.floats = append(r.floats, s)
	}
	return errors.Join(it.Err(),
		r.batch.Histograms(func(hs series.HistogramSample) error {
			s, err := d.resolve(hs.Number)
			r.histograms = append(r.histograms, histogramOf{s, hs})
			return err
		}),
		r.batch.Exemplars(func(n series.Number, e exemplar.Exemplar) error {
			s, err := d.resolve(n)
			r.exemplars = append(r.exemplars, exemplarOf{s, e})
			return err
		}))
}

func (r *resolved) reset() {
	clear(r.floats)
	clear(r.histograms)
	clear(r.exemplars)
	r.batch = series.Batch{}
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
	it := r.batch.Floats()
	for _, s := range r.floats {
		_, t, v, _ := it.Next()
		if o := s.AppendFloat(t, v); o != head.Stored {
			note(o, s, t)
		}
	}
	for _, h := range r.histograms {
		if h.H != nil {
			note(h.AppendHistogram(h.Time, h.H), h.Series, h.Time)
		} else {
			note(h.AppendFloatHistogram(h.Time, h.FH), h.Series, h.Time)
		}
	}
	for _, e := range r.exemplars {
		e.AppendExemplar(e.Exemplar)
	}
	_ = r.batch.Metadata(func(m series.Metadata) error { i.families.put(r.batch.Tenant, m); return nil })
	i.metrics.samples.Add(float64(len(r.floats) + len(r.histograms)))
	if lost > 0 {
		i.metrics.discarded.Add(float64(lost))
		i.logger.Error("samples were logged that the head refused", "tenant", r.batch.Tenant, "samples", lost)
	}
	return ack
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
		s = &stream{id: id, used: i.deps.Now()}
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

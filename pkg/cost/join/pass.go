package join

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/series"
)

// request is what an hour wants to read next: each series of a metric that has chunks in the window goes to fn.
type request struct {
	stage stage
	window
	metric   string
	matchers []*labels.Matcher
	labels   bool // no chunks
	fn       func(*held) error
	usage    *usageOf // series go to it in groups, instead of fn
}

// stage is how far an hour is: all hours ask for the same in the same stage, but some have no need to ask.
type stage struct{ step, request int }

func (s stage) compare(o stage) int {
	return cmp.Or(cmp.Compare(s.step, o.step), cmp.Compare(s.request, o.request))
}

var errStopped = errors.New("another hour of the same pass failed")

// each asks for series, and returns once all of them were there.
func (j *joiner) each(r request) error {
	j.stage.request++
	r.stage = j.stage
	if !j.yield(&r) {
		return errStopped
	}
	return nil
}

// hourOf is one hour of a pass: a coroutine that stands at its request.
type hourOf struct {
	*joiner
	next func() (*request, bool)
	at   *request
}

// Hours reads several hours, each of which is what Hour makes of it, but each series once for all of them; it holds all of them in memory. The
// options' Start, From and To are not used. An error is of all hours.
func Hours(ctx context.Context, src Source, o Options, starts []int64) ([]*cost.Hour, error) {
	o.From, o.To = 0, 0
	return pass(newReader(ctx, src, o), o, starts)
}

func pass(r *reader, o Options, starts []int64) ([]*cost.Hour, error) {
	out := make([]*cost.Hour, len(starts))
	var hours []*hourOf
	var failed error
	for i, start := range starts {
		o.Start = start
		j, err := newJoiner(r, o)
		if err != nil {
			return nil, err
		}
		next, stop := iter.Pull(func(yield func(*request) bool) {
			j.yield = yield
			if err := j.read(); err != nil {
				failed = cmp.Or(failed, err)
				return
			}
			out[i] = j.rows()
		})
		defer stop()
		hours = append(hours, &hourOf{joiner: j, next: next})
	}
	for due := hours; ; {
		for _, h := range due {
			h.at, _ = h.next()
		}
		hours = slices.DeleteFunc(hours, func(h *hourOf) bool { return h.at == nil })
		if failed != nil {
			return nil, fmt.Errorf("hours from %d on: %w", starts[0], failed)
		}
		if len(hours) == 0 {
			return out, nil
		}
		first := slices.MinFunc(hours, func(a, b *hourOf) int { return a.at.stage.compare(b.at.stage) }).at.stage
		due = nil
		for _, h := range hours {
			if h.at.stage == first {
				due = append(due, h)
			}
		}
		if err := r.serve(due); err != nil {
			return nil, fmt.Errorf("hours from %d on: %w", starts[0], err)
		}
	}
}

// serve reads ahead: while series are at work, another goroutine gets the next ones. They come in their order.
func (r *reader) serve(hours []*hourOf) error {
	at := hours[0].at
	r.shared, r.reach = len(hours) > 1, window{from: at.from, to: at.to}
	for _, h := range hours {
		r.reach.from, r.reach.to = min(r.reach.from, h.at.from), max(r.reach.to, h.at.to)
	}
	if at.usage != nil && at.labels {
		r.groups.reset()
		r.kept = map[string]string{} // names in facts, which don't come again
	}
	q := series.Query{Tenant: r.opts.Tenant, MinTime: r.reach.from, MaxTime: r.reach.to - 1, SkipChunks: at.labels,
		Matchers: append(slices.Clip(at.matchers), equal(labels.MetricName, at.metric))}
	ctx, cancel := context.WithCancel(r.ctx)
	batches, ended := make(chan batch, 1), make(chan error, 1)
	go func() {
		defer close(batches)
		ended <- r.stream(ctx, q, batches)
	}()
	var failed error
	for b := range batches {
		for i := 0; i < len(b.series) && failed == nil; i++ {
			failed = r.give(b.series[i], hours)
		}
		if failed != nil {
			cancel()
		}
		r.recycler.Free(b.rooms)
		select {
		case r.used <- b.series:
		default:
		}
	}
	cancel()
	if failed = cmp.Or(failed, <-ended); failed != nil || at.usage == nil {
		return failed
	}
	return r.endGroups(hours)
}

// give hands a series to all hours.
func (r *reader) give(c series.Chunked, hours []*hourOf) error {
	r.now, r.parsed = held{Chunked: c, all: r.now.all}, false
	if hours[0].at.usage != nil {
		return r.group(hours)
	}
	for _, h := range hours {
		if r.shared && !h.at.labels && !h.at.reaches(c.Chunks) {
			continue
		}
		if err := h.at.fn(&r.now); err != nil {
			return err
		}
	}
	return nil
}

// reaches tells whether any of the chunks, in the order of their begins, is in the window.
func (w window) reaches(all []chunks.Meta) bool {
	for i := range all {
		if m := &all[i]; m.MinTime >= w.to {
			return false
		} else if m.MaxTime >= w.from {
			return true
		}
	}
	return false
}

// batchSize is how many series go from one goroutine to the other at once.
const batchSize = 128

// batch is some series, and the room of those that come no more once they are done.
type batch struct {
	series []series.Chunked
	rooms  []any
}

// stream sends all series that match, until the context ends.
func (r *reader) stream(ctx context.Context, q series.Query, batches chan<- batch) (err error) {
	set, err := r.open(ctx, q)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	for more := true; more; {
		b := batch{series: r.unused()}
		for len(b.series) < batchSize && more {
			if more = set.Next(); more {
				b.series = append(b.series, set.At())
			}
		}
		b.rooms = r.recycler.Retired()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case batches <- b:
		}
	}
	return cmp.Or(set.Err(), ctx.Err())
}

// unused is room for a batch.
func (r *reader) unused() []series.Chunked {
	select {
	case b := <-r.used:
		return b[:0]
	default:
		return make([]series.Chunked, 0, batchSize)
	}
}

// open selects series, whose room is used again if the source can do that.
func (r *reader) open(ctx context.Context, q series.Query) (series.Set, error) {
	if src, ok := r.src.(Recycling); ok {
		return src.SelectInto(ctx, q, &r.recycler)
	}
	return r.src.Select(ctx, q)
}

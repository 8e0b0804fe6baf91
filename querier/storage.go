package querier

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/varve-io/varve/pkg/series"
)

// store is the querier's series as Prometheus' engine and API take them. Tenants, budget and statistics come with
// the context of each call.
type store struct {
	sources sources
	now     func() time.Time
}

var (
	_ storage.SampleAndChunkQueryable = store{}
	_ storage.ExemplarQueryable       = store{}
)

// Querier implements storage.Queryable.
func (s store) Querier(mint, maxt int64) (storage.Querier, error) {
	return &querier{store: s, mint: mint, maxt: maxt}, nil
}

// ChunkQuerier implements storage.ChunkQueryable.
func (s store) ChunkQuerier(mint, maxt int64) (storage.ChunkQuerier, error) {
	return chunkQuerier{&querier{store: s, mint: mint, maxt: maxt}}, nil
}

// querier reads one range. Selections run in the background from the moment they are asked for, so that an
// expression's selectors don't wait for each other; Close ends them all.
type querier struct {
	store      store
	mint, maxt int64

	mu   sync.Mutex
	open []*selection
}

// selection is one selection under way.
type selection struct {
	cancel context.CancelFunc
	done   chan struct{}
	budget *budget

	// The following are set when done is closed.
	set      series.Set
	warnings annotations.Annotations
	err      error
}

// Select implements storage.Querier. Sets are sorted in any case.
func (r *querier) Select(ctx context.Context, _ bool, hints *storage.SelectHints, ms ...*labels.Matcher) storage.SeriesSet {
	q := r.query(hints, ms)
	r.store.shorten(ctx, &q)
	return &seriesSet{selection: r.start(ctx, q), mint: q.MinTime, maxt: q.MaxTime}
}

func (r *querier) start(ctx context.Context, q series.Query) *selection {
	b := budgetFrom(ctx)
	s := &selection{done: make(chan struct{}), budget: b}
	ids := tenantsOf(ctx)
	ctx, s.cancel = context.WithCancel(ctx)
	r.mu.Lock()
	r.open = append(r.open, s)
	r.mu.Unlock()
	go func() {
		defer close(s.done)
		s.set, s.warnings, s.err = r.store.sources.federatedSelect(ctx, ids, q)
		s.err = b.failed(storageError(s.err))
	}()
	return s
}

// query translates hints: they are narrower than the querier's own range where an expression has several ranges.
func (r *querier) query(hints *storage.SelectHints, ms []*labels.Matcher) series.Query {
	q := series.Query{MinTime: r.mint, MaxTime: r.maxt, Matchers: ms}
	if hints != nil {
		if hints.Start != 0 || hints.End != 0 {
			q.MinTime, q.MaxTime = hints.Start, hints.End
		}
		q.Limit = hints.Limit
		q.SkipChunks = hints.Func == "series"
	}
	return q
}

// shorten makes the range begin where the tenant's limit lets a query see.
func (s store) shorten(ctx context.Context, q *series.Query) {
	if back := time.Duration(budgetFrom(ctx).limits.MaxQueryLookback); back > 0 {
		q.MinTime = max(q.MinTime, s.now().Add(-back).UnixMilli())
	}
}

// LabelValues implements storage.LabelQuerier.
func (r *querier) LabelValues(ctx context.Context, name string, hints *storage.LabelHints, ms ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return r.names(ctx, name, hints, ms)
}

// LabelNames implements storage.LabelQuerier.
func (r *querier) LabelNames(ctx context.Context, hints *storage.LabelHints, ms ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return r.names(ctx, "", hints, ms)
}

func (r *querier) names(ctx context.Context, name string, hints *storage.LabelHints, ms []*labels.Matcher) ([]string, annotations.Annotations, error) {
	q := series.Query{MinTime: r.mint, MaxTime: r.maxt, Matchers: ms, SkipChunks: true}
	if hints != nil {
		q.Limit = hints.Limit
	}
	r.store.shorten(ctx, &q)
	names, warns, err := r.store.sources.federatedNames(ctx, tenantsOf(ctx), name, q)
	return names, warns, budgetFrom(ctx).failed(storageError(err))
}

// Close implements storage.Querier.
func (r *querier) Close() error {
	r.mu.Lock()
	open := r.open
	r.open = nil
	r.mu.Unlock()
	var first error
	for _, s := range open {
		s.cancel()
		<-s.done
		if s.set == nil {
			continue
		}
		if err := s.set.Close(); first == nil {
			first = err
		}
	}
	return first
}

// ExemplarQuerier implements storage.ExemplarQueryable.
func (s store) ExemplarQuerier(ctx context.Context) (storage.ExemplarQuerier, error) {
	return exemplarQuerier{ctx: ctx, recent: s.sources.recent}, nil
}

// exemplarQuerier reads exemplars: only ingesters keep them.
type exemplarQuerier struct {
	ctx    context.Context // of the request; Prometheus' interface passes none to Select
	recent Recent
}

// Select implements storage.ExemplarQuerier.
func (e exemplarQuerier) Select(start, end int64, selectors ...[]*labels.Matcher) ([]exemplar.QueryResult, error) {
	tenants := tenantsOf(e.ctx)
	results := []exemplar.QueryResult{}
	seen := map[string]bool{}
	for _, ms := range selectors {
		ids, ms := matchTenants(tenants, ms)
		for _, id := range ids {
			answer, err := e.recent.Exemplars(e.ctx, series.Query{Tenant: id, MinTime: start, MaxTime: end, Matchers: ms})
			if err != nil {
				return nil, storageError(err)
			}
			for _, x := range answer.Exemplars {
				if len(tenants) > 1 {
					x.Labels = withTenant(x.Labels, id)
				}
				if key := x.Labels.String(); !seen[key] {
					seen[key] = true
					results = append(results, exemplar.QueryResult{SeriesLabels: x.Labels, Exemplars: x.Exemplars})
				}
			}
		}
	}
	return results, nil
}

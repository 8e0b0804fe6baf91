package querier_test

import (
	"context"
	"sync"

	"github.com/varve-io/varve/pkg/head"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/querier"
)

// heads is the ingester's side of a read: one head per tenant, behind the Recent interface.
type heads struct {
	mu       sync.Mutex
	byTenant map[tenant.ID]*head.Head
	metadata []series.Metadata
}

func newHeads() *heads { return &heads{byTenant: map[tenant.ID]*head.Head{}} }

func (h *heads) of(id tenant.ID) *head.Head {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.byTenant[id] == nil {
		h.byTenant[id] = head.New(head.Options{MaxExemplars: 1000})
	}
	return h.byTenant[id]
}

func (h *heads) Select(ctx context.Context, q series.Query) (querier.RecentAnswer, error) {
	set, err := h.of(q.Tenant).Select(ctx, q)
	return querier.RecentAnswer{Set: set}, err
}

func (h *heads) LabelNames(ctx context.Context, q series.Query) (querier.RecentNames, error) {
	names, err := h.of(q.Tenant).LabelNames(ctx, q)
	return querier.RecentNames{Names: names}, err
}

func (h *heads) LabelValues(ctx context.Context, name string, q series.Query) (querier.RecentNames, error) {
	names, err := h.of(q.Tenant).LabelValues(ctx, name, q)
	return querier.RecentNames{Names: names}, err
}

func (h *heads) Exemplars(ctx context.Context, q series.Query) (querier.RecentExemplars, error) {
	x, err := h.of(q.Tenant).Exemplars(ctx, q.MinTime, q.MaxTime, q.Matchers)
	return querier.RecentExemplars{Exemplars: x}, err
}

func (h *heads) Metadata(context.Context, tenant.ID) (querier.RecentMetadata, error) {
	return querier.RecentMetadata{Metadata: h.metadata}, nil
}

// sourcesOf is the bucket's side of a read over sources that are at hand, merged as the querier merges blocks.
type sourcesOf []series.Source

func (s sourcesOf) Select(ctx context.Context, q series.Query, _ querier.RecentMeta) (series.Set, error) {
	sets := make([]series.Set, 0, len(s))
	for _, src := range s {
		set, err := src.Select(ctx, q)
		if err != nil {
			return nil, err
		}
		sets = append(sets, set)
	}
	return series.Merge(sets...), nil
}

func (s sourcesOf) LabelNames(ctx context.Context, q series.Query, _ querier.RecentMeta) (all []string, err error) {
	for _, src := range s {
		names, err := src.LabelNames(ctx, q)
		if err != nil {
			return nil, err
		}
		all = append(all, names...)
	}
	return all, nil
}

func (s sourcesOf) LabelValues(ctx context.Context, name string, q series.Query, _ querier.RecentMeta) (all []string, err error) {
	for _, src := range s {
		names, err := src.LabelValues(ctx, name, q)
		if err != nil {
			return nil, err
		}
		all = append(all, names...)
	}
	return all, nil
}

// defaults gives every tenant the default limits.
type defaults struct{ limits tenant.Limits }

func (d defaults) For(tenant.ID) *tenant.Limits { return &d.limits }

func defaultLimits() defaults { return defaults{tenant.DefaultLimits(tenant.Machine{})} }

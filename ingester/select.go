package ingester

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/pkg/head"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// hold gives everything that may have a tenant's samples of a range: heads first, then local blocks, so that what a cut
// moves in between is seen at least once. release must be called, and closes what Select has not taken over.
func (i *Ingester) hold(id tenant.ID, mint, maxt int64) ([]*head.Head, []*localBlock, error) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	if !i.serving.Load() || i.current == nil {
		return nil, nil, ErrNotReady
	}
	var heads []*head.Head
	for _, e := range append(slices.Clip(i.old), i.current) {
		if h := e.lookup(id); h != nil {
			heads = append(heads, h)
		}
	}
	return heads, i.blocks.hold(id, mint, maxt), nil
}

// Select answers for what this owner holds. The standing is from before the selection, so that what is released in
// between is either in the answer or named in Released of the next.
func (i *Ingester) Select(ctx context.Context, q series.Query) (series.Set, series.Standing, error) {
	heads, blocks, err := i.hold(q.Tenant, q.MinTime, q.MaxTime)
	if err != nil {
		return nil, series.Standing{}, err
	}
	standing := i.standingFor(q.Tenant, blocks...)
	var sets []series.Set
	undo := func(err error, rest []*localBlock) error {
		for _, s := range sets {
			err = errors.Join(err, s.Close())
		}
		letGo(rest)
		return err
	}
	for _, h := range heads {
		s, err := h.Select(ctx, q)
		if errors.Is(err, head.ErrFreed) { // a cut has just replaced it by blocks
			if err := undo(ctx.Err(), blocks); err != nil {
				return nil, standing, err
			}
			return i.Select(ctx, q)
		}
		if err != nil {
			return nil, standing, undo(err, blocks)
		}
		sets = append(sets, s)
	}
	for n, b := range blocks {
		s, err := b.Select(ctx, q)
		if err != nil {
			return nil, standing, undo(err, blocks[n:])
		}
		sets = append(sets, heldSet{s, b})
	}
	return series.Limited(series.Merge(sets...), q.Limit), standing, nil
}

func letGo(blocks []*localBlock) {
	for _, b := range blocks {
		b.readers.Done()
	}
}

// standingFor is the standing of an answer that is made of these blocks, besides heads.
func (i *Ingester) standingFor(id tenant.ID, held ...*localBlock) series.Standing {
	s := i.Standing()
	s.Released = i.blocks.released.of(id)
	for _, b := range held {
		s.Held = append(s.Held, b.Meta().ULID)
	}
	return s
}

// LabelNames answers for what this owner holds.
func (i *Ingester) LabelNames(ctx context.Context, q series.Query) ([]string, series.Standing, error) {
	return i.names(q, func(s series.Source) ([]string, error) { return s.LabelNames(ctx, q) })
}

// LabelValues answers for what this owner holds.
func (i *Ingester) LabelValues(ctx context.Context, name string, q series.Query) ([]string, series.Standing, error) {
	return i.names(q, func(s series.Source) ([]string, error) { return s.LabelValues(ctx, name, q) })
}

func (i *Ingester) names(q series.Query, of func(series.Source) ([]string, error)) ([]string, series.Standing, error) {
	heads, blocks, err := i.hold(q.Tenant, q.MinTime, q.MaxTime)
	if err != nil {
		return nil, series.Standing{}, err
	}
	standing := i.standingFor(q.Tenant, blocks...)
	defer letGo(blocks)
	var all []string
	for _, h := range heads {
		n, err := of(h)
		if errors.Is(err, head.ErrFreed) { // as in Select; the blocks are held a little longer
			return i.names(q, of)
		}
		if err != nil {
			return nil, standing, err
		}
		all = append(all, n...)
	}
	for _, b := range blocks {
		n, err := of(b)
		if err != nil {
			return nil, standing, err
		}
		all = append(all, n...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if q.Limit > 0 && len(all) > q.Limit {
		all = all[:q.Limit]
	}
	return all, standing, nil
}

// Exemplars answers for the heads: blocks have none.
func (i *Ingester) Exemplars(ctx context.Context, q series.Query, matchers [][]*labels.Matcher) ([]series.Exemplars, series.Standing, error) {
	heads, blocks, err := i.hold(q.Tenant, q.MinTime, q.MaxTime)
	if err != nil {
		return nil, series.Standing{}, err
	}
	letGo(blocks)
	standing := i.standingFor(q.Tenant)
	byLabels := map[string]*series.Exemplars{}
	var order []string
	for _, h := range heads {
		found, err := h.Exemplars(ctx, q.MinTime, q.MaxTime, matchers...)
		if err != nil && !errors.Is(err, head.ErrFreed) {
			return nil, standing, err
		}
		for _, e := range found {
			key := e.Labels.String()
			if have := byLabels[key]; have != nil {
				have.Exemplars = append(have.Exemplars, e.Exemplars...)
				continue
			}
			byLabels[key] = &e
			order = append(order, key)
		}
	}
	slices.SortFunc(order, func(a, b string) int { return labels.Compare(byLabels[a].Labels, byLabels[b].Labels) })
	out := make([]series.Exemplars, len(order))
	for n, key := range order {
		out[n] = *byLabels[key]
	}
	return out, standing, nil
}

// Metadata is what senders said of a tenant's metric families; family "" means all.
func (i *Ingester) Metadata(_ context.Context, id tenant.ID) ([]series.Metadata, series.Standing, error) {
	if !i.serving.Load() {
		return nil, series.Standing{}, ErrNotReady
	}
	return i.families.of(id), i.standingFor(id), nil
}

// Tenants is the tenants of which this owner holds samples in memory, ordered.
func (i *Ingester) Tenants() []tenant.ID {
	i.mu.RLock()
	defer i.mu.RUnlock()
	seen := map[tenant.ID]bool{}
	for _, e := range append(slices.Clip(i.old), i.current) {
		if e != nil {
			for id := range e.all() {
				seen[id] = true
			}
		}
	}
	out := make([]tenant.ID, 0, len(seen))
	for id := range seen {
		out = append(out, id)
	}
	slices.SortFunc(out, func(a, b tenant.ID) int { return strings.Compare(a.String(), b.String()) })
	return out
}

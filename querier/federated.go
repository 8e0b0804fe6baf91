package querier

import (
	"context"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// federatedSelect answers q for all tenants: one tenant's set as it is, several tenants' with TenantLabel added.
func (s sources) federatedSelect(ctx context.Context, ids []tenant.ID, q series.Query) (series.Set, annotations.Annotations, error) {
	if len(ids) == 1 {
		q.Tenant = ids[0]
		return s.query(ctx, q)
	}
	var (
		all   []series.Chunked
		warns annotations.Annotations
		b     = budgetFrom(ctx)
	)
	ids, q.Matchers = matchTenants(ids, q.Matchers)
	for _, id := range ids {
		q.Tenant = id
		set, w, err := s.query(ctx, q)
		if err != nil {
			return nil, nil, err
		}
		warns.Merge(w)
		one, err := drain(ctx, set, b)
		if err != nil {
			return nil, nil, err
		}
		for _, c := range one {
			c.Labels = withTenant(c.Labels, id)
			all = append(all, c)
		}
	}
	// One more label can change the order of two series of the same tenant, so the sets can't just be merged.
	slices.SortFunc(all, func(a, b series.Chunked) int { return labels.Compare(a.Labels, b.Labels) })
	return &listSet{list: all}, warns, nil
}

// federatedNames is names for all tenants.
func (s sources) federatedNames(ctx context.Context, ids []tenant.ID, name string, q series.Query) ([]string, annotations.Annotations, error) {
	if len(ids) == 1 {
		q.Tenant = ids[0]
		return s.names(ctx, name, q)
	}
	ids, q.Matchers = matchTenants(ids, q.Matchers)
	if name == TenantLabel {
		return tenantNames(ids), nil, nil
	}
	var (
		lists [][]string
		warns annotations.Annotations
	)
	for _, id := range ids {
		q.Tenant = id
		list, w, err := s.names(ctx, name, q)
		if err != nil {
			return nil, nil, err
		}
		warns.Merge(w)
		lists = append(lists, list)
	}
	if name == "" && len(ids) > 0 {
		lists = append(lists, []string{TenantLabel})
	}
	return union(lists...), warns, nil
}

// matchTenants applies the matchers on TenantLabel to the tenants, and returns the others for the series.
func matchTenants(ids []tenant.ID, ms []*labels.Matcher) ([]tenant.ID, []*labels.Matcher) {
	var rest []*labels.Matcher
	ids = slices.Clone(ids)
	for _, m := range ms {
		if m.Name != TenantLabel {
			rest = append(rest, m)
			continue
		}
		ids = slices.DeleteFunc(ids, func(id tenant.ID) bool { return !m.Matches(id.String()) })
	}
	return ids, rest
}

// withTenant adds TenantLabel; a label of that name that a sender gave is kept as original___tenant_id__.
func withTenant(ls labels.Labels, id tenant.ID) labels.Labels {
	b := labels.NewBuilder(ls)
	if own := ls.Get(TenantLabel); own != "" {
		b.Set("original_"+TenantLabel, own)
	}
	return b.Set(TenantLabel, id.String()).Labels()
}

func tenantNames(ids []tenant.ID) []string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = id.String()
	}
	slices.SortFunc(names, strings.Compare)
	return names
}

// drain reads a set to its end and closes it. It stops where one source alone holds more than the request may take.
func drain(ctx context.Context, set series.Set, b *budget) (list []series.Chunked, err error) {
	defer func() {
		if cerr := set.Close(); err == nil {
			err = cerr
		}
	}()
	var bytes int64
	for set.Next() {
		c := set.At()
		bytes += chunkBytes(c)
		list = append(list, c)
		if err := b.check(int64(len(list)), bytes); err != nil {
			return nil, err
		}
		if len(list)%128 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return list, set.Err()
}

// listSet is a set over series that are in memory already.
type listSet struct {
	list []series.Chunked
	next int
}

func (s *listSet) Next() bool {
	s.next++
	return s.next <= len(s.list)
}

func (s *listSet) At() series.Chunked { return s.list[s.next-1] }
func (s *listSet) Err() error         { return nil }
func (s *listSet) Close() error       { return nil }

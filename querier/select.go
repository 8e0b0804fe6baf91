package querier

import (
	"context"
	"errors"
	"slices"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// Recent answers for what the ingesters hold: everything that is not yet in the catalog, and some of what is. It is
// safe for concurrent use. Its errors are *UnavailableError where too few owners answered, *tenant.LimitError where the
// read is too large.
type Recent interface {
	Select(ctx context.Context, q series.Query) (RecentAnswer, error)
	LabelNames(ctx context.Context, q series.Query) (RecentNames, error)
	LabelValues(ctx context.Context, name string, q series.Query) (RecentNames, error)
	Exemplars(ctx context.Context, q series.Query) (RecentExemplars, error)
	Metadata(ctx context.Context, id tenant.ID) (RecentMetadata, error)
}

// RecentMeta comes with every answer of Recent.
type RecentMeta struct {
	// Released are blocks that an owner let go of lately: the catalog that the rest is read from must know them.
	Released []ulid.ULID
	// Held are blocks that the answer has all of: nobody has to read them in the bucket.
	Held []ulid.ULID
	// Partial says, as warnings, what is missing in an answer that the tenant takes as it is.
	Partial []string
}

// RecentAnswer is the series that the ingesters hold.
type RecentAnswer struct {
	RecentMeta
	Set series.Set
}

// RecentNames is label names or values, sorted and without repetition.
type RecentNames struct {
	RecentMeta
	Names []string
}

// RecentExemplars is ordered by labels.
type RecentExemplars struct {
	RecentMeta
	Exemplars []series.Exemplars
}

// RecentMetadata is in no order and may repeat itself.
type RecentMetadata struct {
	RecentMeta
	Metadata []series.Metadata
}

// Older answers from the blocks in the bucket, for what the recent answer doesn't hold. A catalog that doesn't know the
// blocks that were released is too old to answer by. It is safe for concurrent use.
type Older interface {
	Select(ctx context.Context, q series.Query, m RecentMeta) (series.Set, error)
	LabelNames(ctx context.Context, q series.Query, m RecentMeta) ([]string, error)
	LabelValues(ctx context.Context, name string, q series.Query, m RecentMeta) ([]string, error)
}

// sources is the two places that a tenant's series are in. The recent one is always asked first: what leaves it in
// between is in the other by then. Costs are computed from both.
type sources struct {
	recent Recent
	older  Older
	costs  *costSeries // nil if they are not asked for
}

// query selects one tenant's series.
func (s sources) query(ctx context.Context, q series.Query) (series.Set, annotations.Annotations, error) {
	if s.costs.wanted(ctx, q.Matchers) {
		return s.costs.query(ctx, q)
	}
	recent, err := s.recent.Select(ctx, q)
	if err != nil {
		return nil, nil, err
	}
	older, err := s.older.Select(ctx, q, recent.RecentMeta)
	if err != nil {
		return nil, nil, errors.Join(err, recent.Set.Close())
	}
	return series.Limited(series.Merge(recent.Set, older), q.Limit), warnings(recent.Partial), nil
}

// names lists one tenant's label names, or the values of one label if name is not empty.
func (s sources) names(ctx context.Context, name string, q series.Query) ([]string, annotations.Annotations, error) {
	if s.costs.wanted(ctx, q.Matchers) {
		return s.costs.names(ctx, name, q)
	}
	var (
		recent RecentNames
		older  []string
		err    error
	)
	if name == "" {
		recent, err = s.recent.LabelNames(ctx, q)
	} else {
		recent, err = s.recent.LabelValues(ctx, name, q)
	}
	if err != nil {
		return nil, nil, err
	}
	if name == "" {
		older, err = s.older.LabelNames(ctx, q, recent.RecentMeta)
	} else {
		older, err = s.older.LabelValues(ctx, name, q, recent.RecentMeta)
	}
	if err != nil {
		return nil, nil, err
	}
	names := union(recent.Names, older)
	if q.Limit > 0 {
		names = names[:min(len(names), q.Limit)]
	}
	return names, warnings(recent.Partial), nil
}

// union sorts several lists of names into one without repetition.
func union(lists ...[]string) []string {
	all := slices.Concat(lists...)
	slices.Sort(all)
	return slices.Compact(all)
}

func warnings(texts []string) annotations.Annotations {
	var a annotations.Annotations
	for _, t := range texts {
		a.Add(errors.New(t))
	}
	return a
}

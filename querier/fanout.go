package querier

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"

	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// Owner is one ingester that owns partitions: this process's, or one behind a connection. Each answer comes with the
// owner's standing. It is safe for concurrent use and gives up when the context does.
type Owner interface {
	Select(ctx context.Context, q series.Query) (series.Set, series.Standing, error)
	LabelNames(ctx context.Context, q series.Query) ([]string, series.Standing, error)
	LabelValues(ctx context.Context, name string, q series.Query) ([]string, series.Standing, error)
	Exemplars(ctx context.Context, q series.Query, matchers [][]*labels.Matcher) ([]series.Exemplars, series.Standing, error)
	Metadata(ctx context.Context, id tenant.ID) ([]series.Metadata, series.Standing, error)
}

// Ring is the partitions and their owners, as far as this process knows.
type Ring interface {
	View() *ring.View
	// Await returns when the view has changed since v, or when the context ends.
	Await(ctx context.Context, v *ring.View) error
}

// Owners reaches the owners.
type Owners interface {
	Owner(ctx context.Context, o ring.Owner) (Owner, error)
}

// maxViews is how many views of the ring a read tries, when owners know more partitions than the view.
const maxViews = 4

// gossipTime is how long a read waits for the ring to show a partition that an owner knows.
const gossipTime = 5 * time.Second

// Fanout is Recent over a cluster: it asks the owners of all partitions at once, and needs of each partition as many
// complete witnesses as make the read overlap every quorum of writes.
type Fanout struct {
	Ring   Ring
	Owners Owners
}

var _ Recent = Fanout{}

// Select implements Recent. Each owner's answer is read whole before it counts: one that breaks off is no answer.
func (f Fanout) Select(ctx context.Context, q series.Query) (RecentAnswer, error) {
	b := budgetFrom(ctx)
	lists, meta, err := ask(ctx, f, q.MinTime, func(ctx context.Context, o Owner) ([]series.Chunked, series.Standing, error) {
		set, standing, err := o.Select(ctx, q)
		if err != nil {
			return nil, standing, err
		}
		list, err := drain(ctx, set, b)
		return list, standing, err
	})
	if err != nil {
		return RecentAnswer{}, err
	}
	sets := make([]series.Set, len(lists))
	for i, l := range lists {
		sets[i] = &listSet{list: l}
	}
	return RecentAnswer{Set: series.Merge(sets...), RecentMeta: meta}, nil
}

// LabelNames implements Recent.
func (f Fanout) LabelNames(ctx context.Context, q series.Query) (RecentNames, error) {
	lists, meta, err := ask(ctx, f, q.MinTime, func(ctx context.Context, o Owner) ([]string, series.Standing, error) {
		return o.LabelNames(ctx, q)
	})
	return RecentNames{Names: union(lists...), RecentMeta: meta}, err
}

// LabelValues implements Recent.
func (f Fanout) LabelValues(ctx context.Context, name string, q series.Query) (RecentNames, error) {
	lists, meta, err := ask(ctx, f, q.MinTime, func(ctx context.Context, o Owner) ([]string, series.Standing, error) {
		return o.LabelValues(ctx, name, q)
	})
	return RecentNames{Names: union(lists...), RecentMeta: meta}, err
}

// Exemplars implements Recent.
func (f Fanout) Exemplars(ctx context.Context, q series.Query) (RecentExemplars, error) {
	lists, meta, err := ask(ctx, f, q.MinTime, func(ctx context.Context, o Owner) ([]series.Exemplars, series.Standing, error) {
		return o.Exemplars(ctx, q, [][]*labels.Matcher{q.Matchers})
	})
	return RecentExemplars{Exemplars: mergeExemplars(lists), RecentMeta: meta}, err
}

// Metadata implements Recent. It is a hint, kept by every owner for itself, so nobody has to be a witness of it.
func (f Fanout) Metadata(ctx context.Context, id tenant.ID) (RecentMetadata, error) {
	lists, meta, err := ask(ctx, f, anytime, func(ctx context.Context, o Owner) ([]series.Metadata, series.Standing, error) {
		return o.Metadata(ctx, id)
	})
	return RecentMetadata{Metadata: slices.Concat(lists...), RecentMeta: meta}, err
}

// anytime is the start of a read of which every owner is a witness.
const anytime = 1<<63 - 1

// answered is what one owner said.
type answered[T any] struct {
	owner    ring.Owner
	value    T
	standing series.Standing
	err      error
}

// ask asks all owners and waits for as many as are needed. Where an owner knows a partition that the view lacks, it
// waits for a newer view and asks again.
func ask[T any](ctx context.Context, f Fanout, mint int64, call func(context.Context, Owner) (T, series.Standing, error)) ([]T, RecentMeta, error) {
	var missing []int32
	for range maxViews {
		view := f.Ring.View()
		values, meta, more, err := askView(ctx, f, view, mint, call)
		if err != nil || len(more) == 0 {
			return values, meta, err
		}
		missing = more
		if err := f.await(ctx, view); err != nil {
			break
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, RecentMeta{}, fmt.Errorf("wait for partitions %v: %w", missing, err)
	}
	return nil, RecentMeta{}, &UnavailableError{Reason: fmt.Sprintf("owners know partitions %v, which this querier doesn't know yet", missing)}
}

// await waits for a newer view, for as long as gossip should take at most.
func (f Fanout) await(ctx context.Context, v *ring.View) error {
	ctx, cancel := context.WithTimeout(ctx, gossipTime)
	defer cancel()
	return f.Ring.Await(ctx, v)
}

// askView asks the owners of one view.
func askView[T any](ctx context.Context, f Fanout, view *ring.View, mint int64, call func(context.Context, Owner) (T, series.Standing, error)) (values []T, meta RecentMeta, more []int32, err error) {
	owners := ownersOf(view)
	asking, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan answered[T], len(owners)) // as long as all answers, so that nobody waits for a reader who left
	for _, o := range owners {
		go func() { answers <- askOwner(asking, f.Owners, o, call) }()
	}
	witnesses := map[string]bool{}
	var failures []error
	for range owners {
		if len(lacking(view, witnesses)) == 0 {
			break
		}
		a := <-answers
		switch {
		case a.err != nil && isFinal(ctx, a.err):
			return nil, meta, nil, a.err
		case a.err != nil:
			failures = append(failures, fmt.Errorf("ask %s: %w", a.owner.Instance, a.err))
			continue
		}
		if more = unknown(view, a.standing.Partitions); len(more) > 0 {
			return nil, meta, more, nil
		}
		values = append(values, a.value)
		meta.Released = append(meta.Released, a.standing.Released...)
		meta.Held = append(meta.Held, a.standing.Held...)
		if bearsWitness(a.standing, mint) {
			witnesses[a.owner.Instance] = true
		}
	}
	missing := lacking(view, witnesses)
	switch {
	case len(view.Partitions) == 0:
		return nil, meta, nil, &UnavailableError{Reason: "no partition is known yet"}
	case len(missing) > 0 && !budgetFrom(ctx).limits.PartialResponse:
		return nil, meta, nil, &UnavailableError{Reason: describe(missing, failures)}
	case len(missing) > 0:
		meta.Partial = []string{"partial answer: " + describe(missing, failures)}
	}
	return values, meta, nil, nil
}

func askOwner[T any](ctx context.Context, owners Owners, o ring.Owner, call func(context.Context, Owner) (T, series.Standing, error)) answered[T] {
	a := answered[T]{owner: o}
	owner, err := owners.Owner(ctx, o)
	if err != nil {
		a.err = err
		return a
	}
	a.value, a.standing, a.err = call(ctx, owner)
	return a
}

// isFinal tells an error that ends the read from one that only makes an owner no witness.
func isFinal(ctx context.Context, err error) bool {
	var limit *tenant.LimitError
	return errors.As(err, &limit) || ctx.Err() != nil || errors.As(err, new(promql.ErrQueryCanceled))
}

// describe says what is missing and why.
func describe(partitions []int32, failures []error) string {
	text := fmt.Sprintf("too few complete owners of partitions %v answered to see every acknowledged sample", partitions)
	reasons := make([]string, len(failures))
	for i, err := range failures {
		reasons[i] = err.Error()
	}
	if len(reasons) > 0 {
		slices.Sort(reasons)
		text += ": " + strings.Join(reasons, "; ")
	}
	return text
}

// ownersOf is every owner once.
func ownersOf(v *ring.View) []ring.Owner {
	seen := map[string]bool{}
	var owners []ring.Owner
	for _, p := range v.Partitions {
		for _, o := range p.Owners {
			if !seen[o.Instance] {
				seen[o.Instance] = true
				owners = append(owners, o)
			}
		}
	}
	return owners
}

func compareExemplars(a, b exemplar.Exemplar) int { return cmp.Compare(a.Ts, b.Ts) }

// mergeExemplars makes one list, ordered by labels, of what several owners hold of the same exemplars.
func mergeExemplars(lists [][]series.Exemplars) []series.Exemplars {
	all := slices.Concat(lists...)
	slices.SortStableFunc(all, func(a, b series.Exemplars) int { return labels.Compare(a.Labels, b.Labels) })
	var merged []series.Exemplars
	for _, x := range all {
		n := len(merged) - 1
		if n < 0 || !labels.Equal(merged[n].Labels, x.Labels) {
			merged = append(merged, series.Exemplars{Labels: x.Labels, Exemplars: slices.Clone(x.Exemplars)})
			continue
		}
		for _, e := range x.Exemplars {
			if !slices.ContainsFunc(merged[n].Exemplars, e.Equals) {
				merged[n].Exemplars = append(merged[n].Exemplars, e)
			}
		}
	}
	for _, m := range merged {
		slices.SortStableFunc(m.Exemplars, compareExemplars)
	}
	return merged
}

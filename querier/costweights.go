package querier

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"

	"github.com/varve-io/varve/pkg/cost"
)

// weights evaluates the expressions by which costs are shared, at the end of each step; a step that is not over, now.
func (r *costRequest) weights(ctx context.Context) (cost.Weights, []cost.Warning, error) {
	expressions := r.question.Query.Sharing.Metrics()
	if len(expressions) == 0 {
		return nil, nil, nil
	}
	ends, err := r.question.Query.StepEnds()
	if err != nil {
		return nil, nil, err
	}
	all, now := cost.Weights{}, r.now()
	var warnings []cost.Warning
	for _, text := range expressions {
		for _, end := range ends {
			at := time.UnixMilli(end)
			if at.After(now) {
				at = now
			}
			series, partial, err := r.evaluate(ctx, text, at)
			if err != nil {
				return nil, nil, fmt.Errorf("%w: metric:%s: %w", cost.ErrWeights, text, err)
			}
			all[text], warnings = append(all[text], series), append(warnings, partial...)
		}
	}
	return all, warnings, nil
}

// evaluate is an expression's instant vector.
func (r *costRequest) evaluate(ctx context.Context, text string, at time.Time) ([]cost.Weight, []cost.Warning, error) {
	query, err := r.engine.NewInstantQuery(ctx, r.store, promql.NewPrometheusQueryOpts(false, 0), text, at)
	if err != nil {
		return nil, nil, err
	}
	defer query.Close()
	result := query.Exec(ctx)
	if result.Err != nil {
		return nil, nil, result.Err
	}
	vector, err := result.Vector()
	if err != nil {
		return nil, nil, fmt.Errorf("it gives a %s, not a vector", result.Value.Type())
	}
	out := make([]cost.Weight, 0, len(vector))
	for _, s := range vector {
		if s.H != nil {
			return nil, nil, fmt.Errorf("the series %s is a histogram, which is no weight", s.Metric)
		}
		out = append(out, cost.Weight{Labels: r.labelsOf(s.Metric), Value: s.F})
	}
	var partial []cost.Warning
	for name := range result.Warnings {
		partial = append(partial, cost.Warning{Name: partialAnswer, Count: 1, Example: name})
	}
	return out, partial, nil
}

// labelsOf are copies of a series' labels; the cluster's has its name.
func (r *costRequest) labelsOf(ls labels.Labels) (out cost.Labels) {
	clusterLabel := r.limits.For(r.tenant).CostClusterLabel
	ls.Range(func(l labels.Label) {
		switch l.Name {
		case clusterLabel:
			l.Name = "cluster"
		case "cluster":
			return // it isn't the Kubernetes cluster's
		}
		out = append(out, cost.Label{Name: strings.Clone(l.Name), Value: strings.Clone(l.Value)})
	})
	slices.SortFunc(out, func(a, b cost.Label) int { return strings.Compare(a.Name, b.Name) })
	return out
}

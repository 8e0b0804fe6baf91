package promql_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
)

// answer is every number of a query's result, by a name that tells what it is; annotations and errors are names with no
// number. The order of series is left out: without sort, the engine promises none.
type answer map[string]float64

func answerOf(expr string, r *promql.Result) answer {
	a := answer{}
	if r.Err != nil {
		stable, _, _ := strings.Cut(r.Err.Error(), " for the match group") // which of several groups depends on luck
		a[stable] = 0
		return a
	}
	warnings, infos := r.Warnings.AsStrings(expr, 0, 0)
	for _, text := range slices.Concat(warnings, infos) {
		a[text] = 0
	}
	switch v := r.Value.(type) {
	case promql.Vector:
		for _, s := range v {
			a.add(s.Metric, s.T, s.F, s.H)
		}
	case promql.Matrix:
		for _, s := range v {
			for _, p := range s.Floats {
				a.add(s.Metric, p.T, p.F, nil)
			}
			for _, p := range s.Histograms {
				a.add(s.Metric, p.T, 0, p.H)
			}
		}
	case promql.Scalar:
		a.add(labels.EmptyLabels(), v.T, v.V, nil)
	default:
		a[r.Value.String()] = 0
	}
	return a
}

func (a answer) add(ls labels.Labels, t int64, v float64, h *histogram.FloatHistogram) {
	name := fmt.Sprintf("%s at %d", ls, t)
	if h == nil {
		a[name] = v
		return
	}
	h = h.Copy().Compact(0)
	a[name+" schema"], a[name+" count"], a[name+" sum"] = float64(h.Schema), h.Count, h.Sum
	for it := h.AllBucketIterator(); it.Next(); {
		b := it.At()
		a[fmt.Sprintf("%s from %v to %v", name, b.Lower, b.Upper)] = b.Count
	}
}

// points is how many numbers there are.
func (a answer) points() int {
	n := 0
	for name := range a {
		if strings.Contains(name, "} at ") {
			n++
		}
	}
	return n
}

// differs says where two answers differ, in some places; empty if nowhere. The engine goes through maps, so that sums
// may differ in their last bits between two evaluations of the same.
func (a answer) differs(b answer) string {
	var all []string
	names := maps.Clone(a)
	maps.Copy(names, b)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		x, inA := a[name]
		y, inB := b[name]
		if inA && inB && (math.Float64bits(x) == math.Float64bits(y) || math.IsNaN(x) && math.IsNaN(y) ||
			math.Abs(x-y) <= 1e-9*max(1, math.Abs(x), math.Abs(y))) {
			continue
		}
		if all = append(all, fmt.Sprintf("%s: %v (%v), %v (%v)", name, x, inA, y, inB)); len(all) == 10 {
			break
		}
	}
	return strings.Join(all, "\n")
}

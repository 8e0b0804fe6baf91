package cost

import (
	"cmp"
	"slices"

	"github.com/varve-io/varve/pkg/cost/money"
)

// Autoscaled is how a workload's autoscaler was bound in a step.
type Autoscaled struct {
	Min   int64 `json:"min"`                 // the least in the step
	Max   int64 `json:"max"`                 // the greatest; 0 if it isn't known
	Known int64 `json:"known_milliseconds"`  // while the minimum and what was desired are known
	AtMin int64 `json:"at_min_milliseconds"` // of them, while no more than the minimum was desired
	AtMax int64 `json:"at_max_milliseconds"` // of them, while no less than the maximum was
	// Kept is the part AtMin / Known of what was unused: what the minimum keeps, if what is unused is so at all times alike.
	Kept money.Nanos `json:"kept"`
}

func (a *Autoscaler) add(b *Autoscaler) {
	a.Min, a.Max = min(a.Min, b.Min), max(a.Max, b.Max)
	a.Known, a.AtMin, a.AtMax = a.Known+b.Known, a.AtMin+b.AtMin, a.AtMax+b.AtMax
}

// addScalers adds those of the same workload, in place.
func addScalers(all []Autoscaler) []Autoscaler {
	slices.SortFunc(all, compareScalers)
	sum := all[:0]
	for i := range all {
		if n := len(sum); n > 0 && compareScalers(sum[n-1], all[i]) == 0 {
			sum[n-1].add(&all[i])
			continue
		}
		sum = append(sum, all[i])
	}
	return sum
}

func compareScalers(a, b Autoscaler) int {
	return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Namespace, b.Namespace),
		cmp.Compare(a.Controller.Kind, b.Controller.Kind), cmp.Compare(a.Controller.Name, b.Controller.Name))
}

// autoscale adds an autoscaler's bounds.
func (l *ScaleLine) autoscale(a *Autoscaler) {
	if a.Known == 0 {
		return
	}
	s := l.Autoscaled
	if s == nil {
		l.Autoscaled = &Autoscaled{Min: a.Min, Max: a.Max, Known: a.Known, AtMin: a.AtMin, AtMax: a.AtMax}
		return
	}
	s.Min, s.Max = min(s.Min, a.Min), max(s.Max, a.Max)
	s.Known, s.AtMin, s.AtMax = s.Known+a.Known, s.AtMin+a.AtMin, s.AtMax+a.AtMax
}

// keep divides what is unused, once it is rounded.
func (l *ScaleLine) keep() {
	if s := l.Autoscaled; s != nil {
		parts := l.unused.Share([]money.Amount{{uint64(s.AtMin)}, {uint64(s.Known - s.AtMin)}})
		s.Kept = money.RoundAgainst(l.Unused, parts)[0]
	}
}

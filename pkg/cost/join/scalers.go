package join

import (
	"cmp"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/quantity"
)

// autoscaler is what series say of one.
type autoscaler struct {
	target             cost.Controller
	least, most, wants []lane[quantity.Level]
}

// readScalers finds how long autoscalers were at their bounds.
func (j *joiner) readScalers() error {
	all := map[ownerName]*autoscaler{}
	of := func(f fact) *autoscaler {
		k := ownerName{j.keep(f.cluster), j.keep(f.namespace), "", j.keep(f.labels.Get("horizontalpodautoscaler"))}
		if all[k] == nil {
			all[k] = &autoscaler{}
		}
		return all[k]
	}
	for _, m := range []struct {
		metric string
		fn     func(fact)
	}{
		{"kube_horizontalpodautoscaler_info", func(f fact) {
			of(f).target = cost.Controller{Kind: j.keep(f.labels.Get("scaletargetref_kind")), Name: j.keep(f.labels.Get("scaletargetref_name"))}
		}},
		{"kube_horizontalpodautoscaler_spec_min_replicas", func(f fact) { a := of(f); a.least = append(a.least, levelLane(f, 1)) }},
		{"kube_horizontalpodautoscaler_spec_max_replicas", func(f fact) { a := of(f); a.most = append(a.most, levelLane(f, 1)) }},
		{"kube_horizontalpodautoscaler_status_desired_replicas", func(f fact) { a := of(f); a.wants = append(a.wants, levelLane(f, 1)) }},
	} {
		if err := j.facts(m.metric, near, m.fn); err != nil {
			return err
		}
	}
	for k, a := range all {
		if row := a.row(j.slot); row.Known > 0 && a.target.Name != "" {
			row.Cluster, row.Namespace = k.cluster, k.namespace
			j.scalers = append(j.scalers, row)
		}
	}
	return nil
}

// row is the time at bounds within the slot.
func (a *autoscaler) row(slot span) cost.Autoscaler {
	row := cost.Autoscaler{Controller: a.target}
	least, most := overlay(a.least), overlay(a.most)
	for _, want := range overlay(a.wants) {
		s := span{want.From, want.To}.clip(slot)
		for _, l := range least {
			both := span{l.From, l.To}.clip(s).length()
			if both == 0 {
				continue
			}
			if row.Known == 0 || l.Value < row.Min {
				row.Min = l.Value
			}
			row.Known += both
			if want.Value <= l.Value {
				row.AtMin += both
			}
			for _, m := range most {
				all := span{m.From, m.To}.clip(span{l.From, l.To}.clip(s)).length()
				if all == 0 {
					continue
				}
				row.Max = max(row.Max, m.Value)
				if want.Value >= m.Value {
					row.AtMax += all
				}
			}
		}
	}
	return row
}

func compareScalers(a, b cost.Autoscaler) int {
	return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Controller.Kind, b.Controller.Kind),
		cmp.Compare(a.Controller.Name, b.Controller.Name), cmp.Compare(a.Known, b.Known), cmp.Compare(a.AtMin, b.AtMin), cmp.Compare(a.AtMax, b.AtMax),
		cmp.Compare(a.Min, b.Min), cmp.Compare(a.Max, b.Max))
}

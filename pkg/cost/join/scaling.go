package join

import (
	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/quantity"
)

// replicas are the metrics of how many of a workload there should be.
var replicas = []struct{ metric, kind, label string }{
	{"kube_deployment_spec_replicas", "Deployment", "deployment"},
	{"kube_statefulset_replicas", "StatefulSet", "statefulset"},
}

// readScalings finds when workloads were scaled.
func (j *joiner) readScalings() error {
	for _, r := range replicas {
		lanes := map[ownerName][]lane[quantity.Level]{}
		err := j.facts(r.metric, near, func(f fact) {
			k := ownerName{j.keep(f.cluster), j.keep(f.namespace), r.kind, j.keep(f.labels.Get(r.label))}
			lanes[k] = append(lanes[k], levelLane(f, 1))
		})
		if err != nil {
			return err
		}
		for k, ls := range lanes {
			j.scaled(k, overlay(ls))
		}
	}
	return nil
}

// scaled adds the changes of the hour; one that a gap hides was when it is first seen.
func (j *joiner) scaled(k ownerName, levels []quantity.Level) {
	for i := 1; i < len(levels); i++ {
		was, is := levels[i-1], levels[i]
		if is.Value != was.Value && is.From >= j.slot.from && is.From < j.slot.to {
			j.scalings = append(j.scalings, cost.Scaling{Cluster: k.cluster, Namespace: k.namespace,
				Controller: cost.Controller{Kind: k.kind, Name: k.name}, At: is.From, Before: was.Value, After: is.Value})
		}
	}
}

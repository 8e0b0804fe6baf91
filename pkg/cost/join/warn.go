package join

import (
	"cmp"
	"slices"

	"github.com/varve-io/varve/pkg/cost"
)

// Names of warnings. That a node's capacity is missing, the law says.
const (
	PodsMissing        = "pods_missing"        // nodes, but no kube_pod_info in their cluster: all of them is unknown
	NodesMissing       = "nodes_missing"       // pods, but no kube_node_info in their cluster
	AllocatableMissing = "allocatable_missing" // taken to be the capacity
	VolumeSizeMissing  = "volume_size_missing" // a volume without kube_persistentvolume_capacity_bytes: left out of the bill
	UsageMissing       = "usage_missing"       // a container of which no usage is known
	UsageWithoutPod    = "usage_without_pod"   // cAdvisor knows a pod that kube-state-metrics doesn't: left out
	CapacityUnsteady   = "capacity_unsteady"   // a node's changes more than 20 times an hour: its mean counts
	LabelsUnsteady     = "labels_unsteady"     // of a node or pod change more than 20 times an hour: the first ones count
	UsageBounded       = "usage_bounded"       // more than the node has: counted as what it has
)

type warningKey struct{ name, cluster string }

type warningCount struct {
	count   int64
	example string
}

type warnings map[warningKey]warningCount

// add counts a warning. The example that is kept is the least, so that it doesn't depend on any order.
func (w warnings) add(name, cluster, example string) {
	k := warningKey{name, cluster}
	c, ok := w[k]
	if !ok || example < c.example {
		c.example = example
	}
	c.count++
	w[k] = c
}

func (w warnings) rows() []cost.Warning {
	var out []cost.Warning
	for k, c := range w {
		out = append(out, cost.Warning{Name: k.name, Cluster: k.cluster, Count: c.count, Example: c.example})
	}
	slices.SortFunc(out, func(a, b cost.Warning) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Cluster, b.Cluster))
	})
	return out
}

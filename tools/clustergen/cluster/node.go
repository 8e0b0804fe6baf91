package cluster

import (
	"maps"
	"strconv"
)

func perNode(name string, fn func(n *Node, put podPut)) family {
	return family{name, func(v *view) {
		for _, i := range v.nodes {
			n := &v.Nodes[i]
			fn(n, func(life Span, value func(int64) float64, pairs ...string) {
				v.put(stateMetrics, v.shard(n.Name), life.clip(n.Span), value, append([]string{"node", n.Name}, pairs...)...)
			})
		}
	}}
}

func nodeFamilies() []family {
	return []family{
		perNode("kube_node_info", func(n *Node, put podPut) {
			put(n.Span, one, "provider_id", n.ProviderID, "internal_ip", n.IP, "system_uuid", digest(n.ProviderID)[:32],
				"kernel_version", "6.12.0", "os_image", "Ubuntu 24.04 LTS", "container_runtime_version", "containerd://2.1.0",
				"kubelet_version", "v1.34.0", "kubeproxy_version", "deprecated")
		}),
		perNode("kube_node_created", func(n *Node, put podPut) { put(n.Span, seconds(n.From)) }),
		perNode("kube_node_labels", func(n *Node, put podPut) {
			labelSpans(n.labels(), n.Span, func(s Span, pairs []string) { put(s, one, pairs...) })
		}),
		perNode("kube_node_status_capacity", func(n *Node, put podPut) { n.amounts(n.Capacity, put) }),
		perNode("kube_node_status_allocatable", func(n *Node, put podPut) { n.amounts(n.Allocatable, put) }),
		perNode("kube_node_status_condition", func(n *Node, put podPut) {
			for _, status := range []string{"true", "false", "unknown"} {
				put(n.Span, flag(status == "true"), "condition", "Ready", "status", status)
			}
		}),
		perNode("kube_node_spec_unschedulable", func(n *Node, put podPut) { put(n.Span, constant(0)) }),
	}
}

// amounts exports a capacity; one of 0 is not exported, except for GPUs, which are if there are any.
func (n *Node) amounts(a Amounts, put podPut) {
	if a.CPU > 0 {
		put(n.Span, constant(float64(a.CPU)/1000), "resource", "cpu", "unit", "core")
	}
	if a.Memory > 0 {
		put(n.Span, constant(float64(a.Memory)), "resource", "memory", "unit", "byte")
	}
	if a.GPU > 0 {
		put(n.Span, constant(float64(a.GPU)), "resource", "nvidia_com_gpu", "unit", "integer")
	}
	put(n.Span, constant(110), "resource", "pods", "unit", "integer")
}

// labels are those that clouds give to nodes, and the node's own.
func (n *Node) labels() []LabelStep {
	base := map[string]string{
		"kubernetes.io/hostname":           n.Name,
		"kubernetes.io/arch":               "amd64",
		"kubernetes.io/os":                 "linux",
		"node.kubernetes.io/instance-type": n.InstanceType,
		"topology.kubernetes.io/region":    n.Region,
		"topology.kubernetes.io/zone":      n.Zone,
	}
	if n.Spot {
		base["karpenter.sh/capacity-type"] = "spot"
	}
	if n.GPUModel != "" {
		base["nvidia.com/gpu.product"] = n.GPUModel
	}
	if len(n.Labels) == 0 {
		return []LabelStep{{n.From, base}}
	}
	var out []LabelStep
	for _, st := range n.Labels {
		all := maps.Clone(base)
		maps.Copy(all, st.Labels)
		out = append(out, LabelStep{st.At, all})
	}
	return out
}

// load is what a node's pods and system use, added up. Runs that ended before the view are added up once.
type load struct {
	since int64 // start of the node
	base  int64 // CPU of ended runs, core-microseconds
	runs  []*Run
	node  *Node
}

// load of a node: of everything on it, or of its pods only.
func (v *view) load(node int) *load {
	l := &load{since: v.Nodes[node].From, node: &v.Nodes[node]}
	from := v.window.From - v.longest()
	v.eachRun(node, func(_ *Pod, _ *Container, r *Run) {
		switch {
		case r.To <= from:
			l.base += r.CPU.Sum(r.From, r.To)
		case r.From < v.window.To:
			l.runs = append(l.runs, r)
		}
	})
	return l
}

// eachRun calls fn with every run of every container on a node.
func (v *view) eachRun(node int, fn func(*Pod, *Container, *Run)) {
	for _, i := range v.byNode[node] {
		p := &v.Pods[i]
		for _, list := range [][]Container{p.Containers, p.InitContainers} {
			for j := range list {
				for k := range list[j].Runs {
					fn(p, &list[j], &list[j].Runs[k])
				}
			}
		}
	}
}

// pods' CPU until t in core-microseconds. It falls never: ended runs count on.
func (l *load) podCPU(t int64) int64 {
	sum := l.base
	for _, r := range l.runs {
		sum += r.CPU.Sum(r.From, min(r.To, t))
	}
	return sum
}

func (l *load) systemCPU(t int64) int64 { return l.node.System.Sum(l.since, t) }

func (l *load) podMemory(t int64) int64 {
	sum := int64(0)
	for _, r := range l.runs {
		if r.Contains(t) {
			sum += r.Memory.At(t)
		}
	}
	return sum
}

func itoa(n int) string { return strconv.Itoa(n) }

package join

import (
	"cmp"
	"slices"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/quantity"
)

// settle ends the reading of facts: lives, places, and what each container asks for.
func (j *joiner) settle() {
	for _, s := range j.nodes {
		s.settle(j.hour())
	}
	for p := range j.pods {
		p.live()
		j.place(p)
		c := j.cluster(p.cluster)
		c.seen = append(c.seen, p.seen...)
	}
	for _, c := range j.clusters {
		c.seen = union(c.seen)
	}
	for _, s := range j.nodes {
		for _, n := range s.nodes {
			n.settleBlind(j.cluster(s.cluster).seen)
		}
	}
	for p := range j.pods {
		p.settle(j.hour(), j.slot, j.chosen(p))
	}
	for _, s := range j.nodes {
		for _, n := range s.nodes {
			n.segments = split(n.segments, j.slot)
		}
	}
}

// pods are all that the hour knows.
func (j *joiner) pods(yield func(*pod) bool) {
	for _, s := range j.numbered {
		if s == nil {
			continue
		}
		for _, p := range s.pods {
			if !yield(p) {
				return
			}
		}
	}
}

// hour is all of it, by which is decided what a part of it has, too: so parts add up to it.
func (j *joiner) hour() span { return span{j.Start, j.Start + hourLength} }

// counts tells whether any of the segments is in the slot.
func (j *joiner) counts(segments []segment) bool {
	return slices.ContainsFunc(segments, func(s segment) bool { return s.clip(j.slot).length() > 0 })
}

func (j *joiner) rows() *cost.Hour {
	h := &cost.Hour{Start: j.Start, From: j.From, To: j.To, Workloads: make([]cost.Workload, 0, j.expected())}
	for _, p := range slices.SortedFunc(j.pods, comparePods) {
		if from := len(h.Workloads); j.counts(p.segments) {
			h.Workloads = j.workloads(h.Workloads, p)
			slices.SortFunc(h.Workloads[from:], compareOfPod)
		}
		p.containers, p.extra = nil, nil // which are larger than their rows
	}
	for _, s := range j.nodes {
		for _, n := range s.nodes {
			if j.counts(n.segments) {
				j.warnOfNode(n)
				h.Nodes = append(h.Nodes, n.rows()...)
			}
		}
	}
	for _, a := range j.volumes {
		j.assetRows(h, a, cost.VolumeAsset)
	}
	for _, a := range j.balancers {
		j.assetRows(h, a, cost.LoadBalancerAsset)
	}
	if j.slot != j.hour() {
		h.Workloads = slices.DeleteFunc(h.Workloads, func(w cost.Workload) bool { return span{w.From, w.To}.clip(j.slot).length() == 0 })
		h.Nodes = slices.DeleteFunc(h.Nodes, func(n cost.Node) bool { return span{n.From, n.To}.clip(j.slot).length() == 0 })
	}
	h.Scalings, h.Scalers = j.scalings, j.scalers
	j.warnOfClusters()
	slices.SortFunc(h.Nodes, compareNodes)
	slices.SortFunc(h.Assets, compareAssets)
	slices.SortFunc(h.Shares, compareShares)
	slices.SortFunc(h.Scalings, compareScalings)
	slices.SortFunc(h.Scalers, compareScalers)
	h.Warnings = j.warnings.rows()
	return h
}

// expected is about how many rows of workloads there will be.
func (j *joiner) expected() (n int) {
	for p := range j.pods {
		for _, c := range p.containers {
			if !c.init || c.sidecar {
				n += len(p.segments)
			}
		}
		if p.extra != nil {
			n += len(p.segments)
		}
	}
	return n
}

func (j *joiner) warnOfNode(n *node) {
	if n.unsteady != "" {
		j.warnings.add(n.unsteady, n.cluster, n.name)
	}
	for _, r := range []resource{cpuResource, ramResource} {
		if len(n.capacity[r]) > 0 && len(n.allocatable[r]) == 0 {
			j.warnings.add(AllocatableMissing, n.cluster, n.name)
			return
		}
	}
}

func (j *joiner) warnOfClusters() {
	for name, c := range j.clusters {
		switch {
		case !c.pods:
			j.warnings.add(PodsMissing, name, "kube_pod_info")
		case !c.nodes:
			j.warnings.add(NodesMissing, name, "kube_node_info")
		}
	}
}

func (j *joiner) ownerOf(p *pod, ls cost.Labels) cost.Owner {
	return cost.Owner{Cluster: p.cluster, Namespace: p.namespace, Pod: p.name, UID: p.uid, Controller: j.controller(p), QoS: p.qos,
		Priority: p.priority, Labels: ls}
}

// workloads appends the rows of a pod.
func (j *joiner) workloads(dst []cost.Workload, p *pod) []cost.Workload {
	base := cost.Workload{Owner: j.ownerOf(p, nil), Node: p.node}
	if p.on != nil {
		base.Provider = p.on.provider
	}
	if !p.steady {
		j.warnings.add(LabelsUnsteady, p.cluster, p.String())
	}
	for _, c := range p.containers {
		if c.init && !c.sidecar {
			continue
		}
		c.addGPU(p)
		dst = c.workloads(dst, p, base)
		if !slices.ContainsFunc(c.rows, func(r row) bool { return r.cpu.Known > 0 || r.ram.Known > 0 }) {
			j.warnings.add(UsageMissing, p.cluster, p.String()+"/"+c.name)
		}
	}
	if p.extra != nil {
		p.addExtra()
		extra := p.extra.workloads(nil, p, base)
		keep := slices.ContainsFunc(extra, something)
		rows := p.extra.classified.classify(extra)
		if !keep && !slices.ContainsFunc(extra, something) {
			rows = rows[len(extra):]
		}
		dst = append(dst, rows...)
	}
	return dst
}

func (c *container) workloads(dst []cost.Workload, p *pod, base cost.Workload) []cost.Workload {
	var ram [5]byteSeconds
	for i, s := range p.segments {
		r, w := &c.rows[i], base
		w.Container, w.Labels, w.From, w.To, w.Alive = c.name, s.labels, s.from, s.to, s.length()
		w.CPU = cost.Held{Used: r.cpu.Used, Unused: r.cpu.Unused}
		w.RAM = cost.Held{Used: ram[0].of(s, r.ram.Used), Unused: ram[1].of(s, r.ram.Unused)}
		w.CPUKnown, w.RAMKnown, w.CPUPeak, w.RAMPeak = r.cpu.Known, r.ram.Known, r.cpuPeak, r.ramPeak
		w.CPUSketch, w.RAMSketch, w.GPUKnown = r.cpuSketch, r.ramSketch, r.gpu.Known
		w.Network = cost.Network{Received: r.traffic[received], Sent: r.traffic[sent]}
		w.Disk = cost.Disk{Read: r.traffic[read], Written: r.traffic[written]}
		asked := c.asked(s.span)
		w.CPU.Request, w.CPU.Unknown = asked[cpuResource].Micros(), asked[cpuResource].Micros()-r.cpu.Request
		w.RAM.Request, w.RAM.Unknown = ram[2].of(s, asked[ramResource]), ram[3].of(s, asked[ramResource].Less(r.ram.Request))
		w.GPU = cost.Held{Used: r.gpu.Used.Micros(), Unused: r.gpu.Unused.Micros()}
		w.GPU.Request, w.GPU.Unknown = asked[gpuResource].Micros(), asked[gpuResource].Less(r.gpu.Request).Micros()
		w.CPU.Limit = quantity.Integral(c.limit[cpuResource], s.from, s.to).Micros()
		w.RAM.Limit = ram[4].of(s, quantity.Integral(c.limit[ramResource], s.from, s.to))
		w.GPU.Limit = quantity.Integral(c.limit[gpuResource], s.from, s.to).Micros()
		dst = append(dst, w)
	}
	return dst
}

// something tells of rows with anything in them. A pod's extra container has none without it.
func something(w cost.Workload) bool {
	return w.CPU.Request|w.RAM.Request|w.GPU.Request|w.CPU.Used|w.RAM.Used|w.Network.Received|w.Network.Sent != 0
}

func (c *container) asked(s span) (out [resources]quantity.Bytes) {
	for r := range out {
		out[r] = quantity.Integral(c.request[r], s.from, s.to)
	}
	return out
}

func comparePods(a, b *pod) int {
	return cmp.Or(cmp.Compare(a.cluster, b.cluster), cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.name, b.name), cmp.Compare(a.uid, b.uid))
}

// compareOfPod orders the rows of one pod.
func compareOfPod(a, b cost.Workload) int {
	return cmp.Or(cmp.Compare(a.Container, b.Container), cmp.Compare(a.From, b.From), cmp.Compare(a.Class, b.Class))
}

func compareNodes(a, b cost.Node) int {
	return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Name, b.Name), cmp.Compare(a.From, b.From), cmp.Compare(a.Provider, b.Provider))
}

func compareAssets(a, b cost.Asset) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Name, b.Name), cmp.Compare(a.From, b.From))
}

func compareShares(a, b cost.Share) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Asset, b.Asset), cmp.Compare(a.From, b.From),
		cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Pod, b.Pod), cmp.Compare(a.UID, b.UID), compareLabels(a.Labels, b.Labels))
}

func compareScalings(a, b cost.Scaling) int {
	return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Controller.Kind, b.Controller.Kind),
		cmp.Compare(a.Controller.Name, b.Controller.Name), cmp.Compare(a.At, b.At))
}

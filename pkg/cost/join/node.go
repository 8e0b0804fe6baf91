package join

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/quantity"
)

type nodeName struct{ cluster, name string }

// nodeSet is the nodes that had one name, one after the other, and what is said by that name only.
type nodeSet struct {
	nodeName
	nodes   []*node
	created []quantity.Level // when the node of that time was created
	labels  dims
	facts   [resources]struct{ capacity, allocatable []lane[quantity.Level] }
}

// node is one machine: a name and a provider ID.
type node struct {
	*nodeSet
	provider              string
	first, last, bridge   int64
	life                  span
	pods                  []*pod
	segments              []segment // of the hour, in which it is up and nothing about it changes
	blind                 []span    // without facts of its pods
	capacity, allocatable [resources][]quantity.Level
	meters                map[sourceID]*meter
	unsteady              string // the warning about what changes too often, if something does
}

func (j *joiner) nodeSet(f fact) *nodeSet {
	k := nodeName{f.cluster, f.node}
	s := j.nodes[k]
	if s == nil {
		s = &nodeSet{nodeName: nodeName{j.keep(f.cluster), j.keep(f.node)}}
		j.nodes[s.nodeName] = s
	}
	return s
}

func (j *joiner) readNodes() error {
	err := j.facts("kube_node_info", wide, j.nodeInfo)
	if err != nil {
		return err
	}
	err = j.facts("kube_node_created", wide, func(f fact) {
		s := j.nodeSet(f)
		s.created = append(s.created, f.levels(1000)...)
	})
	if err != nil {
		return err
	}
	err = j.facts("kube_node_labels", wide, func(f fact) { j.nodeSet(f).labels.add(f, j.labelsOf(f)) })
	if err != nil {
		return err
	}
	amounts := func(allocatable bool) func(f fact) {
		return func(f fact) {
			if r, unit, ok := resourceOf(f.resource); ok {
				s := &j.nodeSet(f).facts[r]
				if allocatable {
					s.allocatable = append(s.allocatable, levelLane(f, unit))
				} else {
					s.capacity = append(s.capacity, levelLane(f, unit))
				}
			}
		}
	}
	if err := j.facts("kube_node_status_capacity", wide, amounts(false)); err != nil {
		return err
	}
	return j.facts("kube_node_status_allocatable", wide, amounts(true))
}

func (j *joiner) nodeInfo(f fact) {
	if f.node == "" {
		return
	}
	provider := f.provider
	if provider == "" {
		provider = f.systemUUID
	}
	s := j.nodeSet(f)
	i := slices.IndexFunc(s.nodes, func(n *node) bool { return n.provider == provider })
	if i < 0 {
		i = len(s.nodes)
		s.nodes = append(s.nodes, &node{nodeSet: s, provider: j.keep(provider), first: math.MaxInt64})
	}
	n := s.nodes[i]
	n.first, n.last = min(n.first, f.first()), max(n.last, f.end())
	n.bridge = max(n.bridge, f.bridge)
	j.address(f.cluster, f.labels.Get("internal_ip"), s)
	j.cluster(s.cluster).nodes = true
}

// labelsOf are all Kubernetes labels of a thing but those that name one node.
func (j *joiner) labelsOf(f fact) (out cost.Labels) {
	f.labels.Range(func(l labels.Label) {
		name, ok := strings.CutPrefix(l.Name, "label_")
		if ok && name != "kubernetes_io_hostname" && (f.node == "" || !strings.Contains(l.Value, f.node)) {
			out = append(out, cost.Label{Name: j.keep(name), Value: j.keep(l.Value)})
		}
	})
	slices.SortFunc(out, func(a, b cost.Label) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// settle finds the lives of the nodes of a name, and what each had.
func (s *nodeSet) settle(hour span) {
	s.labels.settle()
	slices.SortFunc(s.nodes, func(a, b *node) int {
		return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(a.provider, b.provider))
	})
	var capacity, allocatable [resources][]quantity.Level
	for r := range resources {
		capacity[r], allocatable[r] = overlay(s.facts[r].capacity), overlay(s.facts[r].allocatable)
	}
	for i, n := range s.nodes {
		n.life = span{n.first, n.last}
		for _, l := range s.created {
			if l.Value < n.first && n.first-l.Value <= n.bridge && (i == 0 || l.Value >= s.nodes[i-1].first) {
				n.life.from = min(n.life.from, l.Value)
			}
		}
		if i > 0 {
			before := s.nodes[i-1]
			before.life.to = min(before.life.to, n.life.from)
		}
	}
	for _, n := range s.nodes {
		for r := range resources {
			n.capacity[r] = n.through(capacity[r])
			n.allocatable[r] = n.through(allocatable[r])
		}
		if up := n.life.clip(hour); up.length() > 0 {
			var steady bool
			if n.segments, steady = s.labels.segments(up); !steady {
				n.unsteady = LabelsUnsteady
			}
			pieces := n.segments
			for _, levels := range n.capacity {
				pieces = cut(pieces, levels)
			}
			if len(pieces) > len(n.segments)+maxPieces {
				n.unsteady = CapacityUnsteady // the rows have its integral, and so its mean
			} else {
				n.segments = pieces
			}
		}
	}
}

// through is what of some levels is the node's: those since it was first seen, since before that the name may have been another's. They
// hold through gaps, and the first one from the life's begin.
func (n *node) through(levels []quantity.Level) []quantity.Level {
	var own []quantity.Level
	for _, l := range levels {
		if l = l.Clip(n.first, n.life.to); l.To > l.From {
			own = append(own, l)
		}
	}
	return hold(own, n.life)
}

// place finds the node that a pod is on: the one of that name that was there for the longest part of the pod's life, the latest of
// equals. What isn't there can't be held: the pod's life is within the node's.
func (j *joiner) place(p *pod) {
	s := j.nodes[nodeName{p.cluster, p.node}]
	if s == nil || p.node == "" {
		return
	}
	longest := int64(1)
	for _, n := range s.nodes {
		if l := n.life.clip(p.life).length(); l >= longest {
			longest, p.on = l, n
		}
	}
	if p.on != nil {
		p.life = p.life.clip(p.on.life)
		p.on.pods = append(p.on.pods, p)
	}
}

// settleBlind finds when nobody could have seen pods of the node: none of its cluster, or none of those that lived on it. Such time has
// rows of its own: what is known to be used in it is no part of what was held of the rest.
func (n *node) settleBlind(seenInCluster []span) {
	var lived, seen []span
	for _, p := range n.pods {
		lived = append(lived, p.life.clip(n.life))
		seen = append(seen, p.seen...)
	}
	blind := without([]span{n.life}, seenInCluster)
	n.blind = union(append(blind, without(union(lived), union(seen))...))
	n.segments = cut(cut(n.segments, n.blind), without([]span{n.life}, n.blind))
}

// rows has one for each segment.
func (n *node) rows() []cost.Node {
	var out []cost.Node
	var ram [4]byteSeconds
	micros := func(_ int, sum quantity.Bytes) int64 { return sum.Micros() }
	ofCPU, ofRAM := n.best(func(m *meter) int64 { return m.cpuKnown }), n.best(func(m *meter) int64 { return m.ramKnown })
	for i, s := range n.segments {
		row := cost.Node{Cluster: n.cluster, Name: n.name, Provider: n.provider, Labels: s.labels, From: s.from, To: s.to, Up: s.length()}
		describe(&row)
		var blind []span
		for _, b := range n.blind {
			if b = b.clip(s.span); b.length() > 0 {
				blind = append(blind, b)
				row.Blind += b.length()
			}
		}
		row.CPU = n.of(cpuResource, s.span, blind, micros)
		row.RAM = n.of(ramResource, s.span, blind, func(i int, sum quantity.Bytes) int64 { return ram[i].of(s, sum) })
		row.GPU = n.of(gpuResource, s.span, blind, micros)
		if ofCPU != nil {
			row.CPU.Used, row.RAM.Used = ofCPU.cpu[i], ram[3].of(s, ofRAM.ram[i])
		}
		out = append(out, row)
	}
	return out
}

// cut cuts segments where pieces begin.
func cut[T interface{ Span() (from, to int64) }](segments []segment, pieces []T) []segment {
	var out []segment
	for _, s := range segments {
		for _, p := range pieces {
			if from, _ := p.Span(); from > s.from && from < s.to {
				out = append(out, segment{span: span{s.from, from}, labels: s.labels})
				s.from = from
			}
		}
		out = append(out, s)
	}
	return out
}

// of are the integrals of one resource over s. Without an allocatable amount all of the capacity is.
func (n *node) of(r resource, s span, blind []span, unit func(int, quantity.Bytes) int64) cost.Capacity {
	allocatable := n.capacity[r]
	if len(n.allocatable[r]) > 0 {
		allocatable = quantity.Combine(nil, n.capacity[r], n.allocatable[r], func(a, b int64) int64 { return min(a, b) })
	}
	c := cost.Capacity{Capacity: unit(0, quantity.Integral(n.capacity[r], s.from, s.to))}
	c.Allocatable = min(unit(1, quantity.Integral(allocatable, s.from, s.to)), c.Capacity) // as the part of a second may round
	var dark quantity.Bytes
	for _, b := range blind {
		dark.Sum(quantity.Integral(n.capacity[r], b.from, b.to))
	}
	c.Blind = min(unit(2, dark), c.Capacity)
	return c
}

// most is the greatest capacity of the node, 0 if none is known.
func (n *node) most(r resource) int64 {
	most := int64(0)
	if n != nil {
		for _, l := range n.capacity[r] {
			most = max(most, l.Value)
		}
	}
	return most
}

// describe fills in what well-known labels say.
func describe(n *cost.Node) {
	for _, l := range n.Labels {
		switch l.Name {
		case "node_kubernetes_io_instance_type":
			n.InstanceType = l.Value
		case "topology_kubernetes_io_region":
			n.Region = l.Value
		case "topology_kubernetes_io_zone":
			n.Zone = l.Value
		case "beta_kubernetes_io_instance_type":
			n.InstanceType = cmp.Or(n.InstanceType, l.Value)
		case "failure_domain_beta_kubernetes_io_region":
			n.Region = cmp.Or(n.Region, l.Value)
		case "failure_domain_beta_kubernetes_io_zone":
			n.Zone = cmp.Or(n.Zone, l.Value)
		case "karpenter_sh_capacity_type", "eks_amazonaws_com_capacityType", "kubernetes_azure_com_scalesetpriority":
			n.Spot = n.Spot || strings.EqualFold(l.Value, "spot")
		case "cloud_google_com_gke_spot", "cloud_google_com_gke_preemptible":
			n.Spot = n.Spot || l.Value == "true"
		}
	}
}

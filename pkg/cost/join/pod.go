package join

import (
	"slices"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/quantity"
)

type podName struct{ cluster, namespace, name string }

// String is without the cluster, which warnings name by itself.
func (n podName) String() string { return n.namespace + "/" + n.name }

// podSet is the pods that had one name, one after the other.
type podSet struct {
	podName
	pods []*pod
}

// pod is what the facts say about one uid.
type pod struct {
	*podSet
	uid, node               string
	created, parent         owner // created as kube_pod_info has it, parent as kube_pod_owner does
	priority, qos           string
	hostNetwork             bool
	at                      times
	first, last             int64 // sample or marker of kube_pod_info
	seen                    []span
	bridge                  int64
	labels                  dims
	overheadCPU, overheadRM []lane[quantity.Level]
	containers              []*container

	// Once all facts are read.
	life     span // not clipped to the hour
	segments []segment
	extra    *extra
	on       *node // nil if there are no facts of it
	steady   bool  // its labels don't change too often
}

// times are when something happened to a pod, 0 if that is not known.
type times struct {
	scheduled, started, created, completed int64
	terminal                               int64 // when its phase was first seen to be Succeeded or Failed
}

// segment is a part of the hour in which a pod lives and its dimensions are constant.
type segment struct {
	span
	labels cost.Labels
	goesOn bool // in the row that the one before has in the hour: only the slot's begin or end is between them
}

// split cuts segments where the slot begins and ends.
func split(segments []segment, slot span) []segment {
	for _, at := range []int64{slot.from, slot.to} {
		i := slices.IndexFunc(segments, func(s segment) bool { return s.from < at && at < s.to })
		if i >= 0 {
			rest := segments[i]
			segments[i].to, rest.from, rest.goesOn = at, at, true
			segments = slices.Insert(segments, i+1, rest)
		}
	}
	return segments
}

// byteSeconds rounds what the segments of a row have, one after the other, so that they add up to what the row has.
type byteSeconds struct{ sum quantity.Bytes }

func (b *byteSeconds) of(s segment, part quantity.Bytes) int64 {
	if !s.goesOn {
		b.sum = quantity.Bytes{}
	}
	before := b.sum.Seconds()
	b.sum.Sum(part)
	return b.sum.Seconds() - before
}

// container is one name of a pod. There are many of them at once, so what few have is elsewhere.
type container struct {
	name          string
	init, sidecar bool
	facts         *[resources]requested // until the facts are read
	request       [resources][]quantity.Level
	limit         [resources][]quantity.Level
	started       []quantity.Level // when its current run began
	rows          []row            // one for each segment of the pod
	gpus          *gpus            // nil if nobody tells of any
}

// requested is what sources say that a container asks for of one resource.
type requested struct{ request, limit []lane[quantity.Level] }

// gpus are those of a container.
type gpus struct {
	busy [][]quantity.Level // of each of them
	by   string             // the metric that tells
}

// extra is what a pod has beyond its containers.
type extra struct {
	container
	// The usage of its init containers, and when usage of any of its containers is known.
	initCPU            []lane[quantity.Spread]
	initRAM            []lane[quantity.Level]
	cpuKnown, ramKnown []span
	classified         classified // nil if nobody says where its traffic went
}

// resource is an index.
type resource int

const (
	cpuResource resource = iota
	ramResource
	gpuResource
	resources
)

// resourceOf is the resource and the unit that its levels are in: thousandths of cores and GPUs, bytes.
func resourceOf(name string) (_ resource, unit float64, ok bool) {
	switch name {
	case "cpu":
		return cpuResource, 1000, true
	case "memory":
		return ramResource, 1, true
	case "nvidia_com_gpu", "amd_com_gpu", "gpu_intel_com_i915", "gpu_intel_com_xe":
		return gpuResource, 1000, true
	}
	return 0, 0, false
}

func (p *pod) container(name string) *container {
	for _, c := range p.containers {
		if c.name == name {
			return c
		}
	}
	c := &container{name: name}
	p.containers = append(p.containers, c)
	return c
}

// lived is the pod's life: from when it was scheduled to its completion, its series' marker, or their last sample.
func (p *pod) lived() span {
	from := p.first
	for _, t := range []int64{p.at.created, p.at.started, p.at.scheduled} {
		if t > 0 {
			from = t
		}
	}
	switch {
	case p.at.terminal == 0:
		return span{from, p.last}
	case p.at.completed > 0:
		return span{from, p.at.completed}
	}
	return span{from, p.at.terminal}
}

// settle makes levels of all that sources said, and cuts the life in the hour into segments. The pod has its place.
func (p *pod) settle(hour, slot span, labels *dims) {
	alive := p.life.clip(hour)
	if alive.length() == 0 || p.node == "" {
		p.containers = nil // that are not counted
		return
	}
	p.segments, p.steady = labels.segments(alive)
	if p.on != nil {
		p.segments = cut(p.segments, p.on.segments)
	}
	p.segments = split(p.segments, slot)
	for _, c := range p.containers {
		c.settle(p)
	}
	p.settleExtra()
	slices.SortFunc(p.containers, func(a, b *container) int { return compareStrings(a.name, b.name) })
}

// live finds the pod's life. It was seen as long as its series hold, and from its begin if they reach it.
func (p *pod) live() {
	p.life = p.lived()
	p.seen = union(p.seen)
	if len(p.seen) > 0 && p.reaches(p.seen[0].from, p.bridge) {
		p.seen[0].from = p.life.from
	}
}

// reaches tells whether what was first seen at t began with the pod, as far as anyone could have seen.
func (p *pod) reaches(t, bridge int64) bool { return t > p.life.from && t-p.life.from <= bridge }

func (c *container) settle(p *pod) {
	if c.facts != nil {
		for r, of := range c.facts {
			c.request[r], c.limit[r] = p.stretch(overlay(of.request)), p.stretch(overlay(of.limit))
		}
		c.facts = nil
	}
	c.rows = make([]row, len(p.segments))
}

// stretch lets the first of some levels begin with the pod.
func (p *pod) stretch(levels []quantity.Level) []quantity.Level {
	if len(levels) > 0 && p.reaches(levels[0].From, p.bridge) {
		levels[0].From = p.life.from
	}
	return levels
}

// settleExtra finds what the pod asks for beyond its containers: max(0, max(init) - Σ containers) + overhead. Sidecars are among the
// containers. The usage of init containers is counted against it.
func (p *pod) settleExtra() {
	x := &extra{container: container{name: cost.PodContainer}}
	has := false
	for r := range resources {
		var sum, most []quantity.Level
		for _, c := range p.containers {
			if c.init && !c.sidecar {
				most = quantity.Combine(nil, most, c.request[r], quantity.Greater)
			} else {
				sum = quantity.Combine(nil, sum, c.request[r], quantity.Add)
			}
		}
		x.request[r] = quantity.Combine(nil, most, sum, quantity.Excess)
		has = has || len(most) > 0
	}
	for r, lanes := range [][]lane[quantity.Level]{p.overheadCPU, p.overheadRM} {
		if over := p.stretch(overlay(lanes)); len(over) > 0 {
			x.request[r] = quantity.Combine(nil, x.request[r], over, quantity.Add)
			has = true
		}
	}
	has = has || slices.ContainsFunc(p.containers, func(c *container) bool { return c.init && !c.sidecar })
	if has {
		x.rows = make([]row, len(p.segments))
		p.extra = x
	}
}

// find is the pod with the uid; without one, the only pod of the name, or the one that was seen at t.
func (s *podSet) find(uid string, t int64) *pod {
	if s == nil {
		return nil
	}
	for _, p := range s.pods {
		if p.uid == uid || uid == "" && (len(s.pods) == 1 || slices.ContainsFunc(p.seen, func(x span) bool { return x.from <= t && t < x.to })) {
			return p
		}
	}
	return nil
}

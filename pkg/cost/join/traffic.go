package join

import (
	"slices"
	"strings"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/quantity"
)

// kind of traffic is an index.
type kind int

const (
	received kind = iota
	sent
	read
	written
	kinds
)

func byDevice(f *fields) (container, part string, ok bool) { return f.container, f.device, true }

// byInterface takes a pod's sandbox for the pod. What the host has of a pod's interface has the same bytes again.
func byInterface(f *fields) (container, part string, ok bool) {
	for _, prefix := range []string{"lo", "veth", "cali", "lxc", "cilium", "cni", "docker", "flannel", "tunl", "kube-", "nodelocaldns", "br-", "dummy"} {
		if rest, is := strings.CutPrefix(f.iface, prefix); is && (prefix != "lo" || rest == "") {
			return "", "", false
		}
	}
	return cost.PodContainer, f.iface, f.container == "" || f.container == "POD"
}

// byGPU is nothing where DCGM's exporter names itself: that device is nobody's. See gpuAdder.
func byGPU(f *fields) (container, part string, ok bool) {
	return f.container, f.gpu, f.pod != "" && f.container != ""
}

// adder sums up the bytes of one kind.
func (j *joiner) adder(of kind) func(groupKey, []source) error {
	return j.eachGrown(func(p *pod, c *container, g *growth, _ groupKey) {
		for i, s := range p.segments {
			c.rows[i].traffic[of] += g.in(s.span)
		}
	})
}

// eachGrown gives by how much the counter of each pod grew. Pods in the host's network show the bytes of their node, and are left out.
func (j *joiner) eachGrown(add func(*pod, *container, *growth, groupKey)) func(groupKey, []source) error {
	return func(k groupKey, all []source) error {
		for _, p := range k.pods.pods {
			sources := mine(p, all)
			if len(p.segments) == 0 || len(sources) == 0 || k.container == cost.PodContainer && p.hostNetwork {
				continue
			}
			grown, c, err := j.grown(p, k.container, sources, len(all) == 1)
			if err != nil {
				return err
			}
			if c != nil {
				add(p, c, &grown, k)
			}
		}
		return nil
	}
}

// growth is how a counter grew, as one source says or several that are laid over each other.
type growth struct {
	counter quantity.Counter
	runs    []quantity.Run
	laid    bool
	pieces  []quantity.Spread
}

// in is by how much it grew in a time. Times that are one after the other add up.
func (g *growth) in(s span) (sum int64) {
	if s.length() <= 0 {
		return 0
	}
	if !g.laid {
		sum, _ = g.counter.Sum(g.runs, s.from, s.to)
		return sum
	}
	for _, piece := range g.pieces {
		sum += piece.Clip(s.from, s.to).Amount()
	}
	return sum
}

// grown reads the counter of a pod's container; that is nil if there are no samples. alone tells that no other pod of the name has sources.
// What it reads is valid until the next counter.
func (j *joiner) grown(p *pod, name string, sources []source, alone bool) (g growth, c *container, err error) {
	if len(sources) > 1 {
		return j.laid(p, name, sources, alone)
	}
	bridge, err := j.decodeUsage(sources[0].held, true)
	if err != nil || len(j.runs) == 0 {
		return g, nil, err
	}
	c = j.containerOf(p, name)
	g.runs, g.counter = j.runs, quantity.Counter{Bridge: bridge, Start: j.start(p, c, sources[0], alone, j.runs[0].T), Unit: 1}
	return g, c, nil
}

// laid lays several sources over each other.
func (j *joiner) laid(p *pod, name string, sources []source, alone bool) (g growth, c *container, err error) {
	lanes, err := lanesOf(j, &j.spreads, sources, func(dst []quantity.Spread, s source, bridge int64) []quantity.Spread {
		c = j.containerOf(p, name)
		start := j.start(p, c, s, alone, j.runs[0].T)
		return quantity.Counter{Bridge: bridge, Start: start, Unit: 1}.Spreads(dst, j.runs)
	})
	if err != nil || c == nil {
		return g, nil, err
	}
	return growth{laid: true, pieces: j.spreads.overlay(lanes)}, c, nil
}

// gpuAdder collects how busy the devices of containers are that asked for GPUs, from the first metric that tells.
func (j *joiner) gpuAdder(metric string, unit float64) func(groupKey, []source) error {
	return func(k groupKey, all []source) error {
		for _, p := range k.pods.pods {
			i := slices.IndexFunc(p.containers, func(c *container) bool { return c.name == k.container && len(c.request[gpuResource]) > 0 })
			if i < 0 || len(p.segments) == 0 {
				continue
			}
			c := p.containers[i]
			if c.gpus != nil && c.gpus.by != metric {
				continue
			}
			lanes, err := lanesOf(j, &room[quantity.Level]{}, all, func(_ []quantity.Level, _ source, bridge int64) []quantity.Level {
				return quantity.Levels(nil, j.runs, bridge, unit)
			})
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(lanes, func(l lane[quantity.Level]) bool { return l.samples > 0 }) {
				continue
			}
			if c.gpus == nil {
				c.gpus = &gpus{by: metric}
			}
			c.gpus.busy = append(c.gpus.busy, overlay(lanes))
		}
		return nil
	}
}

// addGPU integrates how busy the container's devices were, while that is known of all of them.
func (c *container) addGPU(p *pod) {
	if c.gpus == nil {
		return
	}
	known, sum := spansOf(c.gpus.busy[0]), c.gpus.busy[0]
	for _, levels := range c.gpus.busy[1:] {
		spans := spansOf(levels)
		known = without(known, without(known, spans))
		sum = quantity.Combine(nil, sum, levels, quantity.Add)
	}
	for i, s := range p.segments {
		for _, k := range known {
			k = k.clip(s.span)
			c.rows[i].gpu.Add(sum, c.request[gpuResource], k.from, k.to)
		}
	}
}

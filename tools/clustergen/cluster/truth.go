package cluster

import (
	"math/big"
)

// PodContainer is the container's name in the row of what a pod's effective request has beyond the sum of its containers'.
const PodContainer = "__pod__"

// Truth is what is true of one UTC hour, in the order of the description. Each row is there twice.
//
// Real is what happened: a pod holds its resources from Scheduled to Completed or Removed, requests and usage are what the
// description says at each instant, and nothing is unknown.
//
// Observed is what samples of the first scraper and first job can tell, with these rules. T is the scrape interval, the
// bridge max(5 min, 4T), a hold a time without a gap between scrapes beyond the bridge, and without a marker.
//   - A gauge has the value of the latest scrape. A hold begins at its first scrape and ends at the marker, or when the last scrape is a
//     bridge old.
//   - A pod is alive in the holds of its series. The first scrape of a hold tells back to the scheduled time if that is no further
//     away than the bridge; requests and limits have then the values of that scrape. A hold without a marker ends at its last scrape. From
//     the completion time on the pod is not alive, if it was scraped while Succeeded or Failed. A pod that was never scraped while it had a
//     node doesn't exist.
//   - CPU increases evenly between two scrapes of a run at most a bridge apart, marker or not, and between the run's start and its
//     first scrape if they are. The total since the run's start is rounded to core-microseconds, half up, where it is asked for:
//     at the ends of the hour, of the pod's life, and where the request changes. At scrapes it is an integer. Between other
//     scrapes usage is unknown.
//   - A node is up from its first scrape to its last marker (its last scrape if there is none), gaps included; Blind are the gaps
//     between holds. The same for volumes and load balancers, without Blind.
//   - Unused is the sum of max(request − usage, 0) over the parts on which both are known and even; Unknown is the request while alive and
//     usage is unknown.
type Truth struct {
	// Hour is its start in Unix milliseconds.
	Hour       int64
	Containers []ContainerTruth
	Nodes      []NodeTruth
	// Volumes in byte-milliseconds, Balancers in milliseconds.
	Volumes, Balancers []AssetTruth
}

// ContainerTruth is one container in one hour, or what is beyond the containers of its pod.
type ContainerTruth struct {
	Namespace, Pod, UID, Container string
	Node, Provider                 string
	// Init containers that aren't sidecars have usage and no request: theirs is in the pod's effective one.
	Init           bool
	Real, Observed Holding
}

// Holding are a container's integrals. CPU and GPU are in microseconds of one, Memory in byte-milliseconds.
type Holding struct {
	// Alive in milliseconds.
	Alive            int64
	CPU, Memory, GPU Held
}

// Held is one resource; a holding is Used + Unused + Unknown.
type Held struct {
	Used, Unused, Unknown, Request, Limit *big.Int
	// Known is how long usage is known, in milliseconds.
	Known int64
}

// NodeTruth is one machine in one hour.
type NodeTruth struct {
	Name, Provider string
	Real, Observed Uptime
}

// Uptime of a node in milliseconds, and the integrals of what it has; allocatable is at most capacity.
type Uptime struct {
	Up, Blind                    int64
	CPU, Memory, GPU             *big.Int
	AllocatableCPU               *big.Int
	AllocatableMemory, AllocGPUs *big.Int
}

// AssetTruth is a volume or load balancer in one hour.
type AssetTruth struct {
	Namespace, Name string
	Real, Observed  Shared
}

// Shared is an asset's quantity, and what of it falls to pods by their UID: at each instant evenly to those that are there.
type Shared struct {
	Quantity *big.Int
	Shares   map[string]*big.Rat
}

// Truth of the hour that begins at a time. Things that are not in it in either way have no row.
func (c *Cluster) Truth(start int64) *Truth {
	o := &observer{Cluster: c, hour: Span{start, start + hour}.clip(c.Span), grids: map[sourceKey]*grid{}}
	t := &Truth{Hour: start}
	if o.hour.empty() {
		return t
	}
	for i := range c.Pods {
		if p := &c.Pods[i]; p.Node >= 0 && !p.life().clip(o.hour).empty() || o.ends(p) {
			t.Containers = append(t.Containers, o.pod(p)...)
		}
	}
	for i := range c.Nodes {
		if n := o.node(&c.Nodes[i]); n.Real.Up+n.Observed.Up > 0 {
			t.Nodes = append(t.Nodes, n)
		}
	}
	for i := range c.Volumes {
		if a := o.volume(&c.Volumes[i]); a.there() {
			t.Volumes = append(t.Volumes, a)
		}
	}
	for i := range c.Services {
		if a := o.balancer(&c.Services[i]); a.there() {
			t.Balancers = append(t.Balancers, a)
		}
	}
	return t
}

func (a *AssetTruth) there() bool { return a.Real.Quantity.Sign()+a.Observed.Quantity.Sign() > 0 }

// ends tells of pods that are gone before the hour, and whose marker is in it.
func (c *observer) ends(p *Pod) bool {
	return p.Node >= 0 && p.Removed > 0 && p.Removed <= c.hour.From && p.Removed+c.longest() > c.hour.From
}

// pod are the rows of its containers and, if there is anything in it, of what is beyond them.
func (o *observer) pod(p *Pod) []ContainerTruth {
	n := &o.Nodes[p.Node]
	real, seen := within([]piece{{p.holds(), 1}}, o.hour), o.alive(p)
	if lengthOf(real)+lengthOf(seen) == 0 {
		return nil
	}
	row := func(name string) ContainerTruth {
		r := ContainerTruth{Namespace: p.Namespace, Pod: p.Name, UID: p.UID, Container: name, Node: n.Name, Provider: n.ProviderID}
		r.Real.Alive, r.Observed.Alive = lengthOf(real), lengthOf(seen)
		return r
	}
	var rows []ContainerTruth
	for i := range p.InitContainers {
		r := row(p.InitContainers[i].Name)
		r.Init = !p.InitContainers[i].Sidecar
		o.container(&r, p, &p.InitContainers[i], seen)
		rows = append(rows, r)
	}
	for i := range p.Containers {
		r := row(p.Containers[i].Name)
		o.container(&r, p, &p.Containers[i], seen)
		rows = append(rows, r)
	}
	r := row(PodContainer)
	rest := func(alive []piece, of func(Shape) []piece) (cpu, memory Held) {
		cpu = hold(p.beyond(alive, of, p.Overhead.CPU, func(c *Container) Shape { return c.RequestCPU }), nil, alive)
		memory = hold(p.beyond(alive, of, p.Overhead.Memory, func(c *Container) Shape { return c.RequestMemory }), nil, alive)
		return cpu, memory
	}
	r.Real.CPU, r.Real.Memory = rest(real, func(s Shape) []piece { return s.pieces(nil, o.hour) })
	r.Observed.CPU, r.Observed.Memory = rest(seen, func(s Shape) []piece { return o.requested(p, s) })
	r.Real.GPU, r.Observed.GPU = hold(nil, nil, nil), hold(nil, nil, nil)
	if r.Real.CPU.Request.Sign()+r.Real.Memory.Request.Sign()+r.Observed.CPU.Request.Sign()+r.Observed.Memory.Request.Sign() > 0 {
		rows = append(rows, r)
	}
	return rows
}

// container fills a row.
func (o *observer) container(r *ContainerTruth, p *Pod, c *Container, seen []piece) {
	life := p.holds().clip(o.hour)
	real := []piece{{life, 1}}
	if life.empty() {
		real = nil
	}
	request := func(s Shape) (was, told []piece) {
		if r.Init {
			return nil, nil
		}
		return s.pieces(nil, life), mask(o.requested(p, s), seen)
	}
	cpu, cpuTold := request(c.RequestCPU)
	memory, memoryTold := request(c.RequestMemory)
	limit, limitTold := request(c.LimitCPU)
	memoryLimit, memoryLimitTold := request(c.LimitMemory)
	used := c.used(life, func(r *Run) Shape { return r.CPU })
	working := c.used(life, func(r *Run) Shape { return r.Memory })
	r.Real.CPU = hold(cpu, even(used), real)
	r.Real.Memory = hold(memory, even(working), real)
	r.Real.CPU.Limit, r.Real.Memory.Limit = integral(limit), integral(memoryLimit)
	r.Observed.CPU = hold(cpuTold, o.cpu(p, c), seen)
	r.Observed.Memory = hold(memoryTold, even(o.memory(p, c)), seen)
	r.Observed.CPU.Limit, r.Observed.Memory.Limit = integral(limitTold), integral(memoryLimitTold)
	r.Real.GPU, r.Observed.GPU = hold(nil, nil, nil), hold(nil, nil, nil)
	if len(c.GPUs) > 0 {
		gpu, told := request(Constant(1000 * int64(len(c.GPUs))))
		r.Real.GPU, r.Observed.GPU = hold(gpu, even(c.busy(p, life)), real), hold(told, even(o.busy(p, c)), seen)
	}
}

// used is what runs use in a span, 0 between them.
func (c *Container) used(in Span, of func(*Run) Shape) []piece {
	var out []piece
	t := in.From
	for i := range c.Runs {
		r := c.Runs[i].clip(in)
		if r.empty() {
			continue
		}
		out = appendPiece(out, piece{Span{t, r.From}, 0})
		if ps := of(&c.Runs[i]).pieces(nil, r); len(ps) > 0 {
			for _, p := range ps {
				out = appendPiece(out, p)
			}
		} else {
			out = appendPiece(out, piece{r, 0})
		}
		t = r.To
	}
	return appendPiece(out, piece{Span{t, in.To}, 0})
}

// busy adds up the container's devices.
func (c *Container) busy(p *Pod, in Span) []piece {
	var all [][]piece
	for i := range c.GPUs {
		all = append(all, c.GPUs[i].Busy.pieces(nil, in.clip(p.sandbox())))
	}
	return sum(in, all)
}

// beyond is max(max(init), containers + sidecars) + overhead − (containers + sidecars), while alive.
func (p *Pod) beyond(alive []piece, of func(Shape) []piece, overhead int64, request func(*Container) Shape) []piece {
	var usual, inits [][]piece
	for i := range p.Containers {
		usual = append(usual, of(request(&p.Containers[i])))
	}
	for i := range p.InitContainers {
		if ps := of(request(&p.InitContainers[i])); p.InitContainers[i].Sidecar {
			usual = append(usual, ps)
		} else {
			inits = append(inits, ps)
		}
	}
	var out []piece
	for _, a := range alive {
		cut(a.Span, append(append([][]piece{}, usual...), inits...), func(s Span, values []int64) {
			total, most := int64(0), int64(0)
			for _, v := range values[:len(usual)] {
				total += v
			}
			for _, v := range values[len(usual):] {
				most = max(most, v)
			}
			out = appendPiece(out, piece{s, max(most-total, 0) + overhead})
		})
	}
	return out
}

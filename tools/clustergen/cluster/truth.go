package cluster

import (
	"math/big"
)

// PodContainer is the container's name in the row of what a pod's effective request has beyond the sum of its containers'.
const PodContainer = "__pod__"

// Truth is what is true of one UTC hour, in the order of the description. Each row is there twice.
//
// Real is what happened, watched or not: a pod holds its resources from Scheduled to Completed or Removed, requests and usage are what the
// description says at each instant, and nothing is unknown.
//
// Observed is what samples of the first scraper and the first job of each kind can tell, with these rules. The bridge is
// max(5 min, 4 × interval of the job).
//   - A gauge has the value of the latest scrape, until its marker, or until that scrape is a bridge old.
//   - A pod is alive from its scheduled time to its completion time, if it was scraped since; else to its last marker, or its last scrape
//     if there is none; and only while its node is up. One that was never scraped while it had a node doesn't exist. Its first scrape tells back
//     to its life's begin, if a bridge reaches so far. Gaps of scrapes don't end a life, but requests are unknown in them, and count as 0.
//   - CPU increases evenly between two scrapes of a run at most a bridge apart, marker or not, and between the run's start and its
//     first scrape if they are. Between others usage is unknown. The increase is rounded down to core-microseconds where it is asked
//     for: at the ends of the hour, of the pod's life, and where the request changes.
//   - A node is up from its creation, or its first scrape if that is more than a bridge later, to its last marker (its last scrape if
//     there is none), gaps included, and at most until another one of its name is created. Blind are the gaps that no bridge
//     reaches over. Volumes and load balancers are there from the first scrape to the last marker.
//   - Unused is the sum of max(request − usage, 0) over the parts on which both are known and even; Unknown is the request while alive and
//     usage is unknown.
//
// A reader of one hour that looks no further than some time around it can't tell the gaps that are longer than that.
type Truth struct {
	// Hour is its start in Unix milliseconds.
	Hour       int64
	Containers []ContainerTruth
	Nodes      []NodeTruth
	// Volumes in byte-milliseconds, Balancers in milliseconds.
	Volumes, Balancers []AssetTruth
	// Traffic of pods, if anything tells where it goes.
	Traffic []TrafficTruth `json:",omitempty"`
}

// ContainerTruth is one container in one hour, sidecars included, or what is beyond the containers of its pod: requests of init containers
// as far as they are more, the overhead, and the usage of init containers.
type ContainerTruth struct {
	Namespace, Pod, UID, Container string
	Node, Provider                 string
	Real, Observed                 Holding
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
	Up, Blind                         int64
	CPU, Memory, GPU                  *big.Int
	AllocatableCPU                    *big.Int
	AllocatableMemory, AllocatableGPU *big.Int
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
	o := &observer{Cluster: c, hour: Span{start, start + hour}, grids: map[sourceKey]*grid{}, ups: map[*Node]Span{}}
	t := &Truth{Hour: start}
	for i := range c.Pods {
		if p := &c.Pods[i]; p.Node >= 0 && !p.life().clip(o.hour).empty() || o.ends(p) {
			t.Containers = append(t.Containers, o.pod(p)...)
			if len(c.Scrape.NetworkCosts) > 0 && !p.HostNetwork {
				t.Traffic = append(t.Traffic, o.traffic(p))
			}
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
	add := func(c *Container) {
		r := row(c.Name)
		o.container(&r, p, c, seen)
		rows = append(rows, r)
	}
	beyond := p.Overhead != Amounts{}
	for i := range p.InitContainers {
		if c := &p.InitContainers[i]; c.Sidecar {
			add(c)
		} else {
			beyond = true
		}
	}
	for i := range p.Containers {
		add(&p.Containers[i])
	}
	if beyond {
		r := row(PodContainer)
		o.beyond(&r, p, real, seen)
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
	request := func(s Shape) (was, told []piece) { return s.pieces(nil, life), o.requested(p, s) }
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

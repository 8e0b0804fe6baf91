package cluster

import (
	"slices"
	"strings"
)

// template is what pods of one workload have in common.
type template struct {
	kind, namespace, name string
	containers            int
	request               [2]int64 // of a container, in thousandths of its share: CPU and memory; 0 = none
	init, sidecar, limits bool
	overhead              Amounts
	priority              string
	hostNetwork           bool
	gpu, resize, failing  bool
	rollouts              []int64
	sets                  []string // ReplicaSets, one from each rollout on
	elastic               []Span   // when there are more replicas than at least
	pods                  []int
}

var kinds = [...]string{"Deployment", "Deployment", "Deployment", "StatefulSet", "DaemonSet", "CronJob", "Job", "Bare"}

// workload adds one of at most so many slots, and returns how many it took.
func (g *generator) workload(most int) int {
	g.works++
	t := &template{
		kind: kinds[g.rng.IntN(len(kinds))], namespace: namespaceName(g.rng.IntN(4)), name: "app-" + itoa(g.works), containers: 1 + g.rng.IntN(2),
		init: g.chance(3), sidecar: g.chance(4), limits: g.chance(3), hostNetwork: g.chance(12), gpu: g.chance(3), resize: g.chance(4), failing: g.chance(4),
	}
	if !g.chance(8) {
		t.request = [2]int64{g.between(50, 900), g.between(50, 900)}
	}
	if g.chance(8) {
		t.overhead = Amounts{CPU: 25, Memory: 64 << 20}
	}
	if g.chance(4) {
		t.priority = "high"
	}
	slots := min(1+g.rng.IntN(8), most)
	if t.kind == "DaemonSet" {
		if g.daemons += g.Nodes; g.daemons > g.Nodes && g.daemons > g.Pods/4 {
			t.kind = "Deployment"
		} else {
			t.hostNetwork, t.gpu = g.chance(2), false
			slots = min(g.Nodes, most)
		}
	}
	least := slots
	if t.kind == "Deployment" {
		t.rollouts, t.elastic = g.cuts(2*g.Life), g.windows()
		least = 1 + slots/2
		for range t.rollouts {
			t.sets = append(t.sets, t.name+"-"+strings.Map(letter, g.hex(9)))
		}
	}
	for i := range slots {
		active := []Span{{g.From - hour, g.To + hour}}
		if i >= least {
			active = t.elastic
		}
		g.slot(t, i, active)
	}
	g.controllers(t, least, slots)
	g.extras(t)
	return slots
}

// letter makes hexadecimal digits those that Kubernetes uses in names.
func letter(r rune) rune { return rune("bcdfghjklmnpqrst"[strings.IndexRune("0123456789abcdef", r)]) }

// cuts are times from before the span on, about so far apart.
func (g *generator) cuts(apart int64) []int64 {
	out := []int64{g.From - 2*hour}
	for t := g.From + g.between(0, apart); t < g.To; t += g.between(apart/2, 2*apart) + 1 {
		out = append(out, t)
	}
	return out
}

func (g *generator) windows() []Span {
	var out []Span
	for t := g.From + g.between(0, 6*hour); t < g.To; {
		w := Span{t, t + g.between(10*minute, 12*hour)}
		out = append(out, w)
		t = w.To + g.between(10*minute, 12*hour)
	}
	return out
}

// controllers exports the workload itself, and its ReplicaSets. A set is deleted an hour after the next one came.
func (g *generator) controllers(t *template, least, most int) {
	life := Span{g.From - 2*hour, g.To + hour}
	w := Workload{Kind: t.kind, Namespace: t.namespace, Name: t.name, Span: life, Replicas: Constant(int64(most))}
	switch t.kind {
	case "Deployment":
		if least < most {
			w.HPA = &Autoscaler{int64(least), int64(most)}
			w.Replicas = Constant(int64(least))
			for _, s := range t.elastic {
				w.Replicas.Steps = append(w.Replicas.Steps, Step{s.From, int64(most)}, Step{s.To, int64(least)})
			}
		}
		for i, name := range t.sets {
			set := Workload{Kind: "ReplicaSet", Namespace: t.namespace, Name: name, ParentKind: "Deployment", ParentName: t.name,
				Span: Span{t.rollouts[i], life.To}, Replicas: w.Replicas}
			if i+1 < len(t.sets) {
				set.To = t.rollouts[i+1] + hour
			}
			g.out.Workloads = append(g.out.Workloads, set)
		}
	case "Bare", "Job":
		return
	}
	g.out.Workloads = append(g.out.Workloads, w)
}

// extras are a load balancer or a volume that all pods of the workload share.
func (g *generator) extras(t *template) {
	life := Span{g.From - hour, g.To + hour}
	if g.chance(3) {
		life = Span{g.moment(g.Span), g.To + hour}
	}
	if t.kind == "Deployment" && g.chance(3) {
		g.out.Services = append(g.out.Services, Service{Namespace: t.namespace, Name: t.name, UID: g.uid(), Type: "LoadBalancer", IP: "10.96.0.1",
			IngressIP: "203.0.113.7", Span: life, Pods: t.pods})
	}
	if t.kind == "Deployment" && g.chance(5) {
		g.volume(t.namespace, t.name, life, t.pods)
	}
}

func (g *generator) volume(namespace, claim string, life Span, pods []int) {
	size := g.between(1, 200) << 30
	v := Volume{Name: "pvc-" + g.uid(), Class: [...]string{"gp3", "io2"}[g.rng.IntN(2)], Namespace: namespace, Claim: claim, Driver: "ebs.csi.aws.com",
		Handle: "vol-0" + g.hex(16), Span: life, Size: Constant(size), Used: g.pattern(size/10, size/2, g.From), Pods: pods}
	if g.chance(3) {
		v.Size.Steps = append(v.Size.Steps, Step{g.moment(g.Span), 2 * size})
	}
	g.out.Volumes = append(g.out.Volumes, v)
}

// slot fills a place for pods with one after another, while there is a node.
func (g *generator) slot(t *template, ordinal int, active []Span) {
	machine := g.slots % len(g.machines)
	rank := g.slots / len(g.machines)
	if t.kind == "DaemonSet" {
		machine, rank = ordinal%len(g.machines), rank+ordinal/len(g.machines)
	}
	g.slots++
	before := len(t.pods)
	for _, node := range g.machines[machine] {
		for _, a := range active {
			g.fill(t, ordinal, rank, node, a.clip(g.out.Nodes[node].Span).clip(Span{g.From - hour, g.To + hour}))
		}
	}
	if t.kind == "StatefulSet" && g.chance(2) {
		g.volume(t.namespace, "data-"+t.name+"-"+itoa(ordinal), Span{g.From - hour, g.To + hour}, slices.Clone(t.pods[before:]))
	}
}

func (g *generator) fill(t *template, ordinal, rank, node int, in Span) {
	for at := in.From + g.between(0, 20_000); at < in.To; {
		p := g.pod(t, ordinal, node, Span{at, in.To})
		g.contain(t, &p, rank)
		g.out.Pods = append(g.out.Pods, p)
		t.pods = append(t.pods, len(g.out.Pods)-1)
		at = min(orForever(p.Completed), p.Removed) + g.between(1, 30_000)
	}
}

// pod without its containers. Jobs complete and are removed later; others are removed.
func (g *generator) pod(t *template, ordinal, node int, in Span) Pod {
	p := Pod{Namespace: t.namespace, UID: g.uid(), Node: node, Created: in.From, PriorityClass: t.priority, HostNetwork: t.hostNetwork, Overhead: t.overhead,
		IP: "100.64." + itoa(g.rng.IntN(256)) + "." + itoa(g.rng.IntN(256))}
	p.Scheduled = p.Created + g.between(0, 4_000)
	p.Started = p.Scheduled + g.between(0, 2_000)
	end := in.From + g.between(1_000, 2*g.Life)
	switch t.kind {
	case "Deployment":
		i := len(t.rollouts) - 1
		for i > 0 && t.rollouts[i] > p.Created {
			i--
		}
		if i+1 < len(t.rollouts) {
			end = min(end, max(t.rollouts[i+1]+g.between(0, 60_000), p.Started+1_000))
		}
		p.Owner = Owner{"ReplicaSet", t.sets[i], "Deployment", t.name}
		p.Name = t.sets[i] + "-" + strings.Map(letter, g.hex(5))
	case "StatefulSet":
		p.Owner, p.Name = Owner{Kind: t.kind, Name: t.name}, t.name+"-"+itoa(ordinal)
	case "Bare":
		p.Name = t.name + "-" + itoa(ordinal)
	case "CronJob", "Job":
		end = min(end, in.From+g.between(2_000, 2*hour))
		job := t.name + "-" + itoa(int(in.From/minute)) + "-" + itoa(ordinal)
		p.Owner, p.Name = Owner{Kind: "Job", Name: job}, job+"-"+strings.Map(letter, g.hex(5))
		w := Workload{Kind: "Job", Namespace: t.namespace, Name: job, Span: Span{p.Created, in.To}}
		if t.kind == "CronJob" {
			p.Owner.ParentKind, p.Owner.ParentName = t.kind, t.name
			w.ParentKind, w.ParentName = t.kind, t.name
		}
		g.out.Workloads = append(g.out.Workloads, w)
	default:
		p.Owner, p.Name = Owner{Kind: t.kind, Name: t.name}, t.name+"-"+strings.Map(letter, g.hex(5))
	}
	end = max(min(end, in.To), p.Started+2_000)
	p.Removed = end
	if p.Owner.Kind == "Job" {
		p.Completed, p.Failed = end, g.chance(4)
		p.Removed = end + g.between(1, 3*hour)
	}
	p.Labels = []LabelStep{{p.Created, map[string]string{"app": t.name, "pod-template-hash": "x"}}}
	if g.chance(6) {
		p.Labels = append(p.Labels, LabelStep{g.moment(Span{p.Created, p.Removed}), map[string]string{"app": t.name, "tier": "gold"}})
	}
	p.Received, p.Sent = g.pattern(0, 500, p.Created), g.pattern(0, 500, p.Created)
	return p
}

// contain adds containers: init containers one after another, sidecars beside all, then the others.
func (g *generator) contain(t *template, p *Pod, rank int) {
	n := &g.out.Nodes[p.Node]
	share := int64(g.Pods/g.Nodes + 2)
	cpu, memory := n.Capacity.CPU*9/10/share/4, n.Capacity.Memory*9/10/share/4
	end := min(orForever(p.Completed), p.Removed)
	at := min(p.Started+g.between(100, 3_000), end-1_000)
	if t.sidecar {
		c := g.container(t, p, "proxy", [2]int64{cpu, memory})
		c.Sidecar, c.Runs = true, g.runs(Span{at, end}, cpu, memory, 1)
		p.InitContainers = append(p.InitContainers, c)
	}
	if t.init {
		c := g.container(t, p, "migrate", [2]int64{3 * cpu, 3 * memory})
		done := min(at+g.between(500, 90_000), end-500)
		c.Runs = g.runs(Span{at, done}, cpu, memory, 1)
		p.InitContainers = append(p.InitContainers, c)
		at = done
	}
	restarts := 1
	if t.failing {
		restarts = 1 + g.rng.IntN(4)
	}
	for i := range t.containers {
		c := g.container(t, p, [...]string{"main", "helper"}[i], [2]int64{cpu, memory})
		to := end
		if i == 1 && p.Completed > 0 && g.chance(2) {
			to = max(at+1, end-g.between(0, 10*minute)) // ends before the pod does
		}
		c.Runs = g.runs(Span{at, to}, cpu, memory, restarts)
		if i == 0 && t.gpu && rank < int(n.Capacity.GPU) {
			c.GPUs = []Device{{Index: rank, Busy: g.pattern(0, 1000, p.Created), Memory: g.pattern(100, 20_000, p.Created)}}
		}
		p.Containers = append(p.Containers, c)
	}
}

func (g *generator) container(t *template, p *Pod, name string, share [2]int64) Container {
	c := Container{Name: name, Image: "registry.example.com/" + t.namespace + "/" + name + ":1." + itoa(g.works%9)}
	if t.request[0] == 0 {
		return c
	}
	c.RequestCPU, c.RequestMemory = Constant(max(share[0]*t.request[0]/1000, 1)), Constant(max(share[1]*t.request[1]/1000, 1))
	if t.resize && name == "main" {
		at := g.moment(Span{p.Created, p.Removed})
		c.RequestCPU.Steps = append(c.RequestCPU.Steps, Step{at, c.RequestCPU.Steps[0].Value * 3 / 2})
		c.RequestMemory.Steps = append(c.RequestMemory.Steps, Step{at, c.RequestMemory.Steps[0].Value * 3 / 2})
	}
	if t.limits {
		c.LimitCPU, c.LimitMemory = c.RequestCPU, Constant(2*c.RequestMemory.Steps[0].Value)
	}
	return c
}

// runs of a container in a span, with pauses between them.
func (g *generator) runs(in Span, cpu, memory int64, n int) []Run {
	var out []Run
	at := in.From
	for i := range n {
		r := Run{ID: g.hex(64), Span: Span{at, in.To}, CPU: g.pattern(0, cpu, at), Memory: g.pattern(memory/10, memory, at),
			Read: g.pattern(0, 200, at), Written: g.pattern(0, 100, at)}
		if g.chance(3) {
			r.Throttled = g.pattern(0, 9, at)
		}
		if i+1 < n && in.To-at > 10 {
			r.To = g.moment(Span{at + 1, in.To})
		}
		if r.empty() {
			return out
		}
		out = append(out, r)
		at = r.To + g.between(1, 40_000)
		if r.To == in.To || at >= in.To {
			break
		}
	}
	return out
}

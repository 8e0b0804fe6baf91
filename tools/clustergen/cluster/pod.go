package cluster

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// life is how long the API server has the pod.
func (p *Pod) life() Span { return Span{p.Created, orForever(p.Removed)} }

// holds is how long it has a place on its node: the real life of the cost law.
func (p *Pod) holds() Span {
	if p.Node < 0 || p.Scheduled == 0 {
		return Span{}
	}
	return Span{p.Scheduled, min(orForever(p.Completed), orForever(p.Removed))}
}

func orForever(t int64) int64 {
	if t == 0 {
		return Forever
	}
	return t
}

// running is when the first container that isn't an init container starts.
func (p *Pod) running() int64 {
	t := int64(Forever)
	for i := range p.Containers {
		for _, r := range p.Containers[i].Runs {
			t = min(t, r.From)
		}
	}
	return t
}

// completion is the completion time that kube-state-metrics exports at t: that of the last container that has ended for good,
// however many others run. It is 0 as long as none has.
func (p *Pod) completion(t int64) int64 {
	last := int64(0)
	for i := range p.Containers {
		if n := len(p.Containers[i].Runs); n > 0 && p.Containers[i].Runs[n-1].To <= t {
			last = max(last, p.Containers[i].Runs[n-1].To)
		}
	}
	if p.Completed > 0 && p.Completed <= t {
		last = p.Completed
	}
	return last
}

// firstEnd is when the first container has ended for good.
func (p *Pod) firstEnd() int64 {
	first := orForever(p.Completed)
	for i := range p.Containers {
		if n := len(p.Containers[i].Runs); n > 0 {
			first = min(first, p.Containers[i].Runs[n-1].To)
		}
	}
	return first
}

// phases are the pod's phases and when they are.
func (p *Pod) phases() map[string]Span {
	completed, removed := orForever(p.Completed), orForever(p.Removed)
	running := min(p.running(), completed)
	last := "Succeeded"
	if p.Failed {
		last = "Failed"
	}
	return map[string]Span{
		"Pending": {p.Created, min(running, removed)},
		"Running": {running, min(completed, removed)},
		last:      {completed, removed},
	}
}

// QoS is the class that Kubernetes gives to the pod's requests and limits when it is created.
func (p *Pod) QoS() string {
	any, guaranteed := false, true
	for _, list := range [][]Container{p.Containers, p.InitContainers} {
		for i := range list {
			c := &list[i]
			any = any || c.RequestCPU.Set() || c.RequestMemory.Set() || c.LimitCPU.Set() || c.LimitMemory.Set()
			same := func(request, limit Shape) bool {
				return limit.Set() && (!request.Set() || request.At(p.Created) == limit.At(p.Created))
			}
			guaranteed = guaranteed && same(c.RequestCPU, c.LimitCPU) && same(c.RequestMemory, c.LimitMemory)
		}
	}
	switch {
	case !any:
		return "BestEffort"
	case guaranteed:
		return "Guaranteed"
	}
	return "Burstable"
}

// labelSpans calls fn with each set of Kubernetes labels as pairs of label_* and how long it holds within life.
func labelSpans(steps []LabelStep, life Span, fn func(Span, []string)) {
	for i, st := range steps {
		s := Span{st.At, Forever}
		if i == 0 {
			s.From = min(s.From, life.From)
		}
		if i+1 < len(steps) {
			s.To = steps[i+1].At
		}
		var pairs []string
		for _, k := range slices.SortedFunc(maps.Keys(st.Labels), cmp.Compare[string]) {
			pairs = append(pairs, "label_"+sanitize(k), st.Labels[k])
		}
		if s = s.clip(life); !s.empty() {
			fn(s, pairs)
		}
	}
}

// sanitize makes a Kubernetes label name one of Prometheus, as kube-state-metrics does.
func sanitize(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			return r
		}
		return '_'
	}, name)
}

func perPod(name string, fn func(v *view, p *Pod, put podPut)) family {
	return family{name, func(v *view) {
		for _, i := range v.pods {
			p := &v.Pods[i]
			unit := v.shard(p.UID)
			fn(v, p, func(life Span, value func(int64) float64, pairs ...string) {
				if life = life.clip(p.life()); life.empty() {
					return
				}
				v.put(stateMetrics, unit, life, value, append([]string{"namespace", p.Namespace, "pod", p.Name, "uid", p.UID}, pairs...)...)
			})
		}
	}}
}

type podPut func(life Span, value func(int64) float64, pairs ...string)

func podFamilies() []family {
	return []family{
		perPod("kube_pod_info", podInfo),
		perPod("kube_pod_created", func(_ *view, p *Pod, put podPut) { put(p.life(), seconds(p.Created)) }),
		perPod("kube_pod_start_time", func(_ *view, p *Pod, put podPut) {
			if p.Started > 0 {
				put(Span{p.Started, Forever}, seconds(p.Started))
			}
		}),
		perPod("kube_pod_completion_time", func(_ *view, p *Pod, put podPut) {
			put(Span{p.firstEnd(), Forever}, func(t int64) float64 { return float64(p.completion(t)) / 1000 })
		}),
		perPod("kube_pod_status_scheduled_time", func(_ *view, p *Pod, put podPut) {
			if p.Scheduled > 0 {
				put(Span{p.Scheduled, Forever}, seconds(p.Scheduled))
			}
		}),
		perPod("kube_pod_status_phase", func(_ *view, p *Pod, put podPut) {
			phases := p.phases()
			for _, phase := range []string{"Pending", "Running", "Succeeded", "Failed", "Unknown"} {
				put(p.life(), during(phases[phase]), "phase", phase)
			}
		}),
		perPod("kube_pod_status_qos_class", func(_ *view, p *Pod, put podPut) {
			for _, class := range []string{"BestEffort", "Burstable", "Guaranteed"} {
				put(p.life(), flag(p.QoS() == class), "qos_class", class)
			}
		}),
		perPod("kube_pod_owner", func(_ *view, p *Pod, put podPut) {
			controller := "true"
			if p.Owner.Kind == "" {
				controller = ""
			}
			put(p.life(), one, "owner_kind", p.Owner.Kind, "owner_name", p.Owner.Name, "owner_is_controller", controller)
		}),
		perPod("kube_pod_labels", func(_ *view, p *Pod, put podPut) {
			labelSpans(p.Labels, p.life(), func(s Span, pairs []string) { put(s, one, pairs...) })
		}),
		perPod("kube_pod_overhead_cpu_cores", func(_ *view, p *Pod, put podPut) {
			if p.Overhead.CPU > 0 {
				put(p.life(), constant(float64(p.Overhead.CPU)/1000))
			}
		}),
		perPod("kube_pod_overhead_memory_bytes", func(_ *view, p *Pod, put podPut) {
			if p.Overhead.Memory > 0 {
				put(p.life(), constant(float64(p.Overhead.Memory)))
			}
		}),
	}
}

// podInfo changes its labels when the pod gets a node, and when it gets an address.
func podInfo(v *view, p *Pod, put podPut) {
	kind, name := p.Owner.Kind, p.Owner.Name
	host := "false"
	if p.HostNetwork {
		host = "true"
	}
	info := func(s Span, node, hostIP, podIP string) {
		put(s, one, "host_ip", hostIP, "pod_ip", podIP, "node", node, "created_by_kind", kind, "created_by_name", name,
			"priority_class", p.PriorityClass, "host_network", host)
	}
	if p.Node < 0 || p.Scheduled == 0 {
		info(p.life(), "", "", "")
		return
	}
	n := &v.Nodes[p.Node]
	started := orForever(p.Started)
	ip := p.IP
	if p.HostNetwork {
		ip = n.IP
	}
	info(Span{p.Created, p.Scheduled}, "", "", "")
	info(Span{p.Scheduled, started}, n.Name, "", "")
	info(Span{started, Forever}, n.Name, n.IP, ip)
}

func flag(b bool) func(int64) float64 {
	if b {
		return one
	}
	return constant(0)
}

// during is 1 within a span and 0 outside.
func during(s Span) func(int64) float64 {
	return func(t int64) float64 {
		if s.Contains(t) {
			return 1
		}
		return 0
	}
}

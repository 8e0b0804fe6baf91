package cluster

import (
	"slices"
	"strings"
)

// cgroup is the path of a pod's cgroup, as the systemd driver names it.
func (p *Pod) cgroup() string {
	uid := strings.ReplaceAll(p.UID, "-", "_")
	switch p.QoS() {
	case "Guaranteed":
		return "/kubepods.slice/kubepods-pod" + uid + ".slice"
	case "BestEffort":
		return "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + uid + ".slice"
	}
	return "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + uid + ".slice"
}

// sandbox is how long the pod has a cgroup and a sandbox: from the kubelet's start until its end.
func (p *Pod) sandbox() Span {
	if p.Node < 0 || p.Started == 0 {
		return Span{}
	}
	return Span{p.Started, min(orForever(p.Completed), orForever(p.Removed))}
}

const pause = "registry.k8s.io/pause:3.10"

// perCgroup makes series of each run's cgroup.
func perCgroup(name string, fn func(r *Run, put podPut)) family {
	return family{name, func(v *view) {
		v.eachLiving(func(node int, p *Pod, c *Container, r *Run) {
			base := []string{"namespace", p.Namespace, "pod", p.Name, "container", c.Name, "image", c.Image, "name", r.ID,
				"id", p.cgroup() + "/cri-containerd-" + r.ID + ".scope"}
			fn(r, func(life Span, value func(int64) float64, pairs ...string) {
				v.put(cadvisor, node, life, value, append(slices.Clip(base), pairs...)...)
			})
		})
	}}
}

// eachLiving calls fn with the runs that may have samples in the view.
func (v *view) eachLiving(fn func(node int, p *Pod, c *Container, r *Run)) {
	near := Span{v.window.From - v.longest(), v.window.To}
	for _, i := range v.pods {
		p := &v.Pods[i]
		if p.Node < 0 {
			continue
		}
		for _, list := range [][]Container{p.Containers, p.InitContainers} {
			for j := range list {
				for k := range list[j].Runs {
					if r := &list[j].Runs[k]; !r.clip(near).empty() {
						fn(p.Node, p, &list[j], r)
					}
				}
			}
		}
	}
}

// perSandbox makes series of the pod as a whole: its cgroup, whose container label is empty, and its sandbox, called POD.
func perSandbox(name string, fn func(v *view, p *Pod, pod, sandbox podPut)) family {
	return family{name, func(v *view) {
		for _, i := range v.pods {
			p := &v.Pods[i]
			if p.Node < 0 || p.Started == 0 {
				continue
			}
			at := func(base ...string) podPut {
				return func(life Span, value func(int64) float64, pairs ...string) {
					v.put(cadvisor, p.Node, life, value, append(append([]string{"namespace", p.Namespace, "pod", p.Name}, base...), pairs...)...)
				}
			}
			id := digest(p.UID)
			fn(v, p, at("id", p.cgroup()), at("container", "POD", "image", pause, "name", id, "id", p.cgroup()+"/cri-containerd-"+id+".scope"))
		}
	}}
}

// perSlice makes series of a node's own cgroups.
func perSlice(name string, fn func(l *load, put func(id string, value func(int64) float64))) family {
	return family{name, func(v *view) {
		for _, i := range v.nodes {
			l := v.load(i)
			fn(l, func(id string, value func(int64) float64) {
				pairs := []string{"id", id}
				if name == "container_cpu_usage_seconds_total" {
					pairs = append(pairs, "cpu", "total")
				}
				v.put(cadvisor, i, l.node.Span, value, pairs...)
			})
		}
	}}
}

func cadvisorFamilies() []family {
	list := append(cpuFamilies(), memoryFamilies()...)
	return append(list, networkFamilies()...)
}

func cpuFamilies() []family {
	const cpu = "container_cpu_usage_seconds_total"
	return []family{
		perCgroup(cpu, func(r *Run, put podPut) { put(r.Span, counter(r.CPU, r.From, 1e6), "cpu", "total") }),
		perSandbox(cpu, func(_ *view, p *Pod, pod, sandbox podPut) {
			pod(p.sandbox(), func(t int64) float64 { return float64(p.cpu(t)) / 1e6 }, "cpu", "total")
			sandbox(p.sandbox(), constant(0.02), "cpu", "total")
		}),
		perSlice(cpu, func(l *load, put func(string, func(int64) float64)) {
			put("/", func(t int64) float64 { return float64(l.podCPU(t)+l.systemCPU(t)) / 1e6 })
			put("/kubepods.slice", func(t int64) float64 { return float64(l.podCPU(t)) / 1e6 })
			put("/system.slice", func(t int64) float64 { return float64(l.systemCPU(t)) / 1e6 })
		}),
		perCgroup("container_start_time_seconds", func(r *Run, put podPut) { put(r.Span, seconds(r.From)) }),
		perCgroup("container_cpu_cfs_periods_total", func(r *Run, put podPut) {
			if r.Throttled.Set() {
				put(r.Span, func(t int64) float64 { return float64((t - r.From) / 100) })
			}
		}),
		perCgroup("container_cpu_cfs_throttled_periods_total", func(r *Run, put podPut) {
			if r.Throttled.Set() {
				put(r.Span, func(t int64) float64 { return float64(r.Throttled.Sum(r.From, t) / 1000) })
			}
		}),
	}
}

// cpu of all containers of the pod until t.
func (p *Pod) cpu(t int64) int64 {
	return p.sum(func(r *Run) int64 { return r.CPU.Sum(r.From, min(r.To, t)) })
}

func (p *Pod) memory(t int64) int64 {
	return p.sum(func(r *Run) int64 {
		if r.Contains(t) {
			return r.Memory.At(t)
		}
		return 0
	})
}

func (p *Pod) sum(fn func(*Run) int64) int64 {
	sum := int64(0)
	for _, list := range [][]Container{p.Containers, p.InitContainers} {
		for i := range list {
			for k := range list[i].Runs {
				sum += fn(&list[i].Runs[k])
			}
		}
	}
	return sum
}

func memoryFamilies() []family {
	const memory = "container_memory_working_set_bytes"
	return []family{
		perCgroup(memory, func(r *Run, put podPut) { put(r.Span, gauge(r.Memory, 1)) }),
		perSandbox(memory, func(_ *view, p *Pod, pod, sandbox podPut) {
			pod(p.sandbox(), func(t int64) float64 { return float64(p.memory(t)) })
			sandbox(p.sandbox(), constant(512<<10))
		}),
		perSlice(memory, func(l *load, put func(string, func(int64) float64)) {
			put("/", func(t int64) float64 { return float64(l.podMemory(t) + l.node.SystemMemory.At(t)) })
			put("/kubepods.slice", func(t int64) float64 { return float64(l.podMemory(t)) })
			put("/system.slice", func(t int64) float64 { return float64(l.node.SystemMemory.At(t)) })
		}),
		perCgroup("container_fs_reads_bytes_total", func(r *Run, put podPut) {
			if r.Read.Set() {
				put(r.Span, counter(r.Read, r.From, 1), "device", "/dev/nvme0n1")
			}
		}),
		perCgroup("container_fs_writes_bytes_total", func(r *Run, put podPut) {
			if r.Written.Set() {
				put(r.Span, counter(r.Written, r.From, 1), "device", "/dev/nvme0n1")
			}
		}),
	}
}

// networkFamilies are on the sandbox, by interface. A pod in the host's network shows the bytes of its node.
func networkFamilies() []family {
	return []family{
		perSandbox("container_network_receive_bytes_total", func(v *view, p *Pod, _, sandbox podPut) {
			v.network(p, sandbox, func(o *Pod) Shape { return o.Received })
		}),
		perSandbox("container_network_transmit_bytes_total", func(v *view, p *Pod, _, sandbox podPut) {
			v.network(p, sandbox, func(o *Pod) Shape { return o.Sent })
		}),
	}
}

func (v *view) network(p *Pod, put podPut, rate func(*Pod) Shape) {
	switch r := rate(p); {
	case p.HostNetwork:
		put(p.sandbox(), v.nodeNetwork(p.Node, rate), "interface", "eth0")
	case r.Set():
		put(p.sandbox(), counter(r, p.Started, 1), "interface", "eth0")
	}
}

// nodeNetwork is what all pods of a node have received or sent.
func (v *view) nodeNetwork(node int, rate func(*Pod) Shape) func(int64) float64 {
	return func(t int64) float64 {
		sum := int64(0)
		for _, i := range v.byNode[node] {
			s := v.Pods[i].sandbox()
			sum += rate(&v.Pods[i]).Sum(s.From, min(s.To, t))
		}
		return float64(sum)
	}
}

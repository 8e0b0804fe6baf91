package cluster

import "slices"

// perExporter makes series of node-exporter.
func perExporter(name string, fn func(v *view, node int, put podPut)) family {
	return family{name, func(v *view) {
		if len(v.Scrape.NodeExporter) == 0 {
			return
		}
		for _, i := range v.nodes {
			fn(v, i, func(_ Span, value func(int64) float64, pairs ...string) {
				v.put(nodeExporter, i, v.Nodes[i].Span, value, pairs...)
			})
		}
	}}
}

func exporterFamilies() []family {
	return []family{
		perExporter("node_cpu_seconds_total", nodeCPU),
		perExporter("node_memory_MemTotal_bytes", func(v *view, node int, put podPut) {
			put(Span{}, constant(float64(v.Nodes[node].Capacity.Memory)))
		}),
		perExporter("node_memory_MemAvailable_bytes", func(v *view, node int, put podPut) {
			l := v.load(node)
			put(Span{}, func(t int64) float64 {
				return float64(l.node.Capacity.Memory - l.podMemory(t) - l.node.SystemMemory.At(t))
			})
		}),
		perExporter("node_disk_read_bytes_total", func(v *view, node int, put podPut) {
			put(Span{}, v.disk(node, func(r *Run) Shape { return r.Read }), "device", "nvme0n1")
		}),
		perExporter("node_disk_written_bytes_total", func(v *view, node int, put podPut) {
			put(Span{}, v.disk(node, func(r *Run) Shape { return r.Written }), "device", "nvme0n1")
		}),
		perExporter("node_network_receive_bytes_total", func(v *view, node int, put podPut) {
			v.devices(node, put, func(p *Pod) Shape { return p.Received }, func(p *Pod) Shape { return p.Sent })
		}),
		perExporter("node_network_transmit_bytes_total", func(v *view, node int, put podPut) {
			v.devices(node, put, func(p *Pod) Shape { return p.Sent }, func(p *Pod) Shape { return p.Received })
		}),
	}
}

// nodeCPU shares what the node uses evenly among its CPUs, without a rest, in three modes.
func nodeCPU(v *view, node int, put podPut) {
	l := v.load(node)
	n := max(l.node.Capacity.CPU/1000, 1)
	for cpu := range n {
		part := func(total int64) int64 { return total*(cpu+1)/n - total*cpu/n }
		user := func(t int64) int64 { return part(l.podCPU(t)) }
		system := func(t int64) int64 { return part(l.systemCPU(t)) }
		modes := map[string]func(int64) int64{"user": user, "system": system, "idle": func(t int64) int64 {
			return max((t-l.since)*1000-user(t)-system(t), 0)
		}}
		for _, mode := range []string{"idle", "system", "user"} {
			fn := modes[mode]
			put(Span{}, func(t int64) float64 { return float64(fn(t)) / 1e6 }, "cpu", itoa(int(cpu)), "mode", mode)
		}
	}
}

func (v *view) disk(node int, rate func(*Run) Shape) func(int64) float64 {
	return func(t int64) float64 {
		sum := int64(0)
		v.eachRun(node, func(_ *Pod, _ *Container, r *Run) { sum += rate(r).Sum(r.From, min(r.To, t)) })
		return float64(sum)
	}
}

// devices are eth0 with all bytes, lo with none of the pods', and each pod's veth, which has the same bytes again the other way around.
func (v *view) devices(node int, put podPut, own, peer func(*Pod) Shape) {
	put(Span{}, v.nodeNetwork(node, own), "device", "eth0")
	put(Span{}, counter(Constant(1), v.Nodes[node].From, 1), "device", "lo")
	for _, i := range v.byNode[node] {
		if p := &v.Pods[i]; !p.HostNetwork && peer(p).Set() {
			v.put(nodeExporter, node, p.sandbox(), counter(peer(p), p.Started, 1), "device", "veth"+digest(p.UID)[:8])
		}
	}
}

// targetFamilies say of each target whether its scrape went well.
func targetFamilies() []family {
	return []family{{"up", func(v *view) {
		for k := stateMetrics; k <= networkCosts; k++ {
			if k == stateMetrics {
				for unit := range max(v.Scrape.Shards, 1) {
					v.putUp(k, unit, v.Span)
				}
				continue
			}
			for _, i := range v.nodes {
				if n := &v.Nodes[i]; k != dcgm || n.Capacity.GPU > 0 {
					v.putUp(k, i, n.Span)
				}
			}
		}
	}}}
}

// putUp adds up: it has a sample at every try, 0 at those that fail.
func (v *view) putUp(k kind, unit int, life Span) {
	before := len(v.found)
	v.put(k, unit, life, one)
	for _, s := range v.found[before:] {
		failed := s.grid.failed
		g := *s.grid
		g.failed = nil
		s.grid = &g
		s.parts[0].value = func(t int64) float64 {
			if in(failed, t) {
				return 0
			}
			return 1
		}
	}
}

// dcgmFamilies are the GPUs of all nodes. A device that a container has carries its names with the prefix exported_, because the plain
// ones are those of the exporter's own pod.
func dcgmFamilies() []family {
	per := func(name string, value func(d *Device) func(int64) float64) family {
		return family{name, func(v *view) { v.devicesOf(value) }}
	}
	zero := constant(0)
	return []family{
		per("DCGM_FI_DEV_FB_USED", func(d *Device) func(int64) float64 {
			if d == nil {
				return zero
			}
			return gauge(d.Memory, 1)
		}),
		per("DCGM_FI_DEV_GPU_UTIL", func(d *Device) func(int64) float64 {
			if d == nil {
				return zero
			}
			return func(t int64) float64 { return float64(d.Busy.At(t) / 10) }
		}),
		per("DCGM_FI_PROF_GR_ENGINE_ACTIVE", func(d *Device) func(int64) float64 {
			if d == nil {
				return zero
			}
			return gauge(d.Busy, 1000)
		}),
	}
}

// holding is a device that a container has for a time.
type holding struct {
	Span
	pod       *Pod
	container *Container
	device    *Device
}

func (v *view) devicesOf(value func(d *Device) func(int64) float64) {
	for _, i := range v.nodes {
		n := &v.Nodes[i]
		if n.Capacity.GPU == 0 || len(v.Scrape.DCGM) == 0 {
			continue
		}
		held := v.holdings(i)
		for gpu := range int(n.Capacity.GPU) {
			uuid := digest(n.ProviderID + itoa(gpu))
			base := []string{"gpu", itoa(gpu), "device", "nvidia" + itoa(gpu), "UUID", "GPU-" + uuid[:8] + "-" + uuid[8:12], "Hostname", n.Name,
				"pci_bus_id", "00000000:0" + itoa(gpu) + ":00.0", "modelName", n.GPUModel, "DCGM_FI_DRIVER_VERSION", "570.133.20", "namespace", "gpu-operator", "pod", "nvidia-dcgm-exporter-" + uuid[:5],
				"container", "nvidia-dcgm-exporter"}
			free := n.From
			for _, h := range held[gpu] {
				v.put(dcgm, i, Span{free, h.From}, value(nil), base...)
				v.put(dcgm, i, h.Span, value(h.device), append(slices.Clip(base), "exported_namespace", h.pod.Namespace,
					"exported_pod", h.pod.Name, "exported_container", h.container.Name)...)
				free = max(free, h.To)
			}
			v.put(dcgm, i, Span{free, n.To}, value(nil), base...)
		}
	}
}

// holdings are who has which device of a node when, by device and time.
func (v *view) holdings(node int) map[int][]holding {
	held := map[int][]holding{}
	for _, j := range v.byNode[node] {
		p := &v.Pods[j]
		s := p.sandbox().clip(v.Nodes[node].Span)
		for k := range p.Containers {
			for d := range p.Containers[k].GPUs {
				dev := &p.Containers[k].GPUs[d]
				held[dev.Index] = append(held[dev.Index], holding{s, p, &p.Containers[k], dev})
			}
		}
	}
	for _, list := range held {
		slices.SortFunc(list, func(a, b holding) int { return int(min(max(a.From-b.From, -1), 1)) })
	}
	return held
}

package cluster

import "strconv"

// Requests and limits are exported from when the pod is created until it is removed, finished or not.

func perContainer(name string, init bool, fn func(c *Container, put podPut)) family {
	return perPod(name, func(v *view, p *Pod, put podPut) {
		list := p.Containers
		if init {
			list = p.InitContainers
		}
		for i := range list {
			c := &list[i]
			fn(c, func(life Span, value func(int64) float64, pairs ...string) {
				put(life, value, append([]string{"container", c.Name}, pairs...)...)
			})
		}
	})
}

func containerFamilies() []family {
	return []family{
		perContainer("kube_pod_container_info", false, containerInfo),
		perContainer("kube_pod_init_container_info", true, containerInfo),
		perAmount("kube_pod_container_resource_requests", false, false),
		perAmount("kube_pod_container_resource_limits", false, true),
		perAmount("kube_pod_init_container_resource_requests", true, false),
		perAmount("kube_pod_init_container_resource_limits", true, true),
		perContainer("kube_pod_container_state_started", false, containerStarted),
		perContainer("kube_pod_container_status_restarts_total", false, func(c *Container, put podPut) {
			put(Span{0, Forever}, func(t int64) float64 { return float64(c.restarts(t)) })
		}),
	}
}

// restarts before t: of the runs that have begun all but the first.
func (c *Container) restarts(t int64) int {
	n := 0
	for _, r := range c.Runs {
		if r.From <= t {
			n++
		}
	}
	return max(n-1, 0)
}

func containerInfo(c *Container, put podPut) {
	policy := ""
	if c.Sidecar {
		policy = "Always"
	}
	info := func(s Span, id string) {
		if id != "" {
			id = "containerd://" + id
		}
		put(s, one, "image", c.Image, "image_spec", c.Image, "image_id", c.Image+"@sha256:"+digest(c.Image), "container_id", id, "restart_policy", policy)
	}
	from := int64(0)
	for i, r := range c.Runs {
		if i == 0 {
			info(Span{from, r.From}, "")
		}
		to := int64(Forever)
		if i+1 < len(c.Runs) {
			to = c.Runs[i+1].From
		}
		info(Span{r.From, to}, r.ID)
	}
	if len(c.Runs) == 0 {
		info(Span{from, Forever}, "")
	}
}

// digest is 64 hexadecimal digits.
func digest(s string) string {
	out := ""
	for i := range 4 {
		h := strconv.FormatUint(hash(s, strconv.Itoa(i)), 16)
		out += "0000000000000000"[len(h):] + h
	}
	return out
}

func containerStarted(c *Container, put podPut) {
	if len(c.Runs) == 0 {
		return
	}
	put(Span{c.Runs[0].From, c.Runs[len(c.Runs)-1].To}, func(t int64) float64 {
		start := int64(0)
		for _, r := range c.Runs {
			if r.From <= t {
				start = r.From
			}
		}
		return float64(start) / 1000
	})
}

func perAmount(name string, init, limit bool) family {
	return perPod(name, func(v *view, p *Pod, put podPut) {
		list := p.Containers
		if init {
			list = p.InitContainers
		}
		amounts := func(s Span, node string) {
			for i := range list {
				list[i].amounts(limit, func(value func(int64) float64, resource, unit string) {
					put(s, value, "container", list[i].Name, "node", node, "resource", resource, "unit", unit)
				})
			}
		}
		if p.Node < 0 || p.Scheduled == 0 {
			amounts(p.life(), "")
			return
		}
		amounts(Span{p.Created, p.Scheduled}, "")
		amounts(Span{p.Scheduled, Forever}, v.Nodes[p.Node].Name)
	})
}

// amounts calls fn with each request or limit that is set.
func (c *Container) amounts(limit bool, fn func(value func(int64) float64, resource, unit string)) {
	cpu, memory := c.RequestCPU, c.RequestMemory
	if limit {
		cpu, memory = c.LimitCPU, c.LimitMemory
	}
	if cpu.Set() {
		fn(gauge(cpu, 1000), "cpu", "core")
	}
	if memory.Set() {
		fn(gauge(memory, 1), "memory", "byte")
	}
	if len(c.GPUs) > 0 {
		fn(constant(float64(len(c.GPUs))), "nvidia_com_gpu", "integer")
	}
}

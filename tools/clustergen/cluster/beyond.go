package cluster

// beyond fills the row of what a pod holds beyond its containers and sidecars.
func (o *observer) beyond(r *ContainerTruth, p *Pod, real, seen []piece) {
	cpu := func(c *Container) Shape { return c.RequestCPU }
	memory := func(c *Container) Shape { return c.RequestMemory }
	was := func(s Shape) []piece { return s.pieces(nil, o.hour) }
	told := func(s Shape) []piece { return o.requested(p, s) }
	var cpuWas, memoryWas, memoryTold [][]piece
	var cpuTold, known []slope
	var memoryKnown []piece
	for i := range p.InitContainers {
		if c := &p.InitContainers[i]; !c.Sidecar {
			cpuWas = append(cpuWas, c.used(o.hour, func(r *Run) Shape { return r.CPU }))
			memoryWas = append(memoryWas, c.used(o.hour, func(r *Run) Shape { return r.Memory }))
			cpuTold = append(cpuTold, o.cpu(p, c)...)
			memoryTold = append(memoryTold, o.memory(p, c))
			continue
		}
		known, memoryKnown = append(known, o.cpu(p, &p.InitContainers[i])...), append(memoryKnown, o.memory(p, &p.InitContainers[i])...)
	}
	for i := range p.Containers {
		known, memoryKnown = append(known, o.cpu(p, &p.Containers[i])...), append(memoryKnown, o.memory(p, &p.Containers[i])...)
	}
	r.Real.CPU = hold(p.excess(real, was, p.Overhead.CPU, cpu), even(sum(o.hour, cpuWas)), real)
	r.Real.Memory = hold(p.excess(real, was, p.Overhead.Memory, memory), even(sum(o.hour, memoryWas)), real)
	var inits []piece
	for _, ps := range memoryTold {
		inits = follow(inits, ps)
	}
	r.Observed.CPU = hold(p.excess(seen, told, p.Overhead.CPU, cpu), restOf(cpuTold, known), seen)
	r.Observed.Memory = hold(p.excess(seen, told, p.Overhead.Memory, memory), restOf(even(inits), even(memoryKnown)), seen)
	r.Real.GPU, r.Observed.GPU = hold(nil, nil, nil), hold(nil, nil, nil)
}

// restOf is the usage of init containers, and none of them while that of any other is known.
func restOf(inits, others []slope) []slope {
	var busy, free []piece
	for _, s := range inits {
		busy = append(busy, piece{s.Span, 1})
	}
	for _, s := range others {
		free = append(free, piece{s.Span, 1})
	}
	out := append([]slope{}, inits...)
	if len(free) == 0 {
		return out
	}
	all := free[0].Span
	for _, f := range free {
		all = Span{min(all.From, f.From), max(all.To, f.To)}
	}
	cut(all, [][]piece{busy, free}, func(s Span, values []int64) {
		if values[0] == 0 && values[1] > 0 {
			out = append(out, slope{Span: s})
		}
	})
	return out
}

// excess is max(max(init), containers + sidecars) + overhead - (containers + sidecars), while alive.
func (p *Pod) excess(alive []piece, of func(Shape) []piece, overhead int64, request func(*Container) Shape) []piece {
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
	extra := of(Constant(overhead))
	lists := append(append([][]piece{extra}, usual...), inits...)
	var out []piece
	for _, a := range alive {
		cut(a.Span, lists, func(s Span, values []int64) {
			total, most := int64(0), int64(0)
			for _, v := range values[1 : 1+len(usual)] {
				total += v
			}
			for _, v := range values[1+len(usual):] {
				most = max(most, v)
			}
			out = appendPiece(out, piece{s, max(most-total, 0) + values[0]})
		})
	}
	return out
}

package cluster

import "math/big"

// observer looks at one hour through the first scraper and the first job of each kind.
type observer struct {
	*Cluster
	hour  Span
	grids map[sourceKey]*grid
	ups   map[*Node]Span    // how long those were up that were asked for
	names map[[2]string]int // how many pods have a namespace and name, once that was asked for
}

// grid of a target; nil if there is no job.
func (o *observer) grid(k kind, unit int) *grid {
	if len(o.Scrape.jobs(k)) == 0 {
		return nil
	}
	key := sourceKey{k, unit}
	if g := o.grids[key]; g != nil {
		return g
	}
	g := o.targets(k, unit)[0].grid
	o.grids[key] = g
	return g
}

// hold is a time without a gap beyond the bridge and without a marker: from its first scrape to its last one, and when it ends.
type heldSpan struct {
	first, last, end int64
	marked           bool // it ends at a marker
}

// holds are those of a thing that is exported during life, which touch the hour; the first may begin too late.
func (g *grid) holds(life, hour Span) []heldSpan {
	from := life.From
	if t, ok := g.last(Span{life.From, min(hour.From+1, life.To)}); ok {
		from = t
	}
	var out []heldSpan
	for {
		first, ok := g.first(Span{from, life.To})
		if !ok || first >= hour.To+g.bridge() {
			return out
		}
		h := g.extend(first, life, hour.To+g.bridge())
		out = append(out, h)
		from = h.last + 1
	}
}

// extend follows a hold from a scrape on, at most to a time.
func (g *grid) extend(first int64, life Span, until int64) heldSpan {
	h := heldSpan{first: first, last: first}
	for {
		h.last, _ = g.last(Span{h.last, min(g.outage(h.last), life.To, until+1)})
		next, ok := g.first(Span{h.last + 1, life.To})
		marked := g.marks(h.last+g.interval) && (!ok || next > h.last+g.interval)
		if !ok || marked || next-h.last > g.bridge() || next > until {
			h.end, h.marked = h.last+g.bridge(), marked
			if marked {
				h.end = h.last + g.interval
			}
			return h
		}
		h.last = next
	}
}

// outage is when the next one begins after t.
func (g *grid) outage(t int64) int64 {
	next := g.span.To
	for _, list := range [][]Span{g.down, g.failed} {
		for _, s := range list {
			if s.To > t {
				next = min(next, max(s.From, t+1))
			}
		}
	}
	return next
}

// gauge is a shape as scrapes tell it while a thing lives, in the hour.
func (o *observer) gauge(g *grid, s Shape, life Span) []piece {
	return within(o.around(g, s, life), o.hour)
}

// around is gauge with what its pieces have before and after the hour.
func (o *observer) around(g *grid, s Shape, life Span) []piece {
	if g == nil || !s.Set() {
		return nil
	}
	var out []piece
	for _, h := range g.holds(life, o.hour) {
		out = append(out, g.told(s, h)...)
	}
	return out
}

// told are the values of a shape in a hold: each from the first scrape that has it.
func (g *grid) told(s Shape, h heldSpan) []piece {
	var out []piece
	for _, p := range s.pieces(nil, Span{h.first, h.last + 1}) {
		t, ok := g.first(Span{p.From, h.last + 1})
		if !ok {
			continue
		}
		if n := len(out); n > 0 {
			out[n-1].To = t
			if out[n-1].empty() {
				out = out[:n-1]
			}
		}
		out = append(out, piece{Span{t, h.end}, p.v})
	}
	return out
}

// lived is a pod's life as it is seen: from its scheduled time to its completion time, its last marker, or its last scrape, within that of its
// node.
func (o *observer) lived(p *Pod) Span {
	s := o.shown(p)
	if s.empty() {
		return Span{}
	}
	return s.clip(o.up(&o.Nodes[p.Node]))
}

// shown is lived by the pod's own series.
func (o *observer) shown(p *Pod) Span {
	g := o.grid(stateMetrics, o.shard(p.UID))
	if g == nil || p.Node < 0 || p.Scheduled == 0 {
		return Span{}
	}
	life := Span{p.Scheduled, orForever(p.Removed)}
	last, ok := g.last(life)
	if !ok {
		return Span{}
	}
	if p.Completed > 0 && last >= p.Completed {
		return Span{p.Scheduled, p.Completed}
	}
	if g.marks(last + g.interval) {
		last += g.interval
	}
	return Span{p.Scheduled, last}
}

// alive is the life in the hour.
func (o *observer) alive(p *Pod) []piece {
	return within([]piece{{o.lived(p), 1}}, o.hour)
}

// requested is a request or limit of a pod as told while it is alive. The first scrape tells back to the life's begin, if a bridge reaches so far.
func (o *observer) requested(p *Pod, s Shape) []piece {
	g := o.grid(stateMetrics, o.shard(p.UID))
	if g == nil || !s.Set() {
		return nil
	}
	told := o.around(g, s, p.life())
	first, _ := g.first(p.life())
	life := o.lived(p)
	if len(told) > 0 && told[0].From == first && first > life.From && first-life.From <= g.bridge() {
		told[0].From = life.From
	}
	return within(told, life.clip(o.hour))
}

// cpu are the slopes of a container's runs.
func (o *observer) cpu(p *Pod, c *Container) []slope {
	out := []slope{}
	g := o.grid(cadvisor, p.Node)
	if g == nil {
		return out
	}
	for i := range c.Runs {
		if r := &c.Runs[i]; r.From < o.hour.To && addTo(r.To, g.bridge()) > o.hour.From {
			out = append(out, o.slopes(g, r)...)
		}
	}
	return out
}

// slopes of one run that touch the hour; parts with an even rate are one slope, however many scrapes they have.
func (o *observer) slopes(g *grid, r *Run) []slope {
	var out []slope
	total := func(t int64) int64 { return r.CPU.Sum(r.From, t) }
	t, ok := g.last(Span{r.From, min(o.hour.From+1, r.To)})
	if !ok {
		if t, ok = g.first(r.Span); !ok {
			return nil
		}
		if t-r.From <= g.bridge() && t > r.From {
			out = append(out, slope{Span{r.From, t}, 0, total(t)})
		}
	}
	for t < o.hour.To {
		next, ok := g.first(Span{t + 1, r.To})
		if !ok {
			break
		}
		if next-t > g.bridge() {
			t = next
			continue
		}
		_, until := r.CPU.locateOr(t, r.To)
		if far, ok := g.last(Span{next, min(until+1, g.outage(t), r.To)}); ok {
			next = far
		}
		out = append(out, slope{Span{t, next}, total(t), total(next)})
		t = next
	}
	return out
}

// locateOr is locate for a shape that may be unset.
func (s Shape) locateOr(t, end int64) (v, until int64) {
	if !s.Set() {
		return 0, end
	}
	v, until = s.locate(t)
	return v, min(until, end)
}

// memory is the working set of a container's runs.
func (o *observer) memory(p *Pod, c *Container) []piece {
	out := []piece{}
	for i := range c.Runs {
		r := &c.Runs[i]
		if r.From >= o.hour.To || addTo(r.To, hour) <= o.hour.From {
			continue
		}
		out = follow(out, o.gauge(o.grid(cadvisor, p.Node), r.Memory.orZero(), r.Span))
	}
	return out
}

// follow lays pieces of a later run over those of an earlier one that was not seen to end.
func follow(earlier, later []piece) []piece {
	if len(later) == 0 || len(earlier) == 0 || earlier[len(earlier)-1].To <= later[0].From {
		return append(earlier, later...)
	}
	out := []piece{}
	cut(Span{min(earlier[0].From, later[0].From), max(earlier[len(earlier)-1].To, later[len(later)-1].To)}, [][]piece{earlier, later},
		func(s Span, values []int64) {
			if _, ok := valueAt(later, s.From); ok {
				out = appendPiece(out, piece{s, values[1]})
			} else if _, ok := valueAt(earlier, s.From); ok {
				out = appendPiece(out, piece{s, values[0]})
			}
		})
	return out
}

func (s Shape) orZero() Shape {
	if !s.Set() {
		return Constant(0)
	}
	return s
}

// busy is how busy a container's GPUs are said to be, where all are known.
func (o *observer) busy(p *Pod, c *Container) []piece {
	if len(c.GPUs) == 0 {
		return nil
	}
	var all [][]piece
	for i := range c.GPUs {
		all = append(all, o.gauge(o.grid(dcgm, p.Node), c.GPUs[i].Busy.orZero(), p.sandbox()))
	}
	known := all[0]
	out := []piece{}
	for _, k := range known {
		out = append(out, sum(k.Span, all)...)
	}
	return out
}

// up is from the node's creation, or the first scrape that has it if that is more than a bridge later, to its last marker, or until the next node
// of its name was created.
func (o *observer) up(n *Node) Span {
	if up, ok := o.ups[n]; ok {
		return up
	}
	g := o.grid(stateMetrics, o.shard(n.Name))
	up := created(g, n.Span)
	for i := range o.Nodes {
		if next := &o.Nodes[i]; next.Name == n.Name && next.From > n.From {
			if after := created(g, next.Span); !after.empty() {
				up.To = min(up.To, after.From)
			}
		}
	}
	o.ups[n] = up
	return up
}

func (o *observer) node(n *Node) NodeTruth {
	t := NodeTruth{Name: n.Name, Provider: n.ProviderID}
	real := n.clip(o.hour)
	t.Real = n.uptime(real.length(), real.length())
	g := o.grid(stateMetrics, o.shard(n.Name))
	known := int64(0)
	up := o.up(n).clip(o.hour)
	if !up.empty() {
		for _, h := range g.holds(n.Span, o.hour) {
			known += Span{h.first, h.end}.clip(up).length()
		}
		if first, _ := g.first(n.Span); first > up.From {
			known += min(first, up.To) - up.From
		}
	}
	t.Observed = n.uptime(up.length(), known)
	return t
}

// seen is from the first scrape of a thing to its last marker, or last scrape, gaps included.
func (g *grid) seen(life Span) Span {
	if g == nil {
		return Span{}
	}
	first, ok := g.first(life)
	if !ok {
		return Span{}
	}
	last, _ := g.last(life)
	if g.marks(last + g.interval) {
		last += g.interval
	}
	return Span{first, last}
}

// created is seen from the creation on, if that isn't more than a bridge before the first scrape.
func created(g *grid, life Span) Span {
	s := g.seen(life)
	if !s.empty() && s.From-life.From <= g.bridge() {
		s.From = life.From
	}
	return s
}

func (n *Node) uptime(up, known int64) Uptime {
	times := func(v, unit int64) *big.Int { return new(big.Int).Mul(big.NewInt(v*unit), big.NewInt(up)) }
	c, a := n.Capacity, n.Allocatable
	return Uptime{Up: up, Blind: up - known, CPU: times(c.CPU, 1), Memory: times(c.Memory, 1), GPU: times(c.GPU, 1000),
		AllocatableCPU: times(min(a.CPU, c.CPU), 1), AllocatableMemory: times(min(a.Memory, c.Memory), 1), AllocatableGPU: times(min(a.GPU, c.GPU), 1000)}
}

// volume is shared by the pods that mount it.
func (o *observer) volume(vol *Volume) AssetTruth {
	was, told := map[string][]piece{}, map[string][]piece{}
	for _, i := range vol.Pods {
		if p := &o.Pods[i]; p.Node >= 0 {
			was[p.UID] = within([]piece{{p.holds(), 1}}, o.hour)
			told[p.UID] = o.alive(p)
		}
	}
	g := o.grid(stateMetrics, o.shard(vol.Name))
	return AssetTruth{Namespace: vol.Namespace, Name: vol.Name,
		Real:     share(vol.Size.pieces(nil, vol.clip(o.hour)), was),
		Observed: share(stretch(o.around(g, vol.Size, vol.Span), g.seen(vol.Span).clip(o.hour)), told)}
}

// stretch lets values hold through gaps, within a span.
func stretch(ps []piece, in Span) []piece {
	ps = within(ps, in)
	if len(ps) > 0 {
		ps[0].From = in.From
	}
	for i := range ps {
		if i+1 < len(ps) {
			ps[i].To = ps[i+1].From
		} else {
			ps[i].To = in.To
		}
	}
	return ps
}

// balancer is shared by the pods behind it.
func (o *observer) balancer(s *Service) AssetTruth {
	t := AssetTruth{Namespace: s.Namespace, Name: s.Name}
	if s.Type != "LoadBalancer" {
		t.Real, t.Observed = share(nil, nil), share(nil, nil)
		return t
	}
	g := o.grid(stateMetrics, o.shard(s.UID))
	was, told := map[string][]piece{}, map[string][]piece{}
	for _, i := range s.Pods {
		p := &o.Pods[i]
		was[p.UID] = within([]piece{{p.ready(), 1}}, o.hour)
		told[p.UID] = o.gauge(g, Constant(1), p.ready().clip(s.Span))
	}
	t.Real = share(within([]piece{{s.Span, 1}}, o.hour), was)
	t.Observed = share(within([]piece{{g.seen(s.Span), 1}}, o.hour), told)
	return t
}

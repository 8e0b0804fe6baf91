package cluster

import "math/big"

// observer looks at one hour through the first scraper and the first job of each kind.
type observer struct {
	*Cluster
	hour  Span
	grids map[sourceKey]*grid
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
	if g == nil || !s.Set() {
		return nil
	}
	var out []piece
	for _, h := range g.holds(life, o.hour) {
		out = append(out, within(g.told(s, life, h), o.hour)...)
	}
	return out
}

// told are the values of a shape in a hold: each from the first scrape that has it.
func (g *grid) told(s Shape, life Span, h heldSpan) []piece {
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

// alive is when the pod is seen to hold its node, in the hour.
func (o *observer) alive(p *Pod) []piece {
	var out []piece
	for _, h := range o.podHolds(p) {
		out = appendPiece(out, piece{h.clip(o.hour), 1})
	}
	return out
}

type podHold struct {
	Span
	heldSpan
}

// podHolds are the holds of a pod's series while it has a node, and how long it is alive in each.
func (o *observer) podHolds(p *Pod) []podHold {
	g := o.grid(stateMetrics, o.shard(p.UID))
	if g == nil || p.Scheduled == 0 {
		return nil
	}
	var out []podHold
	life := Span{p.Scheduled, orForever(p.Removed)}
	for _, h := range g.holds(life, o.hour) {
		s := Span{h.first, h.last}
		if h.first-p.Scheduled <= g.bridge() {
			s.From = p.Scheduled
		}
		if h.marked {
			s.To = h.end
		}
		if p.Completed > 0 && h.last >= p.Completed {
			s.To = min(s.To, p.Completed)
		}
		if !s.empty() {
			out = append(out, podHold{s, h})
		}
	}
	return out
}

// requested is a request or limit of a pod as told while it is alive.
func (o *observer) requested(p *Pod, s Shape) []piece {
	g := o.grid(stateMetrics, o.shard(p.UID))
	if g == nil || !s.Set() {
		return nil
	}
	var out []piece
	for _, h := range o.podHolds(p) {
		told := g.told(s, p.life(), h.heldSpan)
		told[0].From = min(told[0].From, h.From)
		out = append(out, within(told, h.clip(o.hour))...)
	}
	return out
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

// follow appends pieces of a later run, which end those of an earlier one that was not seen to end.
func follow(to, ps []piece) []piece {
	if len(ps) > 0 {
		for n := len(to); n > 0 && to[n-1].To > ps[0].From; n = len(to) {
			if to[n-1].To = ps[0].From; !to[n-1].empty() {
				break
			}
			to = to[:n-1]
		}
	}
	return append(to, ps...)
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

// node is up from the first scrape that has it to its last marker.
func (o *observer) node(n *Node) NodeTruth {
	t := NodeTruth{Name: n.Name, Provider: n.ProviderID}
	real := n.clip(o.hour)
	t.Real = n.uptime(real.length(), real.length())
	up, known := o.up(o.grid(stateMetrics, o.shard(n.Name)), n.Span)
	t.Observed = n.uptime(up.length(), known)
	return t
}

// up is when a thing is seen to be there, gaps included, in the hour, and how long of it without gaps.
func (o *observer) up(g *grid, life Span) (up Span, known int64) {
	if g == nil {
		return Span{}, 0
	}
	first, ok := g.first(life)
	if !ok {
		return Span{}, 0
	}
	last, _ := g.last(life)
	end := last
	if g.marks(last + g.interval) {
		end += g.interval
	}
	up = Span{first, end}.clip(o.hour)
	for _, h := range g.holds(life, o.hour) {
		known += Span{h.first, h.end}.clip(up).length()
	}
	return up, known
}

func (n *Node) uptime(up, known int64) Uptime {
	times := func(v, unit int64) *big.Int { return new(big.Int).Mul(big.NewInt(v*unit), big.NewInt(up)) }
	c, a := n.Capacity, n.Allocatable
	return Uptime{Up: up, Blind: up - known, CPU: times(c.CPU, 1), Memory: times(c.Memory, 1), GPU: times(c.GPU, 1000),
		AllocatableCPU: times(min(a.CPU, c.CPU), 1), AllocatableMemory: times(min(a.Memory, c.Memory), 1), AllocGPUs: times(min(a.GPU, c.GPU), 1000)}
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
	up, _ := o.up(o.grid(stateMetrics, o.shard(vol.Name)), vol.Span)
	size := o.gauge(o.grid(stateMetrics, o.shard(vol.Name)), vol.Size, vol.Span)
	return AssetTruth{Namespace: vol.Namespace, Name: vol.Name,
		Real:     share(vol.Size.pieces(nil, vol.clip(o.hour)), was),
		Observed: share(stretch(size, up), told)}
}

// stretch lets values hold through gaps, within a span.
func stretch(ps []piece, in Span) []piece {
	ps = within(ps, in)
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
	up, _ := o.up(g, s.Span)
	t.Real = share(within([]piece{{s.Span, 1}}, o.hour), was)
	t.Observed = share(within([]piece{{up, 1}}, o.hour), told)
	return t
}

package cost

import "fmt"

// Part is [from, to) of an hour that was counted whole, pro rata: of each row what falls to that part of the row's time, as if it had come evenly.
// Rounding is by row, so that the parts of an hour add up to it: capacity, holdings, shares and traffic to the unit, and what is allocatable or blind but for one.
// What autoscalers did can't be told of parts, and is left out. An hour that the law would refuse is an error.
func (h *Hour) Part(from, to int64) (*Hour, error) {
	if err := h.validate(); err != nil {
		return nil, fmt.Errorf("hour %d: %w", h.Start, err)
	}
	p := &Hour{Start: h.Start, From: from, To: to, Warnings: h.Warnings}
	for i := range h.Workloads {
		w := &h.Workloads[i]
		if f := portionOf(p, w.From, w.To); f.some() {
			part := w.cut(f.from, f.to, f.total)
			part.From, part.To = f.span(w.From)
			p.Workloads = append(p.Workloads, part)
		}
	}
	for i := range h.Nodes {
		n := &h.Nodes[i]
		if f := portionOf(p, n.From, n.To); f.some() {
			p.Nodes = append(p.Nodes, n.cut(f))
		}
	}
	for _, s := range h.Scalings {
		if s.At >= from && s.At < to {
			p.Scalings = append(p.Scalings, s)
		}
	}
	return p, p.cutAssets(h)
}

// portion is the part [from, to) of a row's time, from its begin on.
type portion struct{ from, to, total int64 }

// portionOf is what the part of an hour has of a row's time.
func portionOf(part *Hour, from, to int64) portion {
	return portion{max(part.From-from, 0), min(part.To, to) - from, to - from}
}

// some tells that it isn't empty.
func (f portion) some() bool { return f.from < f.to }

// of is that part of a quantity. Those of adjacent portions add up.
func (f portion) of(v int64) int64 { return scale(v, f.to, f.total) - scale(v, f.from, f.total) }

// span is when it is, of a row that begins at a time.
func (f portion) span(begin int64) (from, to int64) { return begin + f.from, begin + f.to }

func (n *Node) cut(f portion) Node {
	part := *n
	part.From, part.To = f.span(n.From)
	part.Up = f.of(n.Up)
	for _, c := range []*Capacity{&part.CPU, &part.RAM, &part.GPU} {
		whole := *c
		c.Capacity, c.Used = f.of(whole.Capacity), f.of(whole.Used)
		c.Allocatable, c.Blind = min(f.of(whole.Allocatable), c.Capacity), min(f.of(whole.Blind), c.Capacity)
		if c.Capacity > 0 {
			part.Up = max(part.Up, 1) // it was there
		}
	}
	part.Blind = min(f.of(n.Blind), part.Up)
	return part
}

// cutAssets gives the part the assets and shares of the whole. An asset is the sum of its shares and of what is left, each rounded by itself.
func (h *Hour) cutAssets(whole *Hour) error {
	left, at := map[assetKey]int64{}, map[assetKey]int{}
	for i := range whole.Assets {
		a := &whole.Assets[i]
		left[a.key()] = a.Quantity
	}
	for i := range whole.Shares {
		s := &whole.Shares[i]
		if rest, ok := left[s.key()]; !ok {
			h.Shares = append(h.Shares, *s) // the law tells of it
		} else if left[s.key()] = rest - s.Quantity; rest < s.Quantity {
			return fmt.Errorf("hour %d: shares of %s %q of cluster %q are more than it is", h.Start, s.Kind, s.Asset, s.Cluster)
		}
	}
	portions := map[assetKey]portion{}
	for _, a := range whole.Assets {
		key := a.key()
		if f := portionOf(h, a.From, a.To); f.some() {
			a.From, a.To = f.span(a.From)
			a.Quantity = f.of(left[key])
			portions[key], at[key] = f, len(h.Assets)
			h.Assets = append(h.Assets, a)
		}
	}
	for _, s := range whole.Shares {
		key := s.key()
		if f, ok := portions[key]; ok {
			a := &h.Assets[at[key]]
			s.From, s.Quantity = a.From, f.of(s.Quantity)
			a.Quantity += s.Quantity
			h.Shares = append(h.Shares, s)
		}
	}
	return nil
}

func (a *Asset) key() assetKey { return assetKey{a.Kind, a.Cluster, a.Name, a.From} }

func (s *Share) key() assetKey { return assetKey{s.Kind, s.Cluster, s.Asset, s.From} }

package cost

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/varve-io/varve/pkg/cost/money"
)

// Names of the law's warnings.
const (
	CapacityMissing     = "capacity_missing"      // a node's CPU or RAM is unknown; what it held of it can't be billed
	Overcommitted       = "overcommit"            // more was held of a node than it has, by a millionth at least; holdings are scaled down
	WorkloadWithoutNode = "workload_without_node" // nobody knows the node, so what was held is outside the bill
	ShareWithoutAsset   = "share_without_asset"
)

// Ledger divides each node of the hour, and each asset, among those who held it. The hour's rows must be sorted; a negative
// quantity, or parts that are larger than their whole, are an error.
func (m Method) Ledger(h *Hour, names *Names) (*Ledger, error) {
	if err := h.validate(); err != nil {
		return nil, fmt.Errorf("hour %d: %w", h.Start, err)
	}
	l := law{method: m, hour: h, names: names, collector: newCollector(names)}
	if err := l.divide(); err != nil {
		return nil, fmt.Errorf("hour %d: %w", h.Start, err)
	}
	from, to := h.Span()
	ledger := &Ledger{
		From: from, To: to, Method: m, Names: names, Lives: h.lives(), Scalings: slices.Clone(h.Scalings),
		Scalers: addScalers(slices.Clone(h.Scalers)), Warnings: addWarnings(l.warnings),
	}
	slices.SortFunc(ledger.Scalings, compareScalings)
	l.collector.finish(ledger)
	return ledger, nil
}

type law struct {
	method    Method
	hour      *Hour
	names     *Names
	collector *collector
	bare      bool // items have no pods and no names of nodes and assets, as in a roll-up
	stays     []stay
	of        holdings // of the node that is divided
	warnings  []Warning
}

// divide gives the collector all items of the hour.
func (l *law) divide() error {
	l.warnings = slices.Clone(l.hour.Warnings)
	l.settle()
	if err := l.nodes(); err != nil {
		return err
	}
	if err := l.assets(); err != nil {
		return err
	}
	l.clusters()
	return nil
}

// stay is a row of a node and who was on it.
type stay struct {
	node  *Node
	parts []part
}

// part is the part of a workload from one point to another of all its time with nodes.
type part struct {
	workload        int
	from, to, total int64
}

// holdings are all that is held of a node's row.
type holdings struct {
	items   []Item
	classes []TrafficClass // of each item
	held    [3][][3]int64  // by resource, for each item
	used    Traffic        // that has no class
}

type nodeKey struct{ cluster, name string }

// settle finds the rows of nodes for each workload. One that saw several is cut in proportion to the time with each.
func (l *law) settle() {
	byNode := map[nodeKey][]int{}
	l.stays = make([]stay, len(l.hour.Nodes))
	for i := range l.hour.Nodes {
		n := &l.hour.Nodes[i]
		l.stays[i].node = n
		key := nodeKey{n.Cluster, n.Name}
		byNode[key] = append(byNode[key], i)
	}
	var at []int
	for i := range l.hour.Workloads {
		w := &l.hour.Workloads[i]
		at = at[:0]
		var total, done int64
		for _, s := range byNode[nodeKey{w.Cluster, w.Node}] {
			if together := l.stays[s].node.with(w); together > 0 {
				at, total = append(at, s), total+together
			}
		}
		if len(at) == 0 {
			l.homeless(w)
		}
		for _, s := range at {
			together := l.stays[s].node.with(w)
			l.stays[s].parts = append(l.stays[s].parts, part{i, done, done + together, total})
			done += together
		}
	}
}

// with is how long the workload was there.
func (n *Node) with(w *Workload) int64 {
	if w.Provider != "" && n.Provider != "" && w.Provider != n.Provider {
		return 0
	}
	return min(n.To, w.To) - max(n.From, w.From)
}

func (l *law) subject(s Subject) uint32 {
	if l.bare {
		s.Pod, s.UID = "", ""
	}
	return l.names.Subject(s)
}

func (l *law) place(p Place) uint32 {
	if l.bare {
		p.Name, p.Provider = "", ""
	}
	return l.names.Place(p)
}

// hold lets nothing be held but by workloads that are taken from now on.
func (l *law) hold() *holdings {
	h := &l.of
	h.items, h.classes, h.used = h.items[:0], h.classes[:0], Traffic{}
	for r := range h.held {
		h.held[r] = h.held[r][:0]
	}
	return h
}

// take adds a workload to what is held.
func (l *law) take(w *Workload) {
	h, item := &l.of, w.item()
	item.Subject = l.subject(Subject{Owner: w.Owner, Container: w.Container})
	h.items = append(h.items, item)
	for r, held := range []*Held{&w.CPU, &w.RAM, &w.GPU} {
		h.held[r] = append(h.held[r], l.method.holding(held))
	}
	h.classes = append(h.classes, w.Class)
	if w.Class == "" {
		h.used.add(&item.Traffic)
	}
}

// item has all of the workload but what it holds.
func (w *Workload) item() Item {
	item := Item{
		Kind:  Workloads,
		Alive: w.Alive, CPUKnown: w.CPUKnown, RAMKnown: w.RAMKnown, GPUKnown: w.GPUKnown,
		Traffic: Traffic{
			Received: money.Units(w.Network.Received), Sent: money.Units(w.Network.Sent),
			Read: money.Units(w.Disk.Read), Written: money.Units(w.Disk.Written),
		},
	}
	item.CPU.Request, item.RAM.Request, item.GPU.Request = money.Units(w.CPU.Request), money.Units(w.RAM.Request), money.Units(w.GPU.Request)
	return item
}

// homeless is a workload on a node that nobody knows: all it held is outside the bill.
func (l *law) homeless(w *Workload) {
	of := l.hold()
	l.take(w)
	item := &of.items[0]
	item.Place = l.place(Place{Class: Class{Kind: NowhereClass, Cluster: w.Cluster, Traffic: w.Class}})
	for r, p := range item.parts() {
		for _, held := range of.held[r][0] {
			p.Over = p.Over.Plus(money.Units(held))
		}
	}
	l.collector.add(item)
	l.collector.addAsset(&AssetItem{Subject: l.cluster(w.Cluster), Place: item.Place, Traffic: item.Traffic})
	l.warn(WorkloadWithoutNode, w.Cluster, w.Node) // not the pod, which some readers leave out
}

func (i *Item) parts() [3]*Parts { return [3]*Parts{&i.CPU, &i.RAM, &i.GPU} }

func (l *law) cluster(name string) uint32 {
	return l.names.Subject(Subject{Owner: Owner{Cluster: name}})
}

func (l *law) warn(name, cluster, example string) {
	l.warnings = append(l.warnings, Warning{Name: name, Cluster: cluster, Count: 1, Example: example})
}

// nodes divides each row of a node.
func (l *law) nodes() error {
	for i := range l.stays {
		if err := l.node(&l.stays[i]); err != nil {
			return fmt.Errorf("node %q of cluster %q: %w", l.stays[i].node.Name, l.stays[i].node.Cluster, err)
		}
	}
	return nil
}

func (l *law) node(s *stay) error {
	n := s.node
	of := l.hold()
	for _, p := range s.parts {
		w := l.hour.Workloads[p.workload].cut(p.from, p.to, p.total)
		l.take(&w)
	}
	subject, place := l.cluster(n.Cluster), l.place(n.place())
	idle := Item{Kind: Idle, Subject: subject, Place: place}
	system := Item{Kind: System, Subject: subject, Place: place}
	unknown := Item{Kind: Unknown, Subject: subject, Place: place}
	asset := AssetItem{Subject: subject, Place: place, Up: n.Up, Blind: n.Blind, Traffic: of.used}
	supplies := [3]*Supply{&asset.CPU, &asset.RAM, &asset.GPU}
	var over bool
	for r, c := range []*Capacity{&n.CPU, &n.RAM, &n.GPU} {
		d, err := divide(c, of.held[r])
		if err != nil {
			return err
		}
		over = over || c.Capacity > c.Blind && d.over > (c.Capacity-c.Blind)/1_000_000
		idle.parts()[r].Unused = money.Units(d.idle)
		system.parts()[r].Unused = money.Units(d.system)
		unknown.parts()[r].Unused = money.Units(c.Blind)
		*supplies[r] = Supply{
			Capacity: money.Units(c.Capacity), Allocatable: money.Units(c.Allocatable), Blind: money.Units(c.Blind), Used: money.Units(c.Used),
		}
		for i := range of.items {
			of.items[i].parts()[r].bill(of.held[r][i], d.parts[3*i:3*i+3])
		}
	}
	if n.CPU.Capacity == 0 && n.RAM.Capacity == 0 && n.GPU.Capacity == 0 {
		unknown.Amount, asset.Amount = money.Units(n.Up), money.Units(n.Up)
	}
	if n.CPU.Capacity == 0 || n.RAM.Capacity == 0 {
		l.warn(CapacityMissing, n.Cluster, n.Name)
	} else if over {
		l.warn(Overcommitted, n.Cluster, n.Name)
	}
	for i := range of.items {
		item := &of.items[i]
		item.Place = place
		if class := of.classes[i]; class != "" {
			classified := n.place()
			classified.Traffic = class
			item.Place = l.place(classified)
			l.collector.addAsset(&AssetItem{Subject: subject, Place: item.Place, Traffic: item.Traffic})
		}
		l.collector.add(item)
	}
	for _, item := range []*Item{&idle, &system, &unknown} {
		if !item.empty() {
			l.collector.add(item)
		}
	}
	l.collector.addAsset(&asset)
	return nil
}

// bill puts what is billed of a holding into its parts.
func (p *Parts) bill(held [3]int64, billed []int64) {
	p.Used, p.Unused, p.Unknown = money.Units(billed[0]), money.Units(billed[1]), money.Units(billed[2])
	p.Over = money.Units(held[0] - billed[0] + held[1] - billed[1] + held[2] - billed[2])
}

func (i *Item) empty() bool {
	return i.CPU == (Parts{}) && i.RAM == (Parts{}) && i.GPU == (Parts{}) && i.Amount.IsZero()
}

// place is where the node's items are. Its size is what capacity is the integral of.
func (n *Node) place() Place {
	class := Class{Kind: NodeClass, Cluster: n.Cluster, Type: n.InstanceType, Region: n.Region, Zone: n.Zone, Spot: n.Spot, Labels: n.Labels}
	if n.Up > 0 {
		class.Size = Size{CPU: n.CPU.Capacity / n.Up, RAM: scale(n.RAM.Capacity, 1000, n.Up), GPU: n.GPU.Capacity / n.Up}
	}
	return Place{Class: class, Name: n.Name, Provider: n.Provider}
}

// scale is v × num / den, rounded down; the largest integer if there is none of that size.
func scale(v, num, den int64) int64 {
	hi, lo := bits.Mul64(uint64(v), uint64(num))
	if hi >= uint64(den) {
		return 1<<63 - 1
	}
	q, _ := bits.Div64(hi, lo, uint64(den))
	return int64(min(q, 1<<63-1))
}

// clusters bills the time in which a cluster had a node.
func (l *law) clusters() {
	spans := map[string][][2]int64{}
	for i := range l.hour.Nodes {
		n := &l.hour.Nodes[i]
		spans[n.Cluster] = append(spans[n.Cluster], [2]int64{n.From, n.To})
	}
	for cluster, of := range spans {
		subject, place := l.cluster(cluster), l.place(Place{Class: Class{Kind: ClusterClass, Cluster: cluster}})
		amount := money.Units(union(of))
		l.collector.add(&Item{Kind: Overhead, Subject: subject, Place: place, Amount: amount})
		l.collector.addAsset(&AssetItem{Subject: subject, Place: place, Amount: amount})
	}
}

// union is how much time is in any of the spans.
func union(spans [][2]int64) int64 {
	slices.SortFunc(spans, func(a, b [2]int64) int { return int(a[0] - b[0]) })
	var sum, end int64
	for _, s := range spans {
		sum += max(s[1]-max(s[0], end), 0)
		end = max(end, s[1])
	}
	return sum
}

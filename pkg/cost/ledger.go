package cost

import "github.com/varve-io/varve/pkg/cost/money"

// Kind is what an item is a part of.
type Kind uint8

// Kinds, in the order of reports.
const (
	Workloads    Kind = iota // what pods held
	Idle                     // allocatable, and nobody's
	System                   // beyond what is allocatable
	Unmounted                // volumes that no pod mounts
	Overhead                 // paid for a whole cluster
	Unknown                  // nobody can know: no facts of pods, or no capacity
	Unattributed             // load balancers without pods
	kinds
)

// String is the kind's name in reports.
func (k Kind) String() string {
	return [...]string{"workload", "idle", "system", "unmounted", "overhead", "unknown", "unattributed"}[k]
}

// Ledger is what the law made of a whole number of UTC hours, [From, To): items, and, counted without a look at these, the assets that are paid for.
// Both are sorted by their names, not by numbers. A ledger of one hour names pods and nodes; a roll-up doesn't.
type Ledger struct {
	From, To int64  // milliseconds
	Method   Method // "" is max-request-usage/v1, the only one of stored roll-ups
	Names    *Names
	Items    []Item
	Assets   []AssetItem
	Lives    []NodeLife // of nodes, sorted
	Scalings []Scaling
	Scalers  []Autoscaler // one of a workload, sorted
	Warnings []Warning
}

// Item is a quantity of one kind, subject and place, after scaling: what is billed and to whom.
//
//	Workloads on a node    CPU, RAM, GPU; Received, Sent, Read, Written; Alive and the times in which usage is known
//	Traffic of a class     Received and Sent; the class is of the place
//	Workloads of an asset  Amount of a volume's byte-seconds or of a load balancer's milliseconds
//	Idle, System, Unknown  CPU, RAM, GPU in Unused; Amount of milliseconds for a node of unknown capacity
//	Unmounted, Unattributed, Overhead   Amount
type Item struct {
	Kind           Kind
	Subject, Place uint32
	CPU, RAM, GPU  Parts
	Amount         money.Quantity
	Traffic
	Alive, CPUKnown, RAMKnown, GPUKnown int64 // milliseconds
}

// Parts of a resource. Used, Unused and Unknown are billed; their sum over all items of a node is its capacity.
type Parts struct {
	Used, Unused, Unknown money.Quantity
	Over                  money.Quantity // overcommit: what was held beyond the node's capacity, outside the bill
	Request               money.Quantity // as it was, before scaling
}

// Assets are amounts by what they are of: volumes' byte-seconds, load balancers' milliseconds, and milliseconds of clusters and
// nodes of unknown capacity.
type Assets struct{ Storage, LB, Time money.Quantity }

func (a *Assets) add(b *Assets) {
	a.Storage, a.LB, a.Time = a.Storage.Plus(b.Storage), a.LB.Plus(b.LB), a.Time.Plus(b.Time)
}

// Traffic is bytes. Received and Sent are money where the price book has a price for them.
type Traffic struct{ Received, Sent, Read, Written money.Quantity }

// Classified are bytes received and sent, by place in TrafficClasses.
type Classified [4][2]money.Quantity

func (c *Classified) add(d *Classified) {
	for i := range c {
		c[i][0], c[i][1] = c[i][0].Plus(d[i][0]), c[i][1].Plus(d[i][1])
	}
}

// AssetItem is what is paid for: a node's capacity, or an asset's quantity. The bill is the sum of these. Subject has the cluster, of a
// volume or load balancer also the namespace, and a volume's claim as the Pod.
type AssetItem struct {
	Subject, Place uint32
	CPU, RAM, GPU  Supply
	Amount         money.Quantity // as of Item; of a node's milliseconds only while its capacity is unknown
	Up, Blind      int64          // of a node, milliseconds
	Traffic                       // of the workloads on the node
}

// Supply is a resource of nodes.
type Supply struct{ Capacity, Allocatable, Blind, Used money.Quantity }

func (p *Parts) add(q *Parts) {
	p.Used = p.Used.Plus(q.Used)
	p.Unused = p.Unused.Plus(q.Unused)
	p.Unknown = p.Unknown.Plus(q.Unknown)
	p.Over = p.Over.Plus(q.Over)
	p.Request = p.Request.Plus(q.Request)
}

func (t *Traffic) add(u *Traffic) {
	t.Received = t.Received.Plus(u.Received)
	t.Sent = t.Sent.Plus(u.Sent)
	t.Read = t.Read.Plus(u.Read)
	t.Written = t.Written.Plus(u.Written)
}

func (s *Supply) add(t *Supply) {
	s.Capacity = s.Capacity.Plus(t.Capacity)
	s.Allocatable = s.Allocatable.Plus(t.Allocatable)
	s.Blind = s.Blind.Plus(t.Blind)
	s.Used = s.Used.Plus(t.Used)
}

func (i *Item) add(j *Item) {
	i.CPU.add(&j.CPU)
	i.RAM.add(&j.RAM)
	i.GPU.add(&j.GPU)
	i.Amount = i.Amount.Plus(j.Amount)
	i.Traffic.add(&j.Traffic)
	i.Alive += j.Alive
	i.CPUKnown += j.CPUKnown
	i.RAMKnown += j.RAMKnown
	i.GPUKnown += j.GPUKnown
}

func (a *AssetItem) add(b *AssetItem) {
	a.CPU.add(&b.CPU)
	a.RAM.add(&b.RAM)
	a.GPU.add(&b.GPU)
	a.Amount = a.Amount.Plus(b.Amount)
	a.Up += b.Up
	a.Blind += b.Blind
	a.Traffic.add(&b.Traffic)
}

package price

import "github.com/varve-io/varve/pkg/cost/money"

// Rates are grains per unit of quantity, discounts taken.
type Rates struct {
	CPU, RAM, GPU money.Rate // of a node, by core-microsecond and byte-second
	Amount        money.Rate // of a volume's byte-second; of a millisecond of a load balancer, a cluster, or a node of unknown capacity
	Received      money.Rate // by byte
	Sent          money.Rate
	BuiltIn       bool // no rule matched
}

// Part is p of all rates: what overheads as a percentage cost.
func (r Rates) Part(p money.Percent) Rates {
	return Rates{
		CPU: r.CPU.Part(p), RAM: r.RAM.Part(p), GPU: r.GPU.Part(p),
		Amount: r.Amount.Part(p), Received: r.Received.Part(p), Sent: r.Sent.Part(p),
	}
}

// Size is a node's capacity: thousandths of cores, bytes, thousandths of GPUs.
type Size struct{ CPU, RAM, GPU int64 }

// Node is the rates of a node of the size. One of unknown size has a price only as a whole, by the millisecond.
func (p Prices) Node(s Subject, size Size) Rates {
	rule, builtIn := p.node(s)
	paid := p.paid(Nodes, s)
	rates := Rates{BuiltIn: builtIn}
	if !rule.Whole {
		rates.CPU = rule.CPUCoreHour.Rate(money.CoreHour, paid)
		rates.RAM = rule.RAMGiBHour.Rate(money.GiBHour, paid)
		rates.GPU = rule.GPUHour.Rate(money.CoreHour, paid)
		return rates
	}
	if size == (Size{}) {
		rates.Amount = rule.NodeHour.Rate(money.Hour, paid)
		return rates
	}
	weights := rule.weights()
	if size.CPU > 0 && weights[0].IsZero() || size.RAM > 0 && weights[1].IsZero() || size.GPU > 0 && weights[2].IsZero() {
		standard, _ := Prices{standard: p.standard}.node(s)
		weights = standard.weights()
	}
	split := money.Split(rule.NodeHour, paid, weights, [3]money.Quantity{
		money.Units(size.CPU).Times(3_600_000), money.Units(size.RAM).Times(3600), money.Units(size.GPU).Times(3_600_000),
	})
	rates.CPU, rates.RAM, rates.GPU = split[0], split[1], split[2]
	return rates
}

func (r *Node) weights() [3]money.Rate {
	return [3]money.Rate{
		r.CPUCoreHour.Rate(money.CoreHour, money.Whole), r.RAMGiBHour.Rate(money.GiBHour, money.Whole), r.GPUHour.Rate(money.CoreHour, money.Whole),
	}
}

// node is the first rule that matches, or the built-in one.
func (p Prices) node(s Subject) (rule *Node, builtIn bool) {
	for _, l := range []*List{p.list, p.standard} {
		for i := range l.nodes() {
			if rule := &l.Nodes[i]; rule.Match.of(s) {
				return rule, l == p.standard
			}
		}
	}
	return &Node{}, true
}

func (l *List) nodes() []Node {
	if l == nil {
		return nil
	}
	return l.Nodes
}

// Volume is the rates of a volume.
func (p Prices) Volume(s Subject) Rates {
	price, builtIn := p.flat(Volumes, s)
	return Rates{Amount: price.Rate(money.GiBHour, p.paid(Volumes, s)), BuiltIn: builtIn}
}

// LoadBalancer is the rates of a load balancer.
func (p Prices) LoadBalancer(s Subject) Rates {
	price, builtIn := p.flat(LoadBalancers, s)
	return Rates{Amount: price.Rate(money.Hour, p.paid(LoadBalancers, s)), BuiltIn: builtIn}
}

// Traffic is the rate of a byte. Without a rule it is nothing: bytes are money only where the book says so.
func (p Prices) Traffic(s Subject) money.Rate {
	price, _ := p.flat(Network, s)
	return price.Rate(money.GiB, p.paid(Network, s))
}

// NamesClass tells whether the price of the traffic is that of a rule which asks for its class.
func (p Prices) NamesClass(s Subject) bool {
	rule, _ := p.rule(Network, s)
	return rule != nil && rule.Match.names("class")
}

// Cluster is the rates of a cluster, and the part of all its rates that overheads add, at most all.
func (p Prices) Cluster(s Subject) (Rates, money.Percent) {
	var rates Rates
	var percent money.Percent
	if p.list == nil {
		return rates, 0
	}
	for i := range p.list.Overheads {
		if o := &p.list.Overheads[i]; o.Match.of(s) {
			rates.Amount = rates.Amount.Plus(o.ClusterHour.Rate(money.Hour, money.Whole))
			percent = min(percent+o.Percent, money.Whole)
		}
	}
	return rates, percent
}

func (p Prices) flat(section Section, s Subject) (price money.Decimal, builtIn bool) {
	if rule, builtIn := p.rule(section, s); rule != nil {
		return rule.Price, builtIn
	}
	return 0, true
}

// rule is the first that matches, nil if none does.
func (p Prices) rule(section Section, s Subject) (rule *Flat, builtIn bool) {
	for _, l := range []*List{p.list, p.standard} {
		rules := l.section(section)
		for i := range rules {
			if rules[i].Match.of(s) {
				return &rules[i], l == p.standard
			}
		}
	}
	return nil, true
}

func (l *List) section(s Section) []Flat {
	switch {
	case l == nil:
		return nil
	case s == Volumes:
		return l.Volumes
	case s == LoadBalancers:
		return l.LoadBalancers
	default:
		return l.Network
	}
}

// paid is what the first discount that matches leaves.
func (p Prices) paid(section Section, s Subject) money.Percent {
	if p.list == nil {
		return money.Whole
	}
	for i := range p.list.Discounts {
		if d := &p.list.Discounts[i]; (d.On == "" || d.On == section) && d.Match.of(s) {
			return money.Whole - d.Percent
		}
	}
	return money.Whole
}

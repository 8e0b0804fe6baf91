package cost

import (
	"fmt"
	"slices"
	"strings"

	"github.com/varve-io/varve/pkg/cost/money"
)

// Mode is how a cost that is nobody's is shared.
type Mode string

// Modes. quantity:NAME is one, too: by a quantity of lines, as reports name it. And so is metric:EXPRESSION: by what a PromQL expression gives at
// the end of each step (Weights). Who has nothing of it gets nothing; where nobody has, the cost stays.
const (
	ShareNone     Mode = "none"     // it has lines of its own
	ShareEven     Mode = "even"     // every line of workloads in its scope gets the same
	ShareWeighted Mode = "weighted" // by what lines cost in the same pool; where none does, by what they cost
)

// Sharing says what is shared among the lines of workloads, in each step: idle and system of a cluster or node, overheads of
// a cluster, then all that was billed to shared namespaces, among the others of the cluster. Where there is nobody to share with, it
// stays. The total is not changed.
type Sharing struct {
	Idle, System, Overhead Mode
	ByNode                 bool     // idle and system are shared among those on the node, and not in the cluster
	Namespaces             []string // that are shared
	Namespace              Mode     // how; weighted by default
}

func (s *Sharing) validate() error {
	for name, m := range map[string]Mode{"idle": s.Idle, "system": s.System, "overhead": s.Overhead, "namespace": s.Namespace} {
		if err := m.validate(); err != nil {
			return fmt.Errorf("share: %s: %w", name, err)
		}
	}
	return nil
}

func (m Mode) validate() error {
	switch m {
	case "", ShareNone, ShareEven, ShareWeighted:
		return nil
	}
	if m.metric() != "" {
		return nil
	}
	name, ok := strings.CutPrefix(string(m), byQuantity)
	if !ok {
		return fmt.Errorf("it can't be shared %q, but none, even, weighted, quantity:NAME or metric:EXPRESSION", m)
	}
	if m.quantity() >= 0 {
		return nil
	}
	var names []string
	for _, q := range (&Line{}).quantities() {
		names = append(names, q.name)
	}
	return fmt.Errorf("there is no quantity %q, but %s", name, strings.Join(names, ", "))
}

const byQuantity = "quantity:"

// quantity is the place of the mode's quantity among those of a line; -1 if it is by none.
func (m Mode) quantity() int {
	name, ok := strings.CutPrefix(string(m), byQuantity)
	all := (&Line{}).quantities()
	return slices.IndexFunc(all[:], func(q namedQuantity) bool { return ok && q.name == name })
}

// weight is what the entry has of a line's quantity.
func (e *entry) weight(quantity int) money.Amount {
	all := (&Line{Sum: e.sum, Assets: e.assets, Classified: e.classified}).quantities()
	return money.Amount{all[quantity].value.Lo, all[quantity].value.Hi}
}

// pool is what is paid with a part of a cost.
type pool int

const (
	poolCPU pool = iota
	poolRAM
	poolGPU
	poolStorage
	poolNetwork
	poolLB
	poolOther // a cluster's hours, and nodes of unknown capacity
	pools
)

type amounts [pools]money.Amount

func (a *amounts) add(b *amounts) {
	for i := range a {
		a[i].Add(b[i])
	}
}

func (a *amounts) sum() money.Amount {
	var sum money.Amount
	for i := range a {
		sum.Add(a[i])
	}
	return sum
}

// entry is what one line has of one cluster, or node.
type entry struct {
	line          lineKey
	cluster, node uint32 // scopes, by the builder's numbers
	common        bool   // of a shared namespace
	pools         amounts
	used          money.Amount
	unused        money.Amount
	unknown       money.Amount
	shared        money.Amount
	sum           Item // quantities
	assets        Assets
	classified    Classified
}

// clear takes all money away.
func (e *entry) clear() {
	e.pools, e.used, e.unused, e.unknown, e.shared = amounts{}, money.Amount{}, money.Amount{}, money.Amount{}, money.Amount{}
}

// scope is within what a cost is shared: a step and a cluster or node.
type scope struct{ step, place uint32 }

// pass is one cost to be shared, and who shares it.
type pass struct {
	mode     Mode
	from, to func(*entry) bool
	within   func(*entry) uint32
	weighed  weighed
}

// weighed tells by which weight of a metric an entry is one of a group.
type weighed func(Mode, *entry) (group string, weight money.Amount)

// apply shares among entries, which are in the order of lines.
func (s *Sharing) apply(entries []*entry, by weighed) {
	cluster := func(e *entry) uint32 { return e.cluster }
	within := cluster
	if s.ByNode {
		within = func(e *entry) uint32 { return e.node }
	}
	kind := func(k Kind) func(*entry) bool { return func(e *entry) bool { return e.line.kind == k } }
	namespace := s.Namespace
	if namespace == "" {
		namespace = ShareWeighted
	}
	workload := kind(Workloads)
	for _, p := range []pass{
		{s.Idle, kind(Idle), workload, within, by},
		{s.System, kind(System), workload, within, by},
		{s.Overhead, kind(Overhead), workload, cluster, by},
		{namespace, func(e *entry) bool { return e.common }, func(e *entry) bool { return workload(e) && !e.common }, cluster, by},
	} {
		if p.mode != "" && p.mode != ShareNone {
			p.apply(entries)
		}
	}
}

func (p *pass) apply(entries []*entry) {
	costs := map[scope]*amounts{}
	for _, e := range entries {
		if p.from(e) {
			at := scope{e.line.step, p.within(e)}
			if costs[at] == nil {
				costs[at] = &amounts{}
			}
			costs[at].add(&e.pools)
		}
	}
	sharers, quantity := map[scope][]*entry{}, p.mode.quantity()
	for _, e := range entries {
		if at := (scope{e.line.step, p.within(e)}); p.to(e) && costs[at] != nil && p.has(e, quantity) {
			sharers[at] = append(sharers[at], e)
		}
	}
	for _, e := range entries {
		if p.from(e) && sharers[scope{e.line.step, p.within(e)}] != nil {
			e.clear()
		}
	}
	for at, to := range sharers {
		p.share(costs[at], to)
	}
}

// has tells whether the entry gets anything.
func (p *pass) has(e *entry, quantity int) bool {
	if p.mode.metric() != "" {
		_, weight := p.weighed(p.mode, e)
		return !weight.IsZero()
	}
	return quantity < 0 || !e.weight(quantity).IsZero()
}

// share adds the costs to entries.
func (p *pass) share(costs *amounts, to []*entry) {
	divide := func(cost money.Amount, of pool) []money.Amount { return cost.Share(weigh(p.mode, of, to)) }
	if p.mode.metric() != "" {
		divide = p.grouped(to)
	}
	parts := [pools][]money.Amount{}
	for of := range pools {
		if !costs[of].IsZero() {
			parts[of] = divide(costs[of], of)
		}
	}
	for p := range parts {
		for i, amount := range parts[p] {
			to[i].pools[p].Add(amount)
			to[i].shared.Add(amount)
		}
	}
}

// grouped divides a cost among groups by their weights, and a group's part among its entries by what they cost.
func (p *pass) grouped(to []*entry) func(money.Amount, pool) []money.Amount {
	at := map[string]int{}
	var weights []money.Amount
	var groups [][]*entry
	places := make([][2]int, len(to)) // of each entry: its group, and where it is in it
	for i, e := range to {
		name, weight := p.weighed(p.mode, e)
		g, ok := at[name]
		if !ok {
			g = len(groups)
			at[name], groups, weights = g, append(groups, nil), append(weights, weight)
		}
		places[i] = [2]int{g, len(groups[g])}
		groups[g] = append(groups[g], e)
	}
	return func(cost money.Amount, of pool) []money.Amount {
		parts := make([][]money.Amount, len(groups))
		for g, part := range cost.Share(weights) {
			parts[g] = part.Share(weigh(ShareWeighted, of, groups[g]))
		}
		out := make([]money.Amount, len(to))
		for i, at := range places {
			out[i] = parts[at[0]][at[1]]
		}
		return out
	}
}

// weigh is the weights of those who share a cost of the pool.
func weigh(m Mode, p pool, to []*entry) []money.Amount {
	if quantity := m.quantity(); quantity >= 0 {
		return weights(to, func(e *entry) money.Amount { return e.weight(quantity) })
	}
	if m == ShareWeighted {
		if weights := weights(to, func(e *entry) money.Amount { return e.pools[p] }); weights != nil {
			return weights
		}
		if weights := weights(to, func(e *entry) money.Amount { return e.pools.sum() }); weights != nil {
			return weights
		}
	}
	return weights(to, func(*entry) money.Amount { return money.Amount{1} })
}

// weights are those of the entries, or nil if all are 0.
func weights(to []*entry, of func(*entry) money.Amount) []money.Amount {
	all := make([]money.Amount, len(to))
	var any bool
	for i, e := range to {
		all[i] = of(e)
		any = any || !all[i].IsZero()
	}
	if !any {
		return nil
	}
	return all
}

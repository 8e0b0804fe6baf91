package cost

import (
	"fmt"
	"slices"
	"strings"

	"github.com/varve-io/varve/pkg/cost/money"
)

// Mode is how a cost that is nobody's is shared.
type Mode string

// Modes. quantity:NAME is one, too: by a quantity of lines, as reports name it. Who has nothing of it gets nothing; where nobody has,
// the cost stays.
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
	name, ok := strings.CutPrefix(string(m), byQuantity)
	if !ok {
		return fmt.Errorf("it can't be shared %q, but none, even, weighted or quantity:NAME", m)
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
}

// apply shares among entries, which are in the order of lines.
func (s *Sharing) apply(entries []*entry) {
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
		{s.Idle, kind(Idle), workload, within},
		{s.System, kind(System), workload, within},
		{s.Overhead, kind(Overhead), workload, cluster},
		{namespace, func(e *entry) bool { return e.common }, func(e *entry) bool { return workload(e) && !e.common }, cluster},
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
		if at := (scope{e.line.step, p.within(e)}); p.to(e) && costs[at] != nil && (quantity < 0 || !e.weight(quantity).IsZero()) {
			sharers[at] = append(sharers[at], e)
		}
	}
	for _, e := range entries {
		if p.from(e) && sharers[scope{e.line.step, p.within(e)}] != nil {
			e.clear()
		}
	}
	for at, to := range sharers {
		share(p.mode, costs[at], to)
	}
}

// share adds the costs to entries.
func share(m Mode, costs *amounts, to []*entry) {
	parts := [pools][]money.Amount{}
	for p := range pools {
		if !costs[p].IsZero() {
			parts[p] = costs[p].Share(weigh(m, p, to))
		}
	}
	for p := range parts {
		for i, amount := range parts[p] {
			to[i].pools[p].Add(amount)
			to[i].shared.Add(amount)
		}
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

package cost

import (
	"cmp"
	"maps"
	"slices"

	"github.com/varve-io/varve/pkg/cost/money"
	"github.com/varve-io/varve/pkg/cost/price"
)

// entryKey tells entries apart: those that share are told apart by their scope.
type entryKey struct {
	lineKey
	common        bool
	cluster, node uint32
}

func (b *Builder) entry(key entryKey) *entry {
	e := b.entries[key]
	if e == nil {
		e = &entry{line: key.lineKey, cluster: key.cluster, node: key.node, common: key.common}
		b.entries[key] = e
	}
	return e
}

// priceSums makes entries and bills of what was added in a period, and empties it. Prices are linear and money is exact, so it doesn't matter
// in how many parts a period comes.
func (b *Builder) priceSums() {
	for c, i := range b.sums.cells {
		item := &b.sums.items[i]
		kind, g, s := c.parts()
		group, spot := b.groups[g], b.spots[s]
		class := &b.own.PlaceOf(spot.place).Class
		rates := b.ratesOf(ratesKey{spot.place, b.period.prices})
		own := entryKey{lineKey{b.period.step, kind, group.key, spot.key}, group.common && kind == Workloads, spot.cluster, 0}
		if b.query.Sharing.ByNode {
			own.node = spot.node
		}
		b.entry(own).price(item, class, &rates.Rates)
		if rates.overhead != (price.Rates{}) {
			var extra entry
			extra.price(item, class, &rates.overhead)
			b.entry(entryKey{b.overhead(b.period.step, class.Cluster), false, spot.cluster, 0}).pools.add(&extra.pools)
		}
	}
	for place, a := range b.sums.assets {
		r := b.ratesOf(ratesKey{place, b.period.prices})
		b.bills[b.period.step].Add(a.cost(&r.Rates))
		b.bills[b.period.step].Add(a.cost(&r.overhead))
		b.traffic.see(a, &b.own.PlaceOf(place).Class, r)
	}
	b.sums.empty()
}

// overhead is the line of a cluster's overheads.
func (b *Builder) overhead(step uint32, cluster string) lineKey {
	values := make([]string, len(b.query.By))
	for i, by := range b.query.By {
		if by == "cluster" {
			values[i] = cluster
		}
	}
	nowhere := make([]string, len(b.query.By))
	return lineKey{step: step, kind: Overhead, group: b.keys.number(values), place: b.keys.number(nowhere)}
}

// sorted are the entries in the order of names, so that who gets the last grain doesn't depend on numbers.
func (b *Builder) sorted() []*entry {
	entries := slices.Collect(maps.Values(b.entries))
	slices.SortFunc(entries, func(x, y *entry) int {
		return cmp.Or(b.compare(x.line, y.line), cmp.Compare(b.clusters.values[x.cluster][0], b.clusters.values[y.cluster][0]),
			b.comparePlaces(x.node, y.node), compareBools(x.common, y.common))
	})
	return entries
}

func compareBools(x, y bool) int {
	switch {
	case x == y:
		return 0
	case y:
		return -1
	}
	return 1
}

func (b *Builder) comparePlaces(x, y uint32) int {
	if x == y {
		return 0
	}
	return slices.Compare(b.own.PlaceOf(x).appendKey(nil), b.own.PlaceOf(y).appendKey(nil))
}

// compare is the order of lines: by step, kind, key.
func (b *Builder) compare(x, y lineKey) int {
	if c := cmp.Or(cmp.Compare(x.step, y.step), cmp.Compare(x.kind, y.kind)); c != 0 || x == y {
		return c
	}
	for i := range b.query.By {
		if c := cmp.Compare(b.value(x, i), b.value(y, i)); c != 0 {
			return c
		}
	}
	return 0
}

// value is a line's value of the dimension.
func (b *Builder) value(k lineKey, dimension int) string {
	if b.subject[dimension] != nil {
		return b.keys.values[k.group][dimension]
	}
	return b.keys.values[k.place][dimension]
}

// price adds what an item of the class costs.
func (e *entry) price(item *Item, class *Class, r *price.Rates) {
	e.sum.add(item)
	if i := class.Traffic.index(); i >= 0 {
		of := &e.classified[i]
		of[0], of[1] = of[0].Plus(item.Received), of[1].Plus(item.Sent)
	}
	e.sum.Amount = money.Quantity{}
	for i, p := range item.parts() {
		rate := [3]money.Rate{r.CPU, r.RAM, r.GPU}[i]
		used, unused, unknown := rate.Of(p.Used), rate.Of(p.Unused), rate.Of(p.Unknown)
		e.used.Add(used)
		e.unused.Add(unused)
		e.unknown.Add(unknown)
		e.pools[i].Add(used.Plus(unused).Plus(unknown))
	}
	amount := r.Amount.Of(item.Amount)
	traffic := r.Received.Of(item.Received).Plus(r.Sent.Of(item.Sent))
	e.used.Add(amount.Plus(traffic))
	e.pools[poolNetwork].Add(traffic)
	switch class.Kind {
	case VolumeClass:
		e.pools[poolStorage].Add(amount)
		e.assets.Storage = e.assets.Storage.Plus(item.Amount)
	case LoadBalancerClass:
		e.pools[poolLB].Add(amount)
		e.assets.LB = e.assets.LB.Plus(item.Amount)
	default:
		e.assets.Time = e.assets.Time.Plus(item.Amount)
		e.pools[poolOther].Add(amount)
	}
}

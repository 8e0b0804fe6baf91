package cost

import (
	"cmp"
	"slices"

	"github.com/varve-io/varve/pkg/cost/money"
)

func compareScaleLines(a, b ScaleLine) int {
	return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Controller, b.Controller))
}

func compareNodeEvents(a, b NodeEvents) int {
	return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Class, b.Class))
}

// nodeLines are the lines of clusters, or of classes.
type nodeLines map[classStep]*NodeEvents

func (n nodeLines) at(steps []int64, key classStep) *NodeEvents {
	if n[key] == nil {
		n[key] = &NodeEvents{From: Time(steps[key.step]), Cluster: key.cluster, Class: key.class}
	}
	return n[key]
}

// fillNodes counts lives, by cluster and by class, and divides the money of what was idle.
func (e *ScaleEvents) fillNodes(b *ScaleBuilder) {
	all := b.lives.sorted()
	e.Changes = changes(all, b.spans)
	for _, byClass := range []bool{false, true} {
		lines, counts := nodeLines{}, map[classStep][]turn{}
		of := func(cluster, class string) classStep {
			if !byClass {
				class = ""
			}
			return classStep{0, cluster, class}
		}
		for i := range all {
			key := of(all[i].Cluster, all[i].Class)
			counts[key] = append(counts[key], turn{all[i].From, 1}, turn{all[i].To, -1})
		}
		for key, turns := range counts {
			lines.most(b.steps, key, turns, b.query.To)
		}
		for _, c := range e.Changes {
			lines.change(b.steps, of(c.Cluster, c.Class), &c)
		}
		for key, amount := range b.idle {
			at := of(key.cluster, key.class)
			at.step = key.step
			lines.at(b.steps, at).idle.Add(*amount)
		}
		if byClass {
			e.Classes = lines.sorted()
		} else {
			e.Nodes = lines.sorted()
		}
	}
	e.roundIdle()
}

// roundIdle rounds the total, clusters against it, and classes against their cluster.
func (e *ScaleEvents) roundIdle() {
	var rounded []money.Nanos
	e.Idle, rounded = roundAll(idleOf(e.Nodes))
	first := 0
	for i := range e.Nodes {
		n := &e.Nodes[i]
		n.Idle = rounded[i]
		end := first
		for end < len(e.Classes) && e.Classes[end].From == n.From && e.Classes[end].Cluster == n.Cluster {
			end++
		}
		for j, idle := range money.RoundAgainst(n.Idle, idleOf(e.Classes[first:end])) {
			e.Classes[first+j].Idle = idle
		}
		first = end
	}
}

func idleOf(lines []NodeEvents) []money.Amount {
	amounts := make([]money.Amount, len(lines))
	for i := range lines {
		amounts[i] = lines[i].idle
	}
	return amounts
}

func (n nodeLines) sorted() []NodeEvents {
	all := make([]NodeEvents, 0, len(n))
	for _, l := range n {
		all = append(all, *l)
	}
	slices.SortFunc(all, compareNodeEvents)
	return all
}

// turn is a time at which there are more or fewer nodes.
type turn struct{ at, by int64 }

// most finds how many nodes there were at one time in each step. Who leaves at an instant makes room for who comes.
func (n nodeLines) most(steps []int64, key classStep, turns []turn, end int64) {
	slices.SortFunc(turns, func(a, b turn) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.by, b.by)) })
	var now int64
	for i, start := range steps {
		for len(turns) > 0 && turns[0].at <= start {
			now += turns[0].by
			turns = turns[1:]
		}
		most, next := now, end
		if i+1 < len(steps) {
			next = steps[i+1]
		}
		for len(turns) > 0 && turns[0].at < next {
			now += turns[0].by
			most = max(most, now)
			turns = turns[1:]
		}
		if most > 0 {
			key.step = uint32(i)
			n.at(steps, key).Most = most
		}
	}
}

func (n nodeLines) change(steps []int64, key classStep, c *NodeChange) {
	if c.Came != nil {
		key.step = stepOf(steps, int64(*c.Came))
		n.at(steps, key).Came++
	}
	if c.Left != nil {
		key.step = stepOf(steps, int64(*c.Left))
		n.at(steps, key).Left++
	}
}

// settling is how far apart the nodes of a cluster are first seen when somebody begins to watch it, and last seen when nobody does any more.
const settling = 5 * 60_000

// changes are the nodes that came or left, in the order of time. Who is there where a gap in the ledgers begins or ends may have come or left at any time
// in it, and so may who is first or last seen with the cluster as a whole: that isn't counted.
func changes(all []NodeLife, spans [][2]int64) []NodeChange {
	begins, ends := map[int64]bool{}, map[int64]bool{}
	for _, s := range spans {
		begins[s[0]], ends[s[1]] = true, true
	}
	seen := watched(all)
	out := []NodeChange{}
	for i := range all {
		n := &all[i]
		c := NodeChange{Cluster: n.Cluster, Node: n.Name, ProviderID: n.Provider, Class: n.Class}
		in := seen[n.Cluster]
		at, _ := slices.BinarySearchFunc(in, n.From, func(s [2]int64, t int64) int { return cmp.Compare(s[1], t+1) })
		first, last := in[at][0], in[at][1]
		if !begins[n.From] && (begins[first] || n.From > first+settling) {
			c.Came = new(Time(n.From))
		}
		if !ends[n.To] && (ends[last] || n.To < last-settling) {
			c.Left = new(Time(n.To))
		}
		if c.Came != nil || c.Left != nil {
			out = append(out, c)
		}
	}
	slices.SortStableFunc(out, func(a, b NodeChange) int { return cmp.Compare(a.first(), b.first()) })
	return out
}

// watched is when each cluster had any node, in order.
func watched(all []NodeLife) map[string][][2]int64 {
	byTime := slices.Clone(all)
	slices.SortStableFunc(byTime, func(a, b NodeLife) int { return cmp.Compare(a.From, b.From) })
	seen := map[string][][2]int64{}
	for i := range byTime {
		n := &byTime[i]
		of := seen[n.Cluster]
		if k := len(of); k > 0 && n.From <= of[k-1][1] {
			of[k-1][1] = max(of[k-1][1], n.To)
			continue
		}
		seen[n.Cluster] = append(of, [2]int64{n.From, n.To})
	}
	return seen
}

// first is when the node came, or left if it had always been there.
func (c *NodeChange) first() Time {
	if c.Came != nil {
		return *c.Came
	}
	return *c.Left
}

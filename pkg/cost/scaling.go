package cost

import (
	"cmp"
	"errors"
	"slices"
)

// ScaleEvents are how often workloads changed their replicas, and how many nodes came and went.
type ScaleEvents struct {
	Window    Window       `json:"window"`
	Step      Step         `json:"step"`
	Hash      string       `json:"hash"` // of the question and all lines
	Workloads []ScaleLine  `json:"workloads"`
	Nodes     []NodeEvents `json:"nodes"`
	Next      string       `json:"next,omitempty"` // the cursor of the next page
	Warnings  []Warning    `json:"warnings"`

	Part *Part `json:"-"` // of a page
}

// ScaleLine is a workload in a step.
type ScaleLine struct {
	From       Time   `json:"from"`
	Cluster    string `json:"cluster"`
	Namespace  string `json:"namespace"`
	Controller string `json:"controller"`
	Ups        int64  `json:"ups"`     // changes to more replicas
	Downs      int64  `json:"downs"`   // to fewer
	Added      int64  `json:"added"`   // replicas
	Removed    int64  `json:"removed"` // replicas
	Least      int64  `json:"least"`   // replicas before or after any change
	Most       int64  `json:"most"`
}

// NodeEvents is a cluster in a step. A node is known by its name and provider ID. Came and Left compare hours; the first of
// the window has none before it.
type NodeEvents struct {
	From    Time   `json:"from"`
	Cluster string `json:"cluster"`
	Came    int64  `json:"came"`
	Left    int64  `json:"left"`
	Most    int64  `json:"most"` // nodes in one hour
}

// NodesUnnamed is the warning of roll-ups: nodes can't be told apart in them.
const NodesUnnamed = "nodes_unnamed"

type scaleKey struct {
	step                           uint32
	cluster, namespace, controller string
}

type nodeName struct{ cluster, name, provider string }

// Scales counts scale events of ledgers, which are given in the order of time. The ledgers of hours are needed: roll-ups have no names of nodes.
func Scales(q Query, ledgers func(yield func(*Ledger) bool)) (*ScaleEvents, error) {
	if err := q.Validate(); err != nil {
		return nil, err
	}
	steps, err := q.steps()
	if err != nil {
		return nil, err
	}
	lines, nodes := map[scaleKey]*ScaleLine{}, map[scaleKey]*NodeEvents{}
	var before map[nodeName]bool
	end, unnamed := q.From, int64(0)
	for l := range ledgers {
		if l.From < end || l.To > q.To {
			return nil, errors.New("ledgers are not in the order of time, or not of the window")
		}
		for _, s := range l.Scalings {
			addScaling(lines, steps, s)
		}
		now, nameless := l.nodes()
		if unnamed += nameless; nameless > 0 {
			now = nil
		}
		if now == nil || l.From > end {
			before = nil // who came in a gap can't be known
		}
		addNodes(nodes, steps, l.From, before, now)
		before, end = now, l.To
	}
	e := &ScaleEvents{Window: Window{Time(q.From), Time(q.To)}, Step: cmp.Or(q.Step, StepNone), Workloads: []ScaleLine{}, Nodes: []NodeEvents{}, Warnings: []Warning{}}
	if unnamed > 0 {
		e.Warnings = append(e.Warnings, Warning{Name: NodesUnnamed, Count: unnamed})
	}
	e.fill(lines, nodes)
	e.Hash = e.hash(q)
	return e, nil
}

func addScaling(lines map[scaleKey]*ScaleLine, steps []int64, s Scaling) {
	step := stepOf(steps, max(s.At, steps[0]))
	key := scaleKey{step, s.Cluster, s.Namespace, s.Controller.String()}
	l := lines[key]
	if l == nil {
		l = &ScaleLine{
			From: Time(steps[step]), Cluster: s.Cluster, Namespace: s.Namespace, Controller: key.controller, Least: min(s.Before, s.After),
		}
		lines[key] = l
	}
	switch d := s.After - s.Before; {
	case d > 0:
		l.Ups++
		l.Added += d
	case d < 0:
		l.Downs++
		l.Removed -= d
	}
	l.Least, l.Most = min(l.Least, s.Before, s.After), max(l.Most, s.Before, s.After)
}

// nodes are those with names, and how many have none.
func (l *Ledger) nodes() (map[nodeName]bool, int64) {
	now := map[nodeName]bool{}
	var nameless int64
	for i := range l.Assets {
		p := l.Names.PlaceOf(l.Assets[i].Place)
		switch {
		case p.Kind != NodeClass:
		case p.Name == "":
			nameless++
		default:
			now[nodeName{p.Cluster, p.Name, p.Provider}] = true
		}
	}
	return now, nameless
}

// addNodes compares an hour with the one before it, if that is known.
func addNodes(nodes map[scaleKey]*NodeEvents, steps []int64, from int64, before, now map[nodeName]bool) {
	step := stepOf(steps, from)
	of := func(cluster string) *NodeEvents {
		key := scaleKey{step: step, cluster: cluster}
		if nodes[key] == nil {
			nodes[key] = &NodeEvents{From: Time(steps[step]), Cluster: cluster}
		}
		return nodes[key]
	}
	count := map[string]int64{}
	for n := range now {
		count[n.cluster]++
		if before != nil && !before[n] {
			of(n.cluster).Came++
		}
	}
	for n := range before {
		if !now[n] {
			of(n.cluster).Left++
		}
	}
	for cluster, n := range count {
		of(cluster).Most = max(of(cluster).Most, n)
	}
}

func (e *ScaleEvents) fill(lines map[scaleKey]*ScaleLine, nodes map[scaleKey]*NodeEvents) {
	for _, l := range lines {
		e.Workloads = append(e.Workloads, *l)
	}
	for _, n := range nodes {
		e.Nodes = append(e.Nodes, *n)
	}
	slices.SortFunc(e.Workloads, func(a, b ScaleLine) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Controller, b.Controller))
	})
	slices.SortFunc(e.Nodes, func(a, b NodeEvents) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.Cluster, b.Cluster))
	})
}

package cost

import (
	"cmp"
	"slices"
)

// NodeLife is a time in which a node was there: [From, To), as far as the ledger reaches. A node is known by its cluster, name and provider ID.
// A node that was there without a gap has one life, whatever its labels and capacity were.
type NodeLife struct {
	Cluster, Name, Provider string
	From, To                int64
	Class                   string // what a person calls the node's class, as it was at the end
}

// lives joins the lives of nodes. They must come in the order of time, as far as they are of one node.
type lives struct {
	all  []NodeLife
	last map[nodeName]int // index of the node's last life
}

type nodeName struct{ cluster, name, provider string }

func (l *lives) add(n NodeLife) {
	if l.last == nil {
		l.last = map[nodeName]int{}
	}
	key := nodeName{n.Cluster, n.Name, n.Provider}
	if i, ok := l.last[key]; ok && l.all[i].To >= n.From {
		if n.To > l.all[i].To {
			l.all[i].To, l.all[i].Class = n.To, n.Class
		}
		return
	}
	l.last[key] = len(l.all)
	l.all = append(l.all, n)
}

// sorted are all lives by node and time.
func (l *lives) sorted() []NodeLife {
	slices.SortFunc(l.all, compareLives)
	return l.all
}

func compareLives(a, b NodeLife) int {
	return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Provider, b.Provider),
		cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Class, b.Class))
}

// lives are those of the hour's nodes.
func (h *Hour) lives() []NodeLife {
	rows := make([]NodeLife, 0, len(h.Nodes))
	for i := range h.Nodes {
		if n := &h.Nodes[i]; n.To > n.From {
			place := n.place()
			rows = append(rows, NodeLife{Cluster: n.Cluster, Name: n.Name, Provider: n.Provider, From: n.From, To: n.To, Class: place.Class.String()})
		}
	}
	return joinLives(rows)
}

// joinLives joins lives in any order.
func joinLives(rows []NodeLife) []NodeLife {
	slices.SortFunc(rows, compareLives)
	var l lives
	for _, n := range rows {
		l.add(n)
	}
	return l.all
}

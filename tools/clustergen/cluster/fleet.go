package cluster

import (
	"container/heap"
	"iter"

	"github.com/prometheus/prometheus/model/labels"
)

// Fleet is clusters that are watched together, each with another name. They may be watched at different times.
type Fleet []*Cluster

// Watched is when any of them is.
func (f Fleet) Watched() Span {
	all := f[0].Span
	for _, c := range f[1:] {
		all = Span{min(all.From, c.From), max(all.To, c.To)}
	}
	return all
}

// Series are those of all clusters that may have samples in [from, to), in the order of their labels.
func (f Fleet) Series(from, to int64) iter.Seq[*Series] {
	if len(f) == 1 {
		return f[0].Series(from, to)
	}
	return func(yield func(*Series) bool) {
		var next heads
		for _, c := range f {
			pull, stop := iter.Pull(c.Series(from, to))
			defer stop()
			if s, ok := pull(); ok {
				next = append(next, head{s, pull})
			}
		}
		heap.Init(&next)
		for len(next) > 0 && yield(next[0].series) {
			if s, ok := next[0].pull(); ok {
				next[0].series = s
				heap.Fix(&next, 0)
			} else {
				heap.Pop(&next)
			}
		}
	}
}

// head is the next series of a cluster.
type head struct {
	series *Series
	pull   func() (*Series, bool)
}

// heads is a heap.Interface: the first by labels is on top.
type heads []head

func (h heads) Len() int           { return len(h) }
func (h heads) Less(i, j int) bool { return labels.Compare(h[i].series.Labels, h[j].series.Labels) < 0 }
func (h heads) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *heads) Push(x any)        { *h = append(*h, x.(head)) }

// Pop implements heap.Interface.
func (h *heads) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

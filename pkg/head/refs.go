package head

import (
	"math"
	"slices"
	"sort"

	"github.com/prometheus/prometheus/storage"
)

// refs is an ascending list of references that grows at its end. References in a row are a run, of which only the ends
// are kept. The lists of a head are mostly made of runs, because a target's series come one after the other.
type refs struct {
	closed      []uint32 // the runs that don't grow any more; only appended to
	first, last uint32   // the run that does, both included; 0 if the list is empty
}

// runEnd marks the end of a run of three or more in refs.closed. Its begin stands before it.
const runEnd = 1 << 31

// add appends a reference, and tells by how many bytes the list has grown.
func (r *refs) add(ref uint32) (grown int) {
	switch {
	case ref == r.last: // twice
		return 0
	case ref == r.last+1 && r.last != 0:
		r.last = ref
		return 0
	}
	before := cap(r.closed)
	switch n := r.last - r.first; {
	case r.last == 0:
	case n == 0:
		r.closed = append(r.closed, r.first)
	case n == 1:
		r.closed = append(r.closed, r.first, r.last)
	default:
		r.closed = append(r.closed, r.first, r.last|runEnd)
	}
	r.first, r.last = ref, ref
	return 4 * (cap(r.closed) - before)
}

// refList is index.Postings over a copy of refs.
type refList struct {
	left     refs
	cur, end uint32 // the run that is being read, from where it is; 0 before the first one
}

func (l *refList) Next() bool {
	if l.cur < l.end {
		l.cur++
		return true
	}
	if len(l.left.closed) == 0 {
		l.cur, l.end = l.left.first, l.left.last
		l.left = refs{}
		return l.cur != 0
	}
	l.cur, l.left.closed = l.left.closed[0], l.left.closed[1:]
	l.end = l.cur
	if c := l.left.closed; len(c) > 0 && c[0]&runEnd != 0 {
		l.end, l.left.closed = c[0]&^runEnd, c[1:]
	}
	return true
}

func (l *refList) Seek(to storage.SeriesRef) bool {
	if l.cur != 0 && storage.SeriesRef(l.cur) >= to {
		return true
	}
	ref := uint32(min(to, math.MaxUint32))
	if l.cur != 0 && ref <= l.end {
		l.cur = ref
		return true
	}
	c := l.left.closed
	i := sort.Search(len(c), func(i int) bool { return c[i]&^runEnd >= ref })
	switch {
	case i == len(c) && (l.left.last == 0 || ref > l.left.last):
		*l = refList{}
		return false
	case i == len(c):
		l.cur, l.end = max(ref, l.left.first), l.left.last
		l.left = refs{}
		return true
	case c[i]&runEnd != 0:
		l.cur, l.end, l.left.closed = ref, c[i]&^runEnd, c[i+1:]
		return true
	}
	l.left.closed, l.cur, l.end = c[i:], 0, 0
	return l.Next()
}

func (l *refList) At() storage.SeriesRef { return storage.SeriesRef(l.cur) }
func (l *refList) Err() error            { return nil }

// all are the references of the list.
func (r *refs) all() *refList {
	return &refList{left: refs{slices.Clip(r.closed), r.first, r.last}}
}

// refRange is index.Postings over the references 1 to last.
type refRange struct{ cur, last storage.SeriesRef }

func (r *refRange) Next() bool {
	if r.cur >= r.last {
		return false
	}
	r.cur++
	return true
}

func (r *refRange) Seek(ref storage.SeriesRef) bool {
	if r.cur != 0 && r.cur >= ref {
		return true
	}
	if ref > r.last {
		r.cur = r.last
		return false
	}
	r.cur = max(ref, 1)
	return r.cur <= r.last
}

func (r *refRange) At() storage.SeriesRef { return r.cur }
func (r *refRange) Err() error            { return nil }

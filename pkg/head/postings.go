package head

import (
	"context"
	"math"
	"slices"
	"sync"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/index"
)

// postings is the head's inverted index: which series there are, by hash and by label. References are the numbers
// from 1 on in the order of creation, so every list stays sorted by appending to it, and a list that was taken
// under the lock can be read without it.
type postings struct {
	mtx      sync.RWMutex
	dropped  bool
	byHash   map[uint64]*Series   // one series of each hash
	collided map[uint64][]*Series // the others of that hash
	series   []*Series            // by reference - 1
	names    map[string]*values
	lists    int64 // how many lists, and
	refs     int64 // references in them
	before   []place
}

// values are the values of one label name.
type values struct {
	lists map[string]*list
	order []string // the keys of lists, in the order of creation
}

// list is the series of one label.
type list struct{ refs []uint32 }

// place is where a label of the series before was found. The next series often has the same name at the same
// position, and even the same value, which spares looking them up.
type place struct {
	labels.Label
	values *values
	list   *list
}

// find is the series with these labels, or nil.
func (p *postings) find(hash uint64, ls labels.Labels) *Series {
	p.mtx.RLock()
	defer p.mtx.RUnlock()
	return p.findLocked(hash, ls)
}

func (p *postings) findLocked(hash uint64, ls labels.Labels) *Series {
	s := p.byHash[hash]
	if s == nil || labels.Equal(s.labels, ls) {
		return s
	}
	for _, s := range p.collided[hash] {
		if labels.Equal(s.labels, ls) {
			return s
		}
	}
	return nil
}

// add gives s a reference and indexes it, unless there is a series with its labels already.
func (p *postings) add(hash uint64, s *Series) (_ *Series, created bool, err error) {
	p.mtx.Lock()
	defer p.mtx.Unlock()
	if old := p.findLocked(hash, s.labels); old != nil {
		return old, false, nil
	}
	switch {
	case p.dropped:
		return nil, false, ErrFreed
	case len(p.series) >= math.MaxUint32-1:
		return nil, false, ErrFull
	case p.byHash == nil:
		p.byHash, p.names = map[uint64]*Series{}, map[string]*values{}
	}
	p.series = append(p.series, s)
	s.ref = uint32(len(p.series))
	if p.byHash[hash] == nil {
		p.byHash[hash] = s
	} else {
		if p.collided == nil {
			p.collided = map[uint64][]*Series{}
		}
		p.collided[hash] = append(p.collided[hash], s)
	}
	i := 0
	s.labels.Range(func(l labels.Label) {
		if i == len(p.before) {
			p.before = append(p.before, place{})
		}
		at := &p.before[i]
		p.locate(l, at)
		at.list.refs = append(at.list.refs, s.ref)
		i++
	})
	p.refs += int64(i)
	return s, true, nil
}

// locate makes at the place of the label; it begins as a guess.
func (p *postings) locate(l labels.Label, at *place) {
	if at.values == nil || at.Name != l.Name {
		vs := p.names[l.Name]
		if vs == nil {
			vs = &values{lists: map[string]*list{}}
			p.names[l.Name] = vs
		}
		*at = place{Label: labels.Label{Name: l.Name}, values: vs}
	}
	if at.list != nil && at.Value == l.Value {
		return
	}
	at.list = at.values.lists[l.Value]
	if at.list == nil {
		at.list = &list{}
		at.values.lists[l.Value] = at.list
		at.values.order = append(at.values.order, l.Value)
		p.lists++
	}
	at.Label = l
}

// drop empties the index, for good, and gives back the series.
func (p *postings) drop() []*Series {
	p.mtx.Lock()
	defer p.mtx.Unlock()
	all := p.series
	p.dropped, p.byHash, p.collided, p.series, p.names, p.before = true, nil, nil, nil, nil, nil
	return all
}

// all is every series so far, by reference - 1.
func (p *postings) all() []*Series {
	p.mtx.RLock()
	defer p.mtx.RUnlock()
	return p.series[:len(p.series):len(p.series)]
}

// bytes is about what the index takes on the heap.
func (p *postings) bytes() int64 {
	p.mtx.RLock()
	defer p.mtx.RUnlock()
	return int64(len(p.series))*40 + p.lists*90 + p.refs*6
}

// labelNames is sorted.
func (p *postings) labelNames() []string {
	p.mtx.RLock()
	defer p.mtx.RUnlock()
	names := make([]string, 0, len(p.names))
	for n := range p.names {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// labelValues is in the order of creation, and read-only.
func (p *postings) labelValues(name string) []string {
	p.mtx.RLock()
	defer p.mtx.RUnlock()
	if vs := p.names[name]; vs != nil {
		return vs.order[:len(vs.order):len(vs.order)]
	}
	return nil
}

// symbols are all names and values, sorted and without repetition.
func (p *postings) symbols() []string {
	p.mtx.RLock()
	var all []string
	for n, vs := range p.names {
		all = append(append(all, n), vs.order...)
	}
	p.mtx.RUnlock()
	slices.Sort(all)
	return slices.Compact(all)
}

// union is the series that have one of the values for name.
func (p *postings) union(ctx context.Context, name string, vals []string) index.Postings {
	lists := make([]*refList, 0, len(vals))
	p.mtx.RLock()
	if vs := p.names[name]; vs != nil {
		for _, v := range vals {
			if l := vs.lists[v]; l != nil {
				lists = append(lists, &refList{list: l.refs})
			}
		}
	}
	p.mtx.RUnlock()
	return index.Merge(ctx, lists...)
}

// refList is index.Postings over references.
type refList struct {
	list []uint32
	cur  uint32
}

func (l *refList) Next() bool {
	if len(l.list) == 0 {
		return false
	}
	l.cur, l.list = l.list[0], l.list[1:]
	return true
}

func (l *refList) Seek(ref storage.SeriesRef) bool {
	if l.cur != 0 && storage.SeriesRef(l.cur) >= ref {
		return true
	}
	if ref > math.MaxUint32 {
		l.list = nil
		return false
	}
	i, _ := slices.BinarySearch(l.list, uint32(ref))
	l.list = l.list[i:]
	return l.Next()
}

func (l *refList) At() storage.SeriesRef { return storage.SeriesRef(l.cur) }
func (l *refList) Err() error            { return nil }

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

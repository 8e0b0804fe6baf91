package head

import (
	"context"
	"hash/maphash"
	"math"
	"math/bits"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/index"
)

// postings is the head's inverted index: which series there are, and which have a label. References are the numbers
// from 1 on in the order of creation, so every list stays sorted by appending to it, and what was taken of a list
// under the lock can be read without it.
//
// The newest series are not in the lists yet, and in a small table of their own. They are added to the rest many at once, or when somebody
// reads a list: the lists of a new series' pairs lie anywhere in memory, and many series that are new together share them. A series with
// a pair that is no older than these is looked for only among them.
type postings struct {
	mtx     sync.RWMutex
	seed    maphash.Seed
	salt    uint64
	series  List  // by reference - 1
	table   table // of references of those that are in the lists, by the numbers of the series' pairs
	young   table // of those that are not
	pairs   pairs
	lists   []refs // of each pair, by its number
	listed  int    // so many of the series are in the lists
	settled uint32 // so many pairs there were when the latest were added to them
	names   map[string]*name
	page    *page    // where the next series' numbers go
	used    int      // so many of it are taken
	places  []place  // where the labels of the series before were found
	at      []uint32 // numbers of the pairs of the series that is looked for; missing where there is none yet
	scratch []labels.Label

	texts   int64 // bytes of the values
	numbers int64 // bytes of the pages
	refs    int64 // bytes of the lists
}

func (p *postings) ofLabels(h *Head, ls labels.Labels) (s *Series, created bool, err error) {
	p.mtx.Lock()
	defer p.mtx.Unlock()
	p.scratch = p.scratch[:0]
	ls.Range(func(l labels.Label) { p.scratch = append(p.scratch, l) })
	defer clear(p.scratch) // they may be views of a buffer
	return p.get(h, p.scratch, strings.Clone)
}

// like is the series with the labels of one of another head, made of the same strings if there is none.
func (p *postings) like(h *Head, other *Series) (s *Series, created bool, err error) {
	theirs := other.page.head.index.allPairs()
	p.mtx.Lock()
	defer p.mtx.Unlock()
	p.scratch = p.scratch[:0]
	for _, n := range other.numbers() {
		p.scratch = append(p.scratch, theirs[n].Label)
	}
	return p.get(h, p.scratch, func(s string) string { return s })
}

// get is the series with these labels, made if there is none; keep gives the strings that the head may keep.
func (p *postings) get(h *Head, ls []labels.Label, keep func(string) string) (s *Series, created bool, err error) {
	for len(p.places) < len(ls) {
		p.places = append(p.places, place{})
	}
	p.at = p.at[:0]
	known, hash := true, uint32(0)
	for i := range ls {
		known = p.places[i].locate(p, &ls[i]) && known
		p.at = append(p.at, p.places[i].pair-1)
	}
	if known {
		hash = p.hash()
		if s := p.find(hash); s != nil {
			return s, false, nil
		}
	}
	if err := p.room(h, len(ls)); err != nil {
		return nil, false, err
	}
	if !known {
		for i := range ls {
			if p.at[i] == missing {
				p.places[i].make(p, &ls[i], keep)
				p.at[i] = p.places[i].pair - 1
			}
		}
		hash = p.hash()
	}
	return p.add(h, hash), true, nil
}

// missing is in the place of the number of a pair that there isn't yet. No pair has that number.
const missing = math.MaxUint32

// room tells why no series of so many labels can be made, if none can.
func (p *postings) room(h *Head, labels int) error {
	switch {
	case h.sealed.Load():
		return ErrSealed
	case p.series.n >= math.MaxInt32, len(p.pairs)+labels > math.MaxInt32, labels > math.MaxUint16:
		return ErrFull
	}
	return nil
}

// find is the series with the pairs at, nil if there is none.
func (p *postings) find(hash uint32) *Series {
	ref := p.findIn(&p.young, hash)
	if ref == 0 && !p.isYoung() {
		ref = p.findIn(&p.table, hash)
	}
	if ref == 0 {
		return nil
	}
	return p.series.At(int(ref - 1))
}

// isYoung tells whether a series with the pairs at can't be in the lists.
func (p *postings) isYoung() bool {
	for _, n := range p.at {
		if n >= p.settled {
			return true
		}
	}
	return false
}

func (p *postings) findIn(t *table, hash uint32) (ref uint32) {
	return t.find(hash, func(ref uint32) bool {
		return slices.Equal(p.series.At(int(ref-1)).numbers(), p.at)
	})
}

// hash is a hash of the numbers of the pairs at. The salt keeps it from being guessed. Two numbers at a time are multiplied with keys of their
// place, so that no multiplication waits for another.
func (p *postings) hash() uint32 {
	const odd = 0x9e3779b97f4a7c15
	sum, key, factor := p.salt, p.salt, p.salt
	for i := 0; i < len(p.at); i += 2 {
		two := uint64(p.at[i])
		if i+1 < len(p.at) {
			two |= uint64(p.at[i+1]) << 32
		}
		key += odd
		factor = bits.RotateLeft64(factor, 23) + key
		hi, lo := bits.Mul64(key^two, factor)
		sum += hi ^ lo
	}
	hi, lo := bits.Mul64(sum, odd)
	return uint32((hi ^ lo) >> 32)
}

// add makes a series of the pairs at, which have that hash, and indexes it.
func (p *postings) add(h *Head, hash uint32) *Series {
	s := p.newSeries()
	p.young.add(hash, uint32(p.series.n))
	s.ref, s.labels = uint32(p.series.n), uint16(len(p.at))
	p.place(h, s)
	copy(s.numbers(), p.at)
	if p.series.n-p.listed >= unlisted {
		p.list()
		p.young.empty()
	}
	return s
}

// unlisted is how many series wait at most for their places in the lists. Adding so many takes about a millisecond.
const unlisted = 4096

// list adds the series that wait to the lists of their pairs, and to the table. The young table has them in the order of their places there,
// so memory is walked through once.
func (p *postings) list() {
	p.table.addAll(&p.young)
	for i := p.listed; i < p.series.n; i++ {
		s := p.series.At(i)
		for _, n := range s.numbers() {
			p.refs += int64(p.lists[n].add(s.ref))
		}
	}
	p.listed, p.settled = p.series.n, uint32(len(p.pairs))
}

// listAll does so for every series that was made before the call.
func (p *postings) listAll() {
	p.mtx.RLock()
	all := p.listed == p.series.n
	p.mtx.RUnlock()
	if !all {
		p.mtx.Lock()
		p.list()
		p.young = table{}
		p.mtx.Unlock()
	}
}

func (p *postings) newSeries() *Series {
	s := p.series.grow()
	s.begin(nil, chunkenc.ValNone)
	s.open.t = math.MinInt64
	return s
}

// place gives the series room for its numbers.
func (p *postings) place(h *Head, s *Series) {
	n := int(s.labels)
	if p.page == nil || len(p.page.numbers)-p.used < n {
		size := firstPage
		if p.page != nil {
			size = min(2*len(p.page.numbers), lastPage)
		}
		p.page, p.used = &page{h, make([]uint32, max(size, n))}, 0
		p.numbers += int64(len(p.page.numbers)) * 4
	}
	s.page, s.at = p.page, uint32(p.used)
	p.used += n
}

// drop empties the index, for good, and gives back the series. Their labels stay.
func (p *postings) drop() List {
	p.mtx.Lock()
	defer p.mtx.Unlock()
	all := p.series
	p.table, p.young, p.series, p.names, p.page, p.places, p.at, p.scratch = table{}, table{}, List{}, nil, nil, nil, nil, nil
	p.lists, p.listed, p.refs = nil, 0, 0
	return all
}

// all is every series so far, by reference - 1.
func (p *postings) all() List {
	p.mtx.RLock()
	defer p.mtx.RUnlock()
	return p.series
}

// allPairs has the pairs of every series so far.
func (p *postings) allPairs() pairs {
	p.mtx.RLock()
	defer p.mtx.RUnlock()
	return slices.Clip(p.pairs)
}

// What things take on the heap, in bytes, with the room that slices keep for more.
const (
	pairSize = 48 + 40 + 3*10 + 8 // the pair, its list, where it is referred to, and what its value is rounded up by
	slabSize = 24                 // of the slice, without its series
)

// bytes is about what the index takes on the heap.
func (p *postings) bytes() int64 {
	p.mtx.RLock()
	defer p.mtx.RUnlock()
	return int64(cap(p.series.slabs))*slabSize + p.table.bytes() + p.young.bytes() + p.numbers + p.refs + int64(len(p.pairs))*pairSize + p.texts
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

// ofName are the pairs of a name, in the order of creation.
func (p *postings) ofName(name string) pairs {
	p.mtx.RLock()
	defer p.mtx.RUnlock()
	if n := p.names[name]; n != nil {
		return slices.Clip(n.pairs)
	}
	return nil
}

// labelValues is sorted.
func (p *postings) labelValues(name string) []string {
	of := p.ofName(name)
	vals := make([]string, len(of))
	for i, l := range of {
		vals[i] = l.Value
	}
	slices.Sort(vals)
	return vals
}

// symbols are all names and values, sorted and without repetition.
func (p *postings) symbols() []string {
	all := p.labelNames()
	for _, l := range p.allPairs() {
		all = append(all, l.Value)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// withValues are the pairs of a name that have one of the values.
func (p *postings) withValues(name string, vals []string) pairs {
	p.mtx.RLock()
	defer p.mtx.RUnlock()
	n := p.names[name]
	if n == nil {
		return nil
	}
	var found pairs
	for _, v := range vals {
		if l := n.find(p.hashOf(v), v); l != nil {
			found = append(found, l)
		}
	}
	return found
}

// union is the series that have one of the pairs. Whatever is in it is in all lists that are read later.
func (p *postings) union(ctx context.Context, of pairs) index.Postings {
	p.listAll()
	lists := make([]*refList, len(of))
	p.mtx.RLock()
	for i, l := range of {
		lists[i] = p.lists[l.number].all()
	}
	p.mtx.RUnlock()
	return index.Merge(ctx, lists...)
}

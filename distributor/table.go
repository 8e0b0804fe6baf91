package distributor

import (
	"math/bits"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/varve-io/varve/pkg/prefetch"
	"github.com/varve-io/varve/pkg/remote"
)

// table finds the entries of one tenant's series. It has 37 to 43 bytes for each, which the garbage collector knows
// nothing of.
//
// Whoever reads it holds life shared; nothing else is locked to find an entry. New entries are made under mu, and words
// of entries change under mu. Entries are let go under life held alone: while it is held shared, an entry that is found
// stays that of the same series. So are indexes that have become too small. Pages stay for as long as the table.
type table struct {
	life  sync.RWMutex
	arena *arena

	index   atomic.Pointer[index]
	pages   atomic.Pointer[[][]entry] // they never move
	series  atomic.Int64              // entries of series that are stored
	dropped atomic.Int64              // entries of series that a rule drops, or whose replica is not stored

	mu    sync.Mutex
	count uint32 // entries that were ever made: the greatest of them
	free  uint32 // the first free one
	old   []*index
}

// index finds entries by key: open addressing, with linear probing from where Hi says. A slot holds an entry's number, which takes
// as many bits as slots are numbered with, and in the rest of its bits some of Lo. So few entries are looked at in vain, and
// entries need not have these. 0 is an empty slot.
//
// Hi, checkBits of Lo and the slot's bits of it decide: with a million series that is 85 bits. A new series is taken for
// one of them with a chance of 2^-65.
type index struct {
	mask  uint32
	slots []atomic.Uint32
}

// Pages double from firstPage to pageEntries entries. So a small tenant's table is small, and in a large one no more than
// a page is empty.
const (
	firstPage   = 16
	pageEntries = firstPage << smallPages
	smallPages  = 8 // pages that are smaller
)

func newTable() *table {
	t := &table{arena: &arena{}}
	runtime.AddCleanup(t, (*arena).release, t.arena)
	t.index.Store(t.newIndex(firstPage))
	t.pages.Store(new([][]entry))
	return t
}

func (t *table) newIndex(slots int) *index {
	return &index{mask: uint32(slots - 1), slots: room[atomic.Uint32](t.arena, slots)}
}

// at is an entry by its number, from 1 on.
func (t *table) at(id uint32) *entry {
	page, i := pageOf(id)
	return &(*t.pages.Load())[page][i]
}

func pageOf(id uint32) (page, i uint32) {
	j := id - 1 + firstPage
	if j < pageEntries {
		n := uint32(bits.Len32(j))
		return n - 5, j - 1<<(n-1)
	}
	return j/pageEntries - 1 + smallPages, j % pageEntries
}

// slot is what a slot for the entry holds.
func (ix *index) slot(lo uint64, id uint32) uint32 { return uint32(lo>>32)&^ix.mask | id }

// find is the entry of a key; 0 if there is none.
func (t *table) find(k remote.Key) uint32 {
	ix := t.index.Load()
	tag := ix.slot(k.Lo, 0)
	for pos := uint32(k.Hi); ; pos++ {
		s := ix.slots[pos&ix.mask].Load()
		if s == 0 {
			return 0
		}
		if s&^ix.mask != tag {
			continue
		}
		if t.at(s & ix.mask).has(k) {
			return s & ix.mask
		}
	}
}

// ask asks memory for where find will look.
func (t *table) ask(k remote.Key) {
	ix := t.index.Load()
	prefetch.Line(unsafe.Pointer(&ix.slots[uint32(k.Hi)&ix.mask]))
}

// make is the entry of a key; fresh tells that it was made just now.
func (t *table) make(k remote.Key, front, now uint32) (id uint32, fresh bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if id = t.find(k); id != 0 {
		return id, false
	}
	if ix := t.index.Load(); (t.series.Load()+t.dropped.Load()+1)*4 > int64(len(ix.slots))*3 {
		t.grow(ix)
	}
	id = t.take()
	e := t.at(id)
	e.traits.Store(traitsOf(k.Lo, front, now))
	e.next.Store(0)
	e.hi.Store(k.Hi)
	ix := t.index.Load()
	ix.add(k.Hi, ix.slot(k.Lo, id))
	t.series.Add(1)
	return id, true
}

// take is a free entry, or one on a new page.
func (t *table) take() uint32 {
	if id := t.free; id != 0 {
		t.free = t.at(id).next.Load()
		return id
	}
	t.count++
	pages := *t.pages.Load()
	if page, _ := pageOf(t.count); int(page) == len(pages) {
		grown := append(slices.Clip(pages), t.newPage(page))
		t.pages.Store(&grown)
	}
	return t.count
}

func (t *table) newPage(n uint32) []entry {
	if n < smallPages {
		return room[entry](t.arena, firstPage<<n)
	}
	return stay[entry](t.arena, pageEntries)
}

func (ix *index) add(hi uint64, slot uint32) {
	pos := uint32(hi)
	for ix.slots[pos&ix.mask].Load() != 0 {
		pos++
	}
	ix.slots[pos&ix.mask].Store(slot)
}

// asked is how many slots ahead memory is asked for their entries, when an index grows.
const asked = 16

// grow makes an index of twice the size. Its slots have one bit less of Lo. Somebody may still look into the old one.
func (t *table) grow(old *index) {
	ix := t.newIndex(2 * len(old.slots))
	for i := range old.slots {
		if far := old.slots[(i+asked)&int(old.mask)].Load() & old.mask; far != 0 {
			prefetch.Line(unsafe.Pointer(t.at(far)))
		}
		if s := old.slots[i].Load(); s != 0 {
			id := s & old.mask
			ix.add(t.at(id).hi.Load(), s&^ix.mask|id)
		}
	}
	t.index.Store(ix)
	t.old = append(t.old, old)
}

// shed lets go of old indexes. It is for whoever has made entries, and doesn't hold life any more.
func (t *table) shed() {
	t.mu.Lock()
	none := len(t.old) == 0
	t.mu.Unlock()
	if none {
		return
	}
	t.life.Lock()
	defer t.life.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, ix := range t.old {
		giveBack(t.arena, ix.slots)
	}
	t.old = nil
}

// assign makes the entry stand for what it is at a version: in the part's partition, with the number that it has there,
// or a new one, and the replica that it comes from. errStale says that the version is an older one.
func (t *table) assign(e *entry, p *part, version uint32, replica uint16) (standing, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, ok := e.standing(p.born)
	if s.version() > version {
		return s, errStale
	}
	active := s.active()
	if !ok || s.partition() != p.stream.partition {
		n, generation := p.stream.number()
		if generation != p.generation {
			return s, errStale
		}
		s = standingOf(n, p.stream.partition)
	}
	s = s.at(version, replica)
	t.recount(active, true)
	e.put(s)
	return s, nil
}

// drop makes the entry stand for a series that a rule drops, or whose replica is not stored.
func (t *table) drop(e *entry, version uint32, replica uint16) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, _ := e.standing(0)
	if s.version() > version || s.version() == version && !s.dropped() {
		return // somebody knows better, or its replica was elected for somebody else
	}
	t.recount(s.active(), false)
	e.put(standingOf(0, noPartition).at(version, replica))
}

// recount counts an entry as one of another kind.
func (t *table) recount(was, is bool) {
	switch {
	case was && !is:
		t.series.Add(-1)
		t.dropped.Add(1)
	case is && !was:
		t.dropped.Add(-1)
		t.series.Add(1)
	}
}

// setIdle notes whether another replica is elected than the one that the entry comes from.
func (t *table) setIdle(e *entry, replica uint16, idle bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, _ := e.standing(0)
	if s.replica() != replica || s.dropped() || s.idle() == idle {
		return
	}
	t.recount(s.active(), !idle)
	if idle {
		e.place.Or(placeIdle)
	} else {
		e.place.And(^uint64(placeIdle))
	}
}

// idleReplicas notes which entries come from replicas that aren't elected; by number.
func (t *table) idleReplicas(idle []bool) {
	t.life.RLock()
	defer t.life.RUnlock()
	t.mu.Lock()
	count := t.count
	t.mu.Unlock()
	for id := uint32(1); id <= count; id++ {
		e := t.at(id)
		s, _ := e.standing(0)
		if n := s.replica(); n != 0 && int(n) < len(idle) && idle[n] {
			t.setIdle(e, n, true)
		}
	}
}

// setDefined notes that definitions for a partition have gone out, where the entries still have these numbers: the same
// version and the same partition mean the same generation of its stream, in which a number is given once.
func (t *table) setDefined(partition int32, ds []definition) {
	if len(ds) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, d := range ds {
		e := t.at(d.id)
		if s, ok := e.standing(0); ok && s.number == d.number && s.partition() == partition {
			e.place.Or(placeDefined)
		}
	}
}

// expire lets go of the entries that are idle at a time, a page of them at once, and calls gone for each.
func (t *table) expire(now uint32, gone func(standing)) {
	var idle []standing
	for first := uint32(1); ; first += pageEntries {
		t.mu.Lock()
		last := min(first+pageEntries-1, t.count)
		t.mu.Unlock()
		if first > last {
			return
		}
		if !t.anyIdle(first, last, stepOf(now)) {
			continue
		}
		idle = t.forget(first, last, stepOf(now), idle[:0])
		for _, s := range idle {
			gone(s)
		}
	}
}

func (t *table) anyIdle(first, last uint32, now step) bool {
	for id := first; id <= last; id++ {
		if t.at(id).idle(now) {
			return true
		}
	}
	return false
}

func (t *table) forget(first, last uint32, now step, idle []standing) []standing {
	t.life.Lock()
	defer t.life.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	for id := first; id <= last; id++ {
		e := t.at(id)
		if !e.idle(now) {
			continue
		}
		s, _ := e.standing(0)
		idle = append(idle, s)
		t.remove(e.hi.Load(), id)
		e.hi.Store(0)
		e.put(standing{})
		e.next.Store(t.free)
		t.free = id
		if s.active() {
			t.series.Add(-1)
		} else {
			t.dropped.Add(-1)
		}
	}
	return idle
}

// remove takes an entry out of the index. Those behind it move up where that brings them nearer to their own slots.
func (t *table) remove(hi uint64, id uint32) {
	ix := t.index.Load()
	hole := uint32(hi) & ix.mask
	for ix.slots[hole].Load()&ix.mask != id {
		hole = (hole + 1) & ix.mask
	}
	for pos := (hole + 1) & ix.mask; ; pos = (pos + 1) & ix.mask {
		s := ix.slots[pos].Load()
		if s == 0 {
			break
		}
		own := uint32(t.at(s&ix.mask).hi.Load()) & ix.mask
		if (pos-own)&ix.mask >= (pos-hole)&ix.mask {
			ix.slots[hole].Store(s)
			hole = pos
		}
	}
	ix.slots[hole].Store(0)
}

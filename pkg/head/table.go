package head

import (
	"unsafe"

	"github.com/varve-io/varve/pkg/prefetch"
)

// table finds numbers by hash: open addressing, with linear probing. Slots are in the order of the hash, so a table can
// have any size, and grows by half: a number takes 11 to 16 bytes. The zero table is empty.
type table struct {
	slots []slot
	used  int
}

// slot is 32 bits of a hash and a number, from 1 on; it is free if the number is 0.
type slot struct{ hash, number uint32 }

const (
	firstSlots = 8
	fullOf     = 4 // three in so many slots may be used
)

// find is the number of that hash that is wanted, 0 if there is none.
func (t *table) find(hash uint32, wanted func(number uint32) bool) uint32 {
	if len(t.slots) == 0 {
		return 0
	}
	for i := t.place(hash); t.slots[i].number != 0; i = t.after(i) {
		if s := t.slots[i]; s.hash == hash && wanted(s.number) {
			return s.number
		}
	}
	return 0
}

// expect asks for the memory where a hash is looked for.
func (t *table) expect(hash uint32) {
	if len(t.slots) > 0 {
		prefetch.Line(unsafe.Pointer(&t.slots[t.place(hash)]))
	}
}

// first is a number of that hash, 0 if there is none.
func (t *table) first(hash uint32) uint32 {
	return t.find(hash, func(uint32) bool { return true })
}

// add adds a number that isn't in the table.
func (t *table) add(hash, number uint32) {
	if t.used*fullOf >= len(t.slots)*3 {
		t.grow(0)
	}
	t.used++
	t.put(slot{hash, number})
}

func (t *table) put(s slot) {
	i := t.place(s.hash)
	for t.slots[i].number != 0 {
		i = t.after(i)
	}
	t.slots[i] = s
}

// slotsAhead is how many slots before its turn memory is asked for where the number will be put.
const slotsAhead = 16

// addAll adds what another table has. Room for all is made first: they come in the order of their hashes, and would fill the front of a
// table that is too small long before it grows.
func (t *table) addAll(of *table) {
	if least := (t.used+of.used)*fullOf/3 + 1; least > len(t.slots) {
		t.grow(least)
	}
	t.used += of.used
	for i, s := range of.slots {
		if soon := of.slots[min(i+slotsAhead, len(of.slots)-1)]; soon.number != 0 {
			t.expect(soon.hash)
		}
		if s.number != 0 {
			t.put(s)
		}
	}
}

// grow makes at least so many slots, and half as many more as there are.
func (t *table) grow(least int) {
	old := t.slots
	t.slots = make([]slot, max(firstSlots, len(old)+len(old)/2, least))
	for _, s := range old {
		if s.number != 0 {
			t.put(s)
		}
	}
}

// place is where the search for a hash begins.
func (t *table) place(hash uint32) int { return int(uint64(hash) * uint64(len(t.slots)) >> 32) }

func (t *table) after(i int) int {
	if i++; i == len(t.slots) {
		return 0
	}
	return i
}

// empty lets go of all numbers, and keeps the room.
func (t *table) empty() {
	clear(t.slots)
	t.used = 0
}

// bytes is what the table takes on the heap.
func (t *table) bytes() int64 { return int64(len(t.slots)) * 8 }

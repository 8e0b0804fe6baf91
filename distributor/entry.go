package distributor

import (
	"sync/atomic"
	"time"

	"github.com/varve-io/varve/pkg/remote"
	"github.com/varve-io/varve/pkg/series"
)

// entry is what the table knows of a series under one spelling, in 32 bytes: two in a cache line. All of it is read
// without a lock; number and place belong together where they are of one version (standing).
type entry struct {
	hi     atomic.Uint64 // half of the key; is written last, and is 0 while the entry is free
	number atomic.Uint64 // version << 32 | its number in the stream of its partition
	place  atomic.Uint64 // see placeDefined
	next   atomic.Uint32 // the entry that came after it the last time; of a free one, the next free one
	traits atomic.Uint32 // bytes of its label fields in 1.0 << 18 | checkBits of its key << 8 | step of its latest sample
}

// The bits of entry.place, from the lowest.
const (
	placeDefined    = 1      // its definition has gone out
	placeIdle       = 1 << 1 // another replica is elected: the entry keeps its number, and counts for no quota
	placeSizeAt     = 2      // size of its definition,
	placeSizes      = 1<<14 - 1
	placeSizeUnit   = 128 // in units of so many bytes
	placeReplicaAt  = 16  // the replica of an HA pair that it comes from, 0 for none
	placePartition  = 32
	noPartition     = 1<<16 - 1 // a rule of the tenant drops the series
	partitionAtMost = noPartition - 1
	placeVersionAt  = 48 // the lower half of the version
)

// The bits of entry.traits.
const (
	traitsCheckAt = 8
	checkBits     = 1<<10 - 1
	traitsFrontAt = 18
	frontAtMost   = 1<<14 - 1
)

// traitsOf is what a new entry has. A series with a longer front is never followed in 1.0.
func traitsOf(lo uint64, front, now uint32) uint32 {
	if front > frontAtMost {
		front = 0
	}
	return front<<traitsFrontAt | check(lo) | uint32(stepOf(now))
}

// check is the part of a key's other half that an entry has.
func check(lo uint64) uint32 { return uint32(lo&checkBits) << traitsCheckAt }

// has tells whether the entry is that of a key, as far as it knows.
func (e *entry) has(k remote.Key) bool {
	return e.hi.Load() == k.Hi && e.traits.Load()&(checkBits<<traitsCheckAt) == check(k.Lo)
}

// front is how many bytes its label fields have in 1.0; 0 in 2.0, and where they are too many.
func (e *entry) front() uint32 { return e.traits.Load() >> traitsFrontAt }

// step is a time in units of seenStep, of which an entry has the last eight bits: so those of two hours are told apart.
type step uint8

// seenStep is in seconds. An entry is marked as seen once in it: a write for each sample would cost more than reading does.
const seenStep = 32

// stepOf is the step of a Unix time in seconds.
func stepOf(seconds uint32) step { return step(seconds / seenStep) }

// idleSteps is how old the step of an idle entry is, at least. Those of wayAhead, and older, are taken to be of the
// future: the clock was put back, or nobody has looked for two hours.
const (
	idleSteps = step(seriesIdle/time.Second/seenStep) + 2
	wayAhead  = 192
)

// idle tells whether the entry got no sample for seriesIdle.
func (e *entry) idle(now step) bool {
	age := now - step(e.traits.Load())
	return age >= idleSteps && age < wayAhead && e.hi.Load() != 0
}

// touch marks the entry as seen.
func (e *entry) touch(now uint32) {
	if t := e.traits.Load(); step(t) != stepOf(now) {
		e.traits.Store(t&^0xff | uint32(stepOf(now)))
	}
}

// standing is what an entry's words say.
type standing struct{ number, place uint64 }

// standing is what the entry says. ok tells that its words are of one version, and that it isn't older than since.
//
// A version stands for one state of the limits, of the ring, and of the numbering of every stream. What an entry says at
// version v means: at v the labels were valid, partition was theirs, number was theirs in that partition's stream, and
// the replica is the one that they name. So that is the same for whoever finds it out at v, but for a series that is
// dropped until its replica is elected, and then has a number. The number is written first and read last: a place that
// is no longer dropped comes with its number. Half of the version suffices for the place: for them to be of two versions and
// seem to be of one, 65,536 would have to go by between two reads.
func (e *entry) standing(since uint32) (s standing, ok bool) {
	s.place = e.place.Load()
	s.number = e.number.Load()
	return s, uint16(s.version()) == uint16(s.place>>placeVersionAt) && s.version() >= since
}

// standingOf is that of a series whose definition hasn't gone out, at no version yet.
func standingOf(n series.Number, partition int32) standing {
	return standing{number: uint64(n), place: uint64(uint16(partition)) << placePartition}
}

// at is the same at another version, for the replica that is elected, or 0.
func (s standing) at(version uint32, replica uint16) standing {
	const others = placeIdle | (1<<16-1)<<placeReplicaAt | (1<<16-1)<<placeVersionAt
	return standing{
		uint64(version)<<32 | s.number&(1<<32-1),
		uint64(version)<<placeVersionAt | uint64(replica)<<placeReplicaAt | s.place&^others,
	}
}

func (s standing) version() uint32       { return uint32(s.number >> 32) }
func (s standing) series() series.Number { return series.Number(s.number) }
func (s standing) partition() int32      { return int32(uint16(s.place >> placePartition)) }
func (s standing) dropped() bool         { return s.partition() == noPartition }
func (s standing) replica() uint16       { return uint16(s.place >> placeReplicaAt) }
func (s standing) idle() bool            { return s.place&placeIdle != 0 }
func (s standing) active() bool          { return !s.dropped() && !s.idle() }
func (s standing) defined() bool         { return s.place&placeDefined != 0 }

// size is that of the series' definition in a batch, in bytes, rounded up.
func (s standing) size() int { return int(s.place>>placeSizeAt&placeSizes) * placeSizeUnit }

// put writes both words. It is for whoever holds the table's mu.
func (e *entry) put(s standing) {
	e.number.Store(s.number)
	e.place.Store(s.place)
}

// setSize notes the size of the definition, unless the entry has moved on meanwhile.
func (e *entry) setSize(s standing, n int) {
	units := uint64(min((n+placeSizeUnit-1)/placeSizeUnit, placeSizes))
	e.place.CompareAndSwap(s.place, s.place&^(placeSizes<<placeSizeAt)|units<<placeSizeAt)
}

package distributor

import (
	"sync/atomic"

	"github.com/varve-io/varve/pkg/series"
)

// entry is what the table knows of a series under one spelling. All of it is read without a lock; number and place
// belong together where their versions are the same (standing).
type entry struct {
	hi, lo atomic.Uint64 // key; hi is written last, and is 0 while the entry is free
	number atomic.Uint64 // version << 32 | its number in the stream of its partition
	place  atomic.Uint64 // version << 32 | partition << 16 | size of its definition << 1 | whether that has gone out
	next   atomic.Uint32 // the entry that came after it the last time; of a free one, the next free one
	seen   atomic.Uint32 // Unix seconds of its latest sample, up to seenStep late
	front  atomic.Uint32 // bytes of its label fields in 1.0
	ha     atomic.Uint32 // the replica of an HA pair that it comes from, 0 for none, and haIdle
}

// The bits of entry.place below the version.
const (
	placeDefined    = 1
	placeSizeAt     = 1
	placeSizes      = 1<<15 - 1 // in units of 64 bytes
	placePartition  = 16
	noPartition     = 1<<16 - 1 // a rule of the tenant drops the series
	partitionAtMost = noPartition - 1
)

// haIdle, in entry.ha, is set where another replica is elected: the entry keeps its number, and counts for no quota.
const haIdle = 1 << 16

// seenStep is how many seconds go by before an entry is marked as seen once more: a write for each sample would cost
// more than reading does.
const seenStep = 16

// standing is what an entry's words say.
type standing struct {
	number, place uint64
	ha            uint32
}

// standing is what the entry says. ok tells that its words are of one version, and that it isn't older than since.
//
// A version stands for one state of the limits, of the ring, and of the numbering of every stream. What an entry says at
// version v means: at v the labels were valid, partition was theirs, number was theirs in that partition's stream, and
// the replica is the one that they name. So that is the same for whoever finds it out at v, but for a series that is
// dropped until its replica is elected, and then has a number. Words are written in the order number, ha, place and read in
// the other: a place that is no longer dropped comes with its number, and a number of the same version with the replica
// of that version.
func (e *entry) standing(since uint32) (s standing, ok bool) {
	s.place = e.place.Load()
	s.ha = e.ha.Load()
	s.number = e.number.Load()
	return s, s.number>>32 == s.place>>32 && s.version() >= since
}

// is the standing of a series whose definition hasn't gone out.
func standingOf(n series.Number, partition int32) standing {
	return standing{number: uint64(n), place: uint64(uint16(partition)) << placePartition}
}

// at is the same at another version.
func (s standing) at(version uint32) standing {
	return standing{uint64(version)<<32 | s.number&(1<<32-1), uint64(version)<<32 | s.place&(1<<32-1), s.ha}
}

func (s standing) version() uint32       { return uint32(s.place >> 32) }
func (s standing) series() series.Number { return series.Number(s.number) }
func (s standing) partition() int32      { return int32(uint16(s.place >> placePartition)) }
func (s standing) dropped() bool         { return s.partition() == noPartition }
func (s standing) replica() uint16       { return uint16(s.ha) }
func (s standing) idle() bool            { return s.ha&haIdle != 0 }
func (s standing) active() bool          { return !s.dropped() && !s.idle() }
func (s standing) defined() bool         { return s.place&placeDefined != 0 }

// size is that of the series' definition in a batch, in bytes, rounded up.
func (s standing) size() int { return int(s.place>>placeSizeAt&placeSizes) * 64 }

// put writes all words. It is for whoever holds the table's mu.
func (e *entry) put(s standing) {
	e.number.Store(s.number)
	e.ha.Store(s.ha)
	e.place.Store(s.place)
}

// setSize notes the size of the definition, unless the entry has moved on meanwhile.
func (e *entry) setSize(s standing, n int) {
	units := uint64(min((n+63)/64, placeSizes))
	e.place.CompareAndSwap(s.place, s.place&^(placeSizes<<placeSizeAt)|units<<placeSizeAt)
}

// touch marks the entry as seen.
func (e *entry) touch(now uint32) {
	if int32(now-e.seen.Load()) >= seenStep {
		e.seen.Store(now)
	}
}

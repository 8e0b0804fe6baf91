package distributor

import "sync/atomic"

// versions numbers the states of everything that an entry of a table depends on: the limits, the ring, and the
// numbering of each stream. What was decided at a version holds for as long as that which it was decided by.
type versions struct{ current atomic.Pointer[state] }

// state is what holds at a version.
type state struct {
	version uint32
	rules   uint32 // the version since which limits and ring are as they are
	limits  uint64 // generation of the limits
	view    uint32 // version of the ring
}

func newVersions() *versions {
	v := &versions{}
	v.current.Store(&state{version: 1, rules: 1})
	return v
}

// renumbered is a new version, for a new generation of a stream's numbers. Call it under the stream's lock: a request
// that has seen this version then finds that generation, or a later one.
func (v *versions) renumbered() uint32 {
	for {
		was := v.current.Load()
		now := *was
		now.version++
		if v.current.CompareAndSwap(was, &now) {
			return now.version
		}
	}
}

// moved makes a new version unless somebody else has: limits or ring aren't those of that state any more.
func (v *versions) moved(was *state, limits uint64, view uint32) {
	next := was.version + 1
	v.current.CompareAndSwap(was, &state{version: next, rules: next, limits: limits, view: view})
}

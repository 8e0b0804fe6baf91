package distributor

import (
	"unsafe"

	"github.com/varve-io/varve/pkg/prefetch"
	"github.com/varve-io/varve/pkg/remote"
)

// trail is where a request is in its tenant's table. Senders bring their series in the same order each time, so each
// entry remembers the one that came some places behind it (ahead), which is the guess for what comes there now. A guess costs
// no walk over the labels and no search; where it is wrong, the key is looked up, and the guess corrected.
//
// With churn, series that follow each other lie anywhere in the table, and memory takes as long to answer as some series take. What is guessed
// so early is there when its turn comes. If entries knew the very next one, memory could only be asked for one at a time.
type trail struct {
	*table
	coming  [ahead]uint32 // the entries that are expected, from next on, around; 0 where nothing is known
	passed  [ahead]uint32 // the latest entries, up to turn, around; without those that ended
	next    uint8
	turn    uint8
	before  uint32 // what was in passed where the latest is
	ending  bool   // the latest has ended
	changed uint8  // how many entries may remember another one than comes
	strayed bool   // the series before was not among those that were expected
	taken   lookups
}

// ahead is how many places behind an entry the one is that it remembers. So many series are searched at the beginning of a
// request, and where the order has changed: more would cost requests of few series more than they gain.
const ahead = 8

// lookups counts how series were found.
type lookups struct{ followed, found, fresh int }

// begin puts the trail at the beginning of a request.
func (t *trail) begin(tab *table) { *t = trail{table: tab} }

// guess is the series that is expected now.
func (t *trail) guess() remote.Guess {
	id := t.coming[t.next%ahead]
	if id == 0 {
		return remote.Guess{}
	}
	e := t.at(id)
	return remote.Guess{Hi: e.hi.Load(), Front: e.front()}
}

// lookUp is the entry of the current series; 0 if it has none.
func (t *trail) lookUp(s *remote.Series) uint32 {
	if s.Guessed {
		t.taken.followed++
		return t.coming[t.next%ahead]
	}
	id := t.find(s.Key)
	if id != 0 {
		t.taken.found++
	}
	return id
}

// step goes on behind an entry that there was.
func (t *trail) step(id uint32, e *entry) {
	if t.coming[t.next%ahead] != id {
		t.changed = ahead + 1
		t.pass(id)
		t.stray(id)
		return
	}
	t.pass(id)
	t.strayed = false
	t.expect(id, e.next.Load())
}

// inserted goes on behind a new entry: what was expected comes behind it.
func (t *trail) inserted(id uint32) {
	t.changed = ahead + 1
	t.pass(id)
}

// pass remembers an entry in the one that came ahead places before it.
func (t *trail) pass(id uint32) {
	t.turn++
	p := &t.passed[t.turn%ahead]
	if t.changed != 0 && *p != 0 {
		t.changed--
		if e := t.at(*p); e.next.Load() != id {
			e.next.Store(id)
		}
	}
	t.before, t.ending = *p, false
	*p = id
}

// ended takes out the latest entry, whose series has a stale marker: what comes after it is expected in its place.
func (t *trail) ended() {
	if !t.ending {
		t.passed[t.turn%ahead] = t.before
		t.turn--
		t.ending = true
		t.changed = ahead + 1
	}
}

// expect takes an entry for the next one. What it remembers is expected behind all others.
func (t *trail) expect(id, far uint32) {
	t.coming[t.next%ahead] = far
	t.next++
	if far-id > 2*ahead && far != 0 { // what lies close behind comes by itself
		prefetch.Line(unsafe.Pointer(t.at(far)))
	}
}

// skip takes the next one for missing.
func (t *trail) skip() {
	id, far := t.coming[t.next%ahead], uint32(0)
	if id != 0 {
		far = t.at(id).next.Load()
	}
	t.expect(id, far)
}

// stray goes on behind an entry that is not the next one. If it is expected later, those before it are missing. Otherwise
// one alone is taken to have been put in; with the second the order is another one.
func (t *trail) stray(id uint32) {
	for n := range uint8(ahead) {
		if t.coming[(t.next+n)%ahead] == id {
			for range n + 1 {
				t.skip()
			}
			return
		}
	}
	if t.coming[t.next%ahead] != 0 {
		if !t.strayed {
			t.strayed = true
			return
		}
		clear(t.coming[:])
	}
	t.expect(id, t.at(id).next.Load())
}

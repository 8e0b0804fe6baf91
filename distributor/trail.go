package distributor

import "github.com/varve-io/varve/pkg/remote"

// trail is where a request is in its tenant's table. Senders bring their series in the same order each time, so each
// entry remembers the one that came next, and that is the guess for what comes now. A guess costs no walk over the labels and
// no search; where it is wrong, the key is looked up, and the guess corrected.
type trail struct {
	*table
	before uint32 // entry of the series before last; 0 if there was none
	last   uint32 // entry of the series before this one; 0 at the beginning
	next   uint32 // entry of the series that is expected now; 0 for none
	wrong  int    // guesses since the last right one
	taken  lookups
}

// A sender without an order (an OpenTelemetry collector, say) makes guesses a waste. After wrongInARow of them only one
// series in rareGuess is guessed, until one is right.
const (
	wrongInARow = 8
	rareGuess   = 16
)

// lookups counts how series were found.
type lookups struct{ followed, found, fresh int }

// begin puts the trail at the beginning of a request.
func (t *trail) begin(tab *table) { *t = trail{table: tab} }

// guess is the series that is expected now.
func (t *trail) guess() remote.Guess {
	if t.next == 0 || t.wrong > wrongInARow && t.taken.found%rareGuess != 0 {
		return remote.Guess{}
	}
	e := t.at(t.next)
	if after := e.next.Load(); after != 0 {
		_ = t.at(after).hi.Load() // nobody waits for it: it will be here when this series is done
	}
	return remote.Guess{Hi: e.hi.Load(), Front: e.front()}
}

// lookUp is the entry of the current series; 0 if it has none.
func (t *trail) lookUp(s *remote.Series) uint32 {
	if s.Guessed {
		t.wrong = 0
		t.taken.followed++
		return t.next
	}
	id := t.find(s.Key)
	if id != 0 {
		t.wrong++
		t.taken.found++
	}
	return id
}

// step goes on behind an entry.
func (t *trail) step(id uint32) {
	if t.last != 0 && t.next != id {
		t.at(t.last).next.Store(id)
	}
	t.before, t.last, t.next = t.last, id, t.at(id).next.Load()
}

// inserted takes a new series to have come between the one before it and the one that was expected.
func (t *trail) inserted(id uint32) { t.at(id).next.Store(t.next) }

// ended takes out the series of the latest step, which has a stale marker: what came after it is expected after the one before it.
func (t *trail) ended() {
	if t.before != 0 {
		t.at(t.before).next.Store(t.next)
		t.last = t.before
	}
}

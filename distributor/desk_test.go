package distributor

import "testing"

// As many desks are kept as were needed at once, but not with more than may be worked on.
func TestDesksAreKept(t *testing.T) {
	const body = 1 << 20
	k := newDesks(4 * (body + deskBytes))
	desks := func(n, size int) (all []*desk) {
		for range n {
			all = append(all, &desk{raw: make([]byte, size)})
		}
		return all
	}
	count := func() (n int) {
		var taken []*desk
		for d := k.take(); d != nil; d = k.take() {
			taken = append(taken, d)
		}
		for _, d := range taken {
			k.giveBack(d)
		}
		return len(taken)
	}
	for _, d := range desks(6, body) {
		k.giveBack(d)
	}
	if got := count(); got != 4 {
		t.Errorf("%d desks are kept of 6, of which 4 may be", got)
	}
	k.clear()
	if got := count(); got != 0 {
		t.Errorf("%d desks are kept when all were let go of", got)
	}
	for _, d := range desks(2, 8*body) { // too large, so that one is kept
		k.giveBack(d)
	}
	for _, d := range desks(3, 0) {
		k.giveBack(d)
	}
	if got := count(); got != 1 {
		t.Errorf("%d desks are kept beside one that takes all", got-1)
	}
	if d := k.take(); cap(d.raw) != 8*body {
		t.Errorf("the desk that is kept has room for %d bytes", cap(d.raw))
	}
	for _, d := range desks(6, body) {
		k.giveBack(d)
	}
	if got := count(); got != 4 {
		t.Errorf("%d desks are kept once the large one is in use", got)
	}
}

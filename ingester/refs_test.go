package ingester

import (
	"testing"

	"github.com/varve-io/varve/pkg/series"
)

// What is copied for a snapshot stays as it is while numbers are used, and come; and a great number takes no room for those below it.
func TestRefsAreCopied(t *testing.T) {
	var r refs
	numbers := map[series.Number]bool{0: true, 3: true, refsOfPage - 1: true, refsOfPage: true, 3*refsOfPage + 7: true, maxNumber - 1: true}
	for n := range numbers {
		r.make(n).last = uint64(n) + 1
		r.make(0) // which may be there
	}
	c := r.copy()
	for n := range numbers {
		r.find(n).last = 0
	}
	r.make(5 * refsOfPage).last = 1
	for n := range numbers {
		if got := c.find(n); got == nil || got.last != uint64(n)+1 {
			t.Errorf("%d stands for %v in the copy", n, got)
		}
	}
	if c.size != maxNumber || c.find(2*refsOfPage) != nil || c.find(5*refsOfPage) != nil || c.find(maxNumber) != nil {
		t.Errorf("the copy has %d numbers, and some that were not made", c.size)
	}
	pages := 0
	for _, p := range r.pages {
		if p != nil {
			pages++
		}
	}
	if pages != 5 {
		t.Errorf("numbers on five pages take %d", pages)
	}
}

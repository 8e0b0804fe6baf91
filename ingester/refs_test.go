package ingester

import "testing"

// What is copied for a snapshot stays as it is while numbers are used, and come.
func TestRefsAreCopied(t *testing.T) {
	var r refs
	const many = 3*refsOfPage + 7
	for n := 0; n < many; n += 3 {
		r.reach(n)
		r.reach(n / 2) // which is there
		r.at(n).last = uint64(n)
	}
	c := r.copy()
	for n := range r.size {
		r.at(n).last = 1
	}
	r.reach(many + refsOfPage)
	if c.size != (many-1)/3*3+1 || c.has(c.size) || !c.has(c.size-1) {
		t.Fatalf("the copy has %d numbers", c.size)
	}
	for n := range c.size {
		want := uint64(n)
		if n%3 != 0 {
			want = 0
		}
		if got := c.at(n).last; got != want {
			t.Fatalf("%d stands for %d in the copy", n, got)
		}
	}
}

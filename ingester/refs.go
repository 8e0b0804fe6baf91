package ingester

import (
	"unsafe"

	"github.com/varve-io/varve/pkg/head"
	"github.com/varve-io/varve/pkg/prefetch"
	"github.com/varve-io/varve/pkg/series"
)

// ref is what a number stands for.
type ref struct {
	series *head.Series
	last   uint64 // bits of the value before
	round  uint32
	tenant uint32
}

// refs are what a stream's numbers stand for. They lie on pages: with series that come and go they are many more than samples come for
// at a time, and would be copied again and again in one piece that grows.
type refs struct {
	pages []*[refsOfPage]ref
	size  int // the greatest number there was, and one
}

const refsOfPage = 1024

// has tells whether there is such a number.
func (r *refs) has(n int) bool { return n < r.size }

// at is what a number stands for that there is.
func (r *refs) at(n int) *ref { return &r.pages[uint(n)/refsOfPage][uint(n)%refsOfPage] }

// reach makes all numbers up to n.
func (r *refs) reach(n int) {
	for n >= len(r.pages)*refsOfPage {
		r.pages = append(r.pages, new([refsOfPage]ref))
	}
	r.size = max(r.size, n+1)
}

// expect asks for the memory of what some floats need soon: with series that come and go, it lies anywhere.
func (r *refs) expect(floats []series.FloatBits) {
	for i := range floats {
		if n := int(floats[i].Number); r.has(n) {
			prefetch.Line(unsafe.Pointer(r.at(n)))
		}
	}
}

// copy has what the numbers stand for now.
func (r *refs) copy() refs {
	c := refs{make([]*[refsOfPage]ref, len(r.pages)), r.size}
	for i, p := range r.pages {
		c.pages[i] = new([refsOfPage]ref)
		*c.pages[i] = *p
	}
	return c
}

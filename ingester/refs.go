package ingester

import (
	"unsafe"

	"github.com/varve-io/varve/pkg/prefetch"
	"github.com/varve-io/varve/pkg/series"
)

// ref is what a number stands for. It has no pointers, which the collector would follow for every number.
type ref struct {
	last   uint64 // bits of the value before
	series uint32 // its place in the era's head
	era    uint32 // 0 if the number stands for nothing
}

// refs are what a stream's numbers stand for. They lie on pages: with series that come and go they are many more than samples come for
// at a time, and would be copied again and again in one piece that grows.
type refs struct {
	pages []*refPage // nil where no number of a page was made
	size  int        // the greatest number that was, and one
}

type refPage [refsOfPage]ref

const refsOfPage = 1024

// find is what a number stands for, nil if none near it was made.
func (r *refs) find(n series.Number) *ref {
	if at := int(n / refsOfPage); at < len(r.pages) {
		if p := r.pages[at]; p != nil {
			return &p[n%refsOfPage]
		}
	}
	return nil
}

// make makes room for a number.
func (r *refs) make(n series.Number) *ref {
	at := int(n / refsOfPage)
	for at >= len(r.pages) {
		r.pages = append(r.pages, nil)
	}
	if r.pages[at] == nil {
		r.pages[at] = new(refPage)
	}
	r.size = max(r.size, int(n)+1)
	return &r.pages[at][n%refsOfPage]
}

// expect asks for the memory of what some floats need soon: with series that come and go, it lies anywhere.
func (r *refs) expect(floats []series.FloatBits) {
	for i := range floats {
		prefetch.Line(unsafe.Pointer(r.find(floats[i].Number)))
	}
}

// copy has what the numbers stand for now.
func (r *refs) copy() refs {
	c := refs{make([]*refPage, len(r.pages)), r.size}
	for i, p := range r.pages {
		if p != nil {
			copied := *p
			c.pages[i] = &copied
		}
	}
	return c
}

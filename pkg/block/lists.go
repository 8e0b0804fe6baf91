package block

import (
	"encoding/binary"
	"slices"
	"sort"

	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/index"
)

var (
	_ index.Postings = (*bigEndian)(nil)
	_ index.Postings = (*refList)(nil)
)

// bigEndian is a postings list as it stands in the index.
type bigEndian struct {
	rest []byte // after the current one
	cur  uint32
}

func (p *bigEndian) At() storage.SeriesRef { return storage.SeriesRef(p.cur) }
func (p *bigEndian) Err() error            { return nil }

func (p *bigEndian) Next() bool {
	if len(p.rest) < 4 {
		return false
	}
	p.cur, p.rest = binary.BigEndian.Uint32(p.rest), p.rest[4:]
	return true
}

// Seek moves to the first reference that is not less than x. It stays where it is if that is so already.
func (p *bigEndian) Seek(x storage.SeriesRef) bool {
	if p.cur != 0 && p.At() >= x {
		return true
	}
	at := func(i int) bool { return storage.SeriesRef(binary.BigEndian.Uint32(p.rest[i*4:])) >= x }
	p.rest = p.rest[gallop(len(p.rest)/4, at)*4:]
	return p.Next()
}

// gallop is the first of n places where reached is true, n if it is nowhere: dense intersections cost little, and
// sparse ones a logarithm.
func gallop(n int, reached func(int) bool) int {
	lo, hi := 0, 0
	for step := 1; hi < n && !reached(hi); step *= 2 {
		lo, hi = hi+1, hi+step
	}
	hi = min(hi, n)
	return lo + sort.Search(hi-lo, func(i int) bool { return reached(lo + i) })
}

// refList is a list of references in memory.
type refList struct {
	rest []uint32 // after the current one
	cur  uint32
}

func (p *refList) At() storage.SeriesRef { return storage.SeriesRef(p.cur) }
func (p *refList) Err() error            { return nil }

func (p *refList) Next() bool {
	if len(p.rest) == 0 {
		return false
	}
	p.cur, p.rest = p.rest[0], p.rest[1:]
	return true
}

// Seek is as that of bigEndian.
func (p *refList) Seek(x storage.SeriesRef) bool {
	if p.cur != 0 && p.At() >= x {
		return true
	}
	p.rest = p.rest[gallop(len(p.rest), func(i int) bool { return storage.SeriesRef(p.rest[i]) >= x }):]
	return p.Next()
}

// intersects tells whether any of refs stands in the list.
func intersects(refs []uint32, list []byte) bool {
	p := bigEndian{rest: list}
	for i := 0; i < len(refs) && p.Seek(storage.SeriesRef(refs[i])); {
		if p.cur == refs[i] {
			return true
		}
		j, _ := slices.BinarySearch(refs[i:], p.cur)
		i += j
	}
	return false
}

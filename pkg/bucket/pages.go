package bucket

import (
	"context"
	"slices"
)

// pageKey names a page: of which object, and its number.
type pageKey struct {
	name string
	page int64
}

// flight is a page on its way. Whoever took off (made the flight) lands it; others wait.
type flight struct {
	key  pageKey
	done chan struct{}
	data []byte
	err  error
}

// run is consecutive pages that one request fetches. Flights are those of them that somebody asked for.
type run struct {
	first, count int64
	flights      []*flight
}

// pageSet is the pages of one file that a call asked for.
type pageSet map[int64][]byte

// pages returns the pages that the ranges touch: from memory, from disk, or from the bucket. A page that another
// call is fetching is waited for; if that call fails, it is fetched here.
func (r *Reader) pages(ctx context.Context, f *File, ranges []Range) (pageSet, error) {
	wanted := touched(ranges)
	set := make(pageSet, len(wanted))
	for len(wanted) > 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		own, others := r.takeOff(f, wanted, set)
		own = r.fromDisk(own, set)
		if err := r.fetch(ctx, f, runs(own, r.mergePg)); err != nil {
			return nil, err
		}
		for _, fl := range own {
			set[fl.key.page] = fl.data
		}
		wanted = wanted[:0]
		for _, fl := range others {
			select {
			case <-fl.done:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			if fl.err != nil {
				wanted = append(wanted, fl.key.page)
				continue
			}
			set[fl.key.page] = fl.data
		}
	}
	return set, nil
}

// touched is the pages that the ranges lie on, in order and without repetition.
func touched(ranges []Range) []int64 {
	var pages []int64
	for _, r := range ranges {
		for p := r.Off / PageSize; p*PageSize < r.Off+r.Len; p++ {
			pages = append(pages, p)
		}
	}
	slices.Sort(pages)
	return slices.Compact(pages)
}

// takeOff puts pages from memory into set and divides the rest into flights of ours and of others.
func (r *Reader) takeOff(f *File, wanted []int64, set pageSet) (own, others []*flight) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, page := range wanted {
		key := pageKey{f.name, page}
		if data := r.memory.get(key); data != nil {
			r.metrics.memoryHits.Inc()
			set[page] = data
			continue
		}
		if fl := r.flights[key]; fl != nil {
			others = append(others, fl)
			continue
		}
		fl := &flight{key: key, done: make(chan struct{})}
		r.flights[key] = fl
		own = append(own, fl)
	}
	return own, others
}

// fromDisk lands what the disk cache has and returns the flights that are left.
func (r *Reader) fromDisk(own []*flight, set pageSet) []*flight {
	if r.disk == nil {
		r.metrics.misses.Add(float64(len(own)))
		return own
	}
	left := own[:0]
	for _, fl := range own {
		data := r.disk.get(fl.key)
		if data == nil {
			r.metrics.misses.Inc()
			left = append(left, fl)
			continue
		}
		r.metrics.diskHits.Inc()
		r.memory.put(fl.key, data)
		set[fl.key.page] = data
		r.land(fl, data, nil)
	}
	return left
}

// land ends a flight.
func (r *Reader) land(fl *flight, data []byte, err error) {
	r.mu.Lock()
	delete(r.flights, fl.key)
	r.mu.Unlock()
	fl.data, fl.err = data, err
	close(fl.done)
}

// runs joins flights, ordered by page, whose gap is at most so many pages and whose sum fits one request.
func runs(flights []*flight, gap int64) []run {
	var out []run
	for _, fl := range flights {
		if n := len(out) - 1; n >= 0 {
			last := &out[n]
			count := fl.key.page + 1 - last.first
			if fl.key.page-(last.first+last.count) <= gap && count*PageSize <= maxGet {
				last.count = count
				last.flights = append(last.flights, fl)
				continue
			}
		}
		out = append(out, run{first: fl.key.page, count: 1, flights: []*flight{fl}})
	}
	return out
}

// slice is the bytes of a range: part of a page if it lies on one, else a copy.
func (s pageSet) slice(r Range) []byte {
	if r.Len == 0 {
		return []byte{}
	}
	page, start := r.Off/PageSize, r.Off%PageSize
	if start+r.Len <= PageSize {
		return s[page][start : start+r.Len : start+r.Len]
	}
	p := make([]byte, r.Len)
	s.copy(p, r.Off)
	return p
}

func (s pageSet) copy(p []byte, off int64) {
	for len(p) > 0 {
		n := copy(p, s[off/PageSize][off%PageSize:])
		p, off = p[n:], off+int64(n)
	}
}

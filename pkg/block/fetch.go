package block

import (
	"context"
	"errors"
	"slices"
)

const (
	// runGap is how many unwanted bytes between two wanted ones are rather read than skipped. What is near enough to
	// share a request is the File's business.
	runGap = 8 << 10
	// maxRun is the most bytes that are asked for as one range, unless one item is longer.
	maxRun = 1 << 20
	// maxFetch is about the most bytes that are held by one call of Ranges, if each range costs rangeCost more than
	// its length because the File reads by pages.
	maxFetch  = 16 << 20
	rangeCost = 64 << 10
)

// span is where an item is expected: it starts at off, and its end is a guess.
type span struct{ off, end int64 }

// errShort says that an item is longer than the bytes it was looked for in.
type errShort struct{ need int64 }

func (errShort) Error() string { return "item is longer than expected" }

// fetcher reads items of one file for one call.
type fetcher struct {
	ctx  context.Context
	b    *Block
	f    File
	name string
	room *[]byte // is read into, again and again, if that is possible; nil if parse keeps bytes
}

// each gives parse the bytes of every span, which must be in ascending order. It reads few, merged ranges. The bytes
// may go beyond the span's end; if they are too few, parse returns errShort and is called again with more.
func (t fetcher) each(spans []span, parse func(i int, b []byte) error) error {
	if len(spans) == 0 {
		return nil
	}
	runs, counts, err := t.runs(spans)
	if err != nil {
		return err
	}
	i := 0
	for len(runs) > 0 {
		n, data, err := t.read(runs)
		if err != nil {
			return t.b.readError(t.name, err)
		}
		for r, b := range data {
			for range counts[r] {
				if err := t.parse(spans[i], b[spans[i].off-runs[r].Off:], i, parse); err != nil {
					return err
				}
				i++
			}
		}
		runs, counts = runs[n:], counts[n:]
	}
	return nil
}

// read reads the first n of the ranges.
func (t fetcher) read(runs []Range) (n int, data [][]byte, err error) {
	f, ok := t.f.(Local)
	if t.room == nil || !ok || !f.IsLocal() {
		n = affordable(runs)
		data, err = t.f.Ranges(t.ctx, runs[:n])
		return n, data, err
	}
	b := slices.Grow((*t.room)[:0], int(runs[0].Len))[:runs[0].Len]
	*t.room = b
	_, err = f.ReadAt(t.ctx, b, runs[0].Off)
	return 1, [][]byte{b}, err
}

// affordable is how many of the ranges may be read at once.
func affordable(runs []Range) int {
	bytes := int64(0)
	for i, r := range runs {
		if bytes += r.Len + rangeCost; bytes > maxFetch && i > 0 {
			return i
		}
	}
	return len(runs)
}

// parse calls parse, once more with more bytes if they were too few, and once more past the cache if they were bad.
func (t fetcher) parse(s span, b []byte, i int, parse func(int, []byte) error) error {
	err := parse(i, b)
	n := min(int64(len(b)), s.end-s.off)
	for dropped := false; err != nil; {
		var short errShort
		cache, cached := t.f.(Dropper)
		switch {
		case errors.As(err, &short):
			if short.need <= n || short.need > t.f.Size()-s.off {
				err = t.b.corrupt(t.name, s.off, "length %d goes beyond the end", short.need)
				continue
			}
			n = short.need
		case errors.Is(err, ErrCorrupt) && cached && !dropped:
			dropped = true
			n = max(n, min(int64(len(b)), rangeCost))
			cache.Drop(s.off, n)
		default:
			return err
		}
		var rerr error
		if b, rerr = t.f.Range(t.ctx, s.off, n); rerr != nil {
			return t.b.readError(t.name, rerr)
		}
		err = parse(i, b)
	}
	return nil
}

// runs merges spans that lie near each other, and counts how many went into each run.
func (t fetcher) runs(spans []span) (runs []Range, counts []int, err error) {
	size := t.f.Size()
	for _, s := range spans {
		end := min(s.end, size)
		if s.off < 0 || s.off >= end {
			return nil, nil, t.b.corrupt(t.name, s.off, "reference to beyond the end")
		}
		if n := len(runs); n > 0 {
			last := &runs[n-1]
			if s.off <= last.Off+last.Len+runGap && end-last.Off <= maxRun {
				last.Len = max(last.Len, end-last.Off)
				counts[n-1]++
				continue
			}
		}
		runs, counts = append(runs, Range{Off: s.off, Len: end - s.off}), append(counts, 1)
	}
	return runs, counts, nil
}

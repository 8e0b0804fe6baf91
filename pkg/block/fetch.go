package block

import (
	"context"
	"errors"
)

const (
	// runGap is how many unwanted bytes between two wanted ones are rather read than skipped. They stay in memory as
	// long as their neighbours, so it is small; what is near enough to share a request is the File's business.
	runGap = 4 << 10
	// maxRun is the most bytes that are asked for at once, unless one item is longer.
	maxRun = 1 << 20
)

// span is where an item is expected: it starts at off, and its end is a guess.
type span struct{ off, end int64 }

// errShort says that an item is longer than the bytes it was looked for in.
type errShort struct{ need int64 }

func (errShort) Error() string { return "item is longer than expected" }

// Refetcher is a File with a cache that may be damaged: Refetch reads past it and mends it. A block asks for that
// once before it says that something is corrupt.
type Refetcher interface {
	Refetch(ctx context.Context, off, n int64) ([]byte, error)
}

// fetcher reads items of one file for one call.
type fetcher struct {
	ctx  context.Context
	b    *Block
	f    File
	name string
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
	if err := t.f.Prefetch(t.ctx, runs); err != nil {
		return t.b.readError(t.name, err)
	}
	i := 0
	for r, run := range runs {
		b, err := t.f.Range(t.ctx, run.Off, run.Len)
		if err != nil {
			return t.b.readError(t.name, err)
		}
		for range counts[r] {
			if err := t.parse(spans[i], b[spans[i].off-run.Off:], i, parse); err != nil {
				return err
			}
			i++
		}
	}
	return nil
}

// parse calls parse, once more with more bytes if they were too few, and once more past the cache if they were bad.
func (t fetcher) parse(s span, b []byte, i int, parse func(int, []byte) error) error {
	err := parse(i, b)
	n := min(int64(len(b)), s.end-s.off)
	for fresh := false; err != nil; {
		var short errShort
		var rerr error
		again, canRefetch := t.f.(Refetcher)
		switch {
		case errors.As(err, &short):
			if short.need <= n || short.need > t.f.Size()-s.off {
				err = t.b.corrupt(t.name, s.off, "length %d goes beyond the end", short.need)
				continue
			}
			n = short.need
			if fresh {
				b, rerr = again.Refetch(t.ctx, s.off, n)
			} else {
				b, rerr = t.f.Range(t.ctx, s.off, n)
			}
		case errors.Is(err, ErrCorrupt) && canRefetch && !fresh:
			fresh = true
			b, rerr = again.Refetch(t.ctx, s.off, n)
		default:
			return err
		}
		if rerr != nil {
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

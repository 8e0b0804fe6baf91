package join

import (
	"cmp"
	"slices"

	"github.com/varve-io/varve/pkg/cost/quantity"
)

// lane is what one series says of something that others may say too: another Prometheus of a pair, another shard or scrape job, an
// earlier run of the container.
type lane[T quantity.Piece[T]] struct {
	run     int64 // when the run that it is of was first seen; 0 of facts
	samples int64
	pieces  []T
}

// overlay makes one list of lanes that come in the order of their labels: of several runs the latest is preferred, then the lane with
// the most samples, then the first one; its gaps are filled from the next.
func overlay[T quantity.Piece[T]](lanes []lane[T]) []T { return new(room[T]).overlay(lanes) }

// room is for lanes and pieces that nobody keeps: it is used again for the next ones.
type room[T quantity.Piece[T]] struct {
	lanes  []lane[T]
	pieces [][]T  // of each lane
	over   [2][]T // of what is laid over each other
}

// lane is room for the pieces of the i-th lane.
func (r *room[T]) lane(i int) *[]T {
	for len(r.pieces) <= i {
		r.pieces = append(r.pieces, nil)
	}
	r.pieces[i] = r.pieces[i][:0]
	return &r.pieces[i]
}

func (r *room[T]) overlay(lanes []lane[T]) []T {
	switch len(lanes) {
	case 0:
		return nil
	case 1:
		return lanes[0].pieces
	}
	slices.SortStableFunc(lanes, func(a, b lane[T]) int {
		return cmp.Or(cmp.Compare(b.run, a.run), cmp.Compare(b.samples, a.samples))
	})
	out := lanes[0].pieces
	for i, l := range lanes[1:] {
		to := &r.over[i%2]
		*to = quantity.Fill((*to)[:0], out, l.pieces)
		out = *to
	}
	return out
}

// span is [from, to).
type span struct{ from, to int64 }

func (s span) clip(o span) span       { return span{max(s.from, o.from), min(s.to, o.to)} }
func (s span) Span() (from, to int64) { return s.from, s.to }

func (s span) length() int64 { return max(s.to-s.from, 0) }

// union sorts spans and merges those that touch, in place.
func union(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to)) })
	out := spans[:0]
	for _, s := range spans {
		if n := len(out); n > 0 && s.from <= out[n-1].to {
			out[n-1].to = max(out[n-1].to, s.to)
		} else if s.to > s.from {
			out = append(out, s)
		}
	}
	return out
}

// join appends a span, to the last one if it goes on from there.
func join(spans []span, s span) []span {
	if n := len(spans); n > 0 && spans[n-1].to == s.from {
		spans[n-1].to = s.to
		return spans
	}
	return append(spans, s)
}

// without is what of the spans in a is not in those of b; both are unions.
func without(a, b []span) []span {
	var out []span
	for _, s := range a {
		for _, o := range b {
			if o.to <= s.from {
				continue
			}
			if o.from >= s.to {
				break
			}
			if o.from > s.from {
				out = append(out, span{s.from, o.from})
			}
			s.from = o.to
		}
		if s.to > s.from {
			out = append(out, s)
		}
	}
	return out
}

func spansOf(levels []quantity.Level) []span {
	out := make([]span, 0, len(levels))
	for _, l := range levels {
		out = append(out, span{l.From, l.To})
	}
	return out
}

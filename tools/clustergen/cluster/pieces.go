package cluster

import (
	"math/big"
	"math/bits"
	"slices"
)

// slope is usage that is even over a span: its total since some beginning goes from a to b.
type slope struct {
	Span
	a, b int64
}

// at is the total at a time within the span, rounded down: of an amount times milliseconds of 128 bits, as bytes need them.
func (s slope) at(t int64) int64 {
	hi, lo := bits.Mul64(uint64(s.b-s.a), uint64(t-s.From))
	q, _ := bits.Div64(hi, lo, uint64(s.To-s.From))
	return s.a + int64(q)
}

// even makes slopes of rates, each from 0: a tebibyte for an hour is below 2⁶².
func even(ps []piece) []slope {
	out := make([]slope, 0, len(ps))
	for _, p := range ps {
		out = append(out, slope{p.Span, 0, p.v * p.length()})
	}
	return out
}

// hold integrates a request and usage while alive.
func hold(request []piece, usage []slope, alive []piece) Held {
	h := Held{Used: new(big.Int), Unused: new(big.Int), Unknown: integral(request), Request: integral(request), Limit: new(big.Int)}
	if usage == nil { // nobody uses it, and that is known
		h.Unused, h.Unknown, h.Known = h.Unknown, h.Unused, lengthOf(alive)
		return h
	}
	for _, s := range usage {
		for _, a := range alive {
			both := s.clip(a.Span)
			if both.empty() {
				continue
			}
			h.Known += both.length()
			h.Used.Add(h.Used, big.NewInt(s.at(both.To)-s.at(both.From)))
			for _, r := range within(request, both) {
				asked, used := r.v*r.length(), s.at(r.To)-s.at(r.From)
				h.Unknown.Sub(h.Unknown, big.NewInt(asked))
				h.Unused.Add(h.Unused, big.NewInt(max(asked-used, 0)))
			}
		}
	}
	return h
}

// cut calls fn for the parts of a span in which no list changes, with the value of each, 0 where it has none.
func cut(in Span, lists [][]piece, fn func(Span, []int64)) {
	if in.empty() {
		return
	}
	edges := []int64{in.From, in.To}
	for _, list := range lists {
		for _, p := range list {
			for _, e := range []int64{p.From, p.To} {
				if in.Contains(e) {
					edges = append(edges, e)
				}
			}
		}
	}
	slices.Sort(edges)
	edges = slices.Compact(edges)
	values := make([]int64, len(lists))
	for i := range len(edges) - 1 {
		for j, list := range lists {
			values[j], _ = valueAt(list, edges[i])
		}
		fn(Span{edges[i], edges[i+1]}, values)
	}
}

// sum adds lists up over a span.
func sum(in Span, lists [][]piece) []piece {
	var out []piece
	cut(in, lists, func(s Span, values []int64) {
		total := int64(0)
		for _, v := range values {
			total += v
		}
		out = appendPiece(out, piece{s, total})
	})
	return out
}

// share divides a quantity at each instant evenly among those who are there then.
func share(quantity []piece, who map[string][]piece) Shared {
	s := Shared{Quantity: integral(quantity), Shares: map[string]*big.Rat{}}
	var ids []string
	var lists [][]piece
	for id, ps := range who {
		if len(ps) > 0 {
			ids, lists = append(ids, id), append(lists, ps)
		}
	}
	for _, q := range quantity {
		cut(q.Span, lists, func(part Span, values []int64) {
			n := int64(0)
			for _, v := range values {
				n += min(v, 1)
			}
			for i, v := range values {
				if v == 0 {
					continue
				}
				if s.Shares[ids[i]] == nil {
					s.Shares[ids[i]] = new(big.Rat)
				}
				x := new(big.Int).Mul(big.NewInt(q.v), big.NewInt(part.length()))
				s.Shares[ids[i]].Add(s.Shares[ids[i]], new(big.Rat).SetFrac(x, big.NewInt(n)))
			}
		})
	}
	return s
}

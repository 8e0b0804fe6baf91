package cube

import (
	"math/bits"
	"slices"
)

// runs are the rows of a group that come one after the other in a period and have the same names. Those of a period that have the same names are one
// item.
type runs struct {
	starts []int32 // the first row of each run, and after the last one the number of rows
	names  []int32 // a row with the names, by number of names
	items  []int32 // the number of names of each item, in the order of periods
	ends   []int32 // by period, the number of items until its end
	itemOf []int32 // by run

	ids   []uint32 // of runs, while they are numbered: the same where names are the same
	table []uint32
	seen  []int32
}

// find finds the runs, and the items that they are of.
func (r *runs) find(names []codes, spans []Span) {
	r.findStarts(names, spans)
	count := len(r.starts) - 1
	r.ids = slices.Grow(r.ids[:0], count)[:count]
	clear(r.ids)
	kinds := uint32(1)
	for i := range names {
		if c := &names[i]; c.rows != nil {
			kinds = r.number(c, kinds)
		}
	}
	r.names = slices.Grow(r.names[:0], int(kinds))[:kinds]
	r.seen = slices.Grow(r.seen[:0], int(kinds))[:kinds]
	clear(r.seen)
	r.items, r.itemOf, r.ends = r.items[:0], slices.Grow(r.itemOf[:0], count), r.ends[:0]
	run, row := 0, int32(0)
	for _, s := range spans {
		before := int32(len(r.items)) // items of the period are numbered from there
		for row += int32(s.Rows); run < count && r.starts[run] < row; run++ {
			id := r.ids[run]
			if r.seen[id] <= before {
				r.items = append(r.items, int32(id))
				r.seen[id] = int32(len(r.items))
				r.names[id] = r.starts[run]
			}
			r.itemOf = append(r.itemOf, r.seen[id]-1)
		}
		r.ends = append(r.ends, int32(len(r.items)))
	}
}

// number tells runs apart by a column, too: it numbers the pairs of the numbers that they have, below kinds, and the column's.
func (r *runs) number(c *codes, kinds uint32) uint32 {
	values := uint64(c.values())
	next := uint32(0)
	if size := values * uint64(kinds); size <= uint64(4*len(r.ids)+1<<12) {
		r.table = slices.Grow(r.table[:0], int(size))[:size]
		clear(r.table)
		for i, id := range r.ids {
			at := &r.table[uint64(id)*values+uint64(c.rows[r.starts[i]])]
			if *at == 0 {
				next++
				*at = next
			}
			r.ids[i] = *at - 1
		}
		return next
	}
	pairs := make(map[uint64]uint32, kinds)
	for i, id := range r.ids {
		pair := uint64(id)<<32 | uint64(c.rows[r.starts[i]])
		n, ok := pairs[pair]
		if !ok {
			n = next
			pairs[pair] = n
			next++
		}
		r.ids[i] = n
	}
	return next
}

// findStarts finds the rows at which a name changes or a period begins.
func (r *runs) findStarts(names []codes, spans []Span) {
	rows := groupRows(spans)
	breaks := make([]uint64, rows/64+1)
	for i := range names {
		for w, changes := range names[i].breaks {
			breaks[w] |= changes
		}
	}
	at := int64(0)
	for _, s := range spans {
		breaks[at/64] |= 1 << (at % 64)
		at += s.Rows
	}
	breaks[rows/64] |= 1 << (rows % 64)
	count := 0
	for _, w := range breaks {
		count += bits.OnesCount64(w)
	}
	r.starts = slices.Grow(r.starts[:0], count)
	for i, w := range breaks {
		for ; w != 0; w &= w - 1 {
			r.starts = append(r.starts, int32(i*64+bits.TrailingZeros64(w)))
		}
	}
}

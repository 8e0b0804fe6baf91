package cost

import (
	"errors"
	"math"
	"math/bits"
	"slices"
)

// division is a node's capacity among holdings, idle and system: their sum is the capacity that is not blind.
type division struct {
	idle, system int64
	parts        []int64 // of holdings, three of each
	over         int64   // what was held beyond the capacity
}

// divide is the law of docs/cost.md for one node and resource.
func divide(c *Capacity, holdings [][3]int64) (division, error) {
	capacity := c.Capacity - c.Blind
	var allocatable int64
	if c.Capacity > 0 {
		allocatable = scale(c.Allocatable, capacity, c.Capacity)
	}
	parts := make([]int64, 0, 3*len(holdings))
	var held int64
	for _, h := range holdings {
		for _, p := range h {
			if p > math.MaxInt64-held {
				return division{}, errors.New("what is held is too large a number")
			}
			held += p
			parts = append(parts, p)
		}
	}
	switch {
	case held <= allocatable:
		return division{idle: allocatable - held, system: capacity - allocatable, parts: parts}, nil
	case held <= capacity:
		return division{system: capacity - held, parts: parts}, nil
	}
	scaleTo(capacity, held, parts)
	return division{parts: parts, over: held - capacity}, nil
}

// scaleTo makes parts, which sum to sum, sum to total, which is less: each rounded down, then those with the largest remainders up;
// ties go to the first.
func scaleTo(total, sum int64, parts []int64) {
	rests := make([]uint64, len(parts))
	order := make([]int, len(parts))
	left := total
	for i, p := range parts {
		hi, lo := bits.Mul64(uint64(p), uint64(total))
		q, rest := bits.Div64(hi, lo, uint64(sum))
		parts[i], rests[i], order[i] = int64(q), rest, i
		left -= int64(q)
	}
	slices.SortStableFunc(order, func(i, j int) int {
		switch {
		case rests[i] > rests[j]:
			return -1
		case rests[i] < rests[j]:
			return 1
		}
		return 0
	})
	for _, i := range order[:left] {
		parts[i]++
	}
}

// cut is the part of the workload in [from, to) of total, in proportion: pieces add up to the whole.
func (w *Workload) cut(from, to, total int64) Workload {
	part := *w
	if from == 0 && to == total {
		return part
	}
	piece := func(v int64) int64 { return scale(v, to, total) - scale(v, from, total) }
	for _, h := range []*Held{&part.CPU, &part.RAM, &part.GPU} {
		*h = Held{Used: piece(h.Used), Unused: piece(h.Unused), Unknown: piece(h.Unknown), Request: piece(h.Request), Limit: piece(h.Limit)}
	}
	part.Alive = piece(w.Alive)
	part.CPUKnown, part.RAMKnown, part.GPUKnown = piece(w.CPUKnown), piece(w.RAMKnown), piece(w.GPUKnown)
	part.Network = Network{Received: piece(w.Network.Received), Sent: piece(w.Network.Sent)}
	part.Disk = Disk{Read: piece(w.Disk.Read), Written: piece(w.Disk.Written)}
	return part
}

package quantity

import "math/bits"

// Buckets are the bounds of a sketch's buckets: the first ends at First, and each is 1.05 times as wide as the one before. What is
// beyond the last is in the last. There are at most MaxBuckets.
type Buckets struct {
	ends []int64
	at   [64 << slotBits]int16 // the bucket of the least value of each slot
}

// MaxBuckets is enough for 20 orders of magnitude.
const MaxBuckets = 1000

// slotBits are the bits behind a value's first one that tell its slot.
const slotBits = 4

// NewBuckets makes the buckets up to most.
func NewBuckets(first, most int64) *Buckets {
	b := &Buckets{}
	for end, width := float64(first), float64(first); ; end += width {
		b.ends = append(b.ends, int64(end+0.5))
		if end >= float64(most) || len(b.ends) == MaxBuckets {
			break
		}
		width = float64(width * 1.05)
	}
	i := 0
	for s := range b.at {
		for i < len(b.ends)-1 && b.ends[i] <= least(s) {
			i++
		}
		b.at[s] = int16(i)
	}
	return b
}

// slot of a value, and the least value of a slot: those with the same first bits are in one.
func slot(v int64) int {
	n := bits.Len64(uint64(v))
	if n <= slotBits {
		return 0
	}
	return n<<slotBits | int(v>>(n-1-slotBits))&(1<<slotBits-1)
}

func least(slot int) int64 {
	n := slot >> slotBits
	if n <= slotBits {
		return 0
	}
	return int64(1<<slotBits|slot&(1<<slotBits-1)) << (n - 1 - slotBits)
}

// Index of the bucket that v, which is not negative, is in: bucket i is [End(i-1), End(i)).
func (b *Buckets) Index(v int64) int32 {
	i := int(b.at[slot(v)])
	for i < len(b.ends)-1 && v >= b.ends[i] {
		i++
	}
	return int32(i)
}

// End of a bucket.
func (b *Buckets) End(i int32) int64 { return b.ends[i] }

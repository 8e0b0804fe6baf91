package quantity

import "sort"

// Buckets are the bounds of a sketch's buckets: the first ends at First, and each is 1.05 times as wide as the one before. What is
// beyond the last is in the last.
type Buckets struct{ ends []int64 }

// NewBuckets makes the buckets up to most.
func NewBuckets(first, most int64) Buckets {
	var b Buckets
	end, width := float64(first), float64(first)
	for {
		b.ends = append(b.ends, int64(end+0.5))
		if end >= float64(most) {
			return b
		}
		width = float64(width * 1.05)
		end = float64(end + width)
	}
}

// Index of the bucket that v is in: bucket i is [End(i-1), End(i)).
func (b Buckets) Index(v int64) int32 {
	i := sort.Search(len(b.ends), func(i int) bool { return v < b.ends[i] })
	return int32(min(i, len(b.ends)-1))
}

// End of a bucket.
func (b Buckets) End(i int32) int64 { return b.ends[i] }

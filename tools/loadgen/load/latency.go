package load

import (
	"math/bits"
	"sync"
	"time"
)

// latencies counts durations in buckets 1/16 of their size wide, from microseconds to hours. Safe for concurrent use.
type latencies struct {
	mu     sync.Mutex
	counts LatencyCounts
}

// LatencyCounts is a snapshot of observed durations; two of them can be subtracted.
type LatencyCounts struct {
	total   uint64
	buckets [40 * 16]uint64
}

func (l *latencies) observe(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.total++
	l.counts.buckets[latencyBucket(d)]++
}

func (l *latencies) snapshot() LatencyCounts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts
}

func latencyBucket(d time.Duration) int {
	us := uint64(max(d.Microseconds(), 0))
	if us < 16 {
		return int(us)
	}
	exp := bits.Len64(us) - 5 // us>>exp is 16 … 31
	return min(exp*16+int(us>>exp), 40*16-1)
}

func bucketEnd(i int) time.Duration {
	if i < 32 {
		return time.Duration(i+1) * time.Microsecond
	}
	exp := i/16 - 1
	return time.Duration(uint64(i-exp*16+1)<<exp) * time.Microsecond
}

// Sub returns what was observed since an earlier snapshot.
func (c LatencyCounts) Sub(earlier LatencyCounts) LatencyCounts {
	c.total -= earlier.total
	for i := range c.buckets {
		c.buckets[i] -= earlier.buckets[i]
	}
	return c
}

// Max returns an upper bound, at most 1/16 too high, of the greatest that was observed; 0 if nothing was.
func (c LatencyCounts) Max() time.Duration { return c.Quantile(1) }

// Quantile returns an upper bound, at most 1/16 too high, of the q-quantile; 0 if nothing was observed.
func (c LatencyCounts) Quantile(q float64) time.Duration {
	if c.total == 0 {
		return 0
	}
	rank := uint64(q * float64(c.total-1))
	for i, n := range c.buckets {
		if rank < n {
			return bucketEnd(i)
		}
		rank -= n
	}
	return bucketEnd(len(c.buckets) - 1)
}

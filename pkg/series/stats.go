package series

import (
	"context"
	"sync/atomic"
)

type statsKey struct{}

// WithStats gives a context whose selections add to s.
func WithStats(ctx context.Context, s *Stats) context.Context {
	return context.WithValue(ctx, statsKey{}, s)
}

// StatsFrom is the Stats that WithStats put into the context, or nil: a nil Stats takes additions and drops them.
func StatsFrom(ctx context.Context) *Stats {
	s, _ := ctx.Value(statsKey{}).(*Stats)
	return s
}

// Add adds every count of d. It is safe for concurrent use with Add and Load.
func (s *Stats) Add(d Stats) {
	if s == nil {
		return
	}
	to, from := s.fields(), d.fields()
	for i, f := range from {
		if *f != 0 {
			atomic.AddInt64(to[i], *f)
		}
	}
}

// Load is a copy of the counts as they stand.
func (s *Stats) Load() Stats {
	var d Stats
	if s == nil {
		return d
	}
	to, from := d.fields(), s.fields()
	for i, f := range from {
		*to[i] = atomic.LoadInt64(f)
	}
	return d
}

func (s *Stats) fields() [7]*int64 {
	return [...]*int64{&s.Series, &s.Chunks, &s.ChunkBytes, &s.Samples, &s.Blocks, &s.Gets, &s.GetBytes}
}

package head

import (
	"context"
	"fmt"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/index"

	"github.com/varve-io/varve/pkg/series"
)

var _ series.Source = (*Head)(nil)

// checkEvery is how many series pass between two looks at a context.
const checkEvery = 1024

// Select implements series.Source. The set takes a series' chunks when it comes to it; it keeps the head's data
// until it is closed. The error is ErrFreed, the context's, or a matcher's.
func (h *Head) Select(ctx context.Context, q series.Query) (series.Set, error) {
	if err := h.acquire(); err != nil {
		return nil, err
	}
	st := &set{ctx: ctx, head: h, q: q}
	if !h.overlaps(q.MinTime, q.MaxTime) {
		return st, nil
	}
	var err error
	if st.left, err = h.matching(ctx, q.Matchers); err != nil {
		h.release()
		return nil, fmt.Errorf("select from head: %w", err)
	}
	st.pairs = h.index.allPairs()
	slices.SortFunc(st.left, st.pairs.compare)
	return st, nil
}

// matching is the series that all matchers match, in a slice of its own, in the order of creation.
func (h *Head) matching(ctx context.Context, matchers []*labels.Matcher) ([]*Series, error) {
	if len(matchers) == 0 {
		all := h.index.all()
		return all.slice(), nil
	}
	p, err := tsdb.PostingsForMatchers(ctx, &indexReader{head: h}, slices.Clone(matchers)...) // sorts its arguments
	if err != nil {
		return nil, err
	}
	return resolve(ctx, p, h.index.all())
}

// resolve are the series that p refers to.
func resolve(ctx context.Context, p index.Postings, all List) ([]*Series, error) {
	var out []*Series
	for p.Next() {
		if ref := p.At(); ref <= uint64Ref(all.n) {
			out = append(out, all.At(int(ref-1)))
		}
		if len(out)%checkEvery == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return out, p.Err()
}

// set is what Select answers.
type set struct {
	ctx    context.Context
	head   *Head
	q      series.Query
	left   []*Series
	pairs  pairs
	labels labels.ScratchBuilder
	n      int
	at     series.Chunked
	err    error
	closed bool
	stats  series.Stats
}

func (s *set) Next() bool {
	for s.err == nil && len(s.left) > 0 && (s.q.Limit <= 0 || s.n < s.q.Limit) {
		next := s.left[0]
		s.left = s.left[1:]
		if len(s.left)%checkEvery == 0 && s.ctx.Err() != nil {
			s.err = s.ctx.Err()
			return false
		}
		if !s.take(next) {
			continue
		}
		s.labels.Reset()
		s.pairs.add(next, &s.labels)
		s.at.Labels = s.labels.Labels()
		s.n++
		return true
	}
	return false
}

// take fills in the chunks of the current series; false if it has none in the range.
func (s *set) take(next *Series) bool {
	s.stats.Series++
	s.at = series.Chunked{}
	if s.q.SkipChunks {
		return next.overlaps(s.q.MinTime, s.q.MaxTime)
	}
	s.at.Chunks = next.metas(s.q.MinTime, s.q.MaxTime, nil)
	for _, c := range s.at.Chunks {
		s.stats.Chunks++
		s.stats.ChunkBytes += int64(len(c.Chunk.Bytes()))
		s.stats.Samples += int64(c.Chunk.NumSamples())
	}
	return len(s.at.Chunks) > 0
}

func (s *set) At() series.Chunked { return s.at }
func (s *set) Err() error         { return s.err }

func (s *set) Close() error {
	if !s.closed {
		s.closed, s.left = true, nil
		series.StatsFrom(s.ctx).Add(s.stats)
		s.head.release()
	}
	return nil
}

// LabelNames implements series.Source. Without matchers it answers with every name of the head, if the head has
// samples in the range at all.
func (h *Head) LabelNames(ctx context.Context, q series.Query) ([]string, error) {
	if err := h.acquire(); err != nil {
		return nil, err
	}
	defer h.release()
	switch {
	case !h.overlaps(q.MinTime, q.MaxTime):
		return nil, nil
	case len(q.Matchers) == 0:
		return limited(h.index.labelNames(), q.Limit), nil
	}
	seen := map[string]struct{}{}
	err := h.eachMatching(ctx, q, func(ps pairs, s *Series) { ps.namesOf(s, seen) })
	return sortedKeys(seen, q.Limit), err
}

// LabelValues implements series.Source, as LabelNames does.
func (h *Head) LabelValues(ctx context.Context, name string, q series.Query) ([]string, error) {
	if err := h.acquire(); err != nil {
		return nil, err
	}
	defer h.release()
	switch {
	case !h.overlaps(q.MinTime, q.MaxTime):
		return nil, nil
	case len(q.Matchers) == 0:
		return limited(h.index.labelValues(name), q.Limit), nil
	}
	seen := map[string]struct{}{}
	err := h.eachMatching(ctx, q, func(ps pairs, s *Series) {
		if v := ps.get(s, name); v != "" {
			seen[v] = struct{}{}
		}
	})
	return sortedKeys(seen, q.Limit), err
}

// eachMatching calls f for the series that match and have samples in the range.
func (h *Head) eachMatching(ctx context.Context, q series.Query, f func(pairs, *Series)) error {
	matching, err := h.matching(ctx, q.Matchers)
	if err != nil {
		return fmt.Errorf("labels from head: %w", err)
	}
	pairs := h.index.allPairs()
	for i, s := range matching {
		if i%checkEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if s.overlaps(q.MinTime, q.MaxTime) {
			f(pairs, s)
		}
	}
	return nil
}

func sortedKeys(m map[string]struct{}, limit int) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return limited(keys, limit)
}

func limited(names []string, limit int) []string {
	if limit > 0 && len(names) > limit {
		return names[:limit]
	}
	return names
}

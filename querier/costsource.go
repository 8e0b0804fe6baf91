package querier

import (
	"context"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/series"
)

// costSource is what an hour is computed from. It may take what a read may.
type costSource struct {
	sources       sources
	budget        *budget
	series, bytes int64
	missing       []string
}

// Select implements join.Source.
func (s *costSource) Select(ctx context.Context, q series.Query) (series.Set, error) {
	set, warns, err := s.sources.query(ctx, q)
	if err != nil {
		return nil, err
	}
	for text := range warns {
		s.missing = append(s.missing, text)
	}
	return &costSet{set, s, nil}, nil
}

// partialAnswer is the warning of an hour of which not everything could be reached.
const partialAnswer = "partial_answer"

func (s *costSource) partial() (all []cost.Warning) {
	if len(s.missing) > 0 {
		all = append(all, cost.Warning{Name: partialAnswer, Count: 1, Example: s.missing[0]})
	}
	s.missing = nil
	return all
}

// costSet counts what is read.
type costSet struct {
	series.Set
	source *costSource
	err    error
}

// Next implements series.Set.
func (s *costSet) Next() bool {
	if s.err != nil || !s.Set.Next() {
		return false
	}
	c, b := s.At(), s.source.budget
	s.source.series++
	s.source.bytes += chunkBytes(c)
	b.series.Add(1)
	b.chunks.Add(int64(len(c.Chunks)))
	b.bytes.Add(chunkBytes(c))
	s.err = b.check(s.source.series, s.source.bytes)
	return s.err == nil
}

// Err implements series.Set.
func (s *costSet) Err() error {
	if s.err != nil {
		return s.err
	}
	return s.Set.Err()
}

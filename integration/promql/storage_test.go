package promql_test

import (
	"context"
	"fmt"
	"math"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/querier"
)

// placement brings the samples of one commit to where its way has them.
type placement struct {
	protocols            [2]protocol // for the first and the second request of a commit
	inIngester, inBucket bool
}

// tenantStorage is one tenant of an installation as a storage of its own.
type tenantStorage struct {
	*installation
	id    tenant.ID
	place placement
	queue []sample
}

var _ storage.Storage = (*tenantStorage)(nil)

// AppenderV2 implements storage.AppendableV2.
func (s *tenantStorage) AppenderV2(context.Context) storage.AppenderV2 { return s }

// Appender implements storage.Appendable, which is not used.
func (s *tenantStorage) Appender(context.Context) storage.Appender { return nil }

// Append implements storage.AppenderV2.
func (s *tenantStorage) Append(_ storage.SeriesRef, ls labels.Labels, start, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, _ storage.AppendV2Options) (storage.SeriesRef, error) {
	s.queue = append(s.queue, sample{ls, start, t, v, h, fh})
	return 1, nil
}

// Rollback implements storage.AppenderV2.
func (s *tenantStorage) Rollback() error { s.queue = nil; return nil }

// Commit implements storage.AppenderV2.
func (s *tenantStorage) Commit() error {
	samples := s.queue
	s.queue = nil
	if len(samples) == 0 {
		return nil
	}
	if err := s.commit(samples); err != nil {
		return err
	}
	ingester, bucket, err := s.places(s.id)
	if err != nil || ingester != s.place.inIngester || bucket != s.place.inBucket {
		return fmt.Errorf("samples are in the ingester: %v, in the bucket: %v, want %+v (%w)", ingester, bucket, s.place, err)
	}
	return nil
}

// commit writes, and flushes what belongs into the bucket. Where samples belong into both, the first two thirds of the
// time go there and the last two thirds stay: a third is in both, as it is while blocks are served until they are safe.
func (s *tenantStorage) commit(samples []sample) error {
	before, after := samples, samples
	if s.place.inIngester && s.place.inBucket {
		before, after = split(samples)
	}
	if s.place.inBucket {
		if err := s.write(s.id, s.place.protocols[0], before); err != nil {
			return err
		}
		if err := s.ingester.Flush(context.Background()); err != nil {
			return err
		}
	}
	if s.place.inIngester {
		return s.write(s.id, s.place.protocols[1], after)
	}
	return nil
}

func split(samples []sample) (before, after []sample) {
	first, last := int64(math.MaxInt64), int64(math.MinInt64)
	for _, x := range samples {
		first, last = min(first, x.t), max(last, x.t)
	}
	third := (last - first) / 3
	for _, x := range samples {
		if x.t <= last-third {
			before = append(before, x)
		}
		if x.t >= first+third {
			after = append(after, x)
		}
	}
	return before, after
}

// Querier implements storage.Queryable.
func (s *tenantStorage) Querier(mint, maxt int64) (storage.Querier, error) {
	q, err := s.querier.Queryable().Querier(mint, maxt)
	return tenantQuerier{q, s.id}, err
}

// ChunkQuerier implements storage.ChunkQueryable, which is not used.
func (s *tenantStorage) ChunkQuerier(int64, int64) (storage.ChunkQuerier, error) {
	return nil, fmt.Errorf("no chunks")
}

// StartTime implements storage.Storage.
func (s *tenantStorage) StartTime() (int64, error) { return 0, nil }

// Close implements storage.Storage. The installation goes on.
func (s *tenantStorage) Close() error { return nil }

// tenantQuerier asks for one tenant.
type tenantQuerier struct {
	storage.Querier
	id tenant.ID
}

func (q tenantQuerier) with(ctx context.Context) context.Context {
	return querier.WithTenants(ctx, []tenant.ID{q.id})
}

// Select implements storage.Querier.
func (q tenantQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, ms ...*labels.Matcher) storage.SeriesSet {
	return q.Querier.Select(q.with(ctx), sorted, hints, ms...)
}

// LabelValues implements storage.LabelQuerier.
func (q tenantQuerier) LabelValues(ctx context.Context, name string, hints *storage.LabelHints, ms ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return q.Querier.LabelValues(q.with(ctx), name, hints, ms...)
}

// LabelNames implements storage.LabelQuerier.
func (q tenantQuerier) LabelNames(ctx context.Context, hints *storage.LabelHints, ms ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return q.Querier.LabelNames(q.with(ctx), hints, ms...)
}

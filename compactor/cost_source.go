package compactor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/pkg/block"
	"github.com/varve-io/varve/pkg/bucket"
	"github.com/varve-io/varve/pkg/catalog"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// hourSource is a tenant's blocks in the bucket, as a join.Source. Blocks stay open from hour to hour.
type hourSource struct {
	id     tenant.ID
	reader *bucket.Reader
	blocks []catalog.Block
	open   map[ulid.ULID]*block.Block
}

// Select implements join.Source.
func (s *hourSource) Select(ctx context.Context, q series.Query) (series.Set, error) {
	return s.SelectInto(ctx, q, nil)
}

// SelectInto implements join.Recycling.
func (s *hourSource) SelectInto(ctx context.Context, q series.Query, rec *series.Recycler) (series.Set, error) {
	var sets []series.Set
	for _, entry := range s.blocks {
		if !entry.Overlaps(q.MinTime, q.MaxTime) {
			continue
		}
		b, err := s.block(ctx, entry)
		var set series.Set
		if err == nil {
			set, err = b.SelectInto(ctx, q, rec)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("block %s: %w", entry.ID, err), series.Merge(sets...).Close())
		}
		sets = append(sets, set)
	}
	return series.Merge(sets...), nil
}

func (s *hourSource) block(ctx context.Context, entry catalog.Block) (*block.Block, error) {
	if b, ok := s.open[entry.ID]; ok {
		return b, nil
	}
	b, err := block.Open(ctx, entry.OpenFiles(s.reader, s.id), entry.Meta())
	if err != nil {
		return nil, err
	}
	if s.open == nil {
		s.open = map[ulid.ULID]*block.Block{}
	}
	b.Reuse(1)
	s.open[entry.ID] = b
	return b, nil
}

// closeBefore closes the blocks that end before a time.
func (s *hourSource) closeBefore(at int64) error {
	var errs []error
	for id, b := range s.open {
		if b.Meta().MaxTime < at {
			errs = append(errs, b.Close())
			delete(s.open, id)
		}
	}
	return errors.Join(errs...)
}

func (s *hourSource) close() error { return s.closeBefore(1<<63 - 1) }

// has tells whether a block has series of a metric.
func (s *hourSource) has(ctx context.Context, entry catalog.Block, metric string) (bool, error) {
	b, err := s.block(ctx, entry)
	if err != nil {
		return false, err
	}
	set, err := b.Select(ctx, series.Query{
		Tenant: s.id, MinTime: entry.MinTime, MaxTime: entry.MaxTime, Limit: 1, SkipChunks: true,
		Matchers: []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, metric)},
	})
	if err != nil {
		return false, err
	}
	has := set.Next()
	return has, errors.Join(set.Err(), set.Close())
}

// rows is about how many rows of workloads an hour has: one for each container, and one for each pod.
func (s *hourSource) rows(ctx context.Context, hour int64) (n int, err error) {
	for _, metric := range []string{"kube_pod_container_info", "kube_pod_info"} {
		set, err := s.Select(ctx, series.Query{
			Tenant: s.id, MinTime: hour, MaxTime: hour + hourWidth - 1, SkipChunks: true,
			Matchers: []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, metric)},
		})
		if err != nil {
			return 0, err
		}
		for set.Next() {
			n++
		}
		if err := errors.Join(set.Err(), set.Close()); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// hasKubernetes tells whether any block of a day has metrics of clusters, or the day has hours already. Blocks that have none are remembered.
func (j *costJob) hasKubernetes(ctx context.Context, day int64) (bool, error) {
	if j.manifest.Day(day) != nil {
		return true, nil
	}
	for _, entry := range j.cat.Overlapping(day, day+dayWidth-1) {
		if j.costless(entry.ID) {
			continue
		}
		for _, metric := range []string{"kube_node_info", "kube_pod_info"} {
			has, err := j.source.has(ctx, entry, metric)
			if err != nil {
				return false, fmt.Errorf("block %s: %w", entry.ID, err)
			}
			if has {
				return true, nil
			}
		}
		j.rememberCostless(entry.ID)
	}
	return false, nil
}

func (j *costJob) costless(b ulid.ULID) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.state(j.id).costless[b]
}

// rememberCostless notes a block without metrics of clusters; of blocks that are not in the catalog any more the memory is dropped.
func (j *costJob) rememberCostless(b ulid.ULID) {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.state(j.id)
	if s.costless == nil || len(s.costless) > 2*len(j.cat.Blocks) {
		s.costless = map[ulid.ULID]bool{}
	}
	s.costless[b] = true
}

// cubeDelay is how long objects stay that the manifest let go of.
func (c *Compactor) cubeDelay() time.Duration { return time.Duration(c.cfg.DeleteDelay) + costDeletes }

package compactor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/varve-io/varve/pkg/block"
	"github.com/varve-io/varve/pkg/bucket"
	"github.com/varve-io/varve/pkg/catalog"
	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/cube"
	"github.com/varve-io/varve/pkg/cost/join"
	"github.com/varve-io/varve/pkg/tenant"
)

// The cost cube. An hour is counted once its samples are all expected to be in blocks: everything is shipped that was received until the margin
// that the hour's rows depend on, and the window for samples of the past, were over. A partition that doesn't ship holds up hours for a day. Where no
// ingester tells what is shipped, it takes compactor.settle more, and some block that reaches the hour's end (or a day). A level-1 block that comes later makes the hours around its samples dirty; they are counted again. Before retention takes their blocks, hours are
// frozen. Days and months whose hours are all there are rolled up.
//
// Objects are written before the manifest that names them. Who dies between the two leaves objects that nobody reads, and the next one writes
// the same ones.

const (
	hourWidth      = int64(time.Hour / time.Millisecond)
	costBudget     = 5 * time.Minute // of all tenants together, between looks at merges; hours that were begun are finished
	costRows       = 1 << 17         // of workloads, held in memory before a day's tables are written; a row group, so that it is written once
	costTogether   = 1 << 16         // of workloads, in hours that are counted in one pass
	costCache      = 64 << 20        // bytes of blocks and cubes kept while a tenant's hours are counted
	freezeAhead    = 24 * time.Hour  // before retention takes the blocks of an hour; at most a quarter of the retention
	unnamedDelay   = 48 * time.Hour  // after which objects that no manifest names are deleted
	costDeletes    = time.Hour       // added to the delete delay: a manifest that was read must not be older
	silent         = 24 * time.Hour  // after which hours are counted though what they need was not shipped
	underway       = time.Minute     // from the look at a sample's time to its place in an ingester, and between clocks
	maxFailed      = 8               // hours of a day; then the bucket is not well
	maxMeta        = 64 << 20        // bytes of a meta.json
	defaultCluster = "cluster"
)

// costJob is the work at one tenant's cube.
type costJob struct {
	*Compactor
	id       tenant.ID
	cat      *catalog.Catalog
	manifest *cube.Manifest
	limits   *tenant.Limits
	settings cube.Settings
	reader   *bucket.Reader
	source   *hourSource
	merged   map[ulid.ULID][]ulid.ULID // sources of merged blocks
	now      time.Time
	shipped  shipped
	news     bool // whether the catalog, the manifest or the settings are others than at the end of the last run
}

// costs looks after the cubes of all tenants, one after the other, until the time for it is over.
func (c *Compactor) costs(ctx context.Context, ids []tenant.ID) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	end := time.Now().Add(costBudget)
	told, err := c.shipped(ctx)
	errs := []error{err}
	for _, id := range ids {
		if err != nil || ctx.Err() != nil || time.Now().After(end) {
			break
		}
		errs = append(errs, c.countCosts(ctx, id, told, end))
	}
	return errors.Join(errs...)
}

// CountCosts brings a tenant's cost cube up to date, as far as it gets until the end of its time. It may be called while Run runs, and by several
// compactors at once: who saves its manifest second gives up, and goes on from the other's the next time.
func (c *Compactor) CountCosts(ctx context.Context, id tenant.ID, end time.Time) error {
	told, err := c.shipped(ctx)
	if err != nil {
		return err
	}
	return c.countCosts(ctx, id, told, end)
}

// countCosts is CountCosts; what is shipped was told before.
func (c *Compactor) countCosts(ctx context.Context, id tenant.ID, told shipped, end time.Time) (err error) {
	c.costTurn <- struct{}{}
	defer func() { <-c.costTurn }()
	defer func() {
		switch {
		case errors.Is(err, cube.ErrOvertaken):
			c.logger.Debug("another compactor counts the same costs", "tenant", id.String())
			err = nil
		case err != nil && ctx.Err() != nil:
			err = nil // no fault of the job
		case err != nil:
			c.metrics.costFailures.Inc()
			err = fmt.Errorf("tenant %s: costs: %w", id, err)
		}
	}()
	cat, err := c.deps.Catalog.Sync(ctx, id)
	if err != nil {
		return err
	}
	m, err := cube.Load(ctx, c.deps.Bucket, id)
	if err != nil || len(cat.Blocks)+len(m.Objects)+len(m.Removed) == 0 {
		return err
	}
	reader, err := bucket.NewReader(c.deps.Bucket, bucket.CacheConfig{MemoryBytes: costCache}, c.logger, nil)
	if err != nil {
		return err
	}
	limits := c.deps.Limits.For(id)
	j := &costJob{
		Compactor: c, id: id, cat: cat, manifest: m, limits: limits, settings: settingsOf(limits), reader: reader,
		source: &hourSource{id: id, reader: reader, blocks: cat.Blocks}, merged: map[ulid.ULID][]ulid.ULID{}, now: c.deps.Now(),
		shipped: told,
	}
	defer func() { err = errors.Join(err, j.source.close(), reader.Close()) }()
	j.news = j.seen(false)
	isDone, err := j.run(ctx, end)
	j.account()
	if err == nil && isDone {
		j.seen(true)
	}
	return err
}

// seen tells whether what decides about dirty hours has changed since it was remembered.
func (j *costJob) seen(remember bool) (isNew bool) {
	key := fmt.Sprintf("%s %d %q", j.cat.Hash, j.manifest.Generation, j.settings)
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.state(j.id)
	isNew = s.costSeen != key
	if remember {
		s.costSeen = key
	}
	return isNew
}

// settingsOf are what hours are to be counted with.
func settingsOf(l *tenant.Limits) cube.Settings {
	return cube.Settings{ClusterLabel: cmp.Or(l.CostClusterLabel, defaultCluster), Labels: slices.Compact(slices.Sorted(slices.Values(l.CostLabels)))}
}

// run does one day after the other. What fails holds up its own day only. isDone tells that the time sufficed for all of them.
func (j *costJob) run(ctx context.Context, end time.Time) (isDone bool, err error) {
	errs := []error{j.expire(ctx)}
	if errors.Is(errs[0], cube.ErrOvertaken) {
		return false, errs[0]
	}
	isDone = true
	for _, day := range j.days() {
		if isDone = ctx.Err() == nil && !time.Now().After(end); !isDone {
			break
		}
		err := j.day(ctx, day, end)
		if errors.Is(err, cube.ErrOvertaken) {
			return false, err
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("day %s: %w", time.UnixMilli(day).UTC().Format(time.DateOnly), err))
		}
	}
	errs = append(errs, j.months(ctx), j.sweep(ctx), j.sweepUnnamed(ctx), ctx.Err())
	return isDone, errors.Join(errs...)
}

// expire lets go of what cost_retention doesn't keep.
func (j *costJob) expire(ctx context.Context) error {
	if !j.manifest.Expire(j.costsSince(), j.now) {
		return nil
	}
	return j.save(ctx)
}

// day counts the hours of a day that are due, freezes, rolls it up, and saves the manifest if anything changed.
func (j *costJob) day(ctx context.Context, day int64, end time.Time) error {
	isChanged, err := j.mark(ctx, day)
	if err != nil {
		return err
	}
	var errs []error
	if due := j.due(day); len(due) > 0 {
		has, err := j.hasKubernetes(ctx, day)
		if err != nil || !has {
			return err
		}
		err = j.count(ctx, due, end)
		if errors.Is(err, cube.ErrOvertaken) {
			return err
		}
		errs = append(errs, err)
	}
	for hour := day; hour < day+dayWidth; hour += hourWidth {
		isChanged = j.freeze(hour) || isChanged
	}
	if d := j.manifest.Day(day); d != nil && d.Complete() {
		if !d.RolledUp {
			if err := j.rollUpDay(ctx, day); err != nil {
				return errors.Join(append(errs, err)...)
			}
			isChanged = true
		}
		if j.settled(day) {
			isChanged = d.Forget(func(b ulid.ULID) bool { _, is := j.cat.Block(b); return !is }) || isChanged
		}
	}
	if isChanged {
		errs = append(errs, j.save(ctx))
	}
	return errors.Join(errs...)
}

// sources are the level-1 blocks that a block came of. The catalog doesn't keep those of merged ones, but meta.json does.
func (j *costJob) sources(ctx context.Context, b catalog.Block) ([]ulid.ULID, error) {
	if len(b.Sources) > 0 || b.Level <= 1 {
		return append(slices.Clip(b.Sources), b.ID), nil
	}
	if known, ok := j.merged[b.ID]; ok {
		return known, nil
	}
	body, err := j.deps.Bucket.Get(ctx, path.Join(j.id.String(), b.ID.String(), block.MetaName))
	if err != nil {
		return nil, fmt.Errorf("sources of block %s: %w", b.ID, err)
	}
	raw, err := io.ReadAll(io.LimitReader(body, maxMeta))
	if err = errors.Join(err, body.Close()); err != nil {
		return nil, fmt.Errorf("sources of block %s: %w", b.ID, err)
	}
	meta, err := block.ParseMeta(raw)
	if err != nil {
		return nil, fmt.Errorf("sources of block %s: %w", b.ID, err)
	}
	j.merged[b.ID] = meta.Compaction.Sources
	return meta.Compaction.Sources, nil
}

// known are all blocks around a day and their sources: what a merge brings together later is among them, and no news to any hour of the day.
func (j *costJob) known(ctx context.Context, day int64) ([]ulid.ULID, error) {
	set := map[ulid.ULID]bool{}
	for _, b := range j.around(day) {
		sources, err := j.sources(ctx, b)
		if err != nil {
			return nil, err
		}
		set[b.ID] = true
		for _, s := range sources {
			set[s] = true
		}
	}
	return slices.Collect(maps.Keys(set)), nil
}

// count counts hours of one day and writes them, in portions that fit in memory. Once the time is over, or too many hours failed, it leaves the rest.
func (j *costJob) count(ctx context.Context, due []int64, end time.Time) error {
	day := floor(due[0], dayWidth)
	known, err := j.known(ctx, day)
	if err != nil {
		return err
	}
	var errs []error
	var hours []*cost.Hour
	rows := 0
	expected, err := j.source.rows(ctx, due[0])
	if err != nil {
		expected = costTogether // the first hour fails alone, if it does
	}
	for together := max(costTogether/max(expected, 1), 1); len(due) > 0; {
		some, err := j.hours(ctx, due[:min(together, len(due))])
		if err != nil && together > 1 && ctx.Err() == nil {
			together = 1 // what damages one hour is not to hold up the others
			continue
		}
		due = due[min(together, len(due)):]
		if err != nil {
			errs = append(errs, err)
		}
		for _, h := range some {
			hours, rows = append(hours, h), rows+len(h.Workloads)
			if len(errs) == 0 {
				together = max(costTogether/max(len(h.Workloads), 1), 1)
			}
		}
		if len(errs) == maxFailed || ctx.Err() != nil || time.Now().After(end) {
			break
		}
		if rows >= costRows {
			if err := j.keep(ctx, day, hours, known); err != nil {
				return errors.Join(append(errs, err)...)
			}
			hours, rows = nil, 0
		}
	}
	if len(hours) > 0 {
		errs = append(errs, j.keep(ctx, day, hours, known))
	}
	return errors.Join(errs...)
}

// hours counts some in one pass.
func (j *costJob) hours(ctx context.Context, starts []int64) ([]*cost.Hour, error) {
	begun := time.Now()
	hours, err := join.Hours(ctx, j.source, join.Options{Tenant: j.id, ClusterLabel: j.settings.ClusterLabel, Labels: j.settings.Labels}, starts)
	if err == nil || len(starts) == 1 {
		err = errors.Join(err, j.source.closeBefore(starts[len(starts)-1]+hourWidth-join.Margin))
	}
	if err != nil {
		return nil, err
	}
	for range hours {
		j.metrics.costDuration.Observe(time.Since(begun).Seconds() / float64(len(hours)))
	}
	return hours, nil
}

// keep writes hours and the manifest.
func (j *costJob) keep(ctx context.Context, day int64, hours []*cost.Hour, known []ulid.ULID) error {
	if err := j.writeHours(ctx, day, hours); err != nil {
		return err
	}
	for _, h := range hours {
		j.manifest.Counted(h.Start, j.settings, known)
	}
	j.logger.Info("hours of costs counted", "tenant", j.id.String(), "day", time.UnixMilli(day).UTC().Format(time.DateOnly), "hours", len(hours))
	if err := j.save(ctx); err != nil {
		return err
	}
	j.metrics.costHours.Add(float64(len(hours)))
	return nil
}

func (j *costJob) save(ctx context.Context) error {
	return cube.Save(ctx, j.deps.Bucket, j.manifest, j.now)
}

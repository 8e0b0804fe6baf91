package compactor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/varve-io/varve/pkg/bucket"
	"github.com/varve-io/varve/pkg/catalog"
	"github.com/varve-io/varve/pkg/tenant"
)

// Catalog says which blocks there are, and takes note of changes. A catalog.Store is one.
type Catalog interface {
	// Tenants are all that have anything in the bucket.
	Tenants(ctx context.Context) ([]tenant.ID, error)
	// Sync is a tenant's catalog with all facts that are in the bucket.
	Sync(ctx context.Context, id tenant.ID) (*catalog.Catalog, error)
	// Commit makes a fact known for good.
	Commit(ctx context.Context, id tenant.ID, f catalog.Fact) (*catalog.Catalog, error)
	// Reconcile compares the catalog with the bucket.
	Reconcile(ctx context.Context, id tenant.ID) (catalog.Report, error)
	// ShippedBefore is the time before which everything that was received and acked is in the catalogs that are read after this; ok is false
	// if nobody says so.
	ShippedBefore(ctx context.Context) (at time.Time, ok bool, err error)
}

// Limits says what holds for a tenant; of it the compactor asks for the retention.
type Limits interface {
	For(id tenant.ID) *tenant.Limits
}

// Dependencies are what a Compactor works with.
type Dependencies struct {
	Catalog Catalog
	Bucket  bucket.Bucket
	// Dir is the compactor's own directory, for scratch: nothing in it outlives a job.
	Dir    string
	Limits Limits
	Logger *slog.Logger
	Reg    prometheus.Registerer
	Now    func() time.Time
}

// Compactor takes care of the blocks of all tenants.
type Compactor struct {
	cfg     Config
	deps    Dependencies
	rule    rule
	logger  *slog.Logger
	metrics *metrics
	scratch *scratch
	slots   chan struct{} // of running jobs
	// costTurn is of the one who counts costs.
	costTurn chan struct{}

	mu     sync.Mutex
	states map[tenant.ID]*state
}

// state is what the compactor remembers of a tenant; the Compactor's mutex guards it.
type state struct {
	reconciled time.Time
	failed     map[string]failure // by job.key
	costless   map[ulid.ULID]bool // blocks without metrics of clusters
	costSwept  time.Time          // when unnamed objects of the cube were last looked for
	costSeen   string             // catalog, manifest and settings at the end of the last count of costs
	costWaits  time.Time          // since when hours have been waiting to be counted; zero if none does

	costUncounted, costDirty int // hours that wait

	pending, vanished, skipped, quarantined int
	lag                                     time.Duration // of the job that waits longest
}

// failure is how often a job failed, and when it is tried again.
type failure struct {
	times int
	until time.Time
}

// New makes a compactor; Run starts it.
func New(cfg Config, deps Dependencies) *Compactor {
	c := &Compactor{
		cfg: cfg, deps: deps, rule: newRule(cfg), logger: deps.Logger,
		scratch: newScratch(deps.Dir),
		slots:   make(chan struct{}, max(cfg.MaxConcurrent, 1)),
		states:  map[tenant.ID]*state{}, costTurn: make(chan struct{}, 1),
	}
	c.metrics = newMetrics(deps.Reg, c)
	return c
}

// Run looks after all tenants, again and again, until ctx ends; then it returns nil. A job under way is given up.
func (c *Compactor) Run(ctx context.Context) error {
	if err := c.scratch.clean(); err != nil {
		return fmt.Errorf("compactor: %w", err)
	}
	every := min(max(time.Duration(c.cfg.Settle)/30, 200*time.Millisecond), planEvery)
	for {
		if err := c.RunAll(ctx); err != nil && ctx.Err() == nil {
			c.logger.Error("compact: what failed is tried again", "error", err)
		}
		// Compactors that share tenants must not walk in step.
		timer := time.NewTimer(every/2 + rand.N(every))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// RunAll does all that is to be done now for all tenants. The error says what of it failed; the rest was done.
func (c *Compactor) RunAll(ctx context.Context) error {
	ids, err := c.deps.Catalog.Tenants(ctx)
	if err != nil {
		c.metrics.cycles.WithLabelValues("failed").Inc()
		return err
	}
	rand.Shuffle(len(ids), func(a, b int) { ids[a], ids[b] = ids[b], ids[a] })
	errs := make([]error, len(ids))
	var g errgroup.Group
	g.SetLimit(max(cap(c.slots), tenantsAtOnce)) // their merges wait for slots
	for i, id := range ids {
		g.Go(func() error {
			errs[i] = c.RunOnce(ctx, id)
			return nil
		})
	}
	_ = g.Wait() // the errors are in errs
	err = errors.Join(append(errs, c.costs(ctx, ids))...)
	outcome := "done"
	if err != nil {
		outcome = "failed"
	} else {
		c.metrics.lastDone.SetToCurrentTime()
	}
	c.metrics.cycles.WithLabelValues(outcome).Inc()
	return err
}

// RunOnce does all that is to be done now for one tenant: compares catalog and bucket if that is due, removes blocks
// past their retention, merges until the plan is empty, and deletes the data of what was removed long ago. It may be
// called while Run runs. The error says what failed; one thing that fails does not hold up the others.
func (c *Compactor) RunOnce(ctx context.Context, id tenant.ID) error {
	errs := []error{c.reconcile(ctx, id)}
	cat, err := c.deps.Catalog.Sync(ctx, id)
	if err == nil {
		cat, err = c.expire(ctx, id, cat)
	}
	if err != nil {
		return fmt.Errorf("tenant %s: %w", id, errors.Join(append(errs, err)...))
	}
	errs = append(errs, c.delete(ctx, id, cat), c.compact(ctx, id, cat))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("tenant %s: %w", id, err)
	}
	return nil
}

// compact plans and executes until there is nothing left to do, or to be done later.
func (c *Compactor) compact(ctx context.Context, id tenant.ID, cat *catalog.Catalog) error {
	var errs []error
	for ctx.Err() == nil {
		jobs := c.due(id, cat)
		if len(jobs) == 0 {
			return errors.Join(errs...)
		}
		isShared, err := c.round(ctx, id, jobs)
		errs = append(errs, err)
		if cat, err = c.deps.Catalog.Sync(ctx, id); err != nil {
			return errors.Join(append(errs, err)...)
		}
		if isShared {
			break // another compactor is at the same tenant: leave it to that one for now
		}
	}
	c.due(id, cat)
	return errors.Join(append(errs, ctx.Err())...)
}

// due gives the planned jobs but for those that failed lately, and keeps account.
func (c *Compactor) due(id tenant.ID, cat *catalog.Catalog) []job {
	now := c.deps.Now()
	jobs := plan(cat.Blocks, now.UnixMilli(), c.rule)
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.state(id)
	s.pending, s.lag, s.quarantined = len(jobs), 0, 0
	for _, b := range cat.Blocks {
		if b.Quarantined != "" {
			s.quarantined++
		}
	}
	planned := map[string]bool{}
	for _, j := range jobs {
		s.lag = max(s.lag, now.Sub(time.UnixMilli(j.ready)))
		planned[j.key()] = true
	}
	for key := range s.failed {
		if !planned[key] {
			delete(s.failed, key)
		}
	}
	return slices.DeleteFunc(jobs, func(j job) bool { return now.Before(s.failed[j.key()].until) })
}

// round executes jobs, as many at once as there are slots. isShared tells that another compactor did the same.
func (c *Compactor) round(ctx context.Context, id tenant.ID, jobs []job) (isShared bool, err error) {
	errs := make([]error, len(jobs))
	outcomes := make([]outcome, len(jobs))
	var g errgroup.Group
	g.SetLimit(cap(c.slots))
	for i, j := range jobs {
		g.Go(func() error {
			select {
			case c.slots <- struct{}{}:
				defer func() { <-c.slots }()
				outcomes[i], errs[i] = c.execute(ctx, id, j)
			case <-ctx.Done():
			}
			return nil
		})
	}
	_ = g.Wait() // the errors are in errs
	return slices.Contains(outcomes, twice), errors.Join(errs...)
}

// execute runs a job and keeps account of it.
func (c *Compactor) execute(ctx context.Context, id tenant.ID, j job) (outcome, error) {
	begun := time.Now()
	c.logger.Debug("job begins", "tenant", id.String(), "job", j.String(), "bytes", j.bytes())
	o, err := c.run(ctx, id, j)
	if ctx.Err() != nil {
		return failed, nil // no fault of the job
	}
	c.metrics.jobs.WithLabelValues(string(o)).Inc()
	c.metrics.duration.Observe(time.Since(begun).Seconds())
	if err == nil {
		return o, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.state(id)
	f := s.failed[j.key()]
	f.times++
	f.until = c.deps.Now().Add(min(planEvery<<min(f.times-1, 10), retryMost))
	s.failed[j.key()] = f
	return o, fmt.Errorf("%s: %w", j, err)
}

// state is the tenant's; the mutex is held.
func (c *Compactor) state(id tenant.ID) *state {
	s := c.states[id]
	if s == nil {
		s = &state{failed: map[string]failure{}}
		c.states[id] = s
	}
	return s
}

// total adds something up over all tenants.
func (c *Compactor) total(of func(*state) int) float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, s := range c.states {
		n += of(s)
	}
	return float64(n)
}

// lag is that of the job that waits longest.
func (c *Compactor) lag() float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	most := time.Duration(0)
	for _, s := range c.states {
		most = max(most, s.lag)
	}
	return most.Seconds()
}

// costLag is for how long hours of costs have been waiting at the tenant where they do so the longest.
func (c *Compactor) costLag() float64 {
	now := c.deps.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	most := time.Duration(0)
	for _, s := range c.states {
		if !s.costWaits.IsZero() {
			most = max(most, now.Sub(s.costWaits))
		}
	}
	return most.Seconds()
}

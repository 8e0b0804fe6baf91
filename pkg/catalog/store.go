package catalog

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mrand "math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"golang.org/x/sync/errgroup"

	"github.com/varve-io/varve/pkg/bucket"
	"github.com/varve-io/varve/pkg/tenant"
)

const (
	// FactKeep is how long a fact stays in the bucket. The grace before removed blocks are deleted must be
	// shorter: a catalog that is made again learns of their removal from the facts.
	FactKeep = 7 * 24 * time.Hour
	// removalKeep is how long a removal is remembered after the data was deleted; longer than FactKeep.
	removalKeep = 30 * 24 * time.Hour
	// attemptTimeout bounds the time from reading a catalog to writing it, so that nobody writes a fold of facts
	// that are not kept any more.
	attemptTimeout = 5 * time.Minute
	maxAttempts    = 30
	parallel       = 8
)

// Store reads and writes the catalogs of a bucket. Any number of processes may do so at once.
type Store struct {
	bkt     bucket.Bucket
	now     func() time.Time
	logger  *slog.Logger
	codec   codec
	metrics *metrics
	pause   func(context.Context, time.Duration) error
}

type metrics struct {
	commits, failures, writes, rebuilds, corrupt prometheus.Counter
}

// New returns a Store of the catalogs in bkt; now is the clock.
func New(bkt bucket.Bucket, now func() time.Time, logger *slog.Logger, reg prometheus.Registerer) (*Store, error) {
	c, err := newCodec()
	if err != nil {
		return nil, fmt.Errorf("new catalog store: %w", err)
	}
	f := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	return &Store{bkt: bkt, now: now, logger: logger, codec: c, pause: pause, metrics: &metrics{
		commits:  counter("varve_catalog_commits_total", "Facts to be committed."),
		failures: counter("varve_catalog_commit_failures_total", "Facts whose commit failed."),
		writes:   counter("varve_catalog_writes_total", "Catalogs written."),
		rebuilds: counter("varve_catalog_rebuilds_total", "Catalogs made again from the blocks in the bucket."),
		corrupt:  counter("varve_catalog_corrupt_objects_total", "Catalogs and facts found damaged."),
	}}, nil
}

// Load reads a tenant's catalog with one request. A tenant without one has an empty catalog. The error of a damaged
// one wraps ErrCorrupt; the next Commit, Sync or Reconcile makes it again.
func (s *Store) Load(ctx context.Context, id tenant.ID) (*Catalog, error) {
	cat, err := s.read(ctx, id)
	if err == nil && cat == nil {
		return empty(id), nil
	}
	return cat, err
}

// read is Load, but nil for a tenant without a catalog.
func (s *Store) read(ctx context.Context, id tenant.ID) (*Catalog, error) {
	data, err := s.get(ctx, catalogName(id), maxCatalogBytes)
	if s.bkt.IsObjNotFoundErr(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("load catalog of %s: %w", id, err)
	}
	cat, err := s.codec.decode(id, data)
	if err != nil {
		return nil, fmt.Errorf("load catalog of %s: %w", id, err)
	}
	return cat, nil
}

// get reads an object of bounded size; a body that breaks is read once more.
func (s *Store) get(ctx context.Context, name string, limit int64) (data []byte, err error) {
	for range 2 {
		var body io.ReadCloser
		if body, err = s.bkt.Get(ctx, name); err != nil {
			return nil, err
		}
		data, err = io.ReadAll(io.LimitReader(body, limit+1))
		if err = errors.Join(err, body.Close()); err == nil {
			break
		}
	}
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%w: over %d bytes", ErrCorrupt, limit)
	}
	return data, err
}

// Commit makes a fact known for good and returns a catalog that has it. After an error the fact may yet come true,
// and it is right to commit the same again.
func (s *Store) Commit(ctx context.Context, id tenant.ID, f Fact) (*Catalog, error) {
	s.metrics.commits.Inc()
	cat, err := s.commit(ctx, id, f)
	if err != nil {
		s.metrics.failures.Inc()
		return nil, fmt.Errorf("commit to catalog of %s: %w", id, err)
	}
	return cat, nil
}

func (s *Store) commit(ctx context.Context, id tenant.ID, f Fact) (*Catalog, error) {
	fid, err := ulid.New(ulid.Timestamp(s.now()), rand.Reader)
	if err != nil {
		return nil, err
	}
	f.ID = fid
	if err := f.check(); err != nil {
		return nil, err
	}
	raw, err := encodeFact(f)
	if err != nil {
		return nil, err
	}
	if err := s.bkt.Upload(ctx, factName(id, f.ID), bytes.NewReader(raw)); err != nil {
		return nil, fmt.Errorf("write fact: %w", err)
	}
	return s.settle(ctx, id, &f)
}

// Sync folds in the facts that the catalog lacks, if any, and returns it. It costs one get and one listing.
func (s *Store) Sync(ctx context.Context, id tenant.ID) (*Catalog, error) {
	cat, err := s.settle(ctx, id, nil)
	if err != nil {
		return nil, fmt.Errorf("sync catalog of %s: %w", id, err)
	}
	return cat, nil
}

// settle writes the catalog until what is read back has every fact that is in the bucket, and own.
func (s *Store) settle(ctx context.Context, id tenant.ID, own *Fact) (*Catalog, error) {
	for attempt := range maxAttempts {
		if attempt > 1 { // others write too: let them finish
			if err := s.pause(ctx, mrand.N(time.Duration(min(attempt, 10))*50*time.Millisecond)); err != nil {
				return nil, err
			}
		}
		cat, done, err := s.attempt(ctx, id, own)
		if err != nil || done {
			return cat, err
		}
	}
	return nil, fmt.Errorf("other writers overwrote it %d times", maxAttempts)
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// attempt returns the catalog if it lacks no fact; else it writes one that has them all.
func (s *Store) attempt(ctx context.Context, id tenant.ID, own *Fact) (cat *Catalog, done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	base, fresh, err := s.base(ctx, id)
	if err != nil {
		return nil, false, err
	}
	listed, err := s.listFacts(ctx, id)
	if err != nil {
		return nil, false, err
	}
	facts, err := s.lacking(ctx, base, listed, own)
	if err != nil {
		return nil, false, err
	}
	if len(facts) == 0 && (!fresh || len(base.Blocks)+len(base.Removed) == 0) {
		return base, true, nil
	}
	next := Fold(base, facts...)
	now := s.now()
	next.forget(now, listed)
	next.Generation, next.Updated = base.Generation+1, now
	data, err := s.codec.encode(next)
	if err != nil {
		return nil, false, err
	}
	s.metrics.writes.Inc()
	if err := s.bkt.Upload(ctx, catalogName(id), bytes.NewReader(data)); err != nil {
		return nil, false, fmt.Errorf("write catalog: %w", err)
	}
	return nil, false, nil
}

// base is the catalog as it is in the bucket, or, if that is lost or damaged, a fresh one of the blocks there.
func (s *Store) base(ctx context.Context, id tenant.ID) (cat *Catalog, fresh bool, err error) {
	cat, err = s.read(ctx, id)
	if cat != nil || err != nil && !errors.Is(err, ErrCorrupt) {
		return cat, false, err
	}
	if err != nil {
		s.metrics.corrupt.Inc()
		s.logger.Error("catalog is damaged and made again from the bucket", "tenant", id.String(), "err", err)
	}
	cat, err = s.rebuild(ctx, id)
	return cat, true, err
}

// lacking are the facts that the catalog lacks. A damaged one is reported once and then counts as folded in.
func (s *Store) lacking(ctx context.Context, cat *Catalog, listed []ulid.ULID, own *Fact) ([]Fact, error) {
	var missing []ulid.ULID
	for _, f := range listed {
		if !cat.has(f) && (own == nil || f != own.ID) {
			missing = append(missing, f)
		}
	}
	found := make([]*Fact, len(missing))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i, f := range missing {
		g.Go(func() (err error) {
			found[i], err = s.readFact(gctx, cat.Tenant, f)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var facts []Fact
	for _, f := range found {
		if f != nil {
			facts = append(facts, *f)
		}
	}
	if own != nil && !cat.has(own.ID) {
		facts = append(facts, *own)
	}
	return facts, nil
}

// readFact is nil for a fact that is gone: another writer folded it in long ago.
func (s *Store) readFact(ctx context.Context, id tenant.ID, fact ulid.ULID) (*Fact, error) {
	name := factName(id, fact)
	raw, err := s.get(ctx, name, maxFactBytes)
	if s.bkt.IsObjNotFoundErr(err) {
		return nil, nil
	}
	var f Fact
	if err == nil {
		f, err = decodeFact(fact, raw)
	}
	if errors.Is(err, ErrCorrupt) {
		s.metrics.corrupt.Inc()
		s.logger.Error("fact is damaged; a reconciliation finds the blocks it named", "object", name, "err", err)
		return &Fact{ID: fact}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read fact %s: %w", name, err)
	}
	return &f, nil
}

// listFacts are the facts in the bucket, ordered.
func (s *Store) listFacts(ctx context.Context, id tenant.ID) ([]ulid.ULID, error) {
	var out []ulid.ULID
	dir := factsDir(id)
	err := s.bkt.Iter(ctx, dir, func(name string) error {
		f, err := ulid.ParseStrict(strings.TrimSuffix(strings.TrimPrefix(name, dir), ".json"))
		if err == nil && name == factName(id, f) {
			out = append(out, f)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list facts: %w", err)
	}
	slices.SortFunc(out, ulid.ULID.Compare)
	return out, nil
}

// Tenants are the tenants that have anything in the bucket, ordered.
func (s *Store) Tenants(ctx context.Context) ([]tenant.ID, error) {
	var out []tenant.ID
	err := s.bkt.Iter(ctx, "", func(name string) error {
		dir, isDir := strings.CutSuffix(name, "/")
		id, err := tenant.Parse(dir)
		if err != nil || !isDir {
			return nil
		}
		if b, err := ulid.ParseStrict(dir); err == nil && b.String() == dir {
			// Thanos keeps blocks at the root. A tenant may have such a name too, but no block of its own there.
			if isBlock, err := s.bkt.Exists(ctx, dir+"/meta.json"); err != nil || isBlock {
				return err
			}
		}
		out = append(out, id)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list tenants: %w", err)
	}
	slices.SortFunc(out, func(a, b tenant.ID) int { return strings.Compare(a.String(), b.String()) })
	return out, nil
}

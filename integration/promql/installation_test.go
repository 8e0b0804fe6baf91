package promql_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/varve-io/varve/distributor"
	"github.com/varve-io/varve/ingester"
	"github.com/varve-io/varve/pkg/block"
	"github.com/varve-io/varve/pkg/bucket"
	"github.com/varve-io/varve/pkg/catalog"
	"github.com/varve-io/varve/pkg/config"
	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/pkg/wal"
	"github.com/varve-io/varve/querier"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// installation is one process's components, connected as package main connects them.
type installation struct {
	distributor *distributor.Distributor
	ingester    *ingester.Ingester
	querier     *querier.Querier
	store       *catalog.Store
	tenants     atomic.Int64
}

// aYear is how far from the clock samples may be, either way.
const aYear = 365 * 24 * time.Hour

// start runs an installation until the test ends. Its clock begins at noon of the first day of 1970, where the scripts'
// samples are, so that no epoch ends by itself while a test runs.
func start(t testing.TB) *installation {
	t.Helper()
	begun := time.Now()
	now := func() time.Time { return time.Unix(0, 0).Add(12*time.Hour + time.Since(begun)) }
	logger := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	reg := prometheus.NewRegistry()
	dir := t.TempDir()

	bkt, err := bucket.Open(bucket.Default(), dir, logger, reg)
	must(t, err)
	t.Cleanup(func() { must(t, bkt.Close()) })
	store, err := catalog.New(bkt, time.Now, logger, reg)
	must(t, err)
	reader, err := bucket.NewReader(bkt, bucket.CacheConfig{MemoryBytes: 64 << 20}, logger, reg)
	must(t, err)
	t.Cleanup(func() { must(t, reader.Close()) })
	limits, err := tenant.NewOverrides(generous(), tenant.Dependencies{Logger: logger, Registerer: reg})
	must(t, err)
	tokens, err := tenant.NewTokens(now, tenant.Dependencies{Logger: logger, Registerer: prometheus.NewRegistry()})
	must(t, err)

	i := &installation{store: store}
	view := onlyRing{ring.Single("local")}
	i.ingester = ingester.New(ingester.Config{HeadPeriod: config.Duration(24 * time.Hour)}, ingester.Dependencies{
		Dir: dir + "/ingester", Instance: "local", Catalog: shipper{store, bkt}, Bucket: bkt, Ring: view, Peers: noPeers{},
		Logger: logger, Reg: reg, Now: now, WAL: wal.Options{ReserveBytes: -1},
	})
	write := distributor.Default()
	write.MaxInflightBytes = config.GiB
	i.distributor = distributor.New(write, distributor.Dependencies{
		Ring: view, Dialer: dialer{i.ingester}, Limits: limits, Auth: tokens, Logger: logger, Reg: reg, Now: now,
	})
	older := querier.NewBlocks(catalogs{store}, opener{store, reader}, 256)
	t.Cleanup(func() { must(t, older.Close()) })
	i.querier, err = querier.New(querier.Default(), querier.Dependencies{
		Recent: querier.Fanout{Ring: view, Owners: owners{i.ingester}}, Older: older, Limits: limits,
		Logger: logger, Registerer: reg, Now: now,
	})
	must(t, err)
	run(t, i.ingester.Run)
	eventually(t, i.ingester.Ready)
	run(t, i.distributor.Run)
	eventually(t, i.distributor.Ready)
	return i
}

// generous is the default limits without those that the scripts are beyond.
func generous() tenant.Limits {
	l := tenant.DefaultLimits(tenant.Machine{})
	l.PastWindow, l.FutureWindow = config.Duration(aYear), config.Duration(aYear)
	l.MaxSamplesPerSecond, l.MaxNewSeriesPerSecond, l.MaxActiveSeries = 0, 0, 0
	return l
}

// run runs a component until the test ends.
func run(t testing.TB, component func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- component(ctx) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-done)
	})
}

func eventually(t testing.TB, ready func() error) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for ready() != nil {
		if time.Now().After(deadline) {
			t.Fatal(ready())
		}
		time.Sleep(time.Millisecond)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newTenant is one whom nobody has used yet: what an empty storage is to a single-tenant test.
func (i *installation) newTenant(t testing.TB) tenant.ID {
	t.Helper()
	id, err := tenant.Parse(fmt.Sprintf("t-%d", i.tenants.Add(1)))
	must(t, err)
	return id
}

// places tells whether the ingester answers for anything of the tenant, and whether the bucket does.
func (i *installation) places(id tenant.ID) (inIngester, inBucket bool, err error) {
	q := series.Query{Tenant: id, MinTime: -aYear.Milliseconds(), MaxTime: aYear.Milliseconds(), SkipChunks: true}
	set, _, err := i.ingester.Select(context.Background(), q)
	if err != nil {
		return false, false, err
	}
	inIngester = set.Next()
	if err := set.Close(); err != nil {
		return false, false, err
	}
	cat, err := i.store.Load(context.Background(), id)
	if err != nil {
		return false, false, err
	}
	return inIngester, len(cat.Blocks) > 0, nil
}

// onlyRing never changes.
type onlyRing struct{ view *ring.View }

func (r onlyRing) View() *ring.View { return r.view }

func (r onlyRing) Await(ctx context.Context, _ *ring.View) error {
	<-ctx.Done()
	return ctx.Err()
}

type noPeers struct{}

func (noPeers) Standings(context.Context) []series.Standing { return nil }

// shipper is the ingester's catalog.
type shipper struct {
	store  *catalog.Store
	bucket bucket.Bucket
}

func (s shipper) Ship(ctx context.Context, id tenant.ID, dir string) error {
	b, err := catalog.Upload(ctx, s.bucket, id, dir)
	if err == nil {
		_, err = s.store.Commit(ctx, id, catalog.Fact{Add: []catalog.Block{b}})
	}
	return err
}

func (s shipper) Knows(ctx context.Context, id tenant.ID, b ulid.ULID) (bool, error) {
	c, err := s.store.Load(ctx, id)
	return err == nil && c.Knows(b), err
}

// catalogs is the querier's catalog. It reads it anew for every query: tests don't wait for a cache.
type catalogs struct{ store *catalog.Store }

func (c catalogs) Blocks(ctx context.Context, id tenant.ID, _ bool) ([]querier.BlockInfo, func(ulid.ULID) bool, error) {
	cat, err := c.store.Load(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	infos := make([]querier.BlockInfo, len(cat.Blocks))
	for n, b := range cat.Blocks {
		infos[n] = querier.BlockInfo{ID: b.ID, MinTime: b.MinTime, MaxTime: b.MaxTime}
	}
	return infos, cat.Knows, nil
}

// opener opens blocks in the bucket.
type opener struct {
	store  *catalog.Store
	reader *bucket.Reader
}

func (o opener) OpenBlock(ctx context.Context, id tenant.ID, b ulid.ULID) (querier.Block, error) {
	cat, err := o.store.Load(ctx, id)
	if err != nil {
		return nil, err
	}
	entry, ok := cat.Block(b)
	if !ok {
		return nil, fmt.Errorf("block %s has left the catalog", b)
	}
	return block.Open(ctx, entry.OpenFiles(o.reader, id), entry.Meta())
}

// dialer leads to the ingester.
type dialer struct{ ingester *ingester.Ingester }

func (w dialer) Dial(context.Context, ring.Owner) (distributor.Owner, error) {
	return way{w.ingester, make(chan struct{})}, w.ingester.Ready()
}

type way struct {
	ingester *ingester.Ingester
	broken   chan struct{}
}

func (w way) Push(batch []byte, free func()) (series.Receipt, error) {
	defer free()
	r, err := w.ingester.Push(batch)
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (w way) Broken() <-chan struct{} { return w.broken }
func (w way) Close()                  {}

// owners is the one owner there is.
type owners struct{ ingester *ingester.Ingester }

func (o owners) Owner(context.Context, ring.Owner) (querier.Owner, error) { return o.ingester, nil }

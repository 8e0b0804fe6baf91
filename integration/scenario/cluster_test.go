package scenario

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/thanos-io/objstore"

	"github.com/varve-io/varve/distributor"
	"github.com/varve-io/varve/ingester"
	"github.com/varve-io/varve/pkg/block"
	"github.com/varve-io/varve/pkg/bucket"
	"github.com/varve-io/varve/pkg/catalog"
	"github.com/varve-io/varve/pkg/config"
	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/pkg/wal"
	"github.com/varve-io/varve/querier"
)

// cluster is all the processes of a scenario.
type cluster struct {
	t   *testing.T
	dir string
	rf  int
	// catalogAge is how old the querier's catalog may be.
	catalogAge time.Duration
	version    uint32
	bucket     *faulty
	store      *catalog.Store
	network    *network
	limits     limits

	views        map[string]*viewHolder // by process
	ingesters    map[string]*ingesterNode
	distributors map[string]*distributorNode
	querier      *querier.Querier
	blocks       *querier.Blocks
}

type limits struct{ tenant.Limits }

func (l *limits) For(tenant.ID) *tenant.Limits              { return &l.Limits }
func (l *limits) Source(tenant.ID, tenant.LimitName) string { return "" }

func (l *limits) Generation() uint64 { return 1 }

// viewHolder is the ring as one process knows it.
type viewHolder struct {
	mu      sync.Mutex
	view    *ring.View
	changed chan struct{}
}

func (v *viewHolder) View() *ring.View {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.view
}

func (v *viewHolder) set(view *ring.View) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.view = view
	close(v.changed)
	v.changed = make(chan struct{})
}

func (v *viewHolder) Await(ctx context.Context, since *ring.View) error {
	v.mu.Lock()
	view, changed := v.view, v.changed
	v.mu.Unlock()
	if view != since {
		return nil
	}
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// running is something that runs until it is stopped.
type running struct {
	cancel context.CancelFunc
	done   chan error
}

func run(f func(context.Context) error) *running {
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{cancel: cancel, done: make(chan error, 1)}
	go func() { r.done <- f(ctx) }()
	return r
}

func (r *running) stop() error { r.cancel(); return <-r.done }

type ingesterNode struct {
	*ingester.Ingester // nil while it is stopped
	*running
	name      string
	partition int32
}

type distributorNode struct {
	*distributor.Distributor
	*running
}

// newCluster starts the owners of so many partitions, in as many zones as there are replicas.
func newCluster(t *testing.T, partitions, rf, distributors int, catalogAge time.Duration) *cluster {
	c := &cluster{
		t: t, catalogAge: catalogAge, dir: t.TempDir(), rf: rf, bucket: &faulty{Bucket: objstore.NewInMemBucket()},
		limits: limits{tenant.DefaultLimits(tenant.Machine{Cores: 2, Memory: 8 << 30})},
		views:  map[string]*viewHolder{}, ingesters: map[string]*ingesterNode{}, distributors: map[string]*distributorNode{},
	}
	c.network = newNetwork()
	var err error
	if c.store, err = catalog.New(c.bucket, time.Now, quiet, prometheus.NewRegistry()); err != nil {
		t.Fatal(err)
	}
	states := map[int32]ring.State{}
	for p := range partitions {
		states[int32(p)] = ring.Active
	}
	view := c.view(states)
	for _, p := range view.Partitions {
		for _, o := range p.Owners {
			c.addIngester(o.Instance, p.ID, view)
		}
	}
	for d := range distributors {
		name := fmt.Sprint("d", d+1)
		c.views[name] = newViewHolder(view)
		c.startDistributor(name)
	}
	c.startQuerier(view)
	time.Sleep(time.Second) // until the distributors have dialled everybody
	synctest.Wait()
	return c
}

var quiet = slog.New(slog.DiscardHandler)

func newViewHolder(v *ring.View) *viewHolder {
	return &viewHolder{view: v, changed: make(chan struct{})}
}

// view is a new view in which partitions have these states.
func (c *cluster) view(states map[int32]ring.State) *ring.View {
	c.version++
	var all []ring.Partition
	for id, state := range states {
		p := ring.Partition{ID: id, State: state}
		for n := range 32 {
			p.Tokens = append(p.Tokens, uint32(xxhash.Sum64String(fmt.Sprint(id, "/", n))))
		}
		for zone := range c.rf {
			p.Owners = append(p.Owners, ring.Owner{Instance: fmt.Sprintf("%c%d", 'a'+zone, id), Zone: string(rune('a' + zone))})
		}
		all = append(all, p)
	}
	return ring.NewView(c.version, c.rf, all)
}

func (c *cluster) addIngester(name string, partition int32, view *ring.View) {
	if c.ingesters[name] != nil {
		return
	}
	c.views[name] = newViewHolder(view)
	c.ingesters[name] = &ingesterNode{name: name, partition: partition}
	c.startIngester(name)
}

func (c *cluster) startIngester(name string) {
	n := c.ingesters[name]
	cfg := ingester.Default()
	cfg.HeadPeriod, cfg.Grace = config.Duration(24*time.Hour), config.Duration(time.Minute)
	n.Ingester = ingester.New(cfg, ingester.Dependencies{
		Dir: filepath.Join(c.dir, name), Instance: name, Partition: n.partition,
		Catalog: shipper{c}, Bucket: c.bucket, Ring: c.views[name],
		Peers: peers{c.network, name, n.partition, c.views[name]}, Logger: quiet, Reg: prometheus.NewRegistry(), Now: time.Now,
		WAL: wal.Options{ReserveBytes: -1, LowWater: -1},
	})
	n.running = run(n.Ingester.Run)
	synctest.Wait()
	if err := n.Ready(); err != nil {
		c.t.Fatalf("%s is not ready: %v", name, err)
	}
	c.network.plug(name, n.Ingester)
}

func (c *cluster) stopIngester(name string) error {
	n := c.ingesters[name]
	if n.Ingester == nil {
		return nil
	}
	c.network.plug(name, nil)
	err := n.stop()
	n.Ingester = nil
	synctest.Wait()
	return err
}

func (c *cluster) startDistributor(name string) {
	cfg := distributor.Default()
	cfg.MaxInflightBytes = config.GiB
	tokens, err := tenant.NewTokens(time.Now, tenant.Dependencies{Logger: quiet, Registerer: prometheus.NewRegistry()})
	if err != nil {
		c.t.Fatal(err)
	}
	d := distributor.New(cfg, distributor.Dependencies{
		Ring: c.views[name], Dialer: dialer{c.network, name}, Limits: &c.limits, Auth: tokens,
		Logger: quiet, Reg: prometheus.NewRegistry(), Now: time.Now,
	})
	c.distributors[name] = &distributorNode{d, run(d.Run)}
}

func (c *cluster) startQuerier(view *ring.View) {
	c.views["q"] = newViewHolder(view)
	reader, err := bucket.NewReader(c.bucket, bucket.CacheConfig{MemoryBytes: 1 << 20}, quiet, prometheus.NewRegistry())
	if err != nil {
		c.t.Fatal(err)
	}
	known := catalogOf{catalog.NewCache(c.store, 10, time.Now), reader, c.catalogAge}
	c.blocks = querier.NewBlocks(known, known, 10)
	c.querier, err = querier.New(querier.Default(), querier.Dependencies{
		Recent: querier.Fanout{Ring: c.views["q"], Owners: owners{c.network}}, Older: c.blocks,
		Limits: &c.limits, Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

// close ends everything, so that the bubble can end.
func (c *cluster) close() {
	for _, name := range c.names() {
		c.network.mu.Lock()
		frozen := c.network.frozen[name] != nil
		c.network.mu.Unlock()
		if frozen {
			c.network.freeze(name, false)
		}
	}
	var errs []error
	for _, d := range c.distributors {
		errs = append(errs, d.stop())
	}
	for _, name := range c.names() {
		errs = append(errs, c.stopIngester(name))
	}
	if err := errors.Join(append(errs, c.blocks.Close())...); err != nil {
		c.t.Error(err)
	}
}

// names is the ingesters, by partition and zone.
func (c *cluster) names() []string {
	var names []string
	for name := range c.ingesters {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if a[1:] != b[1:] {
			return slices.Compare([]byte(a[1:]), []byte(b[1:]))
		}
		return int(a[0]) - int(b[0])
	})
	return names
}

func (c *cluster) wipe(name string) error { return os.RemoveAll(filepath.Join(c.dir, name)) }

// shipper is the ingesters' catalog.
type shipper struct{ *cluster }

func (s shipper) Ship(ctx context.Context, id tenant.ID, dir string) error {
	b, err := catalog.Upload(ctx, s.bucket, id, dir)
	if err != nil {
		return err
	}
	_, err = s.store.Commit(ctx, id, catalog.Fact{Add: []catalog.Block{b}})
	return err
}

func (s shipper) Knows(ctx context.Context, id tenant.ID, b ulid.ULID) (bool, error) {
	cat, err := s.store.Load(ctx, id)
	if err != nil {
		return false, err
	}
	return cat.Knows(b), nil
}

// catalogOf is the querier's catalog.
type catalogOf struct {
	cache  *catalog.Cache
	reader *bucket.Reader
	age    time.Duration
}

func (c catalogOf) Blocks(ctx context.Context, id tenant.ID, fresh bool) ([]querier.BlockInfo, func(ulid.ULID) bool, error) {
	read := func() (*catalog.Catalog, error) { return c.cache.Get(ctx, id, c.age) }
	if fresh {
		read = func() (*catalog.Catalog, error) { return c.cache.Refresh(ctx, id) }
	}
	cat, err := read()
	if err != nil {
		return nil, nil, err
	}
	var infos []querier.BlockInfo
	for _, b := range cat.Blocks {
		infos = append(infos, querier.BlockInfo{ID: b.ID, MinTime: b.MinTime, MaxTime: b.MaxTime})
	}
	return infos, cat.Knows, nil
}

func (c catalogOf) OpenBlock(ctx context.Context, id tenant.ID, b ulid.ULID) (querier.Block, error) {
	cat, err := c.cache.Get(ctx, id, c.age)
	if err != nil {
		return nil, err
	}
	entry, ok := cat.Block(b)
	if !ok {
		return nil, fs.ErrNotExist
	}
	return block.Open(ctx, entry.OpenFiles(c.reader, id), entry.Meta())
}

package ring

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-kit/log"
	"github.com/grafana/dskit/kv/memberlist"
	dskit "github.com/grafana/dskit/ring"
	"github.com/grafana/dskit/services"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
)

// Dependencies are what a Ring works with.
type Dependencies struct {
	// Owner: this process is an ingester and owns the configured partition. Others only watch.
	Owner bool
	// Address is the host:port by which others reach an owner's internal listener.
	Address string
	// Admit, where it is set, is asked with what the ring is before an owner enters it; its error ends Run.
	Admit  func(ctx context.Context, v *View) error
	TLS    TLS
	Logger *slog.Logger
	Reg    prometheus.Registerer
}

// Ring is the ring of a cluster as this process sees it, and its own place in it.
type Ring struct {
	cfg      Config
	deps     Dependencies
	log      *slog.Logger
	dskitLog log.Logger
	reg      prometheus.Registerer

	now     atomic.Pointer[snapshot]
	members atomic.Pointer[members] // set while Run has a store
	refresh chan struct{}
	timing  timing

	freePort func() (int, error) // of memberlist, behind the gate

	mu         sync.Mutex // guards what the view is made of
	instances  *dskit.Desc
	partitions *dskit.PartitionRingDesc
}

// snapshot is the current view.
type snapshot struct {
	view     *View
	replaced chan struct{} // closed when there is a newer one
}

// members is what Run has opened.
type members struct {
	stores
	pages     *memberlist.KVInitService // holds gossip; both are nil with another store
	gossip    *memberlist.KV
	instance  *dskit.BasicLifecycler
	partition *dskit.PartitionInstanceLifecycler
	left      atomic.Bool
}

var (
	errNotRunning = errors.New("the ring is not joined yet")
	errNoOwner    = errors.New("this process owns no partition")
)

// New makes a ring with an empty view; Run joins it. cfg must be complete.
func New(cfg Config, deps Dependencies) *Ring {
	r := &Ring{
		cfg: cfg, deps: deps, log: deps.Logger, dskitLog: logAdapter{deps.Logger},
		reg:     prometheus.WrapRegistererWithPrefix("varve_ring_", deps.Reg),
		refresh: make(chan struct{}, 1),
		timing:  usual(), freePort: freePort,
	}
	r.now.Store(&snapshot{NewView(1, cfg.ReplicationFactor, nil), make(chan struct{})})
	return r
}

// View is the latest view.
func (r *Ring) View() *View { return r.now.Load().view }

// Await returns when there is a newer view than v, or with the context's error when it ends.
func (r *Ring) Await(ctx context.Context, v *View) error {
	for {
		s := r.now.Load()
		if s.view.Version > v.Version {
			return nil
		}
		select {
		case <-s.replaced:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Ready is nil once the store was read, and for an owner once it stands in the ring.
func (r *Ring) Ready() error {
	m := r.members.Load()
	if m == nil {
		return errNotRunning
	}
	if !r.deps.Owner || m.left.Load() {
		return nil
	}
	p, _ := r.View().Partition(int32(r.cfg.Partition))
	if slices.ContainsFunc(p.Owners, func(o Owner) bool { return o.Instance == r.cfg.Instance }) {
		return nil
	}
	return fmt.Errorf("instance %s is not an owner of partition %d yet", r.cfg.Instance, r.cfg.Partition)
}

// Run joins the ring and follows it until ctx ends. An owner that stops stays in the ring, unless it has left: its
// partition still counts it. Run may be called once.
func (r *Ring) Run(ctx context.Context) error {
	// dskit's services get a context that doesn't end: they say goodbye when they are stopped, in this order's reverse.
	lasting := context.WithoutCancel(ctx)
	g, gctx := errgroup.WithContext(ctx)
	gateCtx, closeGate := context.WithCancel(lasting)
	defer closeGate()

	m := &members{}
	if r.cfg.Store == storeGossip {
		gate, err := r.openGate()
		if err != nil {
			return fmt.Errorf("join ring: %w", err)
		}
		var served sync.WaitGroup
		served.Go(func() { gate.serve(gateCtx) })
		defer func() { closeGate(); served.Wait() }()
		for range maxGossipPorts {
			if err = r.startGossip(lasting, m, gate); !errors.Is(err, syscall.EADDRINUSE) {
				break
			}
		}
		if err != nil {
			return fmt.Errorf("join ring: %w", err)
		}
		defer r.stop(lasting, m.pages)
	}
	var err error
	if m.stores, err = r.openStores(m.gossip); err != nil {
		return err
	}
	if err := r.poll(gctx, m); err != nil {
		return fmt.Errorf("read ring: %w", err)
	}
	if r.deps.Owner {
		if r.deps.Admit != nil {
			if err := r.deps.Admit(ctx, r.View()); err != nil {
				return fmt.Errorf("enter ring: %w", err)
			}
		}
		if err := r.enter(lasting, m); err != nil {
			return fmt.Errorf("enter ring: %w", err)
		}
		defer r.stop(lasting, m.instance)
		defer r.stop(lasting, m.partition)
	}
	r.members.Store(m)
	g.Go(func() error { return r.follow(gctx, m) })
	g.Go(func() error { r.watchInstances(gctx, m); return nil })
	g.Go(func() error { r.watchPartitions(gctx, m); return nil })
	return g.Wait()
}

func (r *Ring) openGate() (*gate, error) {
	server, err := r.deps.TLS.Server()
	if err != nil {
		return nil, err
	}
	client, err := r.deps.TLS.Client()
	if err != nil {
		return nil, err
	}
	return openGate(r.cfg.Address, server, client)
}

func (r *Ring) stop(ctx context.Context, s services.Service) {
	if err := services.StopAndAwaitTerminated(ctx, s); err != nil {
		r.log.Error("stop ring", "service", services.DescribeService(s), "error", err)
	}
}

// enter makes this process an owner of its partition.
func (r *Ring) enter(ctx context.Context, m *members) error {
	var err error
	m.instance, err = dskit.NewBasicLifecycler(dskit.BasicLifecyclerConfig{
		ID: r.cfg.Instance, Addr: r.deps.Address, Zone: r.cfg.Zone,
		HeartbeatPeriod: r.timing.heartbeat, HeartbeatTimeout: r.timing.stale,
		KeepInstanceInTheRingOnShutdown: true,
	}, "instances", instancesKey, m.instances, dskit.NewInstanceRegisterDelegate(dskit.ACTIVE, 0), r.dskitLog, r.reg)
	if err != nil {
		return err
	}
	m.partition = dskit.NewPartitionInstanceLifecycler(dskit.PartitionInstanceLifecyclerConfig{
		PartitionID: int32(r.cfg.Partition), InstanceID: r.cfg.Instance,
		WaitOwnersCountOnPending:             Quorum(r.cfg.ReplicationFactor),
		WaitOwnersDurationOnPending:          r.timing.pending,
		DeleteInactivePartitionAfterDuration: r.timing.forgotten,
		PollingInterval:                      r.timing.reconcile,
	}, "partitions", partitionsKey, m.partitions, r.dskitLog, r.reg)
	if err := services.StartAndAwaitRunning(ctx, m.instance); err != nil {
		return err
	}
	if err := services.StartAndAwaitRunning(ctx, m.partition); err != nil {
		r.stop(ctx, m.instance)
		return err
	}
	return nil
}

// follow reads the store now and then, whatever watching it says, and fails when a part of the ring has.
func (r *Ring) follow(ctx context.Context, m *members) error {
	tick := time.NewTicker(r.timing.poll)
	defer tick.Stop()
	for {
		if err := r.poll(ctx, m); err != nil && ctx.Err() == nil {
			r.log.Warn("read ring: the last view is kept", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-r.refresh:
		}
		for _, s := range m.services() {
			if s.State() == services.Failed {
				return fmt.Errorf("ring: %w", s.FailureCase())
			}
		}
	}
}

func (m *members) services() []services.Service {
	var all []services.Service
	if m.gossip != nil {
		all = append(all, m.gossip)
	}
	if m.instance != nil {
		all = append(all, m.instance, m.partition)
	}
	return all
}

func (r *Ring) poll(ctx context.Context, m *members) error {
	instances, err := m.instances.Get(ctx, instancesKey)
	if err != nil {
		return err
	}
	partitions, err := m.partitions.Get(ctx, partitionsKey)
	if err != nil {
		return err
	}
	r.take(instances, partitions)
	return nil
}

func (r *Ring) watchInstances(ctx context.Context, m *members) {
	m.instances.WatchKey(ctx, instancesKey, func(v any) bool { r.take(v, nil); return true })
}

func (r *Ring) watchPartitions(ctx context.Context, m *members) {
	m.partitions.WatchKey(ctx, partitionsKey, func(v any) bool { r.take(nil, v); return true })
}

// take makes a new view, if what the store says differs from the last. A store that says nothing, as an emptied one
// does, is not believed.
func (r *Ring) take(instances, partitions any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if d, ok := instances.(*dskit.Desc); ok && d != nil {
		r.instances = d
	}
	if d, ok := partitions.(*dskit.PartitionRingDesc); ok && d != nil {
		r.partitions = d
	}
	if r.partitions == nil {
		return
	}
	old := r.now.Load()
	all := r.describe()
	keepActive(old.view, all)
	if slices.EqualFunc(old.view.Partitions, all, samePartition) {
		return
	}
	r.now.Store(&snapshot{NewView(old.view.Version+1, r.cfg.ReplicationFactor, all), make(chan struct{})})
	close(old.replaced)
}

// keepActive undoes what owners do that are all started again and know of no ring: they announce their partition anew.
// Who has known it as active goes on writing to it, for nobody has to hear of it first.
func keepActive(old *View, all []Partition) {
	for i := range all {
		if p, ok := old.Partition(all[i].ID); ok && p.State == Active && all[i].State == Pending {
			all[i].State = Active
		}
	}
}

// Unreachable is the address of an owner of whom only the name is known. It never resolves.
const Unreachable = "unknown.invalid:1"

// describe is the partitions as they stand, ordered like a view's.
func (r *Ring) describe() []Partition {
	owners := map[int32][]Owner{}
	for name, o := range r.partitions.Owners {
		if o.State == dskit.OwnerDeleted {
			continue
		}
		owner := Owner{Instance: name, Address: Unreachable}
		if r.instances != nil {
			if i, ok := r.instances.Ingesters[name]; ok && i.State != dskit.LEFT {
				owner.Zone, owner.Address = i.Zone, i.Addr
			}
		}
		if name == r.cfg.Instance && r.deps.Owner {
			owner.Zone, owner.Address = r.cfg.Zone, ""
		}
		owners[o.OwnedPartition] = append(owners[o.OwnedPartition], owner)
	}
	var all []Partition
	for id, p := range r.partitions.Partitions {
		if state, ok := stateOf(p.State); ok {
			all = append(all, Partition{ID: id, State: state, Tokens: p.Tokens, Owners: owners[id]})
		}
	}
	return NewView(0, 0, all).Partitions
}

func stateOf(s dskit.PartitionState) (State, bool) {
	switch s {
	case dskit.PartitionPending:
		return Pending, true
	case dskit.PartitionActive:
		return Active, true
	case dskit.PartitionInactive:
		return Inactive, true
	}
	return 0, false
}

func samePartition(a, b Partition) bool {
	return a.ID == b.ID && a.State == b.State && slices.Equal(a.Tokens, b.Tokens) && slices.Equal(a.Owners, b.Owners)
}

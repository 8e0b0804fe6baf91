package distributor

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"log/slog"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/varve-io/varve/pkg/remote"
	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/tenant"
)

// Ring says which partitions there are and who owns them.
type Ring interface {
	View() *ring.View
}

// Limits says what a tenant may do. Generation moves whenever an answer of For may have changed.
type Limits interface {
	For(tenant.ID) *tenant.Limits
	Generation() uint64
	// Source says where a limit of the tenant is set.
	Source(tenant.ID, tenant.LimitName) string
}

// Authenticator tells who sent a request.
type Authenticator interface {
	Authenticate(*http.Request, tenant.Scope) (tenant.Identity, error)
}

// Dependencies are what a Distributor works with.
type Dependencies struct {
	Ring   Ring
	Dialer Dialer
	Limits Limits
	Auth   Authenticator
	// Elections is nil where elections are not shared, and forgotten with the process.
	Elections Elections
	Logger    *slog.Logger
	Reg       prometheus.Registerer
	// Now is the clock by which samples are too old or too new.
	Now func() time.Time
}

// Distributor takes write requests.
type Distributor struct {
	cfg         Config
	deps        Dependencies
	log         *slog.Logger
	metrics     *metrics
	hasher      remote.Hasher
	incarnation uint64
	since       time.Time
	inflight    memory
	turns       *turns
	requests    sync.Pool
	bodies      sync.Pool // of *remote.Body
	desks       *desks
	letters     letterbox
	translators sync.Pool // of *remote.Translation
	versions    *versions
	elections   *elections

	mu      sync.RWMutex
	tenants map[tenant.ID]*sender
	streams map[int32]*stream
	view    uint32 // version of the ring that streams follow
	closed  bool
}

// New makes a distributor. Its numbers belong to this incarnation of it, so that those of an earlier one mean nothing.
func New(cfg Config, deps Dependencies) *Distributor {
	var incarnation [8]byte
	rand.Read(incarnation[:]) // never fails
	d := &Distributor{
		cfg: cfg, deps: deps, log: deps.Logger, since: deps.Now(),
		metrics:     newMetrics(deps.Reg),
		hasher:      remote.NewHasher(),
		incarnation: binary.LittleEndian.Uint64(incarnation[:]),
		inflight:    memory{free: int64(cfg.MaxInflightBytes)},
		turns:       newTurns(turnBytes * int64(runtime.GOMAXPROCS(0))),
		desks:       newDesks(turnBytes * int64(runtime.GOMAXPROCS(0))),
		tenants:     map[tenant.ID]*sender{},
		streams:     map[int32]*stream{},
		versions:    newVersions(),
	}
	d.elections = newElections(deps.Elections, d.log, d.metrics)
	d.requests.New = func() any { return newRequest(d) }
	d.bodies.New = func() any { return new(remote.Body) }
	d.metrics.watch(deps.Reg, d)
	return d
}

// Run keeps the links to owners alive and forgets idle series, until ctx ends.
func (d *Distributor) Run(ctx context.Context) error {
	heartbeat := time.NewTicker(250 * time.Millisecond)
	defer heartbeat.Stop()
	sweep := time.NewTicker(time.Minute)
	defer sweep.Stop()
	defer d.closeStreams()
	var electing sync.WaitGroup
	electing.Go(func() { d.elections.run(ctx, d.deps.Now) })
	defer electing.Wait()
	for {
		d.followRing()
		select {
		case <-ctx.Done():
			return nil
		case <-heartbeat.C:
			if d.elections.moved.CompareAndSwap(true, false) {
				d.idleUnelected()
			}
		case <-sweep.C:
			d.expire(d.deps.Now())
			d.desks.clear()
			d.sweepLabels()
		}
	}
}

// Ready is nil while there is a partition that takes writes and enough of its owners can be reached.
func (d *Distributor) Ready() error {
	v := d.deps.Ring.View()
	if _, ok := v.PartitionOf(0); !ok {
		return errNoPartition
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, p := range v.Partitions {
		if s := d.streams[p.ID]; s != nil && p.State == ring.Active && s.joined() >= ring.Quorum(v.ReplicationFactor) {
			return nil
		}
	}
	return errNoOwner
}

// followRing makes the streams those of the ring's partitions.
func (d *Distributor) followRing() {
	v := d.deps.Ring.View()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.view >= v.Version { // somebody else may have seen a newer view
		return
	}
	for _, p := range v.Partitions {
		s := d.streams[p.ID]
		if s == nil {
			s = newStream(p.ID, d.deps.Dialer, d.versions)
			d.streams[p.ID] = s
		}
		s.follow(p.Owners)
	}
	for id, s := range d.streams {
		if _, ok := v.Partition(id); !ok {
			s.close()
			delete(d.streams, id)
		}
	}
	d.view = v.Version
}

// stream is the stream of a partition; nil where the ring has none.
func (d *Distributor) stream(partition int32, v *ring.View) *stream {
	d.mu.RLock()
	s, current := d.streams[partition], d.view == v.Version
	d.mu.RUnlock()
	if s == nil && !current {
		d.followRing()
		d.mu.RLock()
		s = d.streams[partition]
		d.mu.RUnlock()
	}
	return s
}

func (d *Distributor) closeStreams() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for id, s := range d.streams {
		s.close()
		delete(d.streams, id)
	}
}

// sender is what the distributor knows of one tenant.
func (d *Distributor) sender(id tenant.ID) *sender {
	d.mu.RLock()
	s := d.tenants[id]
	d.mu.RUnlock()
	if s != nil {
		return s
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if s = d.tenants[id]; s == nil {
		s = newSender(id, d.deps.Limits.For(id), d.deps.Now())
		d.tenants[id] = s
	}
	return s
}

// expire forgets the series that got no sample for long, and the tenants that have none.
func (d *Distributor) expire(now time.Time) {
	before := uint32(now.Add(-seriesIdle).Unix())
	for _, s := range d.senders() {
		s.table.expire(uint32(now.Unix()), d.retire)
		s.replicas.expire(uint32(now.Add(-ring.ElectionKept).Unix()))
		if s.series.Load()+s.dropped.Load() == 0 && s.lastSeen.Load() < before && !s.diary.fresh(now) {
			d.mu.Lock()
			delete(d.tenants, s.id)
			d.mu.Unlock()
		}
	}
}

// sweepLabels lets go of the labels of streams without new series.
func (d *Distributor) sweepLabels() {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, s := range d.streams {
		_, _, ls := s.current()
		ls.sweep()
	}
}

// retire lets go of the number that a series had.
func (d *Distributor) retire(gone standing) {
	d.mu.RLock()
	st := d.streams[gone.partition()]
	d.mu.RUnlock()
	if st != nil {
		st.retire(gone.version())
	}
}

// senders is every tenant that writes.
func (d *Distributor) senders() []*sender {
	d.mu.RLock()
	defer d.mu.RUnlock()
	all := make([]*sender, 0, len(d.tenants))
	for _, s := range d.tenants {
		all = append(all, s)
	}
	return all
}

// tableBytes is how much memory all tenants' tables have mapped.
func (d *Distributor) tableBytes() (n int64) {
	for _, s := range d.senders() {
		n += s.arena.size()
	}
	return n
}

// activeSeries is how many series all tenants have.
func (d *Distributor) activeSeries() (n int64) {
	for _, s := range d.senders() {
		n += s.series.Load()
	}
	return n
}

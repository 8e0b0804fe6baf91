package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/metadata"

	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/series"
)

// Ring says which owners there are.
type Ring interface {
	View() *ring.View
}

// PoolConfig is how a pool reaches owners.
type PoolConfig struct {
	// Cluster is what owners must belong to.
	Cluster string
	// TLS, where it is set, shows the cluster's certificate to owners and checks theirs.
	TLS *tls.Config
	// Local is the ingester of this process, if it has one; owners without an address are it.
	Local  Ingester
	Logger *slog.Logger
	Reg    prometheus.Registerer
}

// Pool reaches owners of partitions. Links and reads share one connection for each owner.
type Pool struct {
	cfg     PoolConfig
	metrics *poolMetrics
	probes  sync.WaitGroup

	mu     sync.Mutex
	peers  map[ring.Owner]*peer
	closed bool
}

// peer is a connection to one owner. The connection comes and goes as it is needed.
type peer struct {
	owner   ring.Owner
	cluster string
	address string
	cc      *grpc.ClientConn
	probing bool // guarded by Pool.mu
}

// meant says in a call's metadata whom it is for.
func (p *peer) meant(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, metadataPeer, peerName(p.cluster, p.owner.Instance))
}

// NewPool makes a pool; Run looks after its connections.
func NewPool(cfg PoolConfig) *Pool {
	return &Pool{cfg: cfg, metrics: newPoolMetrics(cfg.Reg), peers: map[ring.Owner]*peer{}}
}

// Run finds frozen owners and closes the connections of those that the ring has forgotten, until ctx ends. Then it
// closes all.
func (p *Pool) Run(ctx context.Context, r Ring) error {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	defer p.close()
	var seen *ring.View
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if v := r.View(); v != seen {
			p.keep(v)
			seen = v
		}
		p.probe(ctx)
	}
}

func (p *Pool) close() {
	p.mu.Lock()
	p.closed = true
	peers := p.peers
	p.peers = map[ring.Owner]*peer{}
	p.mu.Unlock()
	for _, peer := range peers {
		_ = peer.cc.Close() // fails only if it was closed before
	}
	p.probes.Wait()
}

// keep drops the peers that are not in the view.
func (p *Pool) keep(v *ring.View) {
	now := map[ring.Owner]bool{}
	for _, partition := range v.Partitions {
		for _, o := range partition.Owners {
			now[o] = true
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for o, peer := range p.peers {
		if !now[o] {
			delete(p.peers, o)
			_ = peer.cc.Close()
		}
	}
}

// probe asks every peer that is connected whether it runs, without waiting for the answers.
func (p *Pool) probe(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, peer := range p.peers {
		if peer.probing || peer.cc.GetState() != connectivity.Ready {
			continue
		}
		peer.probing = true
		p.probes.Go(func() { p.probeOne(ctx, peer) })
	}
}

// probeOne gives a peer up that doesn't answer: all its calls fail, and the next gets a new connection.
func (p *Pool) probeOne(ctx context.Context, peer *peer) {
	call, cancel := context.WithTimeout(ctx, probeTimeout)
	err := peer.cc.Invoke(peer.meant(call), probeMethod, &frame{}, &frame{})
	frozen := err != nil && errors.Is(call.Err(), context.DeadlineExceeded)
	cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
	peer.probing = false
	if !frozen {
		return
	}
	p.cfg.Logger.Warn("owner doesn't answer: its connection is closed", "instance", peer.owner.Instance, "address", peer.address)
	p.metrics.frozen.Inc()
	if p.peers[peer.owner] == peer {
		delete(p.peers, peer.owner)
	}
	_ = peer.cc.Close()
}

// peer is the owner's peer, made where there is none yet.
func (p *Pool) peer(o ring.Owner) (*peer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if have := p.peers[o]; have != nil {
		return have, nil
	}
	if p.closed {
		return nil, fmt.Errorf("%w: the pool is closed", series.ErrUnavailable)
	}
	cc, err := grpc.NewClient("passthrough:///"+o.Address, dialOptions(p.cfg.TLS)...)
	if err != nil {
		return nil, fmt.Errorf("%w: reach %s: %w", series.ErrUnavailable, o.Instance, err)
	}
	made := &peer{owner: o, cluster: p.cfg.Cluster, address: o.Address, cc: cc}
	p.peers[o] = made
	return made, nil
}

// Dial opens a link to an owner. It returns once the owner has opened it too, when that failed, or when ctx ends, which
// afterwards means nothing to the link. An owner that is gone fails at once or within about two seconds. Errors are of
// kind series.ErrUnavailable, or ctx's.
func (p *Pool) Dial(ctx context.Context, o ring.Owner) (Link, error) {
	if o.Address == "" {
		if p.cfg.Local == nil {
			return nil, errNotLocal(o)
		}
		return openLocal(p.cfg.Local)
	}
	peer, err := p.peer(o)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithTimeout(ctx, openTimeout)
	defer stop()
	streamCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	undo := context.AfterFunc(ctx, cancel)
	stream, err := peer.cc.NewStream(peer.meant(streamCtx), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, pushMethod)
	if err == nil {
		err = opened(stream)
	}
	if err != nil || !undo() {
		cancel()
		return nil, fromWire(ctx, o.Address, err)
	}
	return newLink(o.Address, stream, cancel, p.metrics), nil
}

// opened waits until the owner has opened the stream, too.
func opened(stream grpc.ClientStream) error {
	header, err := stream.Header()
	if err == nil && header == nil { // it ended at once, and says why
		err = stream.RecvMsg(&frame{})
	}
	return err
}

// Reads is the way to read from an owner. It says nothing of whether the owner is there: the reads do.
func (p *Pool) Reads(o ring.Owner) (Reads, error) {
	if o.Address == "" {
		if p.cfg.Local == nil {
			return nil, errNotLocal(o)
		}
		return p.cfg.Local, nil
	}
	peer, err := p.peer(o)
	if err != nil {
		return nil, err
	}
	return reader{peer}, nil
}

// Standing is how an owner stands.
func (p *Pool) Standing(ctx context.Context, o ring.Owner) (series.Standing, error) {
	if o.Address == "" && p.cfg.Local != nil {
		return p.cfg.Local.Standing(), nil
	}
	peer, err := p.peer(o)
	if err != nil {
		return series.Standing{}, err
	}
	return reader{peer}.standing(ctx)
}

func errNotLocal(o ring.Owner) error {
	return fmt.Errorf("%w: owner %s has no address", series.ErrUnavailable, o.Instance)
}

package ring

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/grafana/dskit/flagext"
	"github.com/grafana/dskit/kv"
	"github.com/grafana/dskit/kv/codec"
	"github.com/grafana/dskit/kv/consul"
	"github.com/grafana/dskit/kv/etcd"
	"github.com/grafana/dskit/kv/memberlist"
	dskit "github.com/grafana/dskit/ring"
	"github.com/grafana/dskit/services"
	"github.com/prometheus/client_golang/prometheus"
)

// The keys of the store.
const (
	instancesKey  = "instances"
	partitionsKey = "partitions"
	electionsKey  = "elections"
)

// stores is where the two halves of the ring are kept: who is where, and who owns what. Beside them are the elections of
// HA pairs.
type stores struct {
	instances, partitions, elections kv.Client
}

// openStores connects to the store; gossip is nil unless it is the store.
func (r *Ring) openStores(gossip *memberlist.KV) (stores, error) {
	open := func(c codec.Codec) (kv.Client, error) {
		cfg := kv.Config{Store: r.cfg.Store, Prefix: "varve/" + r.cfg.Cluster + "/"}
		cfg.MemberlistKV = func() (*memberlist.KV, error) { return gossip, nil }
		cfg.Etcd = etcd.Config{Endpoints: []string(slices.Clone(r.cfg.StoreEndpoints)), DialTimeout: 5 * time.Second, MaxRetries: 10}
		if r.cfg.Store == storeConsul {
			cfg.Consul = consul.Config{
				Host: r.cfg.StoreEndpoints[0], HTTPClientTimeout: 30 * time.Second, ConsistentReads: true,
				WatchKeyRateLimit: 4, WatchKeyBurstSize: 1, CasRetryDelay: 100 * time.Millisecond,
			}
		}
		return kv.NewClient(cfg, c, nil, r.dskitLog)
	}
	var (
		s   stores
		err error
	)
	if s.instances, err = open(dskit.GetCodec()); err != nil {
		return s, fmt.Errorf("open ring store: %w", err)
	}
	if s.partitions, err = open(dskit.GetPartitionRingCodec()); err != nil {
		return s, fmt.Errorf("open ring store: %w", err)
	}
	if s.elections, err = open(ledgerCodec{}); err != nil {
		return s, fmt.Errorf("open ring store: %w", err)
	}
	return s, nil
}

// maxGossipPorts is how many ports are tried behind the gate.
const maxGossipPorts = 8

// startGossip starts the gossip store behind the gate. The error is EADDRINUSE if somebody took its port first.
func (r *Ring) startGossip(ctx context.Context, m *members, g *gate) error {
	host, err := r.cfg.Host()
	if err != nil {
		return err
	}
	advertised, err := firstIP(host)
	if err != nil {
		return fmt.Errorf("find ring.advertise: %w", err)
	}
	port, err := r.freePort()
	if err != nil {
		return err
	}
	g.inner.Store(int32(port))

	var cfg memberlist.KVConfig
	flagext.DefaultValues(&cfg)
	cfg.NodeName = r.cfg.Instance
	cfg.ClusterLabel = r.cfg.Cluster
	cfg.JoinMembers = []string(slices.Clone(r.cfg.Join))
	cfg.RejoinInterval = r.timing.rejoin
	cfg.MaxJoinBackoff = r.timing.rejoin
	cfg.MaxJoinRetries = 3
	cfg.LeaveTimeout = 5 * time.Second
	cfg.AdvertiseAddr, cfg.AdvertisePort = advertised, g.port()
	cfg.TCPTransport.BindAddrs = []string{"127.0.0.1"}
	cfg.TCPTransport.BindPort = port
	cfg.TCPTransport.TLSEnabled = r.deps.TLS.Enabled()
	cfg.TCPTransport.TLS.CertPath, cfg.TCPTransport.TLS.KeyPath = r.deps.TLS.Cert, r.deps.TLS.Key
	cfg.TCPTransport.TLS.CAPath, cfg.TCPTransport.TLS.ServerName = r.deps.TLS.CA, MemberName
	cfg.Codecs = []codec.Codec{dskit.GetCodec(), dskit.GetPartitionRingCodec(), ledgerCodec{}}

	attempt := prometheus.NewRegistry() // metrics of a store that didn't start are none of ours
	m.pages = memberlist.NewKVInitService(&cfg, r.dskitLog, &resolver{log: r.log}, attempt)
	if err := services.StartAndAwaitRunning(ctx, m.pages); err != nil {
		return err
	}
	if m.gossip, err = m.pages.GetMemberlistKV(); err != nil { // which starts it
		return err
	}
	if err = m.gossip.AwaitRunning(ctx); err == nil {
		return r.reg.Register(attempt)
	}
	_ = m.pages.AwaitTerminated(ctx)                       // says the same
	l, taken := net.Listen("tcp", behindGate(int32(port))) // memberlist says it as a text only
	if taken == nil {
		taken = l.Close()
	}
	return errors.Join(err, taken)
}

// freePort is a port of loopback that was free a moment ago: memberlist, told to find one itself, doesn't say which.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

func firstIP(host string) (string, error) {
	if ip := net.ParseIP(host); ip != nil {
		return host, nil
	}
	ips, err := net.LookupIP(host)
	if err != nil {
		return "", err
	}
	return ips[0].String(), nil
}

// resolver finds all addresses of the names to join. Names that mean nothing yet are left out: joining is tried again.
type resolver struct {
	log *slog.Logger
	mu  sync.Mutex
	all []string
}

// Resolve implements memberlist.DNSProvider.
func (r *resolver) Resolve(ctx context.Context, addresses []string) error {
	var all []string
	for _, a := range addresses {
		host, port, err := net.SplitHostPort(a)
		if err != nil {
			return err
		}
		ips, err := net.DefaultResolver.LookupHost(ctx, host)
		if err != nil {
			r.log.Warn("a member to join has no address", "member", a, "error", err)
		}
		for _, ip := range ips {
			all = append(all, net.JoinHostPort(ip, port))
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = all
	return nil
}

// Addresses implements memberlist.DNSProvider.
func (r *resolver) Addresses() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all)
}

// logAdapter lets dskit write to a slog.Logger. What it says of ordinary life is for debugging.
type logAdapter struct{ to *slog.Logger }

// Log implements log.Logger.
func (a logAdapter) Log(pairs ...any) error {
	at, message := slog.LevelDebug, "ring"
	var attrs []any
	for i := 0; i+1 < len(pairs); i += 2 {
		key := fmt.Sprint(pairs[i])
		switch value := pairs[i+1]; {
		case key == "level":
			switch value {
			case level.ErrorValue():
				at = slog.LevelError
			case level.WarnValue():
				at = slog.LevelWarn
			}
		case key == "msg":
			message = fmt.Sprint(value)
		default:
			attrs = append(attrs, key, value)
		}
	}
	a.to.Log(context.Background(), at, message, attrs...)
	return nil
}

var _ log.Logger = logAdapter{}

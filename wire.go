package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel"

	"github.com/varve-io/varve/compactor"
	"github.com/varve-io/varve/distributor"
	"github.com/varve-io/varve/ingester"
	"github.com/varve-io/varve/pkg/bucket"
	"github.com/varve-io/varve/pkg/catalog"
	"github.com/varve-io/varve/pkg/config"
	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/rpc"
	"github.com/varve-io/varve/pkg/telemetry"
	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/querier"
)

// process is everything that runs, in the order in which it is started; it stops in the reverse order.
type process struct {
	cfg    Config
	build  telemetry.Build
	logger *slog.Logger
	reg    *prometheus.Registry
	health *telemetry.Health
	http   *telemetry.HTTP

	data, admin *http.ServeMux
	stages      [][]func(context.Context) error
	ready       map[string]func() error
	closers     []func() error
}

// wire makes the components of the targets and connects them. Nothing runs yet.
func wire(cfg Config, build telemetry.Build, logger *slog.Logger) (*process, error) {
	p := &process{
		cfg: cfg, build: build, logger: logger,
		reg: telemetry.NewRegistry(build), health: telemetry.NewHealth(),
		data: http.NewServeMux(), ready: map[string]func() error{},
	}
	p.http = telemetry.NewHTTP(logger, p.reg, otel.GetTracerProvider())
	p.admin = telemetry.NewAdminMux(p.reg, p.health)
	if err := os.MkdirAll(cfg.DataDir, 0o755); err != nil {
		return nil, fmt.Errorf("make data_dir: %w", err)
	}
	s, err := p.shared()
	if err != nil {
		return nil, err
	}
	if err := p.join(s); err != nil {
		return nil, fmt.Errorf("ring: %w", err)
	}
	var local rpc.Ingester
	if cfg.runs("ingester") {
		if local, err = p.ingester(s); err != nil {
			return nil, fmt.Errorf("ingester: %w", err)
		}
	}
	operations{s.ingester, s.cluster, logger}.register(p.admin)
	client, err := cfg.TLS.Client()
	if err != nil {
		return nil, err
	}
	s.pool = rpc.NewPool(rpc.PoolConfig{Cluster: cfg.Ring.Cluster, TLS: client, Local: local, Logger: logger, Reg: p.reg})
	for _, c := range []struct {
		name string
		make func(*shared) error
	}{
		{"distributor", p.distributor},
		{"querier", p.querier},
		{"compactor", p.compactor},
	} {
		if !cfg.runs(c.name) {
			continue
		}
		if err := c.make(s); err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	p.data.HandleFunc("GET /-/ready", p.health.ServeReady)
	p.data.HandleFunc("GET /-/healthy", p.health.ServeHealthy)
	return p, nil
}

// shared is what several components work with.
type shared struct {
	machine  tenant.Machine
	limits   *tenant.Overrides
	tokens   *tenant.Tokens
	bucket   bucket.Bucket
	store    *catalog.Store
	catalogs *catalog.Cache
	reader   *bucket.Reader
	ring     ringer
	cluster  *ring.Ring         // the same, nil for a process that is alone
	ingester *ingester.Ingester // nil if this process runs none
	pool     *rpc.Pool
}

func (p *process) shared() (*shared, error) {
	s := &shared{machine: machine(p.logger, p.cfg.runs("distributor") || p.cfg.runs("ingester"))}
	if p.cfg.Distributor.MaxInflightBytes == 0 {
		p.cfg.Distributor.MaxInflightBytes = config.Bytes(max(s.machine.Memory/8, 64<<20))
	}
	deps := tenant.Dependencies{File: p.cfg.Tenants.LimitsFile, Logger: p.logger, Registerer: p.reg}
	var err error
	if s.limits, err = tenant.NewOverrides(tenant.DefaultLimits(s.machine), deps); err != nil {
		return nil, err
	}
	deps.File = p.cfg.Tenants.TokensFile
	if s.tokens, err = tenant.NewTokens(time.Now, deps); err != nil {
		return nil, err
	}
	if s.bucket, err = bucket.Open(p.cfg.Bucket, p.cfg.DataDir, p.logger, p.reg); err != nil {
		return nil, err
	}
	if s.store, err = catalog.New(s.bucket, time.Now, p.logger, p.reg); err != nil {
		return nil, err
	}
	s.catalogs = catalog.NewCache(s.store, maxCatalogs, time.Now)
	cache := bucket.CacheConfig{MemoryBytes: s.machine.Memory / 16, Dir: filepath.Join(p.cfg.DataDir, "cache"), DiskBytes: cacheBytes}
	if s.reader, err = bucket.NewReader(s.bucket, cache, p.logger, p.reg); err != nil {
		return nil, err
	}
	p.stage(s.limits.Run, s.tokens.Run, func(ctx context.Context) error { return s.pool.Run(ctx, s.ring) })
	p.closers = append(p.closers, s.reader.Close, s.bucket.Close)
	return s, nil
}

const (
	alone       = "local" // the instance of a process without a cluster
	maxCatalogs = 4096
	catalogAge  = 15 * time.Second // of a catalog that answers reads
	// catalogAtWorst is used while the bucket is gone; ingesters tell for longer which blocks they let go of.
	catalogAtWorst = 12 * time.Hour
	cacheBytes     = 10 << 30
)

// How much garbage there may be beside what is in use. Where samples are written, most of what is in use are series, which stay for an
// epoch, and writing makes little garbage: so collecting earlier than Go does by itself costs a twentieth of the CPU, and
// saves a fourth of the memory. Elsewhere it is what lets the compactor count an hour of 10,000 nodes in 2 GiB.
const (
	gcWriting = 40
	gcPercent = 50
)

// machine finds what this process may use, and tells the runtime.
func machine(logger *slog.Logger, writes bool) tenant.Machine {
	m := tenant.Machine{Cores: runtime.GOMAXPROCS(0)}
	provider := memlimit.ApplyFallback(memlimit.FromCgroup, memlimit.FromSystem)
	if n, err := provider(); err == nil {
		m.Memory = int64(n)
	}
	switch {
	case os.Getenv("GOGC") != "":
	case writes:
		debug.SetGCPercent(gcWriting)
	default:
		debug.SetGCPercent(gcPercent)
	}
	if _, err := memlimit.SetGoMemLimitWithOpts(memlimit.WithProvider(provider), memlimit.WithRatio(0.9)); err != nil {
		logger.Warn("no memory limit is set for the runtime", "error", err)
	}
	return m
}

// join makes the ring: that of one process, or of the cluster.
func (p *process) join(s *shared) error {
	c := &p.cfg.Ring
	if !c.Clustered() {
		c.Instance, c.Partition = alone, 0
		s.ring = singleRing{ring.Single(alone)}
		return nil
	}
	owner := p.cfg.runs("ingester")
	if err := c.Complete(owner); err != nil {
		return err
	}
	host, err := c.Host()
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(p.cfg.RPC.Address)
	if err != nil {
		return err
	}
	r := ring.New(*c, ring.Dependencies{
		Owner: owner, Address: net.JoinHostPort(host, port), TLS: p.cfg.TLS, Logger: p.logger.With("component", "ring"), Reg: p.reg,
		Admit: func(ctx context.Context, v *ring.View) error {
			return errors.Join(admit(*c, v), s.pool.CheckClock(ctx, v))
		},
	})
	s.ring, s.cluster = r, r
	p.ready["ring"] = r.Ready
	p.stage(r.Run)
	return nil
}

func (p *process) ingester(s *shared) (rpc.Ingester, error) {
	i := ingester.New(p.cfg.Ingester, ingester.Dependencies{
		Dir: filepath.Join(p.cfg.DataDir, "ingester"), Instance: p.cfg.Ring.Instance, Partition: int32(p.cfg.Ring.Partition),
		Catalog: shipper{s.store, s.bucket}, Bucket: s.bucket, Ring: s.ring, Peers: peers{s, p.cfg.Ring},
		Logger: p.logger.With("component", "ingester"), Reg: p.reg, Now: time.Now,
	})
	s.ingester = i
	p.ready["ingester"] = i.Ready
	p.stage(i.Run)
	if s.cluster == nil {
		return served{i}, nil
	}
	server, err := p.cfg.TLS.Server()
	if err != nil {
		return nil, err
	}
	streams := rpc.NewServer(rpc.ServerConfig{Cluster: p.cfg.Ring.Cluster, Instance: p.cfg.Ring.Instance, TLS: server, Logger: p.logger, Reg: p.reg}, served{i})
	p.stage(func(ctx context.Context) error {
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", p.cfg.RPC.Address)
		if err != nil {
			return err
		}
		return streams.Serve(ctx, l)
	})
	return served{i}, nil
}

func (p *process) distributor(s *shared) error {
	deps := distributor.Dependencies{
		Ring: s.ring, Dialer: dialer{s.pool}, Limits: s.limits, Auth: s.tokens,
		Logger: p.logger.With("component", "distributor"), Reg: p.reg, Now: time.Now,
	}
	if s.cluster != nil {
		deps.Elections = s.cluster
	} else {
		file, err := ring.OpenElectionFile(filepath.Join(p.cfg.DataDir, "elections"), p.logger)
		if err != nil {
			return err
		}
		deps.Elections = file
	}
	d := distributor.New(p.cfg.Distributor, deps)
	for _, path := range distributor.Paths {
		for _, prefix := range []string{"", "/prometheus"} {
			p.data.Handle(prefix+path, p.http.Handler("write", d))
		}
	}
	for _, prefix := range []string{"", "/prometheus"} {
		p.data.Handle("GET "+prefix+distributor.ExplainPath, p.http.Handler("explain-write", http.HandlerFunc(d.ServeExplanation)))
	}
	p.ready["distributor"] = d.Ready
	p.stage(d.Run)
	return nil
}

func (p *process) querier(s *shared) error {
	older := querier.NewBlocks(catalogOf{s.catalogs}, opener{s}, p.cfg.Querier.OpenBlocks)
	q, err := querier.New(p.cfg.Querier, querier.Dependencies{
		Recent: querier.Fanout{Ring: s.ring, Owners: owners{s.pool}}, Older: older,
		Limits: s.limits, Prices: prices{s.bucket}, Cubes: cubes{s.bucket, s.reader}, Build: querier.BuildInfo{Version: p.build.Version, Revision: p.build.Revision, GoVersion: p.build.GoVersion},
		Logger: p.logger.With("component", "querier"), Registerer: p.reg, Now: time.Now,
	})
	if err != nil {
		return err
	}
	p.data.Handle("/", p.http.Handler("read", authenticated(s.tokens, tenant.ScopeRead, q)))
	for _, path := range querier.CostPaths {
		for _, prefix := range []string{"/api/v1", "/prometheus/api/v1"} {
			p.data.Handle(prefix+path, p.http.Handler("cost", authenticated(s.tokens, tenant.ScopeCost, q)))
			p.data.Handle("PUT "+prefix+path, p.http.Handler("cost", authenticated(s.tokens, tenant.ScopeAdmin, q)))
		}
	}
	p.ready["querier"] = func() error { return nil }
	p.closers = append(p.closers, older.Close)
	return nil
}

func (p *process) compactor(s *shared) error {
	c := compactor.New(p.cfg.Compactor, compactor.Dependencies{
		Catalog: s.store, Bucket: s.bucket, Dir: filepath.Join(p.cfg.DataDir, "compactor"), Limits: s.limits,
		Logger: p.logger.With("component", "compactor"), Reg: p.reg, Now: time.Now,
	})
	p.stage(c.Run)
	return nil
}

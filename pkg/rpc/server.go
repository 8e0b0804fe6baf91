package rpc

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/varve-io/varve/pkg/series"
)

// ServerConfig is who a server is.
type ServerConfig struct {
	// Cluster and Instance are what callers must mean: an address that another process has taken over refuses them.
	Cluster, Instance string
	// TLS, where it is set, lets only holders of the cluster's certificates in.
	TLS    *tls.Config
	Logger *slog.Logger
	Reg    prometheus.Registerer
}

// Server answers for one ingester.
type Server struct {
	cfg      ServerConfig
	ingester Ingester
	metrics  *serverMetrics
	reads    chan struct{} // one place per read under way
	stopping chan struct{}
	pushes   sync.WaitGroup
}

// maxReads is how many reads a server works on at once.
const maxReads = 512

// NewServer makes a server; Serve starts it.
func NewServer(cfg ServerConfig, i Ingester) *Server {
	return &Server{
		cfg: cfg, ingester: i, metrics: newServerMetrics(cfg.Reg),
		reads:    make(chan struct{}, maxReads),
		stopping: make(chan struct{}),
	}
}

// Serve answers calls on the listener, which it closes, until ctx ends; it may be called once. Batches that were pushed
// by then are still acked, and reads under way have a few seconds.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := grpc.NewServer(append(serverOptions(s.cfg.TLS),
		grpc.StreamInterceptor(s.checkStream), grpc.UnaryInterceptor(s.checkCall))...)
	server.RegisterService(s.description(), s)
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	select {
	case err := <-done:
		server.Stop()
		return fmt.Errorf("serve components: %w", err)
	case <-ctx.Done():
	}
	close(s.stopping)
	hard := time.AfterFunc(drainTime, server.Stop)
	defer hard.Stop()
	server.GracefulStop()
	s.pushes.Wait()
	if err := <-done; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve components: %w", err)
	}
	return nil
}

func (s *Server) description() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: serviceName,
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Probe", Handler: probe}},
		Streams: []grpc.StreamDesc{
			{StreamName: "Push", ServerStreams: true, ClientStreams: true, Handler: func(_ any, st grpc.ServerStream) error { return s.push(st) }},
			{StreamName: "Read", ServerStreams: true, Handler: func(_ any, st grpc.ServerStream) error { return s.read(st) }},
		},
	}
}

// probe answers that this process runs, and what time it is here.
func probe(_ any, ctx context.Context, decode func(any) error, check grpc.UnaryServerInterceptor) (any, error) {
	var f frame
	if err := decode(&f); err != nil {
		return nil, err
	}
	return check(ctx, &f, nil, func(context.Context, any) (any, error) {
		return &frame{body: binary.AppendVarint(nil, time.Now().UnixMilli())}, nil
	})
}

func (s *Server) checkStream(srv any, st grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if err := s.check(st.Context()); err != nil {
		return toWire(err)
	}
	return toWire(next(srv, st))
}

func (s *Server) checkCall(ctx context.Context, r any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if err := s.check(ctx); err != nil {
		return nil, toWire(err)
	}
	return next(ctx, r)
}

// check refuses calls that are meant for another instance or come from another cluster.
func (s *Server) check(ctx context.Context) error {
	md, _ := metadata.FromIncomingContext(ctx)
	meant := md.Get(metadataPeer)
	if own := peerName(s.cfg.Cluster, s.cfg.Instance); len(meant) != 1 || meant[0] != own {
		s.metrics.refused.Inc()
		return fmt.Errorf("%w: this is %q, the call is meant for %q", series.ErrUnavailable, own, meant)
	}
	return nil
}

func peerName(cluster, instance string) string { return cluster + "/" + instance }

package rpc

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
)

// Bounds of the transport.
const (
	// MaxBatch is the most bytes that a batch may have.
	MaxBatch = 64 << 20
	// maxMessage is a batch and what stands before it.
	maxMessage = MaxBatch + 1<<10
	// maxUnackedBytes is how much of one link waits for its owner's ack, at either end. A batch always fits.
	maxUnackedBytes = MaxBatch
	// maxUnackedBatches is how many batches of one link the owner works on.
	maxUnackedBatches = 1024
	// maxStreams is how many calls one connection may have open.
	maxStreams = 1024
	// streamWindow and connWindow are how much a sender may be ahead of a reader who doesn't read.
	streamWindow = 4 << 20
	connWindow   = 16 << 20
	// maxHeader is the most bytes of a call's metadata.
	maxHeader = 16 << 10
)

// Timing of the transport.
const (
	// connectTimeout is how long a connection may take, TLS included.
	connectTimeout = 2 * time.Second
	// probeEvery and probeTimeout find peers that are frozen: the connection is there, but nobody answers.
	probeEvery   = time.Second
	probeTimeout = 4 * time.Second
	// openTimeout is how long an owner may take to open a link.
	openTimeout = 4 * time.Second
	// maxReadTime is how long a read may take whose caller set no deadline.
	maxReadTime = 10 * time.Minute
	// drainTime is how long a server that stops waits for calls that are under way.
	drainTime = 5 * time.Second
)

// frame is a message as it goes over the wire: head and body are sent one after the other without being joined. What is
// received is all in body.
type frame struct {
	head, body []byte
	free       func() // where it is set, called when the body is sent, unless it is short
}

// freed lets gRPC free a buffer.
type freed func()

// Get implements mem.BufferPool.
func (freed) Get(n int) *[]byte { b := make([]byte, n); return &b }

// Put implements mem.BufferPool.
func (f freed) Put(*[]byte) { f() }

// rawCodec sends frames as they are.
type rawCodec struct{}

// Name implements encoding.CodecV2.
func (rawCodec) Name() string { return "varve" }

// Marshal implements encoding.CodecV2. gRPC doesn't recycle the buffers: batches are sent to several owners.
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	f, ok := v.(*frame)
	if !ok {
		return nil, fmt.Errorf("can't send a %T", v)
	}
	var out mem.BufferSlice
	if len(f.head) > 0 {
		out = append(out, mem.SliceBuffer(f.head))
	}
	if len(f.body) > 0 {
		var pool mem.BufferPool
		if f.free != nil {
			pool = freed(f.free)
		}
		out = append(out, mem.NewBuffer(&f.body, pool))
	}
	return out, nil
}

// Unmarshal implements encoding.CodecV2.
func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*frame)
	if !ok {
		return fmt.Errorf("can't receive a %T", v)
	}
	f.head, f.body = nil, data.Materialize()
	return nil
}

// The service. Its methods are few: pushes are one stream per link, and every read is one stream of frames.
const (
	serviceName  = "varve.Ingester"
	pushMethod   = "/" + serviceName + "/Push"
	readMethod   = "/" + serviceName + "/Read"
	probeMethod  = "/" + serviceName + "/Probe"
	metadataPeer = "varve-peer" // the cluster and the instance that a call is meant for
)

func serverOptions(t *tls.Config) []grpc.ServerOption {
	o := []grpc.ServerOption{
		grpc.ForceServerCodecV2(rawCodec{}),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxSendMsgSize(maxMessage),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxHeaderListSize(maxHeader),
		grpc.InitialWindowSize(streamWindow),
		grpc.InitialConnWindowSize(connWindow),
		grpc.ConnectionTimeout(connectTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.WaitForHandlers(true),
	}
	if t != nil {
		o = append(o, grpc.Creds(credentials.NewTLS(t)))
	}
	return o
}

func dialOptions(t *tls.Config) []grpc.DialOption {
	creds := insecure.NewCredentials()
	if t != nil {
		creds = credentials.NewTLS(t)
	}
	dialer := &net.Dialer{Timeout: connectTimeout}
	return []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", address) // and through no proxy
		}),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{}), grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithMaxHeaderListSize(maxHeader),
		grpc.WithInitialWindowSize(streamWindow),
		grpc.WithInitialConnWindowSize(connWindow),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		grpc.WithIdleTimeout(0),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: connectTimeout,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second, PermitWithoutStream: true}),
	}
}

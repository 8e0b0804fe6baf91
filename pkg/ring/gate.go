package ring

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of gossip. A connection carries one message or one exchange of the whole state.
const (
	maxGossipConns = 256
	maxGossipBytes = 64 << 20
	maxGossipTime  = 30 * time.Second
)

// gate stands in front of memberlist's listener, which asks nobody who he is and reads as long as somebody writes. The
// gate lets in members only, a bounded number of them, for a bounded time and size.
type gate struct {
	listener net.Listener
	tls      *tls.Config  // nil: anybody
	inner    atomic.Int32 // port of memberlist
	innerTLS *tls.Config
	conns    sync.WaitGroup
	places   chan struct{}
}

func openGate(address string, server, client *tls.Config) (*gate, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	return &gate{listener: l, tls: server, innerTLS: client, places: make(chan struct{}, maxGossipConns)}, nil
}

func behindGate(port int32) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// port is the one that the gate listens on.
func (g *gate) port() int { return g.listener.Addr().(*net.TCPAddr).Port }

// serve lets connections in until ctx ends.
func (g *gate) serve(ctx context.Context) {
	defer g.conns.Wait()
	defer context.AfterFunc(ctx, func() { _ = g.listener.Close() })()
	for {
		conn, err := g.listener.Accept()
		if ctx.Err() != nil {
			if err == nil {
				_ = conn.Close()
			}
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // out of files, perhaps
			continue
		}
		select {
		case g.places <- struct{}{}:
			g.conns.Go(func() {
				defer func() { <-g.places }()
				g.pass(ctx, conn)
			})
		default:
			_ = conn.Close()
		}
	}
}

// pass copies both ways until either side ends.
func (g *gate) pass(ctx context.Context, outer net.Conn) {
	defer outer.Close()
	defer context.AfterFunc(ctx, func() { _ = outer.Close() })()
	deadline := time.Now().Add(maxGossipTime)
	_ = outer.SetDeadline(deadline)
	conn := outer
	if g.tls != nil {
		t := tls.Server(outer, g.tls)
		if t.HandshakeContext(ctx) != nil {
			return
		}
		conn = t
	}
	behind, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", behindGate(g.inner.Load()))
	if err != nil {
		return
	}
	defer behind.Close()
	defer context.AfterFunc(ctx, func() { _ = behind.Close() })()
	_ = behind.SetDeadline(deadline)
	inner := behind
	if g.innerTLS != nil {
		inner = tls.Client(behind, g.innerTLS)
	}
	var back sync.WaitGroup
	back.Go(func() { copyHalf(conn, inner) })
	copyHalf(inner, conn)
	back.Wait()
}

// copyHalf copies one direction and passes its end on; a direction that is too long ends both.
func copyHalf(to, from net.Conn) {
	n, err := io.Copy(to, io.LimitReader(from, maxGossipBytes))
	if half, ok := to.(interface{ CloseWrite() error }); ok && err == nil && n < maxGossipBytes {
		_ = half.CloseWrite()
		return
	}
	_ = to.Close()
	_ = from.Close()
}

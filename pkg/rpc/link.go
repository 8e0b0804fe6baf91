package rpc

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/varve-io/varve/pkg/series"
)

var (
	errOverflow = errors.New("the owner is too slow: its queue is full")
	errClosed   = errors.New("link is closed")
	errProtocol = errors.New("the owner answered out of order")
)

// receipt stands for a batch on a link.
type receipt struct {
	batch []byte // nil once it is sent or given up
	free  func()
	size  int
	done  chan struct{}
	ack   series.Ack // set, like err, when done is closed
	err   error
}

// Wait implements series.Receipt.
func (r *receipt) Wait(ctx context.Context) (series.Ack, error) {
	select {
	case <-r.done:
		return r.ack, r.err
	case <-ctx.Done():
		return series.Ack{}, context.Cause(ctx)
	}
}

// link is one push stream at the sender's end: a queue, one goroutine that sends from it, and one that takes acks.
type link struct {
	address string
	stream  grpc.ClientStream
	cancel  context.CancelFunc
	metrics *poolMetrics
	wake    chan struct{} // the queue has more to send
	broken  chan struct{}
	running sync.WaitGroup

	mu      sync.Mutex
	err     error      // why it broke
	pending []*receipt // that are not acked, in order
	sent    int        // how many of pending are sent
	bytes   int        // of pending
}

// newLink begins to use a stream that the owner has opened.
func newLink(address string, stream grpc.ClientStream, cancel context.CancelFunc, m *poolMetrics) *link {
	l := &link{
		address: address, stream: stream, cancel: cancel, metrics: m,
		wake: make(chan struct{}, 1), broken: make(chan struct{}),
	}
	m.links.Inc()
	l.running.Go(l.send)
	l.running.Go(l.receive)
	return l
}

// Push implements Link.
func (l *link) Push(batch []byte, free func()) (series.Receipt, error) {
	if len(batch) > MaxBatch {
		free()
		return nil, fmt.Errorf("%w: batch of %d bytes, at most %d go over a link", series.ErrLimited, len(batch), MaxBatch)
	}
	r := &receipt{batch: batch, free: free, size: len(batch), done: make(chan struct{})}
	l.mu.Lock()
	err := l.err
	full := err == nil && l.bytes+r.size > maxUnackedBytes
	if err == nil && !full {
		l.pending = append(l.pending, r)
		l.bytes += r.size
		l.metrics.queued.Add(float64(r.size))
	}
	l.mu.Unlock()
	if full {
		err = l.fail(errOverflow)
	}
	if err != nil {
		free()
		return nil, err
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return r, nil
}

// Broken implements Link.
func (l *link) Broken() <-chan struct{} { return l.broken }

// Close implements Link.
func (l *link) Close() {
	_ = l.fail(errClosed)
	l.running.Wait()
}

// fail breaks the link, once: every batch that is not acked fails. It returns the error of the first time.
func (l *link) fail(cause error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	l.err = fmt.Errorf("%w: link to %s: %w", series.ErrUnavailable, l.address, cause)
	for i, r := range l.pending {
		if i >= l.sent {
			r.free()
		}
		r.batch, r.err = nil, l.err
		close(r.done)
	}
	l.metrics.queued.Sub(float64(l.bytes))
	l.metrics.links.Dec()
	l.metrics.broke(cause)
	l.pending, l.sent, l.bytes = nil, 0, 0
	close(l.broken)
	l.cancel()
	return l.err
}

// send sends what is queued.
func (l *link) send() {
	for number := uint64(0); ; number++ {
		batch, free, ok := l.next()
		if !ok {
			return
		}
		// The head is not reused: gRPC may look at a message until it is sent.
		if err := l.stream.SendMsg(&frame{head: appendBatchHead(nil, number), body: batch, free: free}); err != nil {
			return // the stream has ended; receive is told why
		}
	}
}

// next waits for the next batch to send; false when the link broke.
func (l *link) next() (batch []byte, free func(), ok bool) {
	for {
		l.mu.Lock()
		if l.sent < len(l.pending) {
			r := l.pending[l.sent]
			batch, r.batch = r.batch, nil
			l.sent++
			l.mu.Unlock()
			return batch, r.free, true
		}
		l.mu.Unlock()
		select {
		case <-l.wake:
		case <-l.broken:
			return nil, nil, false
		}
	}
}

// receive completes receipts as their acks come.
func (l *link) receive() {
	for number := uint64(0); ; number++ {
		var f frame
		if err := l.stream.RecvMsg(&f); err != nil {
			_ = l.fail(fromWire(context.Background(), l.address, err))
			return
		}
		a, ok := parseAck(f.body)
		if !ok || a.number != number || !l.complete(&a) {
			_ = l.fail(errProtocol)
			return
		}
		if err := kindOf(a.code); a.code != codes.OK && breaks(err) {
			_ = l.fail(&remoteError{err, a.text})
			return
		}
	}
}

// complete gives the oldest batch its ack; false if there is none that was sent.
func (l *link) complete(a *acked) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || l.sent == 0 {
		return false
	}
	r := l.pending[0]
	l.pending[0] = nil
	l.pending = l.pending[1:]
	l.sent--
	l.bytes -= r.size
	l.metrics.queued.Sub(float64(r.size))
	r.ack = a.ack
	if a.code != codes.OK {
		r.err = &remoteError{kindOf(a.code), l.address + ": " + a.text}
	}
	close(r.done)
	return true
}

package rpc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/varve-io/varve/pkg/series"
)

// A push stream carries batches one way, each behind its number, counted from 0; and acks the other way, in the same
// order: number, code, and then for code OK the conflicts and the first of them, else the error's text.

func appendBatchHead(dst []byte, number uint64) []byte { return binary.AppendUvarint(dst, number) }

func parseBatch(p []byte) (number uint64, batch []byte, ok bool) {
	d := decoder{p: p}
	number = d.uvarint()
	return number, d.p, !d.bad
}

// acked is an ack as it goes over the wire.
type acked struct {
	number uint64
	code   codes.Code
	ack    series.Ack
	text   string
}

// maxText is the most bytes of an error or a conflict's description that an ack carries.
const maxText = 4 << 10

func (a *acked) appendTo(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, a.number)
	dst = binary.AppendUvarint(dst, uint64(a.code))
	if a.code != codes.OK {
		return appendString(dst, a.text[:min(len(a.text), maxText)])
	}
	dst = binary.AppendUvarint(dst, uint64(a.ack.Conflicts))
	return appendString(dst, a.ack.First[:min(len(a.ack.First), maxText)])
}

func parseAck(p []byte) (acked, bool) {
	d := decoder{p: p}
	a := acked{number: d.uvarint(), code: codes.Code(d.uvarint())}
	if a.code != codes.OK {
		a.text = d.string()
	} else {
		a.ack.Conflicts = int(d.uvarint() & (1<<31 - 1))
		a.ack.First = d.string()
	}
	return a, !d.bad && len(d.p) == 0
}

// pushStream is one link at the owner's end.
type pushStream struct {
	server *Server
	stream grpc.ServerStream
	room   *semaphore.Weighted // bytes of batches that are not acked yet
	taken  chan taken
}

// taken is a batch that was pushed, or refused.
type taken struct {
	number  uint64
	size    int64
	receipt series.Receipt
	err     error
}

// push takes the batches of one link until the peer or the server ends it.
func (s *Server) push(stream grpc.ServerStream) error {
	if err := s.ingester.Ready(); err != nil {
		return fmt.Errorf("%w: %w", series.ErrUnavailable, err)
	}
	if err := stream.SendHeader(nil); err != nil { // the link is open
		return err
	}
	p := &pushStream{server: s, stream: stream, room: semaphore.NewWeighted(maxUnackedBytes), taken: make(chan taken, maxUnackedBatches)}
	s.metrics.links.Inc()
	defer s.metrics.links.Dec()
	failed := make(chan error, 1)
	s.pushes.Add(1)
	go func() {
		defer s.pushes.Done()
		failed <- p.receive()
		close(p.taken)
	}()
	return p.acknowledge(failed)
}

// receive pushes batches as they come. The error says why no more are taken.
func (p *pushStream) receive() error {
	ctx := p.stream.Context()
	for next := uint64(0); ; next++ {
		var f frame
		if err := p.stream.RecvMsg(&f); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		number, batch, ok := parseBatch(f.body)
		if !ok || number != next {
			return fmt.Errorf("%w: batch %d is not number %d", series.ErrInvalid, next, number)
		}
		t := taken{number: number, size: int64(min(len(batch), maxUnackedBytes))}
		if err := p.room.Acquire(ctx, t.size); err != nil {
			return err
		}
		p.server.metrics.bytes.Add(float64(len(batch)))
		t.receipt, t.err = p.server.ingester.Push(batch)
		select {
		case p.taken <- t:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if breaks(t.err) {
			return t.err
		}
	}
}

// acknowledge answers for the batches in their order.
func (p *pushStream) acknowledge(failed <-chan error) error {
	var buf []byte
	for {
		var t taken
		var more bool
		select {
		case t, more = <-p.taken:
		default: // when the server stops, what was taken is answered for first
			select {
			case t, more = <-p.taken:
			case <-p.server.stopping:
				return fmt.Errorf("%w: the ingester is stopping", series.ErrUnavailable)
			}
		}
		if !more {
			return <-failed
		}
		a := acked{number: t.number}
		if t.err == nil {
			a.ack, t.err = t.receipt.Wait(p.stream.Context())
		}
		if t.err != nil {
			a.code, a.text = codeOf(t.err), t.err.Error()
		}
		buf = a.appendTo(buf[:0])
		// gRPC may look at the message until it is sent, so each has bytes of its own.
		if err := p.stream.SendMsg(&frame{body: append([]byte(nil), buf...)}); err != nil {
			return err
		}
		p.room.Release(t.size)
	}
}

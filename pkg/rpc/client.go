package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/grpc"

	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// maxAnswer is the most bytes of an answer that is held in memory whole: names, exemplars, families.
const maxAnswer = 256 << 20

// reader reads from one owner over the wire.
type reader struct{ *peer }

var _ Reads = reader{}

// Select implements Reads. The set reads ahead a few MiB at most, however slowly it is used.
func (r reader) Select(ctx context.Context, q series.Query) (series.Set, series.Standing, error) {
	a, err := r.ask(ctx, &request{verb: selectSeries, query: q})
	if err != nil {
		return nil, series.Standing{}, err
	}
	return &remoteSet{answer: a}, a.standing, nil
}

// LabelNames implements Reads.
func (r reader) LabelNames(ctx context.Context, q series.Query) ([]string, series.Standing, error) {
	return readAll(ctx, r, &request{verb: labelNames, query: q}, (*decoder).string)
}

// LabelValues implements Reads.
func (r reader) LabelValues(ctx context.Context, name string, q series.Query) ([]string, series.Standing, error) {
	return readAll(ctx, r, &request{verb: labelValues, name: name, query: q}, (*decoder).string)
}

// Exemplars implements Reads.
func (r reader) Exemplars(ctx context.Context, q series.Query, matchers [][]*labels.Matcher) ([]series.Exemplars, series.Standing, error) {
	return readAll(ctx, r, &request{verb: exemplars, query: q, groups: matchers}, (*decoder).exemplars)
}

// Metadata implements Reads.
func (r reader) Metadata(ctx context.Context, id tenant.ID) ([]series.Metadata, series.Standing, error) {
	return readAll(ctx, r, &request{verb: families, query: series.Query{Tenant: id}}, (*decoder).family)
}

func (r reader) standing(ctx context.Context) (series.Standing, error) {
	_, s, err := readAll(ctx, r, &request{verb: standing}, (*decoder).string)
	return s, err
}

// answer is the frames of one read as they come.
type answer struct {
	ctx      context.Context
	cancel   context.CancelFunc
	address  string
	stream   grpc.ClientStream
	standing series.Standing
	decoder  decoder // of the current frame
	records  uint64
	bytes    int
	ended    bool
}

// ask sends a request and waits for the standing. The answer must be closed.
func (r reader) ask(ctx context.Context, q *request) (*answer, error) {
	a := &answer{address: r.address}
	body := q.appendTo(nil)
	if len(body) > maxRequestBytes {
		return nil, fmt.Errorf("%w: read request of %d bytes, at most %d are sent", series.ErrLimited, len(body), maxRequestBytes)
	}
	a.ctx = ctx
	streamCtx, cancel := context.WithCancel(ctx)
	a.cancel = cancel
	if err := a.open(r.meant(streamCtx), r.cc, body); err != nil {
		cancel()
		return nil, err
	}
	return a, nil
}

func (a *answer) open(ctx context.Context, cc *grpc.ClientConn, body []byte) error {
	var err error
	a.stream, err = cc.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, readMethod)
	if err != nil {
		return fromWire(a.ctx, a.address, err)
	}
	if err := a.stream.SendMsg(&frame{body: body}); err != nil && !errors.Is(err, io.EOF) {
		return fromWire(a.ctx, a.address, err)
	}
	_ = a.stream.CloseSend() // never fails
	kind, err := a.frame()
	if err != nil {
		return err
	}
	a.standing = a.decoder.standing()
	if kind != frameStanding || a.decoder.bad || len(a.decoder.p) > 0 {
		return a.malformed()
	}
	return nil
}

func (a *answer) malformed() error {
	return &remoteError{series.ErrInternal, a.address + ": malformed answer"}
}

// frame receives the next frame into the decoder.
func (a *answer) frame() (kind byte, err error) {
	var f frame
	if err := a.stream.RecvMsg(&f); err != nil {
		if errors.Is(err, io.EOF) {
			return 0, &remoteError{series.ErrUnavailable, a.address + ": the answer has no end"}
		}
		return 0, fromWire(a.ctx, a.address, err)
	}
	a.bytes += len(f.body)
	a.decoder.p, a.decoder.bad = f.body, false
	return a.decoder.byte(), nil
}

// next makes the decoder stand before a record; false after the last.
func (a *answer) next() (bool, error) {
	for len(a.decoder.p) == 0 {
		if a.ended {
			return false, nil
		}
		kind, err := a.frame()
		if err != nil {
			return false, err
		}
		switch kind {
		case frameRecords:
		case frameEnd:
			if n := a.decoder.uvarint(); n != a.records || a.decoder.bad || len(a.decoder.p) > 0 {
				return false, a.malformed()
			}
			a.ended = true
			return false, a.status()
		default:
			return false, a.malformed()
		}
	}
	a.records++
	return true, nil
}

// status is how the call ended after its last frame.
func (a *answer) status() error {
	var f frame
	switch err := a.stream.RecvMsg(&f); {
	case errors.Is(err, io.EOF):
		return nil
	case err == nil:
		return a.malformed()
	default:
		return fromWire(a.ctx, a.address, err)
	}
}

// readAll reads an answer whole.
func readAll[T any](ctx context.Context, r reader, q *request, record func(*decoder) T) ([]T, series.Standing, error) {
	a, err := r.ask(ctx, q)
	if err != nil {
		return nil, series.Standing{}, err
	}
	defer a.cancel()
	var all []T
	for {
		more, err := a.next()
		if err != nil {
			return nil, a.standing, err
		}
		if !more {
			return all, a.standing, nil
		}
		all = append(all, record(&a.decoder))
		if a.decoder.bad {
			return nil, a.standing, a.malformed()
		}
		if a.bytes > maxAnswer {
			return nil, a.standing, fmt.Errorf("%w: %s: answer of more than %d bytes", series.ErrLimited, a.address, maxAnswer)
		}
	}
}

// remoteSet is the series of an answer as they come. What a frame holds stays in memory while a chunk of it is used.
type remoteSet struct {
	*answer
	at   series.Chunked
	err  error
	done bool
}

// Next implements series.Set.
func (s *remoteSet) Next() bool {
	if s.done {
		return false
	}
	more, err := s.next()
	if err == nil && more {
		s.at = s.decoder.series()
		if !s.decoder.bad {
			return true
		}
		err = s.malformed()
	}
	s.err, s.done = err, true
	return false
}

// At implements series.Set.
func (s *remoteSet) At() series.Chunked { return s.at }

// Err implements series.Set.
func (s *remoteSet) Err() error { return s.err }

// Close implements series.Set.
func (s *remoteSet) Close() error {
	s.cancel()
	return nil
}

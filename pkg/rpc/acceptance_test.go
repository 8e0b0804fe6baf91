package rpc_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/varve-io/varve/pkg/head"
	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/rpc"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/series/sourcetest"
	"github.com/varve-io/varve/pkg/tenant"
)

// TestSource asks a head over the wire.
func TestSource(t *testing.T) {
	sourcetest.Run(t, func(t *testing.T, all []sourcetest.Series) series.Source {
		h := head.New(head.Options{})
		for _, x := range all {
			s, _, err := h.Series(x.Labels)
			if err != nil {
				t.Fatal(err)
			}
			for _, sample := range x.Samples {
				add(s, sample)
			}
		}
		logger := slog.New(slog.DiscardHandler)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := rpc.NewServer(rpc.ServerConfig{Cluster: "test", Instance: "a", Logger: logger, Reg: prometheus.NewRegistry()}, reader{h})
		pool := rpc.NewPool(rpc.PoolConfig{Cluster: "test", Logger: logger, Reg: prometheus.NewRegistry()})
		view := ring.NewView(1, 1, []ring.Partition{{State: ring.Active, Owners: []ring.Owner{{Instance: "a", Address: l.Addr().String()}}}})
		run(t, func(ctx context.Context) error { return server.Serve(ctx, l) })
		run(t, func(ctx context.Context) error { return pool.Run(ctx, fixed{view}) })
		reads, err := pool.Reads(view.Partitions[0].Owners[0])
		if err != nil {
			t.Fatal(err)
		}
		return source{reads}
	})
}

func add(s *head.Series, x sourcetest.Sample) {
	switch x.Type() {
	case chunkenc.ValHistogram:
		s.AppendHistogram(x.T(), x.H())
	case chunkenc.ValFloatHistogram:
		s.AppendFloatHistogram(x.T(), x.FH())
	default:
		s.AppendFloat(x.T(), x.F())
	}
}

// run runs something until the test ends.
func run(t *testing.T, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

type fixed struct{ view *ring.View }

func (f fixed) View() *ring.View { return f.view }

// reader is an ingester that only reads.
type reader struct{ *head.Head }

var errReadOnly = errors.New("read only")

func (reader) Ready() error                        { return errReadOnly }
func (reader) Push([]byte) (series.Receipt, error) { return nil, errReadOnly }
func (reader) Standing() series.Standing           { return series.Standing{} }

func (r reader) Select(ctx context.Context, q series.Query) (series.Set, series.Standing, error) {
	set, err := r.Head.Select(ctx, q)
	return set, series.Standing{}, err
}

func (r reader) LabelNames(ctx context.Context, q series.Query) ([]string, series.Standing, error) {
	names, err := r.Head.LabelNames(ctx, q)
	return names, series.Standing{}, err
}

func (r reader) LabelValues(ctx context.Context, name string, q series.Query) ([]string, series.Standing, error) {
	values, err := r.Head.LabelValues(ctx, name, q)
	return values, series.Standing{}, err
}

func (reader) Exemplars(context.Context, series.Query, [][]*labels.Matcher) ([]series.Exemplars, series.Standing, error) {
	return nil, series.Standing{}, nil
}

func (reader) Metadata(context.Context, tenant.ID) ([]series.Metadata, series.Standing, error) {
	return nil, series.Standing{}, nil
}

// source is an owner's reads without its standing.
type source struct{ rpc.Reads }

func (s source) Select(ctx context.Context, q series.Query) (series.Set, error) {
	set, _, err := s.Reads.Select(ctx, q)
	return set, err
}

func (s source) LabelNames(ctx context.Context, q series.Query) ([]string, error) {
	names, _, err := s.Reads.LabelNames(ctx, q)
	return names, err
}

func (s source) LabelValues(ctx context.Context, name string, q series.Query) ([]string, error) {
	values, _, err := s.Reads.LabelValues(ctx, name, q)
	return values, err
}

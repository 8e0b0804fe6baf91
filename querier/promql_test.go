package querier_test

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-io/varve/pkg/block"
	"github.com/varve-io/varve/pkg/head"
	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/querier"
)

// TestPromQL runs Prometheus' own scripts through the querier, the samples kept in three ways.
func TestPromQL(t *testing.T) {
	ways := []struct {
		name string
		cut  cut
	}{
		{"all in the head", cutNothing},
		{"all in blocks", cutAll},
		{"split across both", cutHalf},
	}
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			if testing.Short() && way.name != "split across both" {
				t.Skip("the split covers both ways")
			}
			engine := promqltest.NewTestEngineWithOpts(t, promql.EngineOpts{
				MaxSamples:               promqltest.DefaultMaxSamplesPerQuery,
				Timeout:                  100 * time.Second,
				NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
				EnableAtModifier:         true,
				EnableNegativeOffset:     true,
				EnableDelayedNameRemoval: true,
				UseStartTimestamps:       true,
				Parser:                   parser.NewParser(querier.ParserOptions()),
			})
			promqltest.RunBuiltinTestsWithStorage(scripts{t}, engine, func(tb testing.TB) storage.Storage {
				return newTestStorage(tb, way.cut)
			})
		})
	}
}

// unsupported are the scripts that can't pass, and why.
var unsupported = map[string]string{
	"testdata/start_timestamps.test": "samples are kept without the start timestamps that their senders may add",
}

// scripts skips the unsupported ones.
type scripts struct{ *testing.T }

func (s scripts) Run(name string, f func(*testing.T)) bool {
	if why, ok := unsupported[name]; ok {
		f = func(t *testing.T) { t.Skip(why) }
	}
	return s.T.Run(name, f)
}

// cut says which samples of one load, from first to last, go to a head that is cut to blocks at once, and which stay.
type cut func(t, first, last int64) (toBlock, toHead bool)

func cutNothing(_, _, _ int64) (bool, bool) { return false, true }
func cutAll(_, _, _ int64) (bool, bool)     { return true, false }

// cutHalf sends the first two thirds to blocks and the last two thirds to the head: a third is in both, as it is
// while blocks are served until they are safe elsewhere.
func cutHalf(t, first, last int64) (bool, bool) {
	third := (last - first) / 3
	return t <= last-third, t >= first+third
}

// sample is one that waits for its commit.
type sample struct {
	labels    labels.Labels
	t         int64
	v         float64
	h         *histogram.Histogram
	fh        *histogram.FloatHistogram
	exemplars []exemplar.Exemplar
}

// blockWidth is the range of a block, as the ingester cuts them.
const blockWidth = 2 * time.Hour

// testStorage appends to heads, cuts what it is told to, and reads through a querier.
type testStorage struct {
	tb     testing.TB
	cut    cut
	queue  []sample
	recent *heads
	old    *head.Head // cut at each commit
	blocks sourcesOf
	read   storage.SampleAndChunkQueryable
}

func newTestStorage(tb testing.TB, c cut) *testStorage {
	s := &testStorage{tb: tb, cut: c, recent: newHeads()}
	q, err := querier.New(querier.Default(), querier.Dependencies{Recent: s.recent, Older: &s.blocks, Limits: defaultLimits()})
	if err != nil {
		tb.Fatal(err)
	}
	s.read = q.Queryable()
	return s
}

func (s *testStorage) Querier(mint, maxt int64) (storage.Querier, error) {
	return s.read.Querier(mint, maxt)
}

func (s *testStorage) ChunkQuerier(mint, maxt int64) (storage.ChunkQuerier, error) {
	return s.read.ChunkQuerier(mint, maxt)
}

func (s *testStorage) StartTime() (int64, error) { return 0, nil }
func (s *testStorage) Close() error              { return nil }

// Appender implements storage.Appendable, which the scripts don't use.
func (s *testStorage) Appender(context.Context) storage.Appender { return nil }

func (s *testStorage) AppenderV2(context.Context) storage.AppenderV2 { return s }

// Append implements storage.AppenderV2.
func (s *testStorage) Append(_ storage.SeriesRef, ls labels.Labels, _, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, o storage.AppendV2Options) (storage.SeriesRef, error) {
	s.queue = append(s.queue, sample{ls, t, v, h, fh, o.Exemplars})
	return 1, nil
}

// place appends one sample to where it belongs.
func (s *testStorage) place(x sample, first, last int64) error {
	toBlock, toHead := s.cut(x.t, first, last)
	var errs []error
	if toHead {
		errs = append(errs, appendTo(s.recent.of(tenant.Anonymous), x))
	}
	if toBlock {
		if s.old == nil {
			s.old = head.New(head.Options{})
		}
		errs = append(errs, appendTo(s.old, x))
	}
	return errors.Join(errs...)
}

func appendTo(to *head.Head, x sample) error {
	s, _, err := to.Series(x.labels)
	if err != nil {
		return err
	}
	switch {
	case x.h != nil:
		s.AppendHistogram(x.t, x.h)
	case x.fh != nil:
		s.AppendFloatHistogram(x.t, x.fh)
	default:
		s.AppendFloat(x.t, x.v)
	}
	for _, e := range x.exemplars {
		s.AppendExemplar(e)
	}
	return nil
}

// Commit implements storage.AppenderV2: it cuts as an ingester does at the end of an epoch.
func (s *testStorage) Commit() error {
	first, last := int64(math.MaxInt64), int64(math.MinInt64)
	for _, x := range s.queue {
		first, last = min(first, x.t), max(last, x.t)
	}
	for _, x := range s.queue {
		if err := s.place(x, first, last); err != nil {
			return err
		}
	}
	s.queue = nil
	if s.old == nil {
		return nil
	}
	s.old.Seal()
	ranges, err := s.old.Ranges(blockWidth.Milliseconds())
	if err != nil {
		return err
	}
	for _, r := range ranges {
		if err := s.write(r); err != nil {
			return err
		}
	}
	s.old.Free()
	s.old = nil
	return nil
}

// Rollback implements storage.AppenderV2.
func (s *testStorage) Rollback() error { return nil }

func (s *testStorage) write(r head.Range) error {
	dir, ctx := s.tb.TempDir(), context.Background()
	meta, err := block.Write(ctx, dir, s.old.Reader(r), block.Spec{MinTime: r.Min, MaxTime: r.Max})
	if err != nil || meta.Stats.NumSamples == 0 {
		return err
	}
	b, err := block.Open(ctx, block.Dir(filepath.Join(dir, meta.ULID.String())), meta)
	if err != nil {
		return err
	}
	s.tb.Cleanup(func() { _ = b.Close() })
	s.blocks = append(s.blocks, b)
	return nil
}

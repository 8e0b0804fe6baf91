package join

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/tools/clustergen/cluster"
)

// counting counts the series that were read.
type counting struct {
	Source
	n int
}

func (c *counting) Select(ctx context.Context, q series.Query) (series.Set, error) {
	set, err := c.Source.Select(ctx, q)
	return &countingSet{set, c}, err
}

type countingSet struct {
	series.Set
	of *counting
}

func (s *countingSet) Next() bool {
	s.of.n++
	return s.Set.Next()
}

// Hours that are read together are those that are read alone, whichever they are; and series are read once.
func TestHoursTogether(t *testing.T) {
	for seed := range uint64(3) {
		cfg := cluster.Config{Seed: seed, Faults: seed == 1, Twins: seed == 2, NodeExporter: seed == 0, Classes: true, Nodes: 3, Pods: 15, Life: hourLength, Interval: 60_000}
		cfg.Span = cluster.Span{From: begin - 2*hourLength, To: begin + 6*hourLength}
		src := &counting{Source: generate(t, cfg.From, cfg.To, cluster.Random(cfg))}
		opts := Options{Tenant: tenant.Anonymous, Labels: []string{"app", "team"}}
		starts := []int64{begin, begin + hourLength, begin + 3*hourLength, begin - hourLength}
		together, err := Hours(t.Context(), src, opts, starts)
		if err != nil {
			t.Fatal(err)
		}
		read := src.n
		for i, start := range starts {
			opts.Start = start
			alone, err := Hour(t.Context(), src, opts)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(alone, together[i]); d != "" {
				t.Fatalf("seed %d, hour %d: alone (-), together (+)\n%s", seed, i, d)
			}
		}
		if src.n-read < 3*read {
			t.Errorf("seed %d: %d series together, %d alone", seed, read, src.n-read)
		}
	}
}

// failing fails at the n-th selection.
type failing struct {
	Source
	n int
}

func (f *failing) Select(ctx context.Context, q series.Query) (series.Set, error) {
	if f.n--; f.n == 0 {
		return broken{}, nil
	}
	return f.Source.Select(ctx, q)
}

// Whatever fails, no hour is left running.
func TestHoursFailTogether(t *testing.T) {
	defer goleak.VerifyNone(t)
	w := load(t, n1, agent)
	for n := 1; ; n++ {
		f := &failing{Source: w, n: n}
		hours, err := Hours(context.Background(), f, Options{}, []int64{begin, begin + hourLength})
		if err == nil {
			if n < 20 || len(hours) != 2 || hours[1] == nil {
				t.Errorf("%d selections, %d hours", n, len(hours))
			}
			break
		}
		if hours != nil || !strings.Contains(err.Error(), "a block is gone") || errors.Is(err, errStopped) {
			t.Fatalf("%v: %v", err, hours)
		}
	}
	if _, err := Hours(context.Background(), w, Options{}, []int64{begin, begin + 1}); err == nil {
		t.Error("no full hour")
	}
}

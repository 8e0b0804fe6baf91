package main

import (
	"context"
	"maps"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/varve-io/varve/tools/clustergen/cluster"
)

func testOptions(dir string) (*options, *cluster.Cluster) {
	begin := int64(1_767_225_600_000) // 2026-01-01
	o := &options{dir: dir, width: 2 * time.Hour, atOnce: 2, config: cluster.Config{Seed: 3, Name: "sim", Nodes: 2, Pods: 8, Span: cluster.Span{From: begin, To: begin + 5*hour/2},
		Life: hour, Faults: true, Twins: true, NodeExporter: true}}
	return o, cluster.Random(o.config)
}

func writeBlocks(t *testing.T, dir string) *cluster.Cluster {
	t.Helper()
	o, c := testOptions(dir)
	if err := blocks(context.Background(), o, cluster.Fleet{c}); err != nil {
		t.Fatal(err)
	}
	return c
}

// samples are bits by series and time.
type samples map[string]map[int64]uint64

func (s samples) add(ls labels.Labels, t int64, v float64) {
	key := ls.String()
	if s[key] == nil {
		s[key] = map[int64]uint64{}
	}
	s[key][t] = math.Float64bits(v)
}

// What Prometheus reads from the blocks are the cluster's samples, markers included.
func TestPrometheusReadsTheBlocks(t *testing.T) {
	dir := t.TempDir()
	c := writeBlocks(t, dir)
	want := samples{}
	for s := range c.Series(c.From, c.To) {
		for _, x := range s.Samples(nil, c.From, c.To) {
			want.add(s.Labels, x.T, x.V)
		}
	}
	db, err := tsdb.OpenDBReadOnly(dir, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	q, err := db.Querier(c.From, c.To)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	set := q.Select(context.Background(), true, nil, labels.MustNewMatcher(labels.MatchNotEqual, "cluster", ""))
	got := samples{}
	for set.Next() {
		it := set.At().Iterator(nil)
		for it.Next() == chunkenc.ValFloat {
			at, v := it.At()
			got.add(set.At().Labels(), at, v)
		}
	}
	if err := set.Err(); err != nil {
		t.Fatal(err)
	}
	if len(want) < 1000 {
		t.Errorf("only %d series", len(want))
	}
	if len(got) != len(want) {
		t.Errorf("%d series in the blocks, %d in the cluster", len(got), len(want))
	}
	for key := range want {
		if !maps.Equal(want[key], got[key]) {
			t.Fatalf("%s differs (-cluster +blocks):\n%.3000s", key, cmp.Diff(want[key], got[key]))
		}
	}
}

func TestEqualSeedsMakeEqualBlocks(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	writeBlocks(t, a)
	writeBlocks(t, b)
	if !maps.Equal(readAll(t, a), readAll(t, b)) {
		t.Error("same seed, other bytes")
	}
}

func readAll(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, pattern := range []string{"*/index", "*/meta.json", "*/chunks/*"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			name, _ := filepath.Rel(dir, f)
			out[name] = string(b)
		}
	}
	if len(out) < 6 {
		t.Fatalf("%d files", len(out))
	}
	return out
}

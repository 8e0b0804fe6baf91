package join

import (
	"testing"

	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/tools/clustergen/cluster"
)

// An hour lets go of what it needs no more: most of what facts tell once they are read, and containers once their rows are made.
func TestWhatAnHourHolds(t *testing.T) {
	cfg := cluster.Config{Seed: 3, Twins: true, Nodes: 4, Pods: 40, Life: hourLength / 2, Interval: 60_000}
	cfg.Span = cluster.Span{From: begin - 2*hourLength, To: begin + 3*hourLength}
	opts := Options{Tenant: tenant.Anonymous, Start: begin}
	r := newReader(t.Context(), generate(t, cfg.From, cfg.To, cluster.Random(cfg)), opts)
	j, err := newJoiner(r, opts)
	if err != nil {
		t.Fatal(err)
	}
	j.yield = func(at *request) bool {
		if err := r.serve([]*hourOf{{joiner: j, at: at}}); err != nil {
			t.Error(err)
		}
		return !t.Failed()
	}
	if err := j.read(); err != nil {
		t.Fatal(err)
	}
	counted, others := 0, 0
	for p := range j.pods {
		if len(p.segments) == 0 && len(p.containers) > 0 {
			t.Errorf("pod %v isn't counted and has %d containers", p, len(p.containers))
		}
		for _, c := range p.containers {
			if c.facts != nil {
				t.Errorf("container %s of pod %v has the facts that its levels were made of", c.name, p)
			}
		}
		if _, ok := r.kept[p.name]; ok {
			t.Errorf("the name of pod %v is still looked up", p)
		}
		if counted++; len(p.segments) == 0 {
			others++
		}
	}
	if counted == others || others == 0 {
		t.Fatalf("%d of %d pods aren't counted", others, counted)
	}
	if len(r.groups.waiting) > 0 {
		t.Errorf("series of %d groups still wait", len(r.groups.waiting))
	}
	if h := j.rows(); len(h.Workloads) == 0 {
		t.Error("no rows")
	}
	for p := range j.pods {
		if len(p.containers) > 0 || p.extra != nil {
			t.Errorf("pod %v has containers beside its rows", p)
		}
	}
}

// A series that waits for others has only what the hours of its pass can need.
func TestWhatASeriesThatWaitsHolds(t *testing.T) {
	cfg := cluster.Config{Nodes: 1, Pods: 2, Life: 10 * hourLength, Interval: 15_000}
	cfg.Span = cluster.Span{From: begin, To: begin + 8*hourLength}
	g := generate(t, cfg.From, cfg.To, cluster.Random(cfg))
	r := &reader{kept: map[string]string{}, reach: window{from: begin + 3*hourLength, to: begin + 4*hourLength}}
	longest := series.Chunked{}
	for _, s := range g.metrics["container_cpu_usage_seconds_total"] {
		if len(s.Chunks) > len(longest.Chunks) {
			longest = s
		}
	}
	s, err := r.copied(source{held: &held{Chunked: longest}})
	if err != nil {
		t.Fatal(err)
	}
	var want []chunks.Meta
	for _, m := range longest.Chunks {
		if m.MinTime < r.reach.to && m.MaxTime >= r.reach.from {
			want = append(want, m)
		}
	}
	if len(want) == 0 || len(want) == len(longest.Chunks) || len(s.Chunks) != len(want) {
		t.Fatalf("%d chunks wait, of %d that there are; want %d", len(s.Chunks), len(longest.Chunks), len(want))
	}
	for i, m := range s.Chunks {
		own, of := m.Chunk.Bytes(), want[i].Chunk.Bytes()
		if string(own) != string(of) || &own[0] == &of[0] {
			t.Errorf("chunk %d is no copy", i)
		}
	}
}

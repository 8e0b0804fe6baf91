package join

import (
	"context"
	"fmt"
	"math/big"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/tools/clustergen/cluster"
)

// generated is a source of the series of generated clusters. It keeps what it has encoded, by metric.
type generated struct {
	t        testing.TB
	from, to int64
	metrics  map[string][]series.Chunked
}

func generate(t testing.TB, from, to int64, clusters ...*cluster.Cluster) *generated {
	g := &generated{t: t, from: from, to: to, metrics: map[string][]series.Chunked{}}
	var buf []cluster.Sample
	for _, c := range clusters {
		for s := range c.Series(from, to) {
			name := s.Labels.Get(labels.MetricName)
			if buf = s.Samples(buf[:0], from, to); len(buf) > 0 {
				g.metrics[name] = append(g.metrics[name], series.Chunked{Labels: s.Labels, Chunks: g.encode(buf)})
			}
		}
	}
	for _, list := range g.metrics {
		slices.SortFunc(list, func(a, b series.Chunked) int { return labels.Compare(a.Labels, b.Labels) })
	}
	return g
}

func (g *generated) encode(samples []cluster.Sample) (out []chunks.Meta) {
	for part := range slices.Chunk(samples, 120) {
		c := chunkenc.NewXORChunk()
		app, err := c.Appender()
		if err != nil {
			g.t.Fatal(err)
		}
		for _, s := range part {
			app.Append(0, s.T, s.V)
		}
		c.Compact()
		out = append(out, chunks.Meta{Chunk: c, MinTime: part[0].T, MaxTime: part[len(part)-1].T})
	}
	return out
}

func (g *generated) Select(_ context.Context, q series.Query) (series.Set, error) {
	var out []series.Chunked
	for _, m := range q.Matchers {
		if m.Name == labels.MetricName {
			out = g.metrics[m.Value]
		}
	}
	out = slices.DeleteFunc(slices.Clone(out), func(c series.Chunked) bool {
		return slices.ContainsFunc(q.Matchers, func(m *labels.Matcher) bool { return !m.Matches(c.Labels.Get(m.Name)) })
	})
	return &listed{list: out, at: -1}, nil
}

type truthKey struct{ namespace, pod, uid, container string }

// sums are a container's integrals in one hour, over its rows.
type sums struct {
	alive, cpuKnown, ramKnown                  int64
	used, unused, unknown, request, limit      int64
	ramUsed, ramUnused, ramUnknown, ramRequest int64
	gpuKnown, gpuUsed, gpuUnused, gpuUnknown   int64
	rows                                       int64
}

func sumsOf(h *cost.Hour) map[truthKey]*sums {
	out := map[truthKey]*sums{}
	for _, w := range h.Workloads {
		k := truthKey{w.Namespace, w.Pod, w.UID, w.Container}
		if out[k] == nil {
			out[k] = &sums{}
		}
		s := out[k]
		s.rows++
		s.alive, s.cpuKnown, s.ramKnown = s.alive+w.Alive, s.cpuKnown+w.CPUKnown, s.ramKnown+w.RAMKnown
		s.used, s.unused, s.unknown = s.used+w.CPU.Used, s.unused+w.CPU.Unused, s.unknown+w.CPU.Unknown
		s.request, s.limit = s.request+w.CPU.Request, s.limit+w.CPU.Limit
		s.ramUsed, s.ramUnused, s.ramUnknown = s.ramUsed+w.RAM.Used, s.ramUnused+w.RAM.Unused, s.ramUnknown+w.RAM.Unknown
		s.ramRequest += w.RAM.Request
		s.gpuKnown, s.gpuUsed, s.gpuUnused, s.gpuUnknown = s.gpuKnown+w.GPUKnown, s.gpuUsed+w.GPU.Used, s.gpuUnused+w.GPU.Unused, s.gpuUnknown+w.GPU.Unknown
	}
	return out
}

// near checks byte-milliseconds against byte-seconds, which are rounded once in each row.
func (s *sums) near(t *testing.T, what string, got int64, want *big.Int) {
	t.Helper()
	diff := new(big.Int).Sub(want, new(big.Int).Mul(big.NewInt(got), big.NewInt(1000)))
	if diff.CmpAbs(big.NewInt(500*s.rows)) > 0 {
		t.Errorf("%s: %d byte-seconds, want %v byte-milliseconds", what, got, want)
	}
}

// empty tells of rows of what pods hold beyond their containers with nothing in them.
func empty(h cluster.Holding) bool {
	return h.CPU.Used.Sign()+h.CPU.Request.Sign()+h.Memory.Used.Sign()+h.Memory.Request.Sign() == 0
}

func checkContainers(t *testing.T, truth *cluster.Truth, h *cost.Hour) {
	t.Helper()
	rows := sumsOf(h)
	for _, want := range truth.Containers {
		k := truthKey{want.Namespace, want.Pod, want.UID, want.Container}
		got := rows[k]
		delete(rows, k)
		o := want.Observed
		if o.Alive == 0 || got == nil && empty(o) {
			continue
		}
		if got == nil {
			t.Errorf("%v: no row, want %+v", k, o)
			continue
		}
		for _, x := range []struct {
			what      string
			got, want int64
		}{
			{"alive", got.alive, o.Alive}, {"known CPU", got.cpuKnown, o.CPU.Known}, {"known RAM", got.ramKnown, o.Memory.Known},
			{"used", got.used, o.CPU.Used.Int64()}, {"unused", got.unused, o.CPU.Unused.Int64()}, {"unknown", got.unknown, o.CPU.Unknown.Int64()},
			{"request", got.request, o.CPU.Request.Int64()}, {"limit", got.limit, o.CPU.Limit.Int64()},
			{"GPU used", got.gpuUsed, o.GPU.Used.Int64()}, {"GPU unused", got.gpuUnused, o.GPU.Unused.Int64()},
			{"GPU unknown", got.gpuUnknown, o.GPU.Unknown.Int64()},
		} {
			if x.got != x.want {
				t.Errorf("%v: %s is %d, want %d", k, x.what, x.got, x.want)
			}
		}
		what := fmt.Sprint(k)
		got.near(t, what+": RAM used", got.ramUsed, o.Memory.Used)
		got.near(t, what+": RAM unused", got.ramUnused, o.Memory.Unused)
		got.near(t, what+": RAM unknown", got.ramUnknown, o.Memory.Unknown)
		got.near(t, what+": RAM requested", got.ramRequest, o.Memory.Request)
	}
	for k, s := range rows {
		if k.container == cluster.PodContainer && s.request|s.used|s.ramRequest|s.ramUsed == 0 {
			continue // the pod's traffic
		}
		t.Errorf("%v is in no truth", k)
	}
}

// checkNodes checks uptime, which begins at the node's creation, not at its first scrape.
func checkNodes(t *testing.T, truth *cluster.Truth, h *cost.Hour) {
	t.Helper()
	type sum struct{ up, blind, cpu, allocatable int64 }
	got := map[string]*sum{}
	for _, n := range h.Nodes {
		if got[n.Provider] == nil {
			got[n.Provider] = &sum{}
		}
		s := got[n.Provider]
		s.up, s.blind, s.cpu, s.allocatable = s.up+n.Up, s.blind+n.Blind, s.cpu+n.CPU.Capacity, s.allocatable+n.CPU.Allocatable
	}
	for _, want := range truth.Nodes {
		s := got[want.Provider]
		delete(got, want.Provider)
		if s == nil {
			if want.Observed.Up > 0 {
				t.Errorf("%s: no row, want %d ms", want.Provider, want.Observed.Up)
			}
			continue
		}
		cores, free := want.Observed.CPU.Int64()/want.Observed.Up, want.Observed.AllocatableCPU.Int64()/want.Observed.Up
		if s.up < want.Observed.Up || s.up > want.Observed.Up+60_000 || s.cpu != cores*s.up || s.allocatable != free*s.up || s.blind > want.Observed.Blind+60_000 {
			t.Errorf("%s: %+v, want %+v", want.Provider, s, want.Observed)
		}
	}
	for provider := range got {
		t.Errorf("%v is in no truth", provider)
	}
}

// checkAssets checks volumes or load balancers, within the rounding of each share.
func checkAssets(t *testing.T, truth []cluster.AssetTruth, h *cost.Hour, kind cost.AssetKind, unit int64) {
	t.Helper()
	got, shares := map[string]int64{}, map[[2]string]int64{}
	for _, a := range h.Assets {
		if a.Kind == kind {
			got[a.Name] = a.Quantity
		}
	}
	for _, s := range h.Shares {
		if s.Kind == kind {
			shares[[2]string{s.Asset, s.UID}] += s.Quantity
		}
	}
	near := func(what string, got int64, want *big.Rat) {
		diff := new(big.Rat).Sub(want, big.NewRat(got*unit, 1))
		if diff.Abs(diff).Cmp(big.NewRat(2*max(unit, 2), 1)) > 0 {
			t.Errorf("%s: %d, want %s of %d", what, got, want.FloatString(1), unit)
		}
	}
	for _, want := range truth {
		name := want.Name
		if kind == cost.LoadBalancerAsset {
			name = want.Namespace + "/" + name
		}
		near(name, got[name], new(big.Rat).SetInt(want.Observed.Quantity))
		for uid, share := range want.Observed.Shares {
			near(name+" "+uid, shares[[2]string{name, uid}], share)
			delete(shares, [2]string{name, uid})
		}
		delete(got, name)
	}
	for k := range shares {
		t.Errorf("%v is in no truth", k)
	}
	for k := range got {
		t.Errorf("%v is in no truth", k)
	}
}

// checkTraffic checks bytes of pods whose name no other pod has, and adds them up by class.
func checkTraffic(t *testing.T, truth *cluster.Truth, h *cost.Hour) (some [cluster.TrafficClasses + 1]int64) {
	t.Helper()
	type key struct {
		uid   string
		class cost.TrafficClass
	}
	got := map[key]cost.Network{}
	for _, w := range h.Workloads {
		n := got[key{w.UID, w.Class}]
		got[key{w.UID, w.Class}] = cost.Network{Received: n.Received + w.Network.Received, Sent: n.Sent + w.Network.Sent}
	}
	classes := [...]cost.TrafficClass{cluster.Internet: cost.Internet, cluster.CrossRegion: cost.CrossRegion, cluster.CrossZone: cost.CrossZone, cluster.InZone: cost.InZone}
	for _, p := range truth.Traffic {
		o := &p.Observed
		if p.Reused {
			continue
		}
		for i, class := range classes {
			if n, want := got[key{p.UID, class}], (cost.Network{Received: o.Received.Classes[i], Sent: o.Sent.Classes[i]}); n != want {
				t.Errorf("%s, %s: %+v, want %+v", p.Pod, class, n, want)
			}
			some[i] += o.Received.Classes[i] + o.Sent.Classes[i]
		}
		if n, want := got[key{uid: p.UID}], (cost.Network{Received: o.Received.Unclassified, Sent: o.Sent.Unclassified}); n != want {
			t.Errorf("%s: %+v, want %+v", p.Pod, n, want)
		}
		some[len(classes)] += o.Received.Unclassified + o.Sent.Unclassified
	}
	return some
}

// Random clusters against their truth in closed form, with and without outages.
func TestGeneratedClusters(t *testing.T) {
	for seed := range uint64(4) {
		for _, faults := range []bool{false, true} {
			if faults && seed == 3 {
				continue // an outage of two hours, which is longer than what is read around an hour
			}
			t.Run(fmt.Sprint(seed, faults), func(t *testing.T) {
				var bytes [cluster.TrafficClasses + 1]int64
				eachHour(t, cluster.Config{Seed: seed, Faults: faults, Classes: true}, func(truth *cluster.Truth, h *cost.Hour) {
					for i, n := range checkTraffic(t, truth, h) {
						bytes[i] += n
					}
					checkContainers(t, truth, h)
					checkNodes(t, truth, h)
					checkAssets(t, truth.Volumes, h, cost.VolumeAsset, 1000)
					checkAssets(t, truth.Balancers, h, cost.LoadBalancerAsset, 1)
				})
				if slices.Contains(bytes[:], 0) {
					t.Errorf("there is no traffic of some class: %v", bytes)
				}
			})
		}
	}
}

// Two Prometheus, two jobs for cAdvisor, three shards of kube-state-metrics: the truth is what one of them saw, and the other one sees
// beginnings and ends some seconds sooner or later. Nothing is counted twice.
func TestGeneratedTwins(t *testing.T) {
	for seed := range uint64(3) {
		eachHour(t, cluster.Config{Seed: seed, Twins: true}, func(truth *cluster.Truth, h *cost.Hour) {
			var used, wantUsed, request, wantRequest float64
			for _, w := range h.Workloads {
				used, request = used+float64(w.CPU.Used), request+float64(w.CPU.Request)
			}
			for _, c := range truth.Containers {
				wantUsed += float64(c.Observed.CPU.Used.Int64())
				wantRequest += float64(c.Observed.CPU.Request.Int64())
			}
			if used < 0.99*wantUsed || used > 1.03*wantUsed || request < 0.99*wantRequest || request > 1.03*wantRequest {
				t.Errorf("seed %d: used %v, want about %v; request %v, want about %v", seed, used, wantUsed, request, wantRequest)
			}
		})
	}
}

// eachHour joins some hours of a small random cluster.
func eachHour(t *testing.T, cfg cluster.Config, check func(*cluster.Truth, *cost.Hour)) {
	t.Helper()
	cfg.Span = cluster.Span{From: begin - 2*hourLength, To: begin + 6*hourLength}
	cfg.Nodes, cfg.Pods, cfg.Life, cfg.Interval = 3, 25, hourLength, 30_000
	c := cluster.Random(cfg)
	g := generate(t, cfg.From, cfg.To, c)
	for at := begin; at < begin+4*hourLength; at += hourLength {
		h, err := Hour(t.Context(), g, Options{Tenant: tenant.Anonymous, Start: at})
		if err != nil {
			t.Fatal(err)
		}
		check(c.Truth(at), h)
	}
}

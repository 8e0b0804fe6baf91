package cluster

import (
	"cmp"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
)

// brute reads what clusters' series say by the rules of Truth, the simple way: at each time at which anything may change, it looks at all
// samples. It knows nothing of descriptions.
type brute struct {
	*Cluster
	bridge int64
	lives  map[string]Span               // of pods, that were asked for
	all    map[string]map[string][]*told // by metric, and by the pod's uid, "" if it tells none
}

type told struct {
	labels  labels.Labels
	samples []Sample
}

func newBrute(c *Cluster) *brute {
	b := &brute{Cluster: c, bridge: 5 * minute, lives: map[string]Span{}, all: map[string]map[string][]*told{}}
	for s := range c.Series(c.From, c.To) {
		if r := s.Labels.Get("prometheus_replica"); r != "" && r != c.Scrape.Scrapers[0].Replica {
			continue
		}
		if s.Labels.Get("metrics_path") == "/metrics/cadvisor" && s.Labels.Get("job") != c.Scrape.CAdvisor[0].Name {
			continue
		}
		if ss := s.Samples(nil, c.From, c.To); len(ss) > 0 {
			name, uid := s.Labels.Get("__name__"), s.Labels.Get("uid")
			if _, after, ok := strings.Cut(s.Labels.Get("id"), "-pod"); ok {
				uid = strings.ReplaceAll(after[:strings.Index(after, ".slice")], "_", "-")
			}
			if b.all[name] == nil {
				b.all[name] = map[string][]*told{}
			}
			b.all[name][uid] = append(b.all[name][uid], &told{s.Labels, ss})
		}
	}
	return b
}

// find merges the samples of all series of a pod with these labels; of two at a time a value is before a marker.
func (b *brute) find(metric, uid string, pairs ...string) []Sample {
	var out []Sample
	for _, s := range b.all[metric][uid] {
		if s.has(pairs...) {
			out = append(out, s.samples...)
		}
	}
	slices.SortFunc(out, func(x, y Sample) int {
		return cmp.Or(cmp.Compare(x.T, y.T), cmp.Compare(rank(y), rank(x)))
	})
	return out
}

func rank(s Sample) int {
	if value.IsStaleNaN(s.V) {
		return 1
	}
	return 0
}

func (s *told) has(pairs ...string) bool {
	for i := 0; i < len(pairs); i += 2 {
		if s.labels.Get(pairs[i]) != pairs[i+1] {
			return false
		}
	}
	return true
}

// at is a gauge's value.
func (b *brute) at(samples []Sample, t int64) (float64, bool) {
	for i := len(samples) - 1; i >= 0; i-- {
		if s := samples[i]; s.T <= t {
			return s.V, !value.IsStaleNaN(s.V) && t < s.T+b.bridge
		}
	}
	return 0, false
}

// pod is its life, within that of its node.
func (b *brute) pod(uid string) Span {
	if life, ok := b.lives[uid]; ok {
		return life
	}
	life, on := b.lived(uid), Span{}
	for _, info := range b.all["kube_pod_info"][uid] {
		for i := range b.Nodes {
			if n := &b.Nodes[i]; n.Name == info.labels.Get("node") {
				if up := b.node(n).clip(life); up.length() > on.length() {
					on = up
				}
			}
		}
	}
	b.lives[uid] = on
	return on
}

// lived is the life of a pod as its own series tell.
func (b *brute) lived(uid string) Span {
	scheduled := b.find("kube_pod_status_scheduled_time", uid)
	if len(scheduled) == 0 {
		return Span{}
	}
	life := Span{int64(scheduled[0].V*1000 + 0.5), scheduled[len(scheduled)-1].T}
	for _, phase := range []string{"Succeeded", "Failed"} {
		for _, s := range b.find("kube_pod_status_phase", uid, "phase", phase) {
			if s.V == 1 {
				times := b.find("kube_pod_completion_time", uid)
				for len(times) > 0 && rank(times[len(times)-1]) == 1 {
					times = times[:len(times)-1]
				}
				return Span{life.From, int64(times[len(times)-1].V*1000 + 0.5)}
			}
		}
	}
	return life
}

// request at t of a pod that lives from a time on.
func (b *brute) request(samples []Sample, life Span, t int64, unit float64) int64 {
	if len(samples) > 0 && life.From <= t && t < samples[0].T && samples[0].T-life.From <= b.bridge {
		return int64(samples[0].V*unit + 0.5)
	}
	if v, ok := b.at(samples, t); ok {
		return int64(v*unit + 0.5)
	}
	return 0
}

// spread is an increase.
type spread struct {
	Span
	increase int64
}

func (s spread) at(t int64) int64 {
	r := big.NewInt(s.increase)
	r.Mul(r, big.NewInt(t-s.From))
	return r.Div(r, big.NewInt(s.length())).Int64()
}

// cpu of all runs of a container.
func (b *brute) cpu(uid, container string) []spread {
	var out []spread
	for _, s := range b.all["container_cpu_usage_seconds_total"][uid] {
		if !s.has("container", container) {
			continue
		}
		start := b.find("container_start_time_seconds", uid, "id", s.labels.Get("id"))
		t, v := int64(start[0].V*1000+0.5), int64(0)
		for _, x := range s.samples {
			if rank(x) == 1 {
				continue
			}
			now := int64(x.V*1e6 + 0.5)
			if x.T > t && x.T-t <= b.bridge {
				out = append(out, spread{Span{t, x.T}, now - v})
			}
			t, v = x.T, now
		}
	}
	return out
}

// memory are the samples of each run, the last one first.
func (b *brute) memory(uid, container string) [][]Sample {
	var runs [][]Sample
	for _, s := range b.all["container_memory_working_set_bytes"][uid] {
		if s.has("container", container) {
			runs = append(runs, s.samples)
		}
	}
	slices.SortFunc(runs, func(x, y []Sample) int { return cmp.Compare(y[0].T, x[0].T) })
	return runs
}

func (b *brute) working(runs [][]Sample, t int64) (int64, bool) {
	for _, r := range runs {
		if v, ok := b.at(r, t); ok {
			return int64(v), true
		}
	}
	return 0, false
}

// edges are the times of samples, the ends of their bridges, and others, in a span.
func (b *brute) edges(in Span, lists [][]Sample, more ...int64) []int64 {
	out := append([]int64{in.From, in.To}, more...)
	for _, l := range lists {
		for _, s := range l {
			out = append(out, s.T, s.T+b.bridge)
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	return slices.DeleteFunc(out, func(t int64) bool { return t < in.From || t > in.To })
}

// sums of one resource.
type sums struct {
	used, unused, unknown, request big.Int
	known                          int64
}

func (s *sums) add(ms, request, used int64, known bool) {
	asked := big.NewInt(request)
	asked.Mul(asked, big.NewInt(ms))
	s.request.Add(&s.request, asked)
	if !known {
		s.unknown.Add(&s.unknown, asked)
		return
	}
	s.known += ms
	s.used.Add(&s.used, big.NewInt(used))
	if asked.Sub(asked, big.NewInt(used)).Sign() > 0 {
		s.unused.Add(&s.unused, asked)
	}
}

func (s *sums) differs(h Held) bool {
	return s.used.Cmp(h.Used)|s.unused.Cmp(h.Unused)|s.unknown.Cmp(h.Unknown)|s.request.Cmp(h.Request) != 0 || s.known != h.Known
}

func (b *brute) container(uid, name string, hour Span) (alive int64, cpu, memory sums) {
	life := b.pod(uid)
	in := life.clip(hour)
	if in.empty() {
		return 0, cpu, memory
	}
	cpuRequest := append(b.find("kube_pod_container_resource_requests", uid, "container", name, "resource", "cpu"),
		b.find("kube_pod_init_container_resource_requests", uid, "container", name, "resource", "cpu")...)
	memoryRequest := append(b.find("kube_pod_container_resource_requests", uid, "container", name, "resource", "memory"),
		b.find("kube_pod_init_container_resource_requests", uid, "container", name, "resource", "memory")...)
	spreads := b.cpu(uid, name)
	var more []int64
	for _, s := range spreads {
		more = append(more, s.From, s.To)
	}
	edges := b.edges(in, [][]Sample{cpuRequest}, more...)
	for i := range len(edges) - 1 {
		from, to := edges[i], edges[i+1]
		used, known := int64(0), false
		for _, s := range spreads {
			if s.Contains(from) {
				used, known = s.at(to)-s.at(from), true
			}
		}
		cpu.add(to-from, b.request(cpuRequest, life, from, 1000), used, known)
	}
	runs := b.memory(uid, name)
	edges = b.edges(in, append(runs, memoryRequest))
	for i := range len(edges) - 1 {
		from, to := edges[i], edges[i+1]
		used, known := b.working(runs, from)
		memory.add(to-from, b.request(memoryRequest, life, from, 1), used*(to-from), known)
	}
	return in.length(), cpu, memory
}

const newYear = int64(1_767_225_600_000)

func testClusters() map[string]Config {
	span := Span{newYear, newYear + 3*hour}
	return map[string]Config{
		"plain":  {Life: hour, Seed: 1, Name: "c", Span: span, Nodes: 3, Pods: 20},
		"short":  {Seed: 2, Name: "c", Span: span, Nodes: 2, Pods: 8, Life: 2 * minute},
		"faults": {Life: hour, Seed: 3, Name: "c", Span: span, Nodes: 3, Pods: 30, Faults: true},
		"twins":  {Life: hour, Seed: 4, Name: "c", Span: span, Nodes: 4, Pods: 20, Faults: true, Twins: true},
		"slow":   {Seed: 5, Name: "c", Span: span, Nodes: 2, Pods: 20, Interval: 60_000, Life: 20 * minute},
	}
}

// The observed truth is what samples say, for every container and hour, exactly.
func TestObservedIsWhatSamplesSay(t *testing.T) {
	for name, cfg := range testClusters() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := Random(cfg)
			b := newBrute(c)
			rows, used := 0, 0
			for at := c.From; at < c.To; at += hour {
				b.missing(t, c.Truth(at))
				for _, r := range c.Truth(at).Containers {
					if r.Container == PodContainer {
						continue
					}
					rows++
					alive, cpu, memory := b.container(r.UID, r.Container, Span{at, at + hour})
					if alive != r.Observed.Alive {
						t.Errorf("%s/%s in hour %d: alive for %d ms, samples say %d", r.Pod, r.Container, (at-c.From)/hour, r.Observed.Alive, alive)
					}
					if cpu.differs(r.Observed.CPU) {
						t.Errorf("%s/%s in hour %d: CPU %v\nsamples say %v", r.Pod, r.Container, (at-c.From)/hour, r.Observed.CPU, show(&cpu))
					}
					if memory.differs(r.Observed.Memory) {
						t.Errorf("%s/%s in hour %d: memory %v\nsamples say %v", r.Pod, r.Container, (at-c.From)/hour, r.Observed.Memory, show(&memory))
					}
					if cpu.used.Sign() > 0 {
						used++
					}
				}
			}
			if rows < 20 || used < 20 {
				t.Errorf("%d rows, %d with usage", rows, used)
			}
		})
	}
}

// missing reports pods that samples tell of and the truth doesn't.
func (b *brute) missing(t *testing.T, truth *Truth) {
	t.Helper()
	there := map[string]bool{}
	for _, r := range truth.Containers {
		there[r.UID] = true
	}
	for uid := range b.all["kube_pod_status_scheduled_time"] {
		if !there[uid] && !b.pod(uid).clip(Span{truth.Hour, truth.Hour + hour}).empty() {
			t.Errorf("no row of pod %s in hour %d", uid, truth.Hour)
		}
	}
}

func show(s *sums) []string {
	return []string{s.used.String(), s.unused.String(), s.unknown.String(), s.request.String(), big.NewInt(s.known).String()}
}

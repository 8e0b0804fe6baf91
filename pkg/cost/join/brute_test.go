package join

import (
	"cmp"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"github.com/varve-io/varve/tools/clustergen/cluster"
)

// The method a second time, by brute force: what all was worth at the middle of every second, in floats, out of every sample that there
// is. It shares no code with the package and knows nothing of pieces, rows, ledgers and rounding. See docs/cost.md.

// bruteBridge is max(5 min, 4 × median interval) for all intervals up to 75 s.
const bruteBridge = 300_000

// Prices of what brute force bills, by the second: cores, GiB, GPUs, GiB of volumes, load balancers.
const (
	bruteVolume, bruteBalancer = 0.0001 / (1 << 30) / 3600, 0.025 / 3600
	bruteBook                  = `{"currency": "USD", "prices": [{"from": "1970-01-01", "nodes": [{"cpu_core_hour": 0.03, "ram_gib_hour": 0.004, "gpu_hour": 0.95}],
		"volumes": [{"gib_hour": 0.0001}], "load_balancers": [{"hour": 0.025}]}]}`
)

var (
	bruteRates     = [3]float64{0.03 / 3600, 0.004 / (1 << 30) / 3600, 0.95 / 3600}
	bruteResources = [3]string{"cpu", "memory", "nvidia_com_gpu"}
	bruteCgroup    = regexp.MustCompile(`pod([0-9a-f]{8}[-_][0-9a-f_-]{27})`)
)

// raw is a series. Markers are NaN.
type raw struct {
	labels.Labels
	s []cluster.Sample
}

func marker(v float64) bool { return math.Float64bits(v) == value.StaleNaN }

// before is the index of the last sample at or before t.
func (r *raw) before(t int64) int {
	i, ok := slices.BinarySearchFunc(r.s, t, func(s cluster.Sample, t int64) int { return cmp.Compare(s.T, t) })
	if !ok {
		i--
	}
	return i
}

// at is the value of a gauge.
func (r *raw) at(t int64) (float64, bool) {
	i := r.before(t)
	if i < 0 || marker(r.s[i].V) || t-r.s[i].T >= bruteBridge {
		return 0, false
	}
	return r.s[i].V, true
}

// rate is that of a counter which began to grow at start.
func (r *raw) rate(t, start int64) (float64, bool) {
	i := r.before(t - 1)
	next := i + 1
	for next < len(r.s) && marker(r.s[next].V) {
		next++
	}
	for i >= 0 && marker(r.s[i].V) {
		i--
	}
	if next >= len(r.s) {
		return 0, false
	}
	t0, v0, s := start, 0.0, r.s[next]
	if i >= 0 {
		t0, v0 = r.s[i].T, r.s[i].V
	}
	if s.V < v0 {
		v0 = 0
	}
	return (s.V - v0) / float64(s.T-t0) * 1000, t > t0 && s.T-t0 <= bruteBridge && t0 > 0
}

// end is the last marker or sample.
func (r *raw) end() int64 { return r.s[len(r.s)-1].T }

type bruteSet map[string][]*raw

// of are the series of a metric that have the labels, those with the most samples first.
func (b bruteSet) of(metric string, pairs ...string) (out []*raw) {
	for _, r := range b[metric] {
		ok := true
		for i := 0; i < len(pairs); i += 2 {
			ok = ok && r.Get(pairs[i]) == pairs[i+1]
		}
		if ok {
			out = append(out, r)
		}
	}
	return out
}

// known is the first that is known; what was first seen within a bridge of begin was so from then on.
func known(list []*raw, t, begin int64) (float64, bool) {
	first := cluster.Sample{T: math.MaxInt64}
	for _, r := range list {
		if v, ok := r.at(t); ok {
			return v, true
		}
		if r.s[0].T < first.T {
			first = r.s[0]
		}
	}
	if t < first.T && first.T-begin <= bruteBridge {
		return first.V, true
	}
	return 0, false
}

// latest is the latest value in the time, or the first after it: what holds through gaps.
func latest(list []*raw, t, from, to int64) (*raw, float64) {
	var best *raw
	at, v := int64(math.MaxInt64), 0.0
	for _, r := range list {
		i := r.before(min(t, to))
		for i >= 0 && marker(r.s[i].V) {
			i--
		}
		if i < 0 || r.s[i].T < from {
			i = r.before(from-1) + 1
		}
		if i == len(r.s) || r.s[i].T > to || marker(r.s[i].V) {
			continue
		}
		if s := r.s[i]; s.T <= t && (at > t || s.T > at) || s.T > t && at > s.T {
			best, at, v = r, s.T, s.V
		}
	}
	return best, v
}

// final is the last value of any of the series.
func final(list []*raw) (v float64, ok bool) {
	_, v = latest(list, math.MaxInt64-1, 0, math.MaxInt64)
	return v, len(list) > 0
}

type bruteNode struct {
	name     string
	from, to int64
}

func (b bruteSet) nodes() (out []*bruteNode) {
	by := map[string]*bruteNode{}
	for _, r := range b["kube_node_info"] {
		key := r.Get("node") + " " + r.Get("provider_id")
		if by[key] == nil {
			by[key] = &bruteNode{r.Get("node"), math.MaxInt64, 0}
			out = append(out, by[key])
		}
		by[key].from, by[key].to = min(by[key].from, r.s[0].T), max(by[key].to, r.end())
	}
	for _, n := range out {
		_, v := latest(b.of("kube_node_created", "node", n.name), n.from, n.from, n.to)
		if created := int64(v * 1000); n.from-created <= bruteBridge {
			n.from = created
		}
	}
	for _, n := range out {
		for _, m := range out {
			if m.name == n.name && m.from > n.from {
				n.to = min(n.to, m.from)
			}
		}
	}
	return out
}

type bruteContainer struct {
	name              string
	init              bool
	request, cpu, ram [][]*raw // of cpu and ram one list for each run
	starts            []int64
	devices           [][]*raw
}

type brutePod struct {
	uid, namespace, node string
	from, to             int64
	facts                []*raw
	containers           []*bruteContainer
	overhead             [3][]*raw
}

func (b bruteSet) pods() (out []*brutePod) {
	by := map[string]*brutePod{}
	for _, r := range b["kube_pod_info"] {
		uid := r.Get("uid")
		if r.Get("node") == "" {
			continue
		}
		if by[uid] == nil {
			by[uid] = &brutePod{uid: uid, namespace: r.Get("namespace"), node: r.Get("node"), from: math.MaxInt64}
			out = append(out, by[uid])
		}
		p := by[uid]
		p.facts, p.from, p.to = append(p.facts, r), min(p.from, r.s[0].T), max(p.to, r.end())
	}
	for _, p := range out {
		for _, metric := range []string{"kube_pod_created", "kube_pod_start_time", "kube_pod_status_scheduled_time"} {
			if v, ok := final(b.of(metric, "uid", p.uid)); ok {
				p.from = int64(v * 1000)
			}
		}
		succeeded, _ := final(b.of("kube_pod_status_phase", "uid", p.uid, "phase", "Succeeded"))
		failed, _ := final(b.of("kube_pod_status_phase", "uid", p.uid, "phase", "Failed"))
		if v, ok := final(b.of("kube_pod_completion_time", "uid", p.uid)); ok && succeeded+failed > 0 {
			p.to = min(p.to, int64(v*1000))
		}
		b.contain(p)
	}
	return out
}

func (b bruteSet) contain(p *brutePod) {
	p.overhead = [3][]*raw{b.of("kube_pod_overhead_cpu_cores", "uid", p.uid), b.of("kube_pod_overhead_memory_bytes", "uid", p.uid)}
	kinds := map[string]bool{} // init or not
	for _, r := range b.of("kube_pod_container_info", "uid", p.uid) {
		kinds[r.Get("container")] = false
	}
	for _, r := range b.of("kube_pod_init_container_info", "uid", p.uid) {
		kinds[r.Get("container")] = r.Get("restart_policy") != "Always"
	}
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		c := &bruteContainer{name: name, init: kinds[name]}
		for _, resource := range bruteResources {
			c.request = append(c.request, append(b.of("kube_pod_container_resource_requests", "uid", p.uid, "container", name, "resource", resource),
				b.of("kube_pod_init_container_resource_requests", "uid", p.uid, "container", name, "resource", resource)...))
		}
		starts := map[string]float64{}
		for _, r := range b.of("container_start_time_seconds", "container", name) {
			starts[r.Get("id")] = r.s[0].V
		}
		runs := func(metric string, add func(id string, list []*raw)) {
			by := map[string][]*raw{}
			for _, r := range b.of(metric, "container", name) {
				m := bruteCgroup.FindStringSubmatch(r.Get("id"))
				if m != nil && strings.ReplaceAll(m[1], "_", "-") == p.uid {
					by[r.Get("id")] = append(by[r.Get("id")], r)
				}
			}
			ids := slices.SortedFunc(maps.Keys(by), func(x, y string) int { return cmp.Compare(starts[y], starts[x]) }) // the last first
			for _, id := range ids {
				add(id, by[id])
			}
		}
		runs("container_cpu_usage_seconds_total", func(id string, list []*raw) {
			c.cpu, c.starts = append(c.cpu, list), append(c.starts, int64(starts[id]*1000))
		})
		runs("container_memory_working_set_bytes", func(_ string, list []*raw) { c.ram = append(c.ram, list) })
		by := map[string][]*raw{}
		for _, r := range b["DCGM_FI_PROF_GR_ENGINE_ACTIVE"] {
			namespace, pod := r.Get("exported_namespace"), r.Get("exported_pod")
			if namespace == p.namespace && pod == p.facts[0].Get("pod") && r.Get("exported_container") == name && r.s[0].T < p.to && r.end() > p.from {
				by[r.Get("UUID")] = append(by[r.Get("UUID")], r)
			}
		}
		for _, uuid := range slices.Sorted(maps.Keys(by)) {
			c.devices = append(c.devices, by[uuid])
		}
		p.containers = append(p.containers, c)
	}
}

// usage of a resource, if it is known.
func (c *bruteContainer) usage(resource int, t int64) (float64, bool) {
	switch resource {
	case 0:
		for i, list := range c.cpu {
			for _, r := range list {
				if v, ok := r.rate(t, c.starts[i]); ok {
					return v, true
				}
			}
		}
	case 1:
		for _, list := range c.ram {
			for _, r := range list {
				if v, ok := r.at(t); ok {
					return v, true
				}
			}
		}
	case 2:
		sum := 0.0
		for _, list := range c.devices {
			v, ok := known(list, t, math.MinInt64/2)
			if !ok {
				return 0, false
			}
			sum += v
		}
		return sum, len(c.devices) > 0
	}
	return 0, false
}

package join

import (
	"math"
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/tools/clustergen/cluster"
)

// The method a second time, by brute force: what all was worth at the middle of every second, in floats, out of every sample that there
// is. It shares no code with the package and knows nothing of pieces, rows, ledgers and rounding. See docs/cost.md.

// In milliseconds; the bridge is max(5 min, 4 × median interval) for all intervals up to 75 s.
const bruteBridge, bruteNever, bruteEver = 300_000, math.MinInt64 / 2, 1 << 50

// raw is a series: its samples that are no markers, and until when each holds at most: for a bridge, or to a marker.
type raw struct {
	labels.Labels
	from, to int64
	s        []cluster.Sample
	until    []int64
}

var bruteCgroup = regexp.MustCompile(`pod([0-9a-f]{8}[-_][0-9a-f_-]{27})`)

func newRaw(ls labels.Labels, samples []cluster.Sample) *raw {
	if m := bruteCgroup.FindStringSubmatch(ls.Get("id")); m != nil {
		ls = labels.NewBuilder(ls).Set("uid", strings.ReplaceAll(m[1], "_", "-")).Labels()
	}
	r := &raw{Labels: ls, from: samples[0].T, to: samples[len(samples)-1].T}
	for _, s := range samples {
		if !math.IsNaN(s.V) {
			r.s, r.until = append(r.s, s), append(r.until, s.T+bruteBridge)
		} else if n := len(r.until) - 1; n >= 0 {
			r.until[n] = min(r.until[n], s.T)
		}
	}
	return r
}

// after is the index of the first sample after t.
func (r *raw) after(t int64) int {
	return sort.Search(len(r.s), func(i int) bool { return r.s[i].T > t })
}

// rate is that of a counter which began to grow at start.
func (r *raw) rate(t, start int64) (float64, bool) {
	i := r.after(t - 1)
	if i == len(r.s) {
		return 0, false
	}
	last, next := cluster.Sample{T: start}, r.s[i]
	if i > 0 {
		last = r.s[i-1]
	}
	if next.V < last.V {
		last.V = 0
	}
	return (next.V - last.V) / float64(next.T-last.T) * 1000, last.T > 0 && t > last.T && next.T-last.T <= bruteBridge
}

// raws are series, those that began last first.
type raws []*raw

// at is the latest value at t, and whose it is; before there is any, the first, if that came within a bridge of begin. Unless there may be
// gaps, a value holds until the next.
func (l raws) at(t, begin int64, gaps bool) (best *raw, v float64) {
	least := int64(math.MaxInt64)
	for _, r := range l {
		i := max(r.after(t)-1, 0)
		away := t - r.s[i].T
		switch {
		case away < 0 && r.s[i].T-begin <= bruteBridge:
			away = bruteEver - away
		case away < 0 || gaps && t >= r.until[i]:
			continue
		}
		if away < least {
			best, least, v = r, away, r.s[i].V
		}
	}
	return best, v
}

func (l raws) known(t, begin int64) (float64, bool) { r, v := l.at(t, begin, true); return v, r != nil }
func (l raws) latest(t int64) (*raw, float64)       { return l.at(t, bruteEver, false) }
func (l raws) final() float64                       { _, v := l.latest(bruteEver); return v }

// bruteSet has series by metric, and by the values of labels that were asked for, which are the same labels each time.
type bruteSet map[[6]string]raws

func (set bruteSet) of(metric string, pairs ...string) raws {
	key := [6]string{metric}
	all := set[key]
	for i := 1; i < len(pairs); i += 2 {
		key[(i+1)/2] = pairs[i]
	}
	if _, ok := set[key]; !ok {
		for ; len(pairs) > 0; pairs = pairs[2:] {
			all = slices.DeleteFunc(slices.Clone(all), func(r *raw) bool { return r.Get(pairs[0]) != pairs[1] })
		}
		set[key] = all
	}
	return set[key]
}

// thing is what some series tell of, and when it is there.
type thing struct {
	labels.Labels // of the first series
	from, to      int64
	facts         raws
	containers    []*thing
}

func (x *thing) lives(t int64) bool { return x.from <= t && t < x.to }

// things are told apart by labels.
func things(l raws, names ...string) (out []*thing) {
	by := map[string]*thing{}
	for _, r := range l {
		key := r.MatchLabels(true, names...).String()
		if by[key] == nil {
			by[key] = &thing{Labels: r.Labels, from: r.from}
			out = append(out, by[key])
		}
		x := by[key]
		x.from, x.to, x.facts = min(x.from, r.from), max(x.to, r.to), append(x.facts, r)
	}
	return out
}

func (set bruteSet) nodes() []*thing {
	nodes := things(set.of("kube_node_info"), "node", "provider_id")
	for _, n := range nodes {
		if _, created := set.of("kube_node_created", "node", n.Get("node")).latest(n.from); n.from-int64(created*1000) <= bruteBridge {
			n.from = int64(created * 1000)
		}
	}
	return nodes
}

func (set bruteSet) pods() []*thing {
	pods := things(slices.DeleteFunc(slices.Clone(set.of("kube_pod_info")), func(r *raw) bool { return r.Get("node") == "" }), "uid")
	for _, p := range pods {
		uid := p.Get("uid")
		for _, metric := range []string{"kube_pod_created", "kube_pod_start_time", "kube_pod_status_scheduled_time"} {
			if v := set.of(metric, "uid", uid).final(); v > 0 {
				p.from = int64(v * 1000)
			}
		}
		phase := func(name string) bool { return set.of("kube_pod_status_phase", "uid", uid, "phase", name).final() > 0 }
		if v := set.of("kube_pod_completion_time", "uid", uid).final(); v > 0 && (phase("Succeeded") || phase("Failed")) {
			p.to = min(p.to, int64(v*1000))
		}
		p.containers = things(slices.Concat(set.of("kube_pod_container_info", "uid", uid), set.of("kube_pod_init_container_info", "uid", uid)), "container")
	}
	return pods
}

// usage of a resource by a pod's container, if it is known.
func (set bruteSet) usage(p *thing, container, resource string, t int64) (sum float64, ok bool) {
	switch resource {
	case "cpu":
		for _, r := range set.of("container_cpu_usage_seconds_total", "uid", p.Get("uid"), "container", container) {
			start := set.of("container_start_time_seconds", "id", r.Get("id"), "container", container).final()
			if v, ok := r.rate(t, int64(start*1000)); ok {
				return v, true
			}
		}
	case "memory":
		return set.of("container_memory_working_set_bytes", "uid", p.Get("uid"), "container", container).known(t, bruteNever)
	default:
		for _, r := range set.of("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "exported_namespace", p.Get("namespace"), "exported_pod", p.Get("pod"), "exported_container", container) {
			if v, known := (raws{r}).known(t, bruteNever); known { // all devices are, or none is: they are scraped together
				sum, ok = sum+v, true
			}
		}
	}
	return sum, ok
}

// second tells what a second of nodes, volumes and load balancers is worth: to whom, and what is left.
func (b *bruteBill) second(nodes, pods, volumes, balancers []*thing, t int64) {
	sees := func(p *thing) bool { _, ok := p.facts.known(t, p.from); return ok && p.lives(t) }
	facts := slices.ContainsFunc(pods, sees)
	var living []*thing
	for _, n := range nodes {
		again := func(x *thing) bool { return x.Get("node") == n.Get("node") && x.from > n.from && x.from <= t }
		if !n.lives(t) || slices.ContainsFunc(nodes, again) {
			continue
		}
		here := slices.DeleteFunc(slices.Clone(pods), func(p *thing) bool { return p.Get("node") != n.Get("node") || !p.lives(t) })
		b.node(n, here, !facts || len(here) > 0 && !slices.ContainsFunc(here, sees), t)
		living = append(living, here...)
	}
	for _, v := range volumes {
		_, size := b.of("kube_persistentvolume_capacity_bytes", "persistentvolume", v.Get("persistentvolume")).latest(t)
		claim, _ := b.of("kube_persistentvolume_claim_ref", "persistentvolume", v.Get("persistentvolume")).latest(t)
		b.share(v, "unmounted", size*bruteVolume, living, t, func(p *thing) bool {
			return claim != nil && len(b.of("kube_pod_spec_volumes_persistentvolumeclaims_info", "uid", p.Get("uid"),
				"namespace", claim.Get("claim_namespace"), "persistentvolumeclaim", claim.Get("name"))) > 0
		})
	}
	for _, s := range balancers {
		of := b.of("kube_endpointslice_labels", "namespace", s.Get("namespace"), "label_kubernetes_io_service_name", s.Get("service"))
		b.share(s, "unattributed", bruteBalancer, living, t, func(p *thing) bool {
			return slices.ContainsFunc(of, func(slice *raw) bool {
				_, ok := b.of("kube_endpointslice_endpoints", "endpointslice", slice.Get("endpointslice"), "ready", "true",
					"targetref_namespace", p.Get("namespace"), "targetref_name", p.Get("pod")).known(t, bruteNever)
				return ok
			})
		})
	}
}

// share divides what an asset is worth among those that have it.
func (b *bruteBill) share(x *thing, left string, v float64, pods []*thing, t int64, has func(p *thing) bool) {
	if !x.lives(t) {
		return
	}
	pods = slices.DeleteFunc(slices.Clone(pods), func(p *thing) bool { return !has(p) })
	for _, p := range pods {
		b.add(bruteRow{thing: x}, bruteLine{"used", p.Get("uid")}, p, "", v/float64(len(pods)))
	}
	if len(pods) == 0 {
		b.add(bruteRow{thing: x}, bruteLine{kind: left}, nil, "", v)
	}
}

// node tells what it has and what its pods hold, all of it as money.
func (b *bruteBill) node(n *thing, pods []*thing, blind bool, t int64) {
	class, _ := b.of("kube_node_labels", "node", n.Get("node")).latest(t)
	for _, res := range bruteResources {
		row := bruteRow{n, class, res.name}
		_, capacity := b.of("kube_node_status_capacity", "node", n.Get("node"), "resource", res.name).latest(t)
		_, allocatable := b.of("kube_node_status_allocatable", "node", n.Get("node"), "resource", res.name).latest(t)
		if blind {
			b.add(row, bruteLine{kind: "unknown"}, nil, "", capacity*res.rate)
			continue
		}
		b.add(row, bruteLine{kind: "capacity"}, nil, "", capacity*res.rate)
		b.add(row, bruteLine{kind: "allocatable"}, nil, "", min(allocatable, capacity)*res.rate)
		for _, p := range pods {
			b.hold(p, res, capacity, t, func(container string, request, used float64, known bool) {
				line := func(kind string) bruteLine { return bruteLine{kind, p.Get("uid")} }
				if !known {
					b.add(row, line("usage_unknown"), p, container, request*res.rate)
					return
				}
				b.add(row, line("used"), p, container, used*res.rate)
				b.add(row, line("unused"), p, container, max(request-used, 0)*res.rate)
			})
		}
	}
}

// hold tells what a pod holds of a resource: its containers, and what its effective request is beyond them.
func (set bruteSet) hold(p *thing, res bruteResource, capacity float64, t int64, tell func(container string, request, used float64, known bool)) {
	var regular, most, inits float64
	some := false
	for _, c := range p.containers {
		name, info := c.Get("container"), c.Get(labels.MetricName)
		request, _ := set.of(strings.Replace(info, "info", "resource_requests", 1), "uid", p.Get("uid"), "container", name, "resource", res.name).known(t, p.from)
		used, ok := set.usage(p, name, res.name, t)
		used, some = min(used, capacity), some || ok
		if info == "kube_pod_init_container_info" && c.Get("restart_policy") != "Always" {
			most, inits = max(most, request), inits+used
			continue
		}
		regular += request
		tell(name, request, used, ok)
	}
	overhead, _ := set.of(res.overhead, "uid", p.Get("uid")).known(t, p.from)
	tell("", max(most, regular)+overhead-regular, inits, some)
}

// bruteLaw is step 1 of the cost law: what the money of a row is spent for. It tells whether more was held than there is.
func bruteLaw(row map[bruteLine]float64, spend func(line bruteLine, v float64)) bool {
	c, a, h := row[bruteLine{kind: "capacity"}], row[bruteLine{kind: "allocatable"}], 0.0
	for line, v := range row {
		if line.uid != "" {
			h += v
		}
	}
	spend(bruteLine{kind: "idle"}, max(a-h, 0))
	spend(bruteLine{kind: "system"}, c-max(a, min(h, c)))
	spend(bruteLine{kind: "unknown"}, row[bruteLine{kind: "unknown"}])
	for line, v := range row {
		if line.uid != "" {
			spend(line, v*min(c/max(h, 1e-300), 1))
		}
	}
	return h > c
}

package join

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/price"
	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/tools/clustergen/cluster"
)

// bruteLine is a kind of cost and its namespace; idle, system, unknown, unmounted and unattributed have none.
type bruteLine struct{ kind, namespace string }

// bruteStream is something that has a value every second.
type bruteStream struct {
	line     bruteLine
	of       string
	resource int
}

// bruteRow is a node while its labels are the same.
type bruteRow struct {
	capacity, allocatable, blind [3]float64
	held                         map[bruteLine]*[3]float64
}

type bruteBill struct {
	rows          map[string]*bruteRow
	money, bound  map[bruteLine]float64 // bound is how far a sum of seconds may be from the integral
	last, current map[bruteStream]float64
	scaled        bool
}

// see notes a value in money per second. A step between the middles of two seconds was up to half a second off.
func (b *bruteBill) see(s bruteStream, v float64) { b.current[s] += v }

func (b *bruteBill) tick(first bool) {
	for s, v := range b.current {
		if !first {
			b.bound[s.line] += math.Abs(v-b.last[s]) / 2
		}
		delete(b.last, s)
	}
	for s, v := range b.last {
		b.bound[s.line] += v / 2
	}
	clear(b.last)
	b.last, b.current = b.current, b.last
}

// bill adds up the hour.
func (set bruteSet) bill(all []*brutePod, start int64) *bruteBill {
	b := &bruteBill{
		rows: map[string]*bruteRow{}, money: map[bruteLine]float64{}, bound: map[bruteLine]float64{},
		last: map[bruteStream]float64{}, current: map[bruteStream]float64{},
	}
	nodes := set.nodes()
	pods := slices.DeleteFunc(slices.Clone(all), func(p *brutePod) bool { return p.to <= start || p.from >= start+hourLength })
	for t := start + 500; t < start+hourLength; t += 1000 {
		here := map[*bruteNode][]*brutePod{}
		living := map[string]*brutePod{}
		facts := false
		for _, p := range pods {
			if _, ok := known(p.facts, t, p.from); ok && t < p.to {
				facts = true
			}
			for _, n := range nodes {
				if n.name == p.node && n.from <= t && t < n.to && p.from <= t && t < p.to {
					here[n], living[p.uid] = append(here[n], p), p
				}
			}
		}
		for _, n := range nodes {
			if n.from <= t && t < n.to {
				set.node(b, n, here[n], t, facts)
			}
		}
		set.volumes(b, living, t)
		set.balancers(b, living, t)
		b.tick(t == start+500)
	}
	for _, r := range b.rows {
		b.law(r)
	}
	return b
}

func (set bruteSet) node(b *bruteBill, n *bruteNode, pods []*brutePod, t int64, facts bool) {
	class, _ := latest(set.of("kube_node_labels", "node", n.name), t, n.from, n.to)
	key := fmt.Sprint(n.name, n.from)
	if class != nil {
		key += class.Labels.String()
	}
	if b.rows[key] == nil {
		b.rows[key] = &bruteRow{held: map[bruteLine]*[3]float64{}}
	}
	row := b.rows[key]
	blind := !facts || len(pods) > 0 && !slices.ContainsFunc(pods, func(p *brutePod) bool { _, ok := known(p.facts, t, p.from); return ok })
	var capacity [3]float64
	for i, resource := range bruteResources {
		_, capacity[i] = latest(set.of("kube_node_status_capacity", "node", n.name, "resource", resource), t, n.from, n.to)
		list := set.of("kube_node_status_allocatable", "node", n.name, "resource", resource)
		_, allocatable := latest(list, t, n.from, n.to)
		if len(list) == 0 {
			allocatable = capacity[i]
		}
		kind := "idle"
		if blind {
			row.blind[i] += capacity[i]
			kind = "unknown"
		} else {
			row.capacity[i] += capacity[i]
			row.allocatable[i] += min(allocatable, capacity[i])
		}
		b.see(bruteStream{bruteLine{kind: kind}, key, i}, capacity[i]*bruteRates[i])
	}
	if blind {
		return
	}
	for _, p := range pods {
		p.hold(t, capacity, func(kind, container string, resource int, v float64) {
			line := bruteLine{kind, p.namespace}
			if row.held[line] == nil {
				row.held[line] = new([3]float64)
			}
			row.held[line][resource] += v
			b.see(bruteStream{line, p.uid + container, resource}, v*bruteRates[resource])
		})
	}
}

// hold tells what a pod holds at t.
func (p *brutePod) hold(t int64, capacity [3]float64, tell func(kind, container string, resource int, v float64)) {
	for i := range bruteResources {
		var regular, most, inits float64
		any := false
		part := func(name string, request, used float64, known bool) {
			if !known {
				tell("usage_unknown", name, i, request)
				return
			}
			tell("used", name, i, used)
			tell("unused", name, i, max(request-used, 0))
		}
		for _, c := range p.containers {
			request, _ := known(c.request[i], t, p.from)
			used, ok := c.usage(i, t)
			used = min(used, capacity[i])
			any = any || ok
			if c.init {
				most = max(most, request)
				if ok {
					inits += used
				}
				continue
			}
			regular += request
			part(c.name, request, used, ok)
		}
		overhead, _ := known(p.overhead[i], t, p.from)
		part("", max(most, regular)+overhead-regular, inits, any)
	}
}

func (set bruteSet) volumes(b *bruteBill, living map[string]*brutePod, t int64) {
	seen := map[string]bool{}
	for _, r := range set["kube_persistentvolume_info"] {
		name := r.Get("persistentvolume")
		if seen[name] {
			continue
		}
		seen[name] = true
		list := set.of("kube_persistentvolume_info", "persistentvolume", name)
		from, to := lifeOf(list)
		_, size := latest(set.of("kube_persistentvolume_capacity_bytes", "persistentvolume", name), t, from, to)
		claim, _ := latest(set.of("kube_persistentvolume_claim_ref", "persistentvolume", name), t, from, to)
		var pods []*brutePod
		for _, m := range set["kube_pod_spec_volumes_persistentvolumeclaims_info"] {
			p := living[m.Get("uid")]
			if p != nil && claim != nil && m.Get("persistentvolumeclaim") == claim.Get("name") && m.Get("namespace") == claim.Get("claim_namespace") && !slices.Contains(pods, p) {
				pods = append(pods, p)
			}
		}
		if from <= t && t < to {
			b.share("unmounted", name, pods, size*bruteVolume)
		}
	}
}

func (set bruteSet) balancers(b *bruteBill, living map[string]*brutePod, t int64) {
	seen := map[string]bool{}
	for _, r := range set.of("kube_service_spec_type", "type", "LoadBalancer") {
		service := r.Get("service")
		if seen[r.Get("namespace")+service] {
			continue
		}
		seen[r.Get("namespace")+service] = true
		from, to := lifeOf(set.of("kube_service_spec_type", "namespace", r.Get("namespace"), "service", service))
		var pods []*brutePod
		for _, slice := range set.of("kube_endpointslice_labels", "namespace", r.Get("namespace"), "label_kubernetes_io_service_name", service) {
			for _, e := range set.of("kube_endpointslice_endpoints", "namespace", r.Get("namespace"), "endpointslice", slice.Get("endpointslice"), "ready", "true") {
				for _, p := range living {
					if _, ok := e.at(t); ok && p.namespace == e.Get("targetref_namespace") && p.facts[0].Get("pod") == e.Get("targetref_name") && !slices.Contains(pods, p) {
						pods = append(pods, p)
					}
				}
			}
		}
		if from <= t && t < to {
			b.share("unattributed", service, pods, bruteBalancer)
		}
	}
}

func lifeOf(list []*raw) (from, to int64) {
	from = math.MaxInt64
	for _, r := range list {
		from, to = min(from, r.s[0].T), max(to, r.end())
	}
	return from, to
}

// share divides what a second of an asset costs.
func (b *bruteBill) share(left, name string, pods []*brutePod, v float64) {
	lines := []bruteLine{{kind: left}}
	if len(pods) > 0 {
		lines = lines[:0]
	}
	for _, p := range pods {
		lines = append(lines, bruteLine{"used", p.namespace})
	}
	for i, line := range lines {
		b.money[line] += v / float64(len(lines))
		b.see(bruteStream{line, fmt.Sprint(name, i), 3}, v/float64(len(lines)))
	}
}

// law is step 1 of the cost law.
func (b *bruteBill) law(r *bruteRow) {
	for i, rate := range bruteRates {
		c, a, h := r.capacity[i], r.allocatable[i], 0.0
		for _, v := range r.held {
			h += v[i]
		}
		scale := 1.0
		switch {
		case h <= a:
			b.money[bruteLine{kind: "idle"}] += (a - h) * rate
			b.money[bruteLine{kind: "system"}] += (c - a) * rate
		case h <= c:
			b.money[bruteLine{kind: "system"}] += (c - h) * rate
		default:
			scale, b.scaled = c/h, true
		}
		b.money[bruteLine{kind: "unknown"}] += r.blind[i] * rate
		for line, v := range r.held {
			b.money[line] += v[i] * scale * rate
		}
	}
}

// TestBruteForce compares reports of generated clusters, with and without outages, with what brute force says. A value that changes n times in the
// hour by d each is known to n × d × 0.5 s; what is left over of nodes is as far off as all that they have and hold.
func TestBruteForce(t *testing.T) {
	for seed := range uint64(4) {
		for _, faults := range []bool{false, true} {
			if faults && seed == 3 {
				continue // an outage of two hours, which is longer than what is read around an hour
			}
			span := cluster.Span{From: begin - 2*hourLength, To: begin + 6*hourLength}
			c := cluster.Random(cluster.Config{Seed: seed, Faults: faults, Span: span, Nodes: 3, Pods: 25, Life: hourLength, Interval: 30_000})
			g, set := generate(t, span.From, span.To, c), bruteSet{}
			for s := range c.Series(span.From, span.To) {
				if samples := s.Samples(nil, span.From, span.To); len(samples) > 0 {
					name := s.Labels.Get(labels.MetricName)
					set[name] = append(set[name], &raw{s.Labels, samples})
				}
			}
			for _, list := range set {
				slices.SortStableFunc(list, func(a, b *raw) int { return cmp.Compare(len(b.s), len(a.s)) })
			}
			pods := set.pods()
			for n := int64(0); n < 4; n += 2 {
				at := begin + n*hourLength
				t.Run(fmt.Sprint(seed, faults, n), func(t *testing.T) { compareBrute(t, set.bill(pods, at), linesOf(t, g, at)) })
			}
		}
	}
}

func compareBrute(t *testing.T, b *bruteBill, got map[bruteLine]float64) {
	t.Helper()
	all := 1e-8
	for _, v := range b.bound {
		all += v
	}
	for line := range b.money {
		if _, ok := got[line]; !ok {
			got[line] = 0
		}
	}
	for line, v := range got {
		bound := b.bound[line] + 1e-8
		if line.namespace == "" || b.scaled {
			bound = all
		}
		if math.Abs(v-b.money[line]) > bound {
			t.Errorf("%v is %.9f, brute force says %.9f, at most %.9f apart", line, v, b.money[line], bound)
		}
	}
}

// linesOf is the report of an hour.
func linesOf(t *testing.T, g *generated, at int64) map[bruteLine]float64 {
	t.Helper()
	h, err := Hour(t.Context(), g, Options{Tenant: tenant.Anonymous, Start: at})
	if err != nil {
		t.Fatal(err)
	}
	l, err := cost.MaxRequestUsage.Ledger(h, cost.NewNames())
	if err != nil {
		t.Fatal(err)
	}
	book, err := price.Parse([]byte(bruteBook))
	if err != nil {
		t.Fatal(err)
	}
	b, err := cost.NewBuilder(cost.Query{From: at, To: at + hourLength, By: []string{"namespace"}}, book)
	if err == nil {
		err = b.Add(l)
	}
	if err != nil {
		t.Fatal(err)
	}
	r, err := b.Report()
	if err != nil || r.Residual != "0" {
		t.Fatalf("residual %v: %v", r, err)
	}
	out := map[bruteLine]float64{}
	for _, l := range r.Lines {
		add := func(kind, namespace string, n fmt.Stringer) {
			v, err := strconv.ParseFloat(n.String(), 64)
			if err != nil {
				t.Fatal(err)
			}
			out[bruteLine{kind, namespace}] += v
		}
		if l.Kind != cost.Workloads {
			add(l.Kind.String(), "", l.Cost)
			continue
		}
		add("used", l.Key[0], l.Used)
		add("unused", l.Key[0], l.Unused)
		add("usage_unknown", l.Key[0], l.UsageUnknown)
	}
	return out
}

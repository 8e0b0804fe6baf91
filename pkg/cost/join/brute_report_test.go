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

// How a report and what brute force says of the same samples are compared, and the prices that both have.

// bruteBook has the prices of brute force, too: by the second of a core, a byte, a GPU; of a byte of volumes; of a load balancer.
const (
	bruteBook = `{"currency": "USD", "prices": [{"from": "1970-01-01", "nodes": [{"cpu_core_hour": 0.03, "ram_gib_hour": 0.004, "gpu_hour": 0.95}],
		"volumes": [{"gib_hour": 0.0001}], "load_balancers": [{"hour": 0.025}]}]}`
	bruteVolume, bruteBalancer = 0.0001 / (1 << 30) / 3600, 0.025 / 3600
)

var bruteResources = []bruteResource{
	{"cpu", "kube_pod_overhead_cpu_cores", 0.03 / 3600},
	{"memory", "kube_pod_overhead_memory_bytes", 0.004 / (1 << 30) / 3600},
	{"nvidia_com_gpu", "", 0.95 / 3600},
}

// bruteResource is one, where a pod's overhead of it is told, and its price.
type bruteResource struct {
	name, overhead string
	rate           float64
}

// bruteBill adds up what brute force tells second by second, and how far a sum of seconds may be from the integral: a step between the
// middles of two seconds was up to half a second off.
type bruteBill struct {
	bruteSet
	rows          map[bruteRow]map[bruteLine]float64 // money, before the law
	bound         map[bruteLine]float64
	last, current map[bruteStream]float64
	most          map[string]float64 // that a pod's second was worth
}

// bruteLine is a kind of cost and its pod; idle, system, unknown, unmounted and unattributed have none. Rows also have capacity
// and allocatable, which the law divides.
type bruteLine struct{ kind, uid string }

// bruteRow is a resource of a node while its labels are the same; or an asset, without these.
type bruteRow struct {
	*thing
	class    *raw
	resource string
}

// bruteStream is something that has a value every second.
type bruteStream struct {
	row       bruteRow
	line      bruteLine
	pod       *thing
	container string
}

func (b *bruteBill) add(row bruteRow, line bruteLine, pod *thing, container string, v float64) {
	if b.rows[row] == nil {
		b.rows[row] = map[bruteLine]float64{}
	}
	b.rows[row][line] += v
	b.current[bruteStream{row, line, pod, container}] += v
}

// tick ends a second.
func (b *bruteBill) tick(first bool) {
	pods := map[string]float64{}
	for s, v := range b.current {
		pods[s.line.uid] += v
		if !first {
			b.bound[s.line] += math.Abs(v-b.last[s]) / 2
		}
		delete(b.last, s)
	}
	for s, v := range b.last {
		b.bound[s.line] += v / 2
	}
	for uid, v := range pods {
		b.most[uid] = max(b.most[uid], v)
	}
	clear(b.last)
	b.last, b.current = b.current, b.last
}

// bill adds up the hour.
func (set bruteSet) bill(start int64) *bruteBill {
	b := &bruteBill{set, map[bruteRow]map[bruteLine]float64{}, map[bruteLine]float64{}, map[bruteStream]float64{}, map[bruteStream]float64{}, map[string]float64{}}
	pods := slices.DeleteFunc(set.pods(), func(p *thing) bool { return p.to <= start || p.from >= start+hourLength })
	nodes, volumes := set.nodes(), things(set.of("kube_persistentvolume_info"), "persistentvolume")
	balancers := things(set.of("kube_service_spec_type", "type", "LoadBalancer"), "namespace", "service")
	for t := start + 500; t < start+hourLength; t += 1000 {
		b.second(nodes, pods, volumes, balancers, t)
		b.tick(t == start+500)
	}
	return b
}

// TestBruteForce compares reports of generated clusters with what brute force says: some are as they come; some have outages, in the hour that is
// compared, too; in one, more is held of nodes than is allocatable, and of one of them more than it has.
//
// A value that changes n times in the hour by d each is known to n × d × 0.5 s, and of a pod a state that was over within a second may not be seen;
// what is left over of nodes is as far off as all that they have and hold.
func TestBruteForce(t *testing.T) {
	for seed := range uint64(4) {
		for _, faults := range []bool{false, true} {
			if faults && seed == 3 {
				continue // an outage of two hours, which is longer than what is read around an hour
			}
			t.Run(fmt.Sprint(seed, faults), func(t *testing.T) {
				t.Parallel()
				span, at := cluster.Span{From: begin - 2*hourLength, To: begin + 6*hourLength}, begin+int64(seed%2)*2*hourLength
				c := cluster.Random(cluster.Config{Seed: seed, Faults: faults, Span: span, Nodes: 3, Pods: 25, Life: hourLength, Interval: 30_000})
				if faults {
					c.Scrape.State[0].Failed = append(c.Scrape.State[0].Failed, cluster.Span{From: at + 600_000, To: at + 1_500_000})
				}
				if seed == 3 {
					for i := range c.Nodes {
						c.Nodes[i].Allocatable = cluster.Amounts{CPU: 100, Memory: 1 << 28}
					}
					c.Nodes[1].Capacity = cluster.Amounts{CPU: 300, Memory: 1 << 30}
				}
				compareBrute(t, bruteSetOf(c, span).bill(at), linesOf(t, generate(t, span.From, span.To, c), at))
			})
		}
	}
}

func bruteSetOf(c *cluster.Cluster, span cluster.Span) bruteSet {
	set := bruteSet{}
	for s := range c.Series(span.From, span.To) {
		if samples := s.Samples(nil, span.From, span.To); len(samples) > 0 {
			name := [6]string{s.Labels.Get(labels.MetricName)}
			set[name] = append(set[name], newRaw(s.Labels, samples))
		}
	}
	for _, l := range set {
		slices.SortStableFunc(l, func(a, b *raw) int { return cmp.Compare(b.from, a.from) })
	}
	return set
}

func compareBrute(t *testing.T, b *bruteBill, got map[bruteLine]float64) {
	t.Helper()
	want, scaled := map[bruteLine]float64{}, false
	for of, row := range b.rows {
		spend := func(line bruteLine, v float64) { want[line] += v }
		if of.class != nil {
			scaled = bruteLaw(row, spend) || scaled
			continue
		}
		for line, v := range row {
			spend(line, v)
		}
	}
	all := 1e-8
	for _, v := range b.bound {
		all += v
	}
	for line := range want {
		got[line] += 0 // it is there
	}
	for line, v := range got {
		bound := b.bound[line] + b.most[line.uid] + 1e-8
		if line.uid == "" || scaled {
			bound = all
		}
		if math.Abs(v-want[line]) > bound {
			t.Errorf("%v is %.9f, brute force says %.9f, at most %.9f apart", line, v, want[line], bound)
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
	b, err := cost.NewBuilder(cost.Query{From: at, To: at + hourLength, By: []string{"uid"}}, book)
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
		add := func(kind, uid string, n fmt.Stringer) {
			v, err := strconv.ParseFloat(n.String(), 64)
			if err != nil {
				t.Fatal(err)
			}
			out[bruteLine{kind, uid}] += v
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

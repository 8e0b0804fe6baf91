package cluster

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
)

// Config says how large a random cluster is.
type Config struct {
	Seed uint64
	// Name of the cluster.
	Name string
	Span
	// Nodes and Pods at a time, about.
	Nodes, Pods int
	// Interval of all jobs, 15 s if 0.
	Interval int64
	// Life is how long a pod lives on average, a day if 0. Jobs' pods live for an hour at most on average.
	Life int64
	// NodeExporter adds its series: hundreds for each node.
	NodeExporter bool
	// Classes adds network-costs, which tells where traffic goes. All else is as without it.
	Classes bool
	// Rest adds what the exporters write beside what costs are counted from.
	Rest bool
	// Faults adds scrapers that are down and scrapes that fail.
	Faults bool
	// Twins adds an HA pair, two cAdvisor jobs and three shards of kube-state-metrics.
	Twins bool
}

// Random makes a cluster with everything in it that the package knows. Equal configurations make equal clusters.
//
// A pod has a slot on a machine with an equal share of it, and no slot has two pods that run at once: so machines are rarely asked for
// more than they have, and never use more.
func Random(cfg Config) *Cluster {
	if cfg.Interval == 0 {
		cfg.Interval = 15_000
	}
	if cfg.Life == 0 {
		cfg.Life = 24 * hour
	}
	cfg.Nodes = max(cfg.Nodes, 1)
	g := &generator{Config: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 0x76617276))}
	g.out = &Cluster{Name: cfg.Name, Span: cfg.Span, Scrape: g.scrape()}
	for i := range 4 {
		g.out.Namespaces = append(g.out.Namespaces, Namespace{namespaceName(i), []LabelStep{{0, map[string]string{"team": "team-" + itoa(i/2)}}}})
	}
	for i := range cfg.Nodes {
		g.machines = append(g.machines, g.machine(i))
	}
	for left := cfg.Pods; left > 0; {
		left -= g.workload(left)
	}
	if cfg.Classes {
		g.classify()
	}
	slices.SortStableFunc(g.out.Workloads, func(a, b Workload) int { return cmp.Compare(a.From, b.From) })
	return g.out
}

func namespaceName(i int) string { return [...]string{"web", "shop", "data", "batch"}[i] }

type generator struct {
	Config
	rng      *rand.Rand
	out      *Cluster
	machines [][]int // of each machine its nodes, one after another
	slots    int
	works    int
	daemons  int // slots of DaemonSets
}

// chance is true with a probability of 1 in n.
func (g *generator) chance(n int) bool { return g.rng.IntN(n) == 0 }

// between is a number in [lo, hi].
func (g *generator) between(lo, hi int64) int64 { return lo + g.rng.Int64N(max(hi-lo, 0)+1) }

func (g *generator) moment(s Span) int64 { return g.between(s.From, s.To-1) }

func (g *generator) hex(n int) string {
	const digits = "0123456789abcdef"
	b := make([]byte, n)
	for i := range b {
		b[i] = digits[g.rng.IntN(16)]
	}
	return string(b)
}

func (g *generator) uid() string {
	return g.hex(8) + "-" + g.hex(4) + "-4" + g.hex(3) + "-a" + g.hex(3) + "-" + g.hex(12)
}

func (g *generator) scrape() Scrape {
	job := func(name string) Job {
		return Job{Name: name, Interval: g.Interval, Phase: g.rng.Int64N(g.Interval), Spread: true}
	}
	s := Scrape{
		State: []Job{job("kube-state-metrics")}, CAdvisor: []Job{job("kubelet")}, Kubelet: []Job{job("kubelet")}, DCGM: []Job{job("dcgm-exporter")},
		Scrapers: []Scraper{{}}, Rest: g.Rest,
	}
	if g.NodeExporter {
		s.NodeExporter = []Job{job("node-exporter")}
	}
	if g.Twins {
		s.Scrapers = []Scraper{{Replica: "a"}, {Replica: "b", Phase: g.rng.Int64N(g.Interval)}}
		s.CAdvisor = append(s.CAdvisor, job("kubernetes-cadvisor"))
		s.Shards = 3
	}
	if g.Faults {
		for i := range s.Scrapers {
			s.Scrapers[i].Down = []Span{g.outage(), g.outage()}
		}
		s.State[0].Failed = []Span{g.outage()}
		s.CAdvisor[0].Failed = []Span{g.outage()}
	}
	return s
}

// outage is from one scrape to twenty minutes, or two hours.
func (g *generator) outage() Span {
	from := g.moment(g.Span)
	if g.chance(4) {
		return Span{from, from + 2*hour}
	}
	return Span{from, from + g.between(g.Interval, 20*minute)}
}

// types of machines.
var types = [...]struct {
	name     string
	capacity Amounts
	gpu      string
}{
	{"m7i.2xlarge", Amounts{8_000, 32 << 30, 0}, ""},
	{"m7i.8xlarge", Amounts{32_000, 128 << 30, 0}, ""},
	{"r7i.4xlarge", Amounts{16_000, 128 << 30, 0}, ""},
	{"g6.12xlarge", Amounts{48_000, 192 << 30, 4}, "NVIDIA-L4"},
}

// machine is a place for nodes: mostly one that is there all the time, else two, one after the other, the second with the first one's name
// or another.
func (g *generator) machine(i int) []int {
	t := types[g.rng.IntN(len(types))]
	zone := [...]string{"eu-central-1a", "eu-central-1b", "eu-central-1c"}[i%3]
	node := func(name string, s Span) int {
		n := Node{Name: name, ProviderID: "aws:///" + zone + "/i-0" + g.hex(16), InstanceType: t.name, Region: "eu-central-1", Zone: zone,
			IP: fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255), Spot: g.chance(3), GPUModel: t.gpu, Span: s, Capacity: t.capacity,
			Allocatable:  Amounts{t.capacity.CPU - 120, t.capacity.Memory - 1<<30, t.capacity.GPU},
			System:       g.pattern(20, t.capacity.CPU/20, s.From),
			SystemMemory: Constant(g.between(256<<20, 900<<20))}
		if g.chance(4) {
			n.Labels = []LabelStep{{s.From, map[string]string{"pool": "a"}}, {g.moment(s), map[string]string{"pool": "b"}}}
		}
		g.out.Nodes = append(g.out.Nodes, n)
		return len(g.out.Nodes) - 1
	}
	name := fmt.Sprintf("ip-10-%d-%d-%d", i>>16&255, i>>8&255, i&255)
	all := Span{g.From - g.between(0, 48*hour), g.To + hour}
	if !g.chance(6) {
		return []int{node(name, all)}
	}
	end := g.moment(g.Span)
	again := Span{end + g.between(1, 10*minute), all.To}
	first := node(name, Span{all.From, end})
	if g.chance(2) {
		name += "-new"
	}
	return []int{first, node(name, again)}
}

// pattern is a step function between two values: constant, or of a period between ten minutes and a day.
func (g *generator) pattern(lo, hi, origin int64) Shape {
	if g.chance(4) {
		return Constant(g.between(lo, hi))
	}
	period := g.between(10*minute, 24*hour)
	steps := make([]Step, 2+g.rng.IntN(10))
	for i := range steps {
		steps[i] = Step{int64(i) * period / int64(len(steps)), g.between(lo, hi)}
		if i > 0 {
			steps[i].At += g.between(0, period/int64(2*len(steps)))
		}
	}
	return Shape{Origin: origin, Period: period, Steps: steps}
}

package load

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// Config says which load to make. Equal configs make equal loads; the ledger's first line is one.
type Config struct {
	Seed          uint64  `json:"seed"`           // also names the load: every series has cluster="load-<seed>"
	Series        int     `json:"series"`         // slots, over all tenants
	Steps         int     `json:"steps"`          // samples per slot; 0 = until stopped
	Start         int64   `json:"start_ms"`       // time of step 0, Unix milliseconds
	IntervalMS    int64   `json:"interval_ms"`    // between two samples of a slot
	Lanes         int     `json:"lanes"`          // ordered streams of requests; at least Tenants
	Tenant        string  `json:"tenant"`         // X-Scope-OrgID; "" sends no header. With several tenants, their prefix
	Tenants       int     `json:"tenants"`        // 1 or more
	Churn         float64 `json:"churn"`          // percent of all series replaced per minute
	Histograms    float64 `json:"histograms"`     // share of slots that are native histograms, 0 … 1
	CustomBuckets bool    `json:"custom_buckets"` // some of them with custom buckets (remote write 2.0 only)
	Exemplars     float64 `json:"exemplars"`      // share of bucket and counter samples with an exemplar, 0 … 1
	OutOfOrder    float64 `json:"out_of_order"`   // share of requests sent 1 to 10 steps late, 0 … 1
}

// Validate names every field that is out of its range.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, field string, value any, want string) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s is %v, want %s", field, value, want))
		}
	}
	share := func(v float64) bool { return v >= 0 && v <= 1 }
	check(c.Series >= 1 && c.Series <= 1<<31, "series", c.Series, "1 to 2147483648")
	check(c.Steps >= 0 && c.Steps <= 1<<31, "steps", c.Steps, "0 to 2147483648")
	check(c.IntervalMS >= 1, "interval", c.IntervalMS, "at least 1 ms")
	check(c.Tenants >= 1 && c.Tenants <= c.Series, "tenants", c.Tenants, "1 to the number of series")
	check(c.Lanes >= c.Tenants && c.Lanes <= c.Series, "lanes", c.Lanes, "at least tenants, at most series")
	check(c.Tenants == 1 || c.Tenant != "", "tenant", c.Tenant, "a prefix when there are several tenants")
	check(c.Churn >= 0 && c.Churn <= 1000, "churn", c.Churn, "0 to 1000 percent per minute")
	check(share(c.Histograms), "histograms", c.Histograms, "0 to 1")
	check(share(c.Exemplars), "exemplars", c.Exemplars, "0 to 1")
	check(share(c.OutOfOrder), "out_of_order", c.OutOfOrder, "0 to 1")
	return errors.Join(errs...)
}

// Cluster is the value of the label cluster on every series of this load.
func (c Config) Cluster() string { return fmt.Sprintf("load-%d", c.Seed) }

// TenantOf names the tenant that a lane writes to.
func (c Config) TenantOf(lane int) string { return c.TenantName(lane % c.Tenants) }

// TenantName names tenant i of Tenants.
func (c Config) TenantName(i int) string {
	if c.Tenants == 1 {
		return c.Tenant
	}
	return fmt.Sprintf("%s-%d", c.Tenant, i)
}

// LaneSlots is how many slots a lane owns: the positions of one step.
func (c Config) LaneSlots(lane int) int64 {
	return int64((c.Series - lane + c.Lanes - 1) / c.Lanes)
}

// podsPerNode is how many pods one node of a large load runs; small loads take fewer, so that all kinds of metrics show.
const podsPerNode = 30

// nodesAtOnce is how many nodes are scraped at the same time, so that their series come mixed, as from a Prometheus with many
// targets. It decides how well neighbours in a request compress.
const nodesAtOnce = 64

// Generator computes series and samples from a Config. It is immutable after New and safe for concurrent use.
type Generator struct {
	cfg     Config
	pods    int     // per cell
	cells   int     // a cell is a node with its pods
	layout  []place // what each slot of a cell holds
	bounds  []int   // where each target's slots begin in layout, and its length
	native  []*family
	targets int64 // scrape targets per cell
	life    int   // steps that a pod lives; 0 = for ever
}

// place is what one slot of a cell holds.
type place struct {
	fam    *family
	pod    int // within the cell; −1 for the node's own series
	target int // within the cell
}

// New checks the config and lays out the load; it allocates a little per kind of series, nothing per series.
func New(cfg Config) (*Generator, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("load config: %w", err)
	}
	g := &Generator{cfg: cfg, pods: podsPerNode, native: nativeFamilies(cfg.CustomBuckets)}
	g.layout, g.targets = cellLayout(g.pods)
	for g.pods > 1 && len(g.layout) > cfg.Series {
		g.pods--
		g.layout, g.targets = cellLayout(g.pods)
	}
	for i, p := range g.layout {
		if i == 0 || p.target != g.layout[i-1].target {
			g.bounds = append(g.bounds, i)
		}
	}
	g.bounds = append(g.bounds, len(g.layout))
	g.cells = (cfg.Series + len(g.layout) - 1) / len(g.layout)
	if cfg.Churn > 0 {
		ofPods := 0
		for _, p := range g.layout {
			if p.pod >= 0 {
				ofPods++
			}
		}
		stepsPerMinute := float64(time.Minute.Milliseconds()) / float64(cfg.IntervalMS)
		share := float64(ofPods) / float64(len(g.layout))
		g.life = int(math.Max(2, math.Round(stepsPerMinute*100/cfg.Churn*share)))
	}
	return g, nil
}

// Config returns what the generator was made of.
func (g *Generator) Config() Config { return g.cfg }

// cellLayout lists the slots of a cell in the order in which its targets are scraped: the pods' own metrics, all pods at
// once, then cAdvisor and kube-state-metrics (metric by metric over all pods, as they expose them), then the node exporter.
func cellLayout(pods int) ([]place, int64) {
	var out []place
	target := 0
	app := appFamilies()
	for pod := range pods {
		for i := range app {
			out = append(out, place{&app[i], pod, target})
		}
	}
	target++
	for _, fams := range [][]family{cadvisorFamilies(), kubeStateFamilies()} {
		for i := range fams {
			for pod := range pods {
				out = append(out, place{&fams[i], pod, target})
			}
		}
		target++
	}
	node := nodeFamilies()
	for i := range node {
		out = append(out, place{&node[i], -1, target})
	}
	return out, int64(target + 1)
}

// track is what is needed to compute the samples of one slot.
type track struct {
	slot   int
	cell   int
	pod    int // within the cell; −1 for a node
	fam    *family
	offset int64  // of the target's scrape within the interval, milliseconds
	key    uint64 // hash of what the values depend on besides generation and age
	life   int    // steps per generation, 0 = one generation for ever
	phase  int
}

func (g *Generator) track(slot int) track {
	group, local := slot/(nodesAtOnce*len(g.layout)), slot%(nodesAtOnce*len(g.layout))
	nodes := min(nodesAtOnce, g.cells-group*nodesAtOnce)
	local = g.shuffled(local, nodes)
	cell, p := group*nodesAtOnce+local%nodes, g.layout[local/nodes]
	t := track{slot: slot, cell: cell, pod: p.pod, fam: p.fam}
	groups := int64((g.cells + nodesAtOnce - 1) / nodesAtOnce)
	t.offset = (int64(group)*g.targets + int64(p.target)) * g.cfg.IntervalMS / (groups * g.targets)
	own := mix(g.cfg.Seed, uint64(slot))
	if g.cfg.Histograms > 0 && unit(mix(own, 1)) < g.cfg.Histograms {
		t.fam = g.native[mix(own, 2)%uint64(len(g.native))]
		t.pod = max(t.pod, 0)
	}
	pod := mix(g.cfg.Seed, uint64(cell*g.pods+max(t.pod, 0))+1<<40)
	t.key = own
	if t.fam.group != 0 {
		t.key = mix(pod, uint64(t.fam.group))
	}
	if t.pod >= 0 && g.life > 0 {
		t.life = g.life
		t.phase = int(mix(pod, 3) % uint64(g.life))
	}
	return t
}

// shuffled maps a slot of a group of nodes to its place among the series of the same targets, which it leaves in their
// order of time: neighbours are then as unlike each other as in a queue that many scrapes fill at once.
func (g *Generator) shuffled(local, nodes int) int {
	target := g.layout[local/nodes].target
	from, to := g.bounds[target]*nodes, g.bounds[target+1]*nodes
	return from + permute(g.cfg.Seed, local-from, to-from)
}

// permute is a bijection of 0 … n−1 that looks random: a Feistel network over enough bits, walked until it lands inside.
func permute(seed uint64, i, n int) int {
	half := max(1, (bits.Len64(uint64(n-1))+1)/2)
	mask := uint64(1)<<half - 1
	x := uint64(i)
	for {
		for round := range uint64(4) {
			left, right := x>>half, x&mask
			x = right<<half | (left^mix(seed+round, right))&mask
		}
		if x < uint64(n) {
			return int(x)
		}
	}
}

// at says which generation of the slot lives at a step, and for how many steps it has.
func (t *track) at(step int64) (gen, age int64) {
	if t.life == 0 {
		return 0, step
	}
	x := step + int64(t.phase)
	return x / int64(t.life), x % int64(t.life)
}

// born says whether the slot's generation at this step replaced another one, whose series then gets a staleness marker.
func (t *track) born(step, age int64) bool { return t.life != 0 && age == 0 && step > 0 }

func (t *track) value(gen, age int64) float64 {
	return t.fam.kind.value(mix(t.key, uint64(gen)), uint64(age), t.fam.param)
}

func (t *track) histogram(dst *Histogram, gen, age int64) {
	t.fam.kind.histogram(dst, mix(t.key, uint64(gen)), uint64(age))
}

func (g *Generator) time(t *track, step int64) int64 {
	return g.cfg.Start + step*g.cfg.IntervalMS + t.offset
}

// Sample is one sample of the load.
type Sample struct {
	Gen       int64 // which series of the slot
	Time      int64 // Unix milliseconds
	Value     float64
	Histogram *Histogram // nil: a float sample
	Stale     bool       // the staleness marker of a series that was replaced
}

// Samples returns what a slot has at a step: one sample, and before it the staleness marker of the series
// that it replaces, if it does.
func (g *Generator) Samples(slot int, step int64) []Sample {
	t := g.track(slot)
	gen, age := t.at(step)
	var out []Sample
	if t.born(step, age) {
		out = append(out, g.sample(&t, gen-1, age, step, true))
	}
	return append(out, g.sample(&t, gen, age, step, false))
}

func (g *Generator) sample(t *track, gen, age, step int64, stale bool) Sample {
	s := Sample{Gen: gen, Time: g.time(t, step), Stale: stale}
	switch {
	case t.fam.kind.native() && stale:
		s.Histogram = new(Histogram)
		s.Histogram.setStale(t.fam.kind)
	case t.fam.kind.native():
		s.Histogram = new(Histogram)
		t.histogram(s.Histogram, gen, age)
	case stale:
		s.Value = staleNaN()
	default:
		s.Value = t.value(gen, age)
	}
	return s
}

// Labels returns the labels of a series, sorted by name.
func (g *Generator) Labels(slot int, gen int64) labels.Labels {
	t := g.track(slot)
	b := labels.NewScratchBuilder(16)
	for _, l := range g.labels(&t, gen) {
		b.Add(l.name, l.value)
	}
	return b.Labels()
}

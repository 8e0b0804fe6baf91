package cluster

import (
	"hash/fnv"
	"iter"
	"math"
	"slices"
	"strconv"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
)

// Sample is a time in Unix milliseconds and a value, which may be a marker of staleness.
type Sample struct {
	T int64
	V float64
}

// Series is one series; its samples are made when they are asked for.
type Series struct {
	Labels labels.Labels
	grid   *grid
	parts  []part
}

// part is a thing that the series tells of: one after another, if it is about a name that was used again.
type part struct {
	Span
	value func(t int64) float64
}

func (s *Series) at(t int64) *part {
	for i := range s.parts {
		if s.parts[i].Contains(t) {
			return &s.parts[i]
		}
	}
	return nil
}

// Samples appends those in [from, to), in order of time.
func (s *Series) Samples(dst []Sample, from, to int64) []Sample {
	g := s.grid
	life := Span{s.parts[0].From, s.parts[0].To}
	for _, p := range s.parts[1:] {
		life = Span{min(life.From, p.From), max(life.To, p.To)}
	}
	w := Span{from, to}.clip(g.span).clip(Span{life.From, addTo(life.To, g.interval)})
	for t := g.at(w.From); t < w.To; t += g.interval {
		p := s.at(t)
		switch {
		case p != nil && g.scraped(t):
			dst = append(dst, Sample{t, p.value(t)})
		case g.marks(t) && s.at(t-g.interval) != nil:
			dst = append(dst, Sample{t, math.Float64frombits(value.StaleNaN)})
		}
	}
	return dst
}

// addTo adds to a time that may be Forever.
func addTo(t, d int64) int64 {
	if t > Forever-d {
		return Forever
	}
	return t + d
}

// Series are all series that may have samples in [from, to), in the order of their labels. No two are
// equal.
func (c *Cluster) Series(from, to int64) iter.Seq[*Series] {
	return func(yield func(*Series) bool) {
		v := newView(c, Span{from, to})
		for _, group := range groups() {
			v.found = v.found[:0]
			for _, f := range group {
				v.name = f.name
				f.each(v)
			}
			slices.SortStableFunc(v.found, func(a, b *Series) int { return labels.Compare(a.Labels, b.Labels) })
			for _, s := range joined(v.found) {
				if !yield(s) {
					return
				}
			}
		}
	}
}

// joined makes one series of those with equal labels, which are neighbours.
func joined(list []*Series) []*Series {
	out := list[:0]
	for _, s := range list {
		if n := len(out); n > 0 && labels.Equal(out[n-1].Labels, s.Labels) {
			out[n-1].parts = append(out[n-1].parts, s.parts...)
			continue
		}
		out = append(out, s)
	}
	return out
}

// family makes the series of one metric.
type family struct {
	name string
	each func(*view)
}

// groups are the families in the order of their names. Those of DCGM have labels that sort before __name__, and come first, together.
func groups() [][]family {
	dcgm := dcgmFamilies()
	rest := slices.Concat(podFamilies(), containerFamilies(), nodeFamilies(), workloadFamilies(), storageFamilies(), serviceFamilies(),
		cadvisorFamilies(), trafficFamilies(), exporterFamilies(), targetFamilies(), restFamilies())
	slices.SortFunc(rest, func(a, b family) int { return compare(a.name, b.name) })
	out := [][]family{dcgm}
	for _, f := range rest {
		if last := out[len(out)-1]; len(out) > 1 && last[0].name == f.name {
			out[len(out)-1] = append(last, f)
			continue
		}
		out = append(out, []family{f})
	}
	return out
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// source is one target as one scraper sees it.
type source struct {
	*grid
	job, instance, replica string
}

// kind is an exporter.
type kind int

const (
	stateMetrics kind = iota
	cadvisor
	kubelet
	nodeExporter
	dcgm
	networkCosts
)

// view is a cluster in a time range: what is alive in it, and the series that are being found.
type view struct {
	*Cluster
	window  Span
	nodes   []int
	pods    []int
	byNode  [][]int // pods of each node, all of them
	sources map[sourceKey][]source
	builder labels.ScratchBuilder
	name    string
	found   []*Series
}

// sourceKey is an exporter's target: a node, or a shard.
type sourceKey struct {
	kind kind
	unit int
}

func newView(c *Cluster, w Span) *view {
	v := &view{Cluster: c, window: w, sources: map[sourceKey][]source{}, byNode: make([][]int, len(c.Nodes)), builder: labels.NewScratchBuilder(24)}
	near := Span{w.From - c.longest(), w.To}
	for i := range c.Nodes {
		if !c.Nodes[i].clip(near).empty() {
			v.nodes = append(v.nodes, i)
		}
	}
	for i := range c.Pods {
		p := &c.Pods[i]
		if p.Node >= 0 {
			v.byNode[p.Node] = append(v.byNode[p.Node], i)
		}
		if !p.life().clip(near).empty() {
			v.pods = append(v.pods, i)
		}
	}
	return v
}

// longest is the longest interval: so long after its end a thing may have a marker.
func (c *Cluster) longest() int64 {
	n := int64(0)
	for _, jobs := range [][]Job{c.Scrape.State, c.Scrape.CAdvisor, c.Scrape.Kubelet, c.Scrape.NodeExporter, c.Scrape.DCGM, c.Scrape.NetworkCosts} {
		for _, j := range jobs {
			n = max(n, j.Interval)
		}
	}
	return n
}

func (s *Scrape) jobs(k kind) []Job {
	return [...][]Job{s.State, s.CAdvisor, s.Kubelet, s.NodeExporter, s.DCGM, s.NetworkCosts}[k]
}

func (s *Scrape) scrapers() []Scraper {
	if len(s.Scrapers) == 0 {
		return []Scraper{{}}
	}
	return s.Scrapers
}

// of are the sources of a target, made once for each view.
func (v *view) of(k kind, unit int) []source {
	key := sourceKey{k, unit}
	if list, ok := v.sources[key]; ok {
		return list
	}
	list := v.Cluster.targets(k, unit)
	v.sources[key] = list
	return list
}

// targets are the sources of a node's exporter, or of a shard of kube-state-metrics: for each scraper its jobs, in order.
func (c *Cluster) targets(k kind, unit int) []source {
	var list []source
	for _, sc := range c.Scrape.scrapers() {
		for _, j := range c.Scrape.jobs(k) {
			instance := c.instance(k, unit, j)
			g := &grid{interval: j.Interval, phase: j.Phase + sc.Phase, down: sc.Down, failed: j.Failed, markers: !j.NoMarkers, span: c.Span}
			if j.Spread {
				g.phase += int64(hash(sc.Replica, j.Name, instance) % uint64(j.Interval))
			}
			list = append(list, source{g, j.Name, instance, sc.Replica})
		}
	}
	return list
}

func (c *Cluster) instance(k kind, unit int, j Job) string {
	if k == stateMetrics {
		return "10.255.0." + strconv.Itoa(unit+1) + ":8080"
	}
	if j.NodeInstance {
		return c.Nodes[unit].Name
	}
	return c.Nodes[unit].IP + [...]string{"", ":10250", ":10250", ":9100", ":9400", ":3001"}[k]
}

func hash(parts ...string) uint64 {
	h := fnv.New64a()
	for _, p := range parts {
		_, _ = h.Write([]byte(p))
		_, _ = h.Write([]byte{0})
	}
	x := h.Sum64() // FNV's low bits of short strings are poor
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	return x ^ x>>33
}

// shard is the instance of kube-state-metrics that has an object.
func (c *Cluster) shard(uid string) int {
	if c.Scrape.Shards <= 1 {
		return 0
	}
	return int(hash(uid) % uint64(c.Scrape.Shards))
}

// put makes the series of the current metric at all sources of a target. Pairs are names and values; empty values are no labels.
func (v *view) put(k kind, unit int, life Span, value func(int64) float64, pairs ...string) {
	if life.empty() || life.clip(Span{v.window.From - v.longest(), v.window.To}).empty() {
		return
	}
	for _, src := range v.of(k, unit) {
		b := &v.builder
		b.Reset()
		v.add("__name__", v.name)
		v.add(v.label(), v.Name)
		v.add("job", src.job)
		v.add("instance", src.instance)
		v.add("prometheus_replica", src.replica)
		if k == cadvisor || k == kubelet {
			v.add("metrics_path", [...]string{cadvisor: "/metrics/cadvisor", kubelet: "/metrics"}[k])
			v.add("node", v.Nodes[unit].Name)
		}
		for i := 0; i < len(pairs); i += 2 {
			v.add(pairs[i], pairs[i+1])
		}
		b.Sort()
		v.found = append(v.found, &Series{Labels: b.Labels(), grid: src.grid, parts: []part{{life, value}}})
	}
}

func (v *view) add(name, value string) {
	if value != "" {
		v.builder.Add(name, value)
	}
}

func (c *Cluster) label() string {
	if c.Label == "" {
		return "cluster"
	}
	return c.Label
}

func one(int64) float64 { return 1 }

func constant(x float64) func(int64) float64 { return func(int64) float64 { return x } }

// seconds is a time as metrics tell it.
func seconds(ms int64) func(int64) float64 { return constant(float64(ms) / 1000) }

// gauge is a shape times a unit.
func gauge(s Shape, unit float64) func(int64) float64 {
	return func(t int64) float64 { return float64(s.At(t)) / unit }
}

// counter is what a rate adds up to since a time.
func counter(rate Shape, since int64, unit float64) func(int64) float64 {
	return func(t int64) float64 { return float64(rate.Sum(since, t)) / unit }
}

package join

import (
	"cmp"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/pkg/cost/quantity"
)

// meter is what one node-exporter says was used of a node, in each of its segments.
type meter struct {
	cpu                []int64 // core-microseconds
	ram                []quantity.Bytes
	cpuKnown, ramKnown int64            // milliseconds, of each CPU by itself
	total              []quantity.Level // of the node's memory
}

// sourceID tells exporters apart: the labels of their series without those that are of one CPU.
type sourceID uint64

// addressName is the address of a node in a cluster.
type addressName struct{ cluster, host string }

// readMeters reads what nodes used by their own meters.
func (j *joiner) readMeters() error {
	err := j.facts("node_uname_info", first, func(f fact) {
		if s := j.nodes[nodeName{f.cluster, f.labels.Get("nodename")}]; s != nil {
			j.address(f.cluster, f.labels.Get("instance"), s)
		}
	})
	if err != nil {
		return err
	}
	modes := labels.MustNewMatcher(labels.MatchNotRegexp, "mode", "idle|iowait")
	for _, m := range []struct {
		metric   string
		matchers []*labels.Matcher
		add      func(n *node, m *meter, bridge int64)
	}{
		{"node_cpu_seconds_total", []*labels.Matcher{modes}, j.meterCPU},
		{"node_memory_MemTotal_bytes", nil, func(_ *node, m *meter, bridge int64) { m.total = quantity.Levels(nil, j.runs, bridge, 1) }},
		{"node_memory_MemAvailable_bytes", nil, j.meterRAM},
	} {
		err := j.each(request{window: j.around(nearMargin), metric: m.metric, matchers: m.matchers, fn: func(c *held) error { return j.meter(c, m.add) }})
		if err != nil {
			return err
		}
	}
	return nil
}

// address notes that a host, or a host and port, is a node's.
func (j *joiner) address(cluster, host string, s *nodeSet) {
	k := addressName{j.keep(cluster), j.keep(host)}
	if host != "" && !slices.Contains(j.addresses[k], s) {
		j.addresses[k] = append(j.addresses[k], s)
	}
}

// meter adds a series to the meters of its node: of each machine that had the name or the address, in its own time.
func (j *joiner) meter(c *held, add func(n *node, m *meter, bridge int64)) error {
	sets := j.nodesOf(j.parse(c.Labels), c.Labels.Get("instance"))
	if len(sets) == 0 {
		return nil
	}
	bridge, err := j.decodeUsage(c, true)
	if err != nil || len(j.runs) == 0 {
		return err
	}
	if c.of == 0 {
		c.of = sourceOf(c.Labels)
	}
	for _, s := range sets {
		for _, n := range s.nodes {
			if len(n.segments) > 0 {
				add(n, n.meter(c.of), bridge)
			}
		}
	}
	return nil
}

// nodesOf finds the nodes of a name that a series of node-exporter may be of: by the label node, else by its instance, which is a node's name,
// the instance of node_uname_info, or a node's address.
func (j *joiner) nodesOf(f *fields, instance string) []*nodeSet {
	host := instance
	if i := strings.LastIndexByte(instance, ':'); i > 0 {
		host = strings.Trim(instance[:i], "[]")
	}
	for _, name := range []string{f.node, host} {
		if s := j.nodes[nodeName{f.cluster, name}]; s != nil && name != "" {
			return []*nodeSet{s}
		}
	}
	if sets := j.addresses[addressName{f.cluster, instance}]; len(sets) > 0 {
		return sets
	}
	return j.addresses[addressName{f.cluster, host}]
}

func sourceOf(ls labels.Labels) sourceID {
	var d xxhash.Digest
	d.Reset()
	ls.Range(func(l labels.Label) {
		if l.Name != labels.MetricName && l.Name != "cpu" && l.Name != "mode" {
			d.WriteString(l.Name)
			d.Write([]byte{0})
			d.WriteString(l.Value)
			d.Write([]byte{0})
		}
	})
	return sourceID(d.Sum64())
}

func (n *node) meter(id sourceID) *meter {
	m := n.meters[id]
	if m == nil {
		m = &meter{cpu: make([]int64, len(n.segments)), ram: make([]quantity.Bytes, len(n.segments))}
		if n.meters == nil {
			n.meters = map[sourceID]*meter{}
		}
		n.meters[id] = m
	}
	return m
}

// meterCPU adds one CPU's time in one mode. No CPU is more than one.
func (j *joiner) meterCPU(n *node, m *meter, bridge int64) {
	counter := quantity.Counter{Bridge: bridge, Unit: 1e6, Limit: 1000}
	for i, s := range n.segments {
		amount, known := counter.Sum(j.runs, s.from, s.to)
		m.cpu[i] += amount
		m.cpuKnown += known
	}
}

// meterRAM adds the memory that is not available, while both it and the total are known.
func (j *joiner) meterRAM(n *node, m *meter, bridge int64) {
	levels := j.levels.lane(0)
	*levels = quantity.Levels(*levels, j.runs, bridge, 1)
	for i, s := range n.segments {
		for _, l := range m.total {
			var used quantity.RAM
			l = l.Clip(s.from, s.to)
			used.Add(*levels, []quantity.Level{l}, l.From, l.To)
			m.ram[i].Sum(used.Unused)
			m.ramKnown += used.Known
		}
	}
}

// best is the meter that knows most, the first of equals.
func (n *node) best(known func(*meter) int64) *meter {
	var best *meter
	var of sourceID
	for id, m := range n.meters {
		if best == nil || cmp.Or(cmp.Compare(known(m), known(best)), cmp.Compare(of, id)) > 0 {
			best, of = m, id
		}
	}
	return best
}

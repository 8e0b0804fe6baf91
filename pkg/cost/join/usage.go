package join

import (
	"math"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/quantity"
)

// groupKey is one container name of the pods of one name, and for what has parts one device or interface: the series about it are
// integrated together, since later runs end earlier ones, and several sources must count once.
type groupKey struct {
	pods            *podSet
	container, part string
}

// source is one series of a group.
type source struct {
	uid, run string // of the cgroup, "" if it isn't told
	id       uint64 // hash of the cgroup's path
	*held
}

// usageOf is a metric of usage and what becomes of it.
type usageOf struct {
	metric   string
	matchers []*labels.Matcher
	// group is the container and part that a series is of; ok is false for what must not be counted.
	group func(f *fields) (container, part string, ok bool)
	// more reads what of the fields the metric has in labels of its own, nil if there is nothing.
	more func(f *fields, ls labels.Labels)
	add  func(groupKey, []source) error
}

// isContainer leaves out cgroups that are not one container: pods, slices, sandboxes.
var isContainer = []*labels.Matcher{not("container", ""), not("container", "POD"), not("pod", "")}

// isPod leaves out what is not of a pod.
var isPod = []*labels.Matcher{not("pod", "")}

func (j *joiner) readUsage() error {
	j.settle()
	whole := func(f *fields) (container, part string, ok bool) {
		return f.container, "", f.cpu == "" || f.cpu == "total"
	}
	for _, m := range []usageOf{
		{metric: "container_cpu_usage_seconds_total", matchers: isContainer, group: whole, add: j.addCPU},
		{metric: "container_memory_working_set_bytes", matchers: isContainer, group: whole, add: j.addRAM},
		{metric: "container_fs_reads_bytes_total", matchers: isContainer, group: byDevice, add: j.adder(read)},
		{metric: "container_fs_writes_bytes_total", matchers: isContainer, group: byDevice, add: j.adder(written)},
		{metric: "kubecost_pod_network_ingress_bytes_total", matchers: isOfPod, group: byClass, more: readClass, add: j.classifier(received)},
		{metric: "kubecost_pod_network_egress_bytes_total", matchers: isOfPod, group: byClass, more: readClass, add: j.classifier(sent)},
		{metric: "container_network_receive_bytes_total", matchers: isPod, group: byInterface, add: j.adder(received)},
		{metric: "container_network_transmit_bytes_total", matchers: isPod, group: byInterface, add: j.adder(sent)},
		{metric: "DCGM_FI_PROF_GR_ENGINE_ACTIVE", group: byGPU, add: j.gpuAdder("DCGM_FI_PROF_GR_ENGINE_ACTIVE", 1000)},
		{metric: "DCGM_FI_DEV_GPU_UTIL", group: byGPU, add: j.gpuAdder("DCGM_FI_DEV_GPU_UTIL", 10)},
	} {
		if err := j.usage(m); err != nil {
			return err
		}
	}
	return j.readMeters()
}

// usage streams one metric, twice: the first time to count the series of each group.
func (j *joiner) usage(m usageOf) error {
	r := request{window: j.around(nearMargin), metric: m.metric, matchers: m.matchers, labels: true, usage: &m}
	if err := j.each(r); err != nil {
		return err
	}
	if j.groups.none {
		j.stage.request++ // that other hours of the pass don't make either
		return nil
	}
	r.labels = false
	return j.each(r)
}

// leaveOut warns of a series whose pod the hour doesn't know, if it tells of any usage: that chunks may reach into the range must not show, and a GPU
// that nobody has is told of with the name of its exporter's pod. A daemon may tell of pods that are gone, and the kubelet tells of the others, too.
func (j *joiner) leaveOut(m *usageOf, name podName, s *held) error {
	if name.name == "" || m.more != nil {
		return nil
	}
	err := j.decode(s, j.around(nearMargin))
	if slices.ContainsFunc(j.runs, func(r quantity.Run) bool { return r.V > 0 }) {
		j.warnings.add(UsageWithoutPod, j.keep(name.cluster), name.String())
	}
	return err
}

// cgroup is the uid of the pod and the name of the run that the path of a container's cgroup tells.
func cgroup(id string) (uid, run string) {
	dir, run := id, ""
	if i := strings.LastIndexByte(id, '/'); i >= 0 {
		dir, run = id[:i], id[i+1:]
	}
	dir = strings.TrimSuffix(dir[strings.LastIndexByte(dir, '/')+1:], ".slice")
	i := strings.LastIndex(dir, "pod")
	if i < 0 || i > 0 && dir[i-1] != '-' {
		return "", run
	}
	return strings.ReplaceAll(dir[i+len("pod"):], "_", "-"), run
}

// readStarts finds when containers began that did so around the hour.
func (j *joiner) readStarts() error {
	w := j.around(nearMargin)
	return j.each(request{window: w, metric: "container_start_time_seconds", matchers: isContainer, fn: func(c *held) error {
		id := c.Labels.Get("id")
		if id == "" {
			return nil
		}
		if err := j.decode(c, w); err != nil {
			return err
		}
		for _, r := range j.runs {
			if at := millis(r.V); !math.IsNaN(r.V) && at >= w.from-nearMargin {
				j.starts[xxhash.Sum64String(id)] = at
			}
		}
		return nil
	}})
}

// start is when the container of a series began whose first sample is at t; 0 if that isn't known.
func (j *joiner) start(p *pod, c *container, s source, alone bool, t int64) int64 {
	if at, ok := j.starts[s.id]; ok {
		return at
	}
	start := int64(0)
	for _, l := range c.started {
		if l.Value <= t {
			start = max(start, l.Value)
		}
	}
	if start == 0 && alone {
		return p.life.from
	}
	return start
}

// mine are the sources that may be of a pod: those with its uid, and those whose uid is of none, as that of static pods.
func mine(p *pod, all []source) []source {
	if len(p.pods) == 1 && len(all) == 1 {
		return all
	}
	var out []source
	for _, s := range all {
		if s.uid == p.uid || !slices.ContainsFunc(p.pods, func(o *pod) bool { return o.uid == s.uid }) {
			out = append(out, s)
		}
	}
	return out
}

// lanesOf makes a lane of each source. The runs that several sources tell of are as old as the first sample of any.
func lanesOf[T quantity.Piece[T]](j *joiner, r *room[T], sources []source, pieces func(dst []T, s source, bridge int64) []T) ([]lane[T], error) {
	lanes := r.lanes[:0]
	begun := map[string]int64{}
	for i, s := range sources {
		bridge, err := j.decodeUsage(s.held, len(sources) == 1)
		if err != nil {
			return nil, err
		}
		l := lane[T]{samples: quantity.Count(j.runs)}
		if l.samples > 0 {
			to := r.lane(i)
			*to = pieces(*to, s, bridge)
			l.run, l.pieces = j.runs[0].T, *to
		}
		if t, ok := begun[s.run]; !ok || l.run < t {
			begun[s.run] = l.run
		}
		lanes = append(lanes, l)
	}
	for i, s := range sources {
		lanes[i].run = begun[s.run]
	}
	r.lanes = lanes
	return lanes, nil
}

// decodeUsage reads a series around the hour, and its bridge: no farther than the least bridge goes, unless that is not the series' bridge,
// or other series are to be compared with it.
func (j *joiner) decodeUsage(c *held, alone bool) (bridge int64, err error) {
	if alone {
		if err = j.decode(c, j.around(usageMargin)); err != nil {
			return 0, err
		}
		bridge, j.scratch = quantity.Bridge(j.runs, j.scratch)
		if bridge <= usageMargin && quantity.Count(j.runs) > 2 {
			return bridge, nil
		}
	}
	if err = j.decode(c, j.around(nearMargin)); err != nil {
		return 0, err
	}
	bridge, j.scratch = quantity.Bridge(j.runs, j.scratch)
	return bridge, nil
}

func (j *joiner) addCPU(k groupKey, all []source) error {
	for _, p := range k.pods.pods {
		sources := mine(p, all)
		if len(p.segments) == 0 || len(sources) == 0 {
			continue
		}
		var c *container
		lanes, err := lanesOf(j, &j.spreads, sources, func(dst []quantity.Spread, s source, bridge int64) []quantity.Spread {
			c = j.containerOf(p, k.container)
			start := j.start(p, c, s, len(all) == 1, j.runs[0].T)
			return quantity.Counter{Bridge: bridge, Start: start, Unit: 1e6}.Spreads(dst, j.runs)
		})
		if err != nil {
			return err
		}
		if c == nil {
			continue
		}
		pieces := j.spreads.overlay(lanes)
		j.boundCPU(p, k.container, pieces)
		c.addCPU(p, pieces)
	}
	return nil
}

func (j *joiner) addRAM(k groupKey, all []source) error {
	for _, p := range k.pods.pods {
		sources := mine(p, all)
		if len(p.segments) == 0 || len(sources) == 0 {
			continue
		}
		var c *container
		lanes, err := lanesOf(j, &j.levels, sources, func(dst []quantity.Level, _ source, bridge int64) []quantity.Level {
			c = j.containerOf(p, k.container)
			return quantity.Levels(dst, j.runs, bridge, 1)
		})
		if err != nil {
			return err
		}
		if c == nil {
			continue
		}
		pieces := j.levels.overlay(lanes)
		j.boundRAM(p, k.container, pieces)
		c.addRAM(p, pieces)
	}
	return nil
}

// containerOf is the container of a pod, which facts may not know.
func (j *joiner) containerOf(p *pod, name string) *container {
	for _, c := range p.containers {
		if c.name == name {
			return c
		}
	}
	if name == cost.PodContainer {
		if p.extra == nil {
			p.extra = &extra{container: container{name: name, rows: make([]row, len(p.segments))}}
		}
		return &p.extra.container
	}
	c := p.container(j.keep(name))
	c.rows = make([]row, len(p.segments))
	return c
}

// addCPU integrates usage into the rows of the container; that of an init container into those of the pod's extra.
func (c *container) addCPU(p *pod, pieces []quantity.Spread) {
	if p.extra != nil {
		for _, s := range pieces {
			p.extra.cpuKnown = join(p.extra.cpuKnown, span{s.From, s.To})
		}
		if c.init && !c.sidecar {
			p.extra.initCPU = append(p.extra.initCPU, lane[quantity.Spread]{pieces: slices.Clone(pieces)})
			return
		}
	}
	for i, s := range p.segments {
		c.rows[i].addCPU(pieces, c.request[cpuResource], s.span)
	}
}

func (c *container) addRAM(p *pod, pieces []quantity.Level) {
	if p.extra != nil {
		for _, l := range pieces {
			p.extra.ramKnown = join(p.extra.ramKnown, span{l.From, l.To})
		}
		if c.init && !c.sidecar {
			p.extra.initRAM = append(p.extra.initRAM, lane[quantity.Level]{pieces: slices.Clone(pieces)})
			return
		}
	}
	for i, s := range p.segments {
		c.rows[i].addRAM(pieces, c.request[ramResource], s.span)
	}
}

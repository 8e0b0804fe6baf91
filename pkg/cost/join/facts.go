package join

import (
	"cmp"
	"math"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/pkg/cost/quantity"
)

// clusterFacts are what is known of a cluster as a whole.
type clusterFacts struct {
	seen  []span // when there was any fact of its pods
	pods  bool
	nodes bool
}

func (j *joiner) cluster(name string) *clusterFacts {
	c := j.clusters[name]
	if c == nil {
		c = &clusterFacts{}
		j.clusters[name] = c
	}
	return c
}

func compareStrings(a, b string) int { return cmp.Compare(a, b) }

// millis of a value in seconds.
func millis(v float64) int64 {
	return int64(math.Min(math.Max(math.Round(v*1000), 0), 1<<60))
}

func (j *joiner) readPods() error {
	if err := j.facts("kube_pod_info", wide, j.podInfo); err != nil {
		return err
	}
	for _, m := range []struct {
		metric string
		extent extent
		fn     func(*pod, fact)
	}{
		{"kube_pod_created", first, func(p *pod, f fact) { p.at.created = millis(f.last()) }},
		{"kube_pod_start_time", once, func(p *pod, f fact) { p.at.started = millis(f.last()) }},
		{"kube_pod_status_scheduled_time", once, func(p *pod, f fact) { p.at.scheduled = millis(f.last()) }},
		{"kube_pod_completion_time", wide, func(p *pod, f fact) { p.at.completed = max(p.at.completed, millis(f.last())) }},
		{"kube_pod_overhead_cpu_cores", near, func(p *pod, f fact) { p.overheadCPU = append(p.overheadCPU, levelLane(f, 1000)) }},
		{"kube_pod_overhead_memory_bytes", near, func(p *pod, f fact) { p.overheadRM = append(p.overheadRM, levelLane(f, 1)) }},
	} {
		if err := j.podFacts(m.metric, m.extent, m.fn); err != nil {
			return err
		}
	}
	if err := j.facts("kube_pod_status_phase", wide, j.ofPod(podPhase), anyOf("phase", "Succeeded", "Failed")); err != nil {
		return err
	}
	return j.podFacts("kube_pod_status_qos_class", first, func(p *pod, f fact) {
		if f.last() == 1 {
			p.qos = j.keep(f.qos)
		}
	})
}

func levelLane(f fact, unit float64) lane[quantity.Level] {
	return lane[quantity.Level]{samples: quantity.Count(f.runs), pieces: f.levels(unit)}
}

func podPhase(p *pod, f fact) {
	for _, r := range f.runs {
		if r.V == 1 {
			if p.at.terminal == 0 || r.T < p.at.terminal {
				p.at.terminal = r.T
			}
			return
		}
	}
}

// podFacts calls fn with each series of a metric and the pod that it is of.
func (j *joiner) podFacts(metric string, e extent, fn func(*pod, fact), ms ...*labels.Matcher) error {
	return j.facts(metric, e, j.ofPod(fn), ms...)
}

func (j *joiner) ofPod(fn func(*pod, fact)) func(fact) {
	return func(f fact) {
		if p := j.podOf(f.fields).find(f.uid, f.first()); p != nil {
			fn(p, f)
		}
	}
}

// podOf is nil if there is no pod of that name.
func (j *joiner) podOf(f *fields) *podSet {
	if f.number == 0 {
		f.number = j.numbers[podName{f.cluster, f.namespace, f.pod}]
	}
	return j.podsOf(f.number)
}

// podsOf is nil if the hour knows no pods of the name with the number.
func (j *joiner) podsOf(number int32) *podSet {
	if int(number) < len(j.numbered) {
		return j.numbered[number]
	}
	return nil
}

// addPods makes room for the pods of a name that has none yet.
func (j *joiner) addPods(f *fields) *podSet {
	set := &podSet{podName: podName{j.keep(f.cluster), j.keep(f.namespace), j.keep(f.pod)}}
	if f.number == 0 {
		f.number = int32(len(j.names))
		j.numbers[set.podName] = f.number
		j.names = append(j.names, set.podName)
	}
	j.numbered = append(j.numbered, make([]*podSet, max(int(f.number)+1-len(j.numbered), 0))...)
	j.numbered[f.number] = set
	return set
}

func (j *joiner) podInfo(f fact) {
	if f.pod == "" {
		return
	}
	set := j.podOf(f.fields)
	if set == nil {
		set = j.addPods(f.fields)
	}
	p := set.find(f.uid, f.first())
	if p == nil || p.uid != f.uid {
		p = &pod{podSet: set, uid: j.keep(f.uid), first: math.MaxInt64}
		set.pods = append(set.pods, p)
	}
	if f.node != "" {
		p.node = j.keep(f.node)
	}
	p.created = owner{j.keep(f.createdKind), j.keep(f.createdName)}
	p.priority, p.hostNetwork = j.keep(f.priority), f.hostNetwork
	p.first, p.last = min(p.first, f.first()), max(p.last, f.end())
	p.bridge = max(p.bridge, f.bridge)
	p.seen = append(p.seen, spansOf(f.levels(1))...)
	j.cluster(set.cluster).pods = true
}

func (j *joiner) readContainers() error {
	infos := func(init bool) func(*pod, fact) {
		return func(p *pod, f fact) {
			if f.container != "" {
				c := p.container(j.keep(f.container))
				c.init, c.sidecar = init, c.sidecar || init && f.restartPolicy == "Always"
			}
		}
	}
	amounts := func(init, limit bool) func(*pod, fact) {
		return func(p *pod, f fact) { j.amount(p, f, init, limit) }
	}
	for _, m := range []struct {
		metric string
		extent extent
		fn     func(*pod, fact)
	}{
		{"kube_pod_container_info", first, infos(false)},
		{"kube_pod_init_container_info", first, infos(true)},
		{"kube_pod_container_resource_requests", near, amounts(false, false)},
		{"kube_pod_container_resource_limits", near, amounts(false, true)},
		{"kube_pod_init_container_resource_requests", near, amounts(true, false)},
		{"kube_pod_init_container_resource_limits", near, amounts(true, true)},
		{"kube_pod_container_state_started", near, j.containerStarted},
	} {
		if err := j.podFacts(m.metric, m.extent, m.fn); err != nil {
			return err
		}
	}
	return j.readStarts()
}

func (j *joiner) amount(p *pod, f fact, init, limit bool) {
	r, unit, ok := resourceOf(f.resource)
	if !ok || f.container == "" {
		return
	}
	c := p.container(j.keep(f.container))
	c.init = init
	if c.facts == nil {
		c.facts = &[resources]requested{}
	}
	if of, l := &c.facts[r], levelLane(f, unit); limit {
		of.limit = append(of.limit, l)
	} else {
		of.request = append(of.request, l)
	}
}

func (j *joiner) containerStarted(p *pod, f fact) {
	if f.container != "" {
		c := p.container(j.keep(f.container))
		c.started = append(c.started, f.levels(1000)...)
	}
}

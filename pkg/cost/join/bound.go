package join

import "github.com/varve-io/varve/pkg/cost/quantity"

// boundCPU lowers usage that is more than the node has: cAdvisor's counters jump at times.
func (j *joiner) boundCPU(p *pod, name string, pieces []quantity.Spread) {
	limit := p.on.most(cpuResource)
	if limit == 0 {
		return
	}
	over := false
	for i, s := range pieces {
		if bounded, is := s.Bound(limit); is {
			pieces[i], over = bounded, true
		}
	}
	j.warnBounded(p, name, over)
}

func (j *joiner) boundRAM(p *pod, name string, pieces []quantity.Level) {
	limit := p.on.most(ramResource)
	if limit == 0 {
		return
	}
	over := false
	for i, l := range pieces {
		if l.Value > limit {
			pieces[i].Value, over = limit, true
		}
	}
	j.warnBounded(p, name, over)
}

func (j *joiner) warnBounded(p *pod, name string, is bool) {
	if is {
		j.warnings.add(UsageBounded, p.cluster, p.String()+"/"+name)
	}
}

package join

import (
	"regexp"

	"github.com/varve-io/varve/pkg/cost"
)

// owner is a controller that owns something: kind and name.
type owner struct{ kind, name string }

// some tells whether there is one: kube-state-metrics writes <none> for things that nobody owns.
func (o owner) some() bool { return o.name != "" && o.name != "<none>" && o.kind != "<none>" }

type ownerName struct{ cluster, namespace, kind, name string }

func (j *joiner) readOwners() error {
	err := j.podFacts("kube_pod_owner", first, func(p *pod, f fact) {
		if o := (owner{j.keep(f.ownerKind), j.keep(f.ownerName)}); o.some() {
			p.parent = o
		}
	})
	if err != nil {
		return err
	}
	for _, m := range []struct {
		metric, kind string
		name         func(f fact) string
	}{
		{"kube_replicaset_owner", "ReplicaSet", func(f fact) string { return f.replicaset }},
		{"kube_job_owner", "Job", func(f fact) string { return f.job }},
	} {
		err := j.facts(m.metric, first, func(f fact) {
			k := ownerName{j.keep(f.cluster), j.keep(f.namespace), m.kind, j.keep(m.name(f))}
			j.owners[k] = owner{j.keep(f.ownerKind), j.keep(f.ownerName)}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

var (
	ofDeployment = regexp.MustCompile(`^(.+)-[0-9a-z]{8,10}$`)
	ofCronJob    = regexp.MustCompile(`^(.+)-[0-9]{8,10}$`)
)

// controller is the topmost known owner. Where the series of a ReplicaSet or Job are gone, its name tells.
func (j *joiner) controller(p *pod) cost.Controller {
	o := p.parent
	if !o.some() {
		o = p.created
	}
	if !o.some() {
		return cost.Controller{Kind: "Pod", Name: p.name}
	}
	if top, ok := j.owners[ownerName{p.cluster, p.namespace, o.kind, o.name}]; ok {
		if top.some() {
			o = top
		}
		return cost.Controller{Kind: o.kind, Name: o.name}
	}
	switch o.kind {
	case "ReplicaSet":
		if m := ofDeployment.FindStringSubmatch(o.name); m != nil {
			return cost.Controller{Kind: "Deployment", Name: j.keep(m[1])}
		}
	case "Job":
		if m := ofCronJob.FindStringSubmatch(o.name); m != nil {
			return cost.Controller{Kind: "CronJob", Name: j.keep(m[1])}
		}
	}
	return cost.Controller{Kind: o.kind, Name: o.name}
}

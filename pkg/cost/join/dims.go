package join

import (
	"cmp"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/pkg/cost"
)

// dims are sets of labels, each from a time on. They hold through gaps, until another one is seen.
type dims []dated

type dated struct {
	from   int64
	labels cost.Labels
}

// add adds when a set of labels was seen to begin.
func (d *dims) add(f fact, ls cost.Labels) {
	for _, l := range f.levels(1) {
		*d = append(*d, dated{l.From, ls})
	}
}

// settle sorts, and forgets what changes nothing.
func (d *dims) settle() {
	slices.SortStableFunc(*d, func(a, b dated) int { return cmp.Or(cmp.Compare(a.from, b.from), compareLabels(a.labels, b.labels)) })
	*d = slices.CompactFunc(*d, func(a, b dated) bool { return slices.Equal(a.labels, b.labels) })
}

// at is the set at a time; the first one was so before too.
func (d dims) at(t int64) cost.Labels {
	var ls cost.Labels
	for i, x := range d {
		if i == 0 || x.from <= t {
			ls = x.labels
		}
	}
	return ls
}

// maxPieces is into how many parts changes of one thing may cut an hour of a node or pod: what changes more often than that is no
// dimension, and rows for each scrape would have no bounds.
const maxPieces = 20

// segments cuts a span where the labels change. Where they change too often, which is not steady, the first ones are those of all.
func (d dims) segments(in span) (_ []segment, steady bool) {
	out := []segment{{span: in, labels: d.at(in.from)}}
	for _, x := range d {
		last := &out[len(out)-1]
		if x.from > last.from && x.from < in.to && !slices.Equal(last.labels, x.labels) {
			to := last.to
			last.to = x.from
			out = append(out, segment{span: span{x.from, to}, labels: x.labels})
		}
	}
	if len(out) > maxPieces {
		return []segment{{span: in, labels: out[0].labels}}, false
	}
	return out, true
}

func compareLabels(a, b cost.Labels) int {
	return slices.CompareFunc(a, b, func(x, y cost.Label) int {
		return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.Value, y.Value))
	})
}

// overlaid is the labels of a pod over those of its namespace.
func overlaid(own, namespace *dims) *dims {
	if namespace == nil || len(*namespace) == 0 {
		return own
	}
	var out dims
	for _, d := range []dims{*own, *namespace} {
		for _, x := range d {
			out = append(out, dated{x.from, nil})
		}
	}
	for i, x := range out {
		ls := slices.Clone(own.at(x.from))
		for _, l := range namespace.at(x.from) {
			if !slices.ContainsFunc(ls, func(o cost.Label) bool { return o.Name == l.Name }) {
				ls = append(ls, l)
			}
		}
		slices.SortFunc(ls, func(a, b cost.Label) int { return cmp.Compare(a.Name, b.Name) })
		out[i].labels = ls
	}
	out.settle()
	return &out
}

type namespaceName struct{ cluster, namespace string }

// readLabels reads the chosen labels of pods and namespaces.
func (j *joiner) readLabels() error {
	if len(j.Labels) == 0 {
		return nil
	}
	chosen := map[string]string{}
	for _, name := range j.Labels {
		chosen[sanitize(name)] = name
	}
	pick := func(ls labels.Labels) (out cost.Labels) {
		ls.Range(func(l labels.Label) {
			if name, ok := chosen[l.Name]; ok {
				out = append(out, cost.Label{Name: name, Value: j.keep(l.Value)})
			}
		})
		slices.SortFunc(out, func(a, b cost.Label) int { return strings.Compare(a.Name, b.Name) })
		return out
	}
	err := j.podFacts("kube_pod_labels", near, func(p *pod, f fact) { p.labels.add(f, pick(f.labels)) })
	if err != nil {
		return err
	}
	return j.facts("kube_namespace_labels", near, func(f fact) {
		k := namespaceName{j.keep(f.cluster), j.keep(f.namespace)}
		if j.namespaces[k] == nil {
			j.namespaces[k] = &dims{}
		}
		j.namespaces[k].add(f, pick(f.labels))
	})
}

// chosen are the labels of a pod and its namespace.
func (j *joiner) chosen(p *pod) *dims {
	p.labels.settle()
	return overlaid(&p.labels, j.namespaces[namespaceName{p.cluster, p.namespace}])
}

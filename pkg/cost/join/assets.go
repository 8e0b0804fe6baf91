package join

import (
	"cmp"
	"math"
	"slices"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/quantity"
)

// assetName is a volume, or a service of a namespace.
type assetName struct{ cluster, namespace, name string }

// asset is a volume or a load balancer, and the pods that use it.
type asset struct {
	assetName
	claimed, claim, class string // of a volume: its claim's namespace and name, its storage class
	region, zone          string
	labels                cost.Labels
	first, last           int64
	size                  []lane[quantity.Level] // of a volume
	users                 []user
}

// user is a pod and when it uses an asset; it does so all its life if there are no times.
type user struct {
	*pod
	times []span
	timed bool
}

// perMilli is the size of a load balancer: its quantity, in thousandths of size × milliseconds, is milliseconds.
const perMilli = 1000

type claimName struct{ cluster, namespace, name string }

func (j *joiner) asset(m map[assetName]*asset, k assetName) *asset {
	a := m[k]
	if a == nil {
		k = assetName{j.keep(k.cluster), j.keep(k.namespace), j.keep(k.name)}
		a = &asset{assetName: k, first: math.MaxInt64}
		m[k] = a
	}
	return a
}

func (a *asset) seen(f fact) {
	a.first, a.last = min(a.first, f.first()), max(a.last, f.end())
}

func (j *joiner) readVolumes() error {
	volume := func(f fact) *asset {
		return j.asset(j.volumes, assetName{f.cluster, "", f.labels.Get("persistentvolume")})
	}
	claims := map[claimName]*asset{}
	bound := func(a *asset, cluster, namespace, claim string) {
		a.claimed, a.claim = j.keep(namespace), j.keep(claim)
		claims[claimName{j.keep(cluster), a.claimed, a.claim}] = a
	}
	for _, m := range []struct {
		metric string
		extent extent
		fn     func(f fact)
	}{
		{"kube_persistentvolume_info", wide, func(f fact) {
			a := volume(f)
			a.seen(f)
			a.class = j.keep(f.labels.Get("storageclass"))
		}},
		{"kube_persistentvolume_capacity_bytes", wide, func(f fact) {
			a := volume(f)
			a.seen(f)
			a.size = append(a.size, levelLane(f, 1))
		}},
		{"kube_persistentvolume_labels", first, func(f fact) { volume(f).describe(j.labelsOf(f)) }},
		{"kube_persistentvolumeclaim_info", first, func(f fact) {
			if name := f.labels.Get("volumename"); name != "" {
				bound(j.asset(j.volumes, assetName{f.cluster, "", name}), f.cluster, f.namespace, f.labels.Get("persistentvolumeclaim"))
			}
		}},
		{"kube_persistentvolume_claim_ref", first, func(f fact) {
			bound(volume(f), f.cluster, f.labels.Get("claim_namespace"), f.labels.Get("name"))
		}},
	} {
		if err := j.facts(m.metric, m.extent, m.fn); err != nil {
			return err
		}
	}
	return j.podFacts("kube_pod_spec_volumes_persistentvolumeclaims_info", first, func(p *pod, f fact) {
		a := claims[claimName{f.cluster, f.namespace, f.labels.Get("persistentvolumeclaim")}]
		if a != nil && !slices.ContainsFunc(a.users, func(u user) bool { return u.pod == p }) {
			a.users = append(a.users, user{pod: p})
		}
	})
}

func (a *asset) describe(ls cost.Labels) {
	var n cost.Node
	n.Labels = ls
	describe(&n)
	a.labels, a.region, a.zone = ls, n.Region, n.Zone
}

// placed gives a volume whose labels don't tell its region or zone that of the nodes of all pods that mount it.
func (a *asset) placed(at int64) {
	if a.region != "" && a.zone != "" {
		return
	}
	var regions, zones []string
	for _, u := range a.users {
		if u.on != nil && len(u.segments) > 0 {
			n := cost.Node{Labels: u.on.labels.at(at)}
			describe(&n)
			regions, zones = append(regions, n.Region), append(zones, n.Zone)
		}
	}
	a.region, a.zone = cmp.Or(a.region, common(regions)), cmp.Or(a.zone, common(zones))
}

// common is what all are, or nothing.
func common(all []string) string {
	for _, s := range all {
		if s != all[0] {
			return ""
		}
	}
	return append(all, "")[0]
}

// holder is one of those who share an asset: a pod while its labels are the same.
type holder struct {
	owner cost.Owner
	times []span
}

func (j *joiner) holders(a *asset) (out []holder) {
	for _, u := range a.users {
		times, first := union(u.times), len(out)
		for _, s := range u.segments {
			add := func(to *[]span, t span) {
				if s.goesOn {
					*to = join(*to, t)
				} else {
					*to = append(*to, t)
				}
			}
			i := first + slices.IndexFunc(out[first:], func(h holder) bool { return slices.Equal(h.owner.Labels, s.labels) })
			if i < first {
				i = len(out)
				out = append(out, holder{owner: j.ownerOf(u.pod, s.labels)})
			}
			if !u.timed {
				add(&out[i].times, s.span)
			}
			for _, t := range times {
				if t = t.clip(s.span); t.length() > 0 {
					add(&out[i].times, t)
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b holder) int {
		x, y := a.owner, b.owner
		return cmp.Or(cmp.Compare(x.Namespace, y.Namespace), cmp.Compare(x.Pod, y.Pod), cmp.Compare(x.UID, y.UID), compareLabels(x.Labels, y.Labels))
	})
	return out
}

// assetRows appends the row of an asset and the shares of it.
func (j *joiner) assetRows(h *cost.Hour, a *asset, kind cost.AssetKind) {
	life := span{a.first, a.last}.clip(j.hour())
	in := life.clip(j.slot)
	if in.length() == 0 {
		return
	}
	if kind == cost.VolumeAsset {
		a.placed(life.from)
	}
	row := cost.Asset{Kind: kind, Cluster: a.cluster, Name: a.name, Namespace: a.claimed, Claim: a.claim, Class: a.class,
		Region: a.region, Zone: a.zone, Labels: a.labels, From: in.from, To: in.to}
	size := []quantity.Level{{From: life.from, To: life.to, Value: perMilli}}
	if kind == cost.VolumeAsset {
		if size = hold(overlay(a.size), span{a.first, a.last}); len(size) == 0 {
			j.warnings.add(VolumeSizeMissing, a.cluster, a.name)
		}
	} else {
		row.Namespace, row.Name = a.namespace, a.namespace+"/"+a.name
	}
	d := division{life: life, size: size, holders: j.holders(a)}
	for i, amount := range d.in(in) {
		row.Quantity += amount
		if i < len(d.holders) && amount > 0 {
			h.Shares = append(h.Shares, cost.Share{Owner: d.holders[i].owner, Kind: kind, Asset: row.Name, From: row.From, Quantity: amount})
		}
	}
	h.Assets = append(h.Assets, row)
}

// hold lets levels hold through gaps within a life, the first one from its begin.
func hold(levels []quantity.Level, life span) []quantity.Level {
	var out []quantity.Level
	for _, l := range levels {
		l = l.Clip(life.from, life.to)
		switch last := len(out) - 1; {
		case l.To <= l.From:
		case last < 0:
			out = append(out, quantity.Level{From: life.from, To: life.to, Value: l.Value})
		case out[last].Value != l.Value:
			out[last].To = l.From
			out = append(out, quantity.Level{From: l.From, To: life.to, Value: l.Value})
		}
	}
	return out
}

// division shares an asset evenly among those who hold it at each instant of its life in the hour.
type division struct {
	life    span
	size    []quantity.Level
	holders []holder
}

// in is what each holder has of a part of the life, and last what nobody has. It adds up to what each has of all of it.
func (d *division) in(part span) []int64 {
	whole := d.rounded()
	until := func(t int64) []int64 {
		out := slices.Clone(whole)
		if t < d.life.to {
			for i, held := range d.until(t) {
				out[i] = min(held.WholeSeconds(), whole[i])
			}
		}
		return out
	}
	out := until(part.to)
	if part.from > d.life.from {
		for i, before := range until(part.from) {
			out[i] -= before
		}
	}
	return out
}

// rounded is what each has of the whole life. Shares are rounded by largest remainder to sum to what is held, at most all there is; ties go to
// the first.
func (d *division) rounded() []int64 {
	exact, all := d.until(d.life.to), quantity.Integral(d.size, d.life.from, d.life.to)
	n := len(d.holders)
	out, order, left := make([]int64, n+1), make([]int, n), min(all.Less(exact[n]).Seconds(), all.Seconds())
	out[n] = all.Seconds() - left
	for i := range n {
		out[i], order[i] = exact[i].WholeSeconds(), i
		left -= out[i]
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(exact[b].Rest(), exact[a].Rest()) })
	for _, i := range order {
		if left > 0 {
			out[i]++
			left--
		}
	}
	return out
}

// until is what each has until a time.
func (d *division) until(t int64) []quantity.Bytes {
	out := make([]quantity.Bytes, len(d.holders)+1)
	rest := quantity.Integral(d.size, d.life.from, t)
	for _, s := range edges(d.holders) {
		var present []int
		for i, h := range d.holders {
			if slices.ContainsFunc(h.times, func(t span) bool { return t.from <= s.from && s.to <= t.to }) {
				present = append(present, i)
			}
		}
		part := quantity.Integral(d.size, s.from, min(s.to, t))
		if len(present) == 0 {
			continue
		}
		rest = rest.Less(part)
		for n, i := range present {
			out[i].Sum(part.Part(n, len(present)))
		}
	}
	out[len(d.holders)] = rest
	return out
}

// edges are the times between which the set of holders doesn't change.
func edges(holders []holder) (out []span) {
	var at []int64
	for _, h := range holders {
		for _, t := range h.times {
			at = append(at, t.from, t.to)
		}
	}
	slices.Sort(at)
	at = slices.Compact(at)
	for i := 1; i < len(at); i++ {
		out = append(out, span{at[i-1], at[i]})
	}
	return out
}

package join

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

func (j *joiner) readBalancers() error {
	err := j.facts("kube_service_spec_type", wide, func(f fact) {
		j.asset(j.balancers, assetName{f.cluster, f.namespace, f.labels.Get("service")}).seen(f)
	}, equal("type", "LoadBalancer"))
	if err != nil || len(j.balancers) == 0 {
		return err
	}
	sliced, err := j.readSlices()
	if err != nil || len(sliced) == len(j.balancers) {
		return err
	}
	return j.readAddresses(sliced)
}

// readSlices finds the pods behind services by their endpoint slices, and says which services have some.
func (j *joiner) readSlices() (map[*asset]bool, error) {
	services := map[assetName]*asset{} // by their slices
	sliced := map[*asset]bool{}
	err := j.facts("kube_endpointslice_labels", first, func(f fact) {
		if a := j.balancers[assetName{f.cluster, f.namespace, f.labels.Get("label_kubernetes_io_service_name")}]; a != nil {
			services[assetName{a.cluster, a.namespace, j.keep(f.labels.Get("endpointslice"))}] = a
			sliced[a] = true
		}
	})
	if err != nil {
		return nil, err
	}
	return sliced, j.facts("kube_endpointslice_endpoints", near, func(f fact) {
		slice := f.labels.Get("endpointslice")
		a := services[assetName{f.cluster, f.namespace, slice}]
		if i := strings.LastIndexByte(slice, '-'); a == nil && i > 0 {
			a = j.balancers[assetName{f.cluster, f.namespace, slice[:i]}]
		}
		if a == nil {
			return
		}
		sliced[a] = true
		set := j.podsOf(j.numbers[podName{f.cluster, cmp.Or(f.labels.Get("targetref_namespace"), f.namespace), f.labels.Get("targetref_name")}])
		if set != nil {
			a.behind(set.pods, spansOf(f.levels(1)))
		}
	}, equal("targetref_kind", "Pod"), not("ready", "false"))
}

// endpoint is one address of a service, and when it was ready.
type endpoint struct {
	*asset
	times []span
}

// readAddresses finds the pods behind the other services by their addresses, as kube-state-metrics tells them where it knows no slices.
// Pods in the host's network have their node's address and can't be told apart.
func (j *joiner) readAddresses(sliced map[*asset]bool) error {
	endpoints := map[addressName][]endpoint{}
	var ips []string
	err := j.facts("kube_endpoint_address", near, func(f fact) {
		a := j.balancers[assetName{f.cluster, f.namespace, f.labels.Get("endpoint")}]
		ip := f.labels.Get("ip")
		if a == nil || sliced[a] || ip == "" {
			return
		}
		k := addressName{a.cluster, j.keep(ip)}
		endpoints[k] = append(endpoints[k], endpoint{a, spansOf(f.levels(1))})
		ips = append(ips, regexp.QuoteMeta(k.host))
	}, not("ready", "false"))
	if err != nil || len(ips) == 0 {
		return err
	}
	slices.Sort(ips)
	return j.podFacts("kube_pod_info", wide, func(p *pod, f fact) {
		for _, e := range endpoints[addressName{p.cluster, f.labels.Get("pod_ip")}] {
			if !p.hostNetwork {
				e.behind([]*pod{p}, e.times)
			}
		}
	}, anyOf("pod_ip", slices.Compact(ips)...))
}

// behind adds the times at which pods were an endpoint of the balancer.
func (a *asset) behind(pods []*pod, times []span) {
	for _, p := range pods {
		i := slices.IndexFunc(a.users, func(u user) bool { return u.pod == p })
		if i < 0 {
			i = len(a.users)
			a.users = append(a.users, user{pod: p, timed: true})
		}
		a.users[i].times = append(a.users[i].times, times...)
	}
}

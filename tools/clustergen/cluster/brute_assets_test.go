package cluster

import (
	"math/big"
	"slices"
	"testing"
)

// seen is from the first sample of a series to its last, or marker, in an hour.
func seen(samples []Sample, hour Span) Span {
	if len(samples) == 0 {
		return Span{}
	}
	return Span{samples[0].T, samples[len(samples)-1].T}.clip(hour)
}

// latest is the value of the latest sample that is no marker, of the first if there is none before t.
func latest(samples []Sample, t int64) int64 {
	v := samples[0].V
	for _, s := range samples {
		if s.T <= t && rank(s) == 0 {
			v = s.V
		}
	}
	return int64(v)
}

// Nodes, volumes, load balancers and what pods hold beyond their containers are what samples say, too.
func TestObservedAssetsAreWhatSamplesSay(t *testing.T) {
	for name, cfg := range testClusters() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := Random(cfg)
			b := newBrute(c)
			for at := c.From; at < c.To; at += hour {
				in := Span{at, at + hour}
				truth := c.Truth(at)
				for _, n := range truth.Nodes {
					b.checkNode(t, n, in)
				}
				for i := range c.Volumes {
					b.checkVolume(t, &c.Volumes[i], c, truth, in)
				}
				for _, r := range truth.Containers {
					if r.Container == PodContainer {
						b.checkExcess(t, c, r, in)
					}
				}
			}
		})
	}
}

func (b *brute) checkNode(t *testing.T, n NodeTruth, in Span) {
	t.Helper()
	i := slices.IndexFunc(b.Nodes, func(o Node) bool { return o.Name == n.Name && o.ProviderID == n.Provider })
	if got := b.node(&b.Nodes[i]).clip(in).length(); got != n.Observed.Up {
		t.Errorf("%s is up for %d ms, samples say %d", n.Provider, n.Observed.Up, got)
	}
}

// node is how long one was up: until the next of its name was.
func (b *brute) node(n *Node) Span {
	life := func(provider string) Span {
		info := b.find("kube_node_info", "", "node", n.Name, "provider_id", provider)
		s := seen(info, Span{0, Forever})
		for _, x := range b.find("kube_node_created", "", "node", n.Name) {
			if created := int64(x.V*1000 + 0.5); rank(x) == 0 && created < s.From && s.From-created <= b.bridge && b.created(provider) == created {
				s.From = created
			}
		}
		return s
	}
	up := life(n.ProviderID)
	for i := range b.Nodes {
		if o := &b.Nodes[i]; o.Name == n.Name && o.ProviderID != n.ProviderID {
			if other := life(o.ProviderID); other.From > up.From && !other.empty() {
				up.To = min(up.To, other.From)
			}
		}
	}
	return up
}

// created is the one fact that samples don't tell: which of a name's nodes was created when. Here only to find it among them.
func (b *brute) created(provider string) int64 {
	i := slices.IndexFunc(b.Nodes, func(n Node) bool { return n.ProviderID == provider })
	return b.Nodes[i].From
}

func (b *brute) checkVolume(t *testing.T, v *Volume, c *Cluster, truth *Truth, in Span) {
	t.Helper()
	sizes := b.find("kube_persistentvolume_capacity_bytes", "", "persistentvolume", v.Name)
	up := seen(sizes, in)
	want, shares := new(big.Int), map[string]*big.Rat{}
	lives := map[string]Span{}
	var more []int64
	for _, i := range v.Pods {
		if uid := c.Pods[i].UID; len(b.find("kube_pod_spec_volumes_persistentvolumeclaims_info", uid, "persistentvolumeclaim", v.Claim)) > 0 {
			lives[uid] = b.pod(uid)
			more = append(more, lives[uid].From, lives[uid].To)
		}
	}
	if up.empty() {
		return
	}
	edges := b.edges(up, [][]Sample{sizes}, more...)
	for i := range len(edges) - 1 {
		part := new(big.Int).Mul(big.NewInt(latest(sizes, edges[i])), big.NewInt(edges[i+1]-edges[i]))
		want.Add(want, part)
		var there []string
		for uid, life := range lives {
			if life.Contains(edges[i]) {
				there = append(there, uid)
			}
		}
		for _, uid := range there {
			if shares[uid] == nil {
				shares[uid] = new(big.Rat)
			}
			shares[uid].Add(shares[uid], new(big.Rat).SetFrac(part, big.NewInt(int64(len(there)))))
		}
	}
	i := slices.IndexFunc(truth.Volumes, func(a AssetTruth) bool { return a.Name == v.Name })
	if i < 0 {
		t.Errorf("no row of volume %s", v.Name)
		return
	}
	got := truth.Volumes[i].Observed
	if got.Quantity.Cmp(want) != 0 || len(got.Shares) != len(shares) {
		t.Errorf("volume %s: %s with %d shares, samples say %s with %d", v.Name, got.Quantity, len(got.Shares), want, len(shares))
	}
	for uid, s := range shares {
		if got.Shares[uid] == nil || got.Shares[uid].Cmp(s) != 0 {
			t.Errorf("volume %s: share of %s is %v, samples say %v", v.Name, uid, got.Shares[uid], s)
		}
	}
}

// checkExcess compares the CPU that a pod holds beyond its containers.
func (b *brute) checkExcess(t *testing.T, c *Cluster, r ContainerTruth, in Span) {
	t.Helper()
	life := b.pod(r.UID)
	i := slices.IndexFunc(c.Pods, func(p Pod) bool { return p.UID == r.UID })
	p := &c.Pods[i]
	overhead := b.find("kube_pod_overhead_cpu_cores", r.UID)
	lists := [][]Sample{overhead}
	var usual, inits [][]Sample
	var known, used []spread
	for _, k := range p.Containers {
		usual = append(usual, b.find("kube_pod_container_resource_requests", r.UID, "container", k.Name, "resource", "cpu"))
		known = append(known, b.cpu(r.UID, k.Name)...)
	}
	for _, k := range p.InitContainers {
		asked := b.find("kube_pod_init_container_resource_requests", r.UID, "container", k.Name, "resource", "cpu")
		if len(b.find("kube_pod_init_container_info", r.UID, "container", k.Name, "restart_policy", "Always")) > 0 {
			usual, known = append(usual, asked), append(known, b.cpu(r.UID, k.Name)...)
			continue
		}
		inits, used = append(inits, asked), append(used, b.cpu(r.UID, k.Name)...)
	}
	lists = append(append(lists, usual...), inits...)
	var more []int64
	for _, s := range append(slices.Clone(known), used...) {
		more = append(more, s.From, s.To)
	}
	var want sums
	edges := b.edges(life.clip(in), lists, more...)
	for i := range max(len(edges)-1, 0) {
		from, to := edges[i], edges[i+1]
		total, most := int64(0), int64(0)
		for _, l := range usual {
			total += b.request(l, life, from, 1000)
		}
		for _, l := range inits {
			most = max(most, b.request(l, life, from, 1000))
		}
		n, ok := int64(0), slices.ContainsFunc(known, func(s spread) bool { return s.Contains(from) })
		for _, s := range used {
			if s.Contains(from) {
				n, ok = s.at(to)-s.at(from), true
			}
		}
		want.add(to-from, max(most-total, 0)+b.request(overhead, life, from, 1000), n, ok)
	}
	if want.differs(r.Observed.CPU) {
		t.Errorf("beyond the containers of %s: %v, samples say %v", r.Pod, r.Observed.CPU, show(&want))
	}
}

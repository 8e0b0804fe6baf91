package cluster

import (
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql/parser"
)

// exposed is what the exporters' documentation shows, with values of the small cluster's things put in. Labels that come from scraping are left
// out.
const exposed = `
kube_pod_info{namespace="ns",pod="pod",uid="u-1",host_ip="10.0.0.1",node="n",host_network="false"}
kube_pod_start_time{namespace="ns",pod="pod",uid="u-1"}
kube_pod_created{namespace="ns",pod="pod",uid="u-1"}
kube_pod_status_scheduled_time{namespace="ns",pod="pod",uid="u-1"}
kube_pod_status_phase{namespace="ns",pod="pod",uid="u-1",phase="Running"}
kube_pod_status_qos_class{namespace="ns",pod="pod",uid="u-1",qos_class="Burstable"}
kube_pod_owner{namespace="ns",pod="pod",uid="u-1"}
kube_pod_overhead_cpu_cores{namespace="ns",pod="pod",uid="u-1"}
kube_pod_container_resource_requests{namespace="ns",pod="pod",uid="u-1",container="main",node="n",resource="cpu",unit="core"}
kube_pod_container_resource_requests{namespace="ns",pod="pod",uid="u-1",container="main",node="n",resource="nvidia_com_gpu",unit="integer"}
kube_pod_init_container_resource_requests{namespace="ns",pod="pod",uid="u-1",container="init",node="n",resource="cpu",unit="core"}
kube_pod_spec_volumes_persistentvolumeclaims_info{namespace="ns",pod="pod",uid="u-1",volume="data",persistentvolumeclaim="data"}
kube_node_status_capacity{node="n",resource="cpu",unit="core"}
kube_node_status_allocatable{node="n",resource="memory",unit="byte"}
kube_node_status_capacity{node="n",resource="nvidia_com_gpu",unit="integer"}
kube_persistentvolume_capacity_bytes{persistentvolume="v"}
kube_persistentvolume_claim_ref{persistentvolume="v",name="data",claim_namespace="ns"}
kube_persistentvolumeclaim_info{namespace="ns",persistentvolumeclaim="data",volumename="v",volumemode="Filesystem"}
kube_service_spec_type{namespace="ns",service="s",uid="s-1",type="LoadBalancer"}
container_cpu_usage_seconds_total{namespace="ns",pod="pod",container="main",cpu="total",name="c",id="/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podu_1.slice/cri-containerd-c.scope"}
container_memory_working_set_bytes{namespace="ns",pod="pod",container="main",name="c",id="/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podu_1.slice/cri-containerd-c.scope"}
container_cpu_usage_seconds_total{namespace="ns",pod="pod",cpu="total",id="/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podu_1.slice"}
container_cpu_usage_seconds_total{cpu="total",id="/"}
container_cpu_usage_seconds_total{cpu="total",id="/kubepods.slice"}
node_cpu_seconds_total{cpu="7",mode="idle"}
node_memory_MemTotal_bytes{}
kubecost_pod_network_egress_bytes_total{namespace="ns",pod_name="pod",internet="true",same_region="false",same_zone="false"}
kubecost_pod_network_egress_bytes_total{namespace="ns",pod_name="pod",internet="false",same_region="false",same_zone="false"}
kubecost_pod_network_egress_bytes_total{namespace="ns",pod_name="pod",internet="false",same_region="true",same_zone="false"}
kubecost_pod_network_ingress_bytes_total{namespace="ns",pod_name="pod",internet="false",same_region="true",same_zone="true"}
`

func TestSeriesAreThoseOfTheExporters(t *testing.T) {
	c := small()
	got := map[string]bool{}
	var names []string
	for s := range c.Series(c.From, c.To) {
		b := labels.NewBuilder(s.Labels).Del("job", "instance", "cluster", "metrics_path")
		if strings.HasPrefix(s.Labels.Get("__name__"), "container_") {
			b.Del("node")
		}
		got[b.Labels().String()] = true
		names = append(names, s.Labels.Get("__name__"))
	}
	for line := range strings.Lines(strings.TrimSpace(exposed)) {
		want, err := parser.NewParser(parser.Options{}).ParseMetric(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		if !got[want.String()] {
			t.Errorf("no series %s", want)
		}
	}
	busy := 0
	for key := range got {
		if strings.Contains(key, "DCGM_FI_PROF_GR_ENGINE_ACTIVE") && strings.Contains(key, `exported_container="main", exported_namespace="ns", exported_pod="pod"`) {
			busy++
		}
	}
	if busy != 1 || !slices.Contains(names, "up") {
		t.Errorf("%d GPUs are the container's, want 1", busy)
	}
}

// Series come in the order of their labels, each once, and so do their samples, also when they are asked for in parts.
func TestSeriesAreSorted(t *testing.T) {
	c := Random(Config{Seed: 9, Name: "c", Span: Span{newYear, newYear + hour}, Nodes: 4, Pods: 30, Faults: true, Twins: true, NodeExporter: true, Life: 5 * minute})
	var last labels.Labels
	for s := range c.Series(c.From, c.To) {
		if labels.Compare(last, s.Labels) >= 0 {
			t.Fatalf("%s comes after %s", s.Labels, last)
		}
		last = s.Labels
		whole := s.Samples(nil, c.From, c.To)
		var parts []Sample
		for at := c.From; at < c.To; at += 7 * minute {
			parts = s.Samples(parts, at, min(at+7*minute, c.To))
		}
		if !slices.EqualFunc(whole, parts, func(a, b Sample) bool { return a.T == b.T && math.Float64bits(a.V) == math.Float64bits(b.V) }) {
			t.Fatalf("%s has other samples in parts", s.Labels)
		}
		if !slices.IsSortedFunc(whole, func(a, b Sample) int { return int(a.T - b.T) }) {
			t.Fatalf("%s isn't sorted", s.Labels)
		}
	}
}

// A window has all series that have samples in it: nothing is missing that a larger one has.
func TestWindowsAreWhole(t *testing.T) {
	c := Random(Config{Seed: 10, Name: "c", Span: Span{newYear, newYear + hour}, Nodes: 3, Pods: 20, Faults: true, Life: 5 * minute})
	count := func(from, to int64) (n int) {
		for s := range c.Series(from, to) {
			n += len(s.Samples(nil, from, to))
		}
		return n
	}
	parts := 0
	for at := c.From; at < c.To; at += 2 * minute {
		parts += count(at, at+2*minute)
	}
	if whole := count(c.From, c.To); parts != whole || whole < 10_000 {
		t.Errorf("%d samples in windows, %d in all", parts, whole)
	}
}

// A pod's series ends with a marker one scrape after the pod, or at the first scrape that fails; not if the scraper was away.
func TestMarkers(t *testing.T) {
	const scrape = 15_000
	created, removed := newYear+20_000, newYear+100_000 // scrapes at 30, 45, 60, 75, 90; the marker at 105
	at := func(seconds ...int64) (out []int64) {
		for _, s := range seconds {
			out = append(out, newYear+s*1000)
		}
		return out
	}
	for _, x := range []struct {
		name         string
		down, failed []Span
		noMarkers    bool
		values, ends []int64
	}{
		{name: "plain", values: at(30, 45, 60, 75, 90), ends: at(105)},
		{name: "timestamps of its own", noMarkers: true, values: at(30, 45, 60, 75, 90)},
		{name: "scraper away in between", down: []Span{{newYear + 40_000, newYear + 61_000}}, values: at(30, 75, 90), ends: at(105)},
		{name: "scraper away at the end", down: []Span{{newYear + 80_000, newYear + 110_000}}, values: at(30, 45, 60, 75)},
		{name: "scraper away at the marker", down: []Span{{newYear + 104_000, newYear + 106_000}}, values: at(30, 45, 60, 75, 90)},
		{name: "scrapes fail", failed: []Span{{newYear + 40_000, newYear + 61_000}}, values: at(30, 75, 90), ends: at(45, 105)},
		{name: "scrapes fail at the end", failed: []Span{{newYear + 80_000, newYear + 200_000}}, values: at(30, 45, 60, 75), ends: at(90)},
	} {
		c := &Cluster{Span: Span{newYear, newYear + hour}, Pods: []Pod{{Namespace: "ns", Name: "p", UID: "u", Node: -1, Created: created, Removed: removed}},
			Scrape: Scrape{Scrapers: []Scraper{{Down: x.down}}, State: []Job{{Name: "j", Interval: scrape, Failed: x.failed, NoMarkers: x.noMarkers}}}}
		var values, ends []int64
		for s := range c.Series(c.From, c.To) {
			if s.Labels.Get("__name__") != "kube_pod_created" {
				continue
			}
			for _, smp := range s.Samples(nil, c.From, c.To) {
				if value.IsStaleNaN(smp.V) {
					ends = append(ends, smp.T)
				} else {
					values = append(values, smp.T)
				}
			}
		}
		if d := cmp.Diff([2][]int64{x.values, x.ends}, [2][]int64{values, ends}); d != "" {
			t.Errorf("%s: samples and markers (-want +got):\n%s", x.name, d)
		}
	}
}

// A name that is used again goes on as one series, without a marker if the next one comes before a scrape, and with it otherwise.
func TestNamesAreUsedAgain(t *testing.T) {
	node := func(provider string, from, to int64, cpu int64) Node {
		return Node{Name: "n", ProviderID: provider, Span: Span{newYear + from*1000, newYear + to*1000}, Capacity: Amounts{CPU: cpu}}
	}
	c := &Cluster{Span: Span{newYear, newYear + 120_000}, Nodes: []Node{node("a", 0, 31, 1000), node("b", 40, 70, 2000), node("c", 95, 300, 3000)},
		Scrape: Scrape{State: []Job{{Name: "j", Interval: 15_000}}}}
	var got []float64
	providers := 0
	for s := range c.Series(c.From, c.To) {
		switch {
		case s.Labels.Get("__name__") == "kube_node_status_capacity" && s.Labels.Get("resource") == "cpu":
			for _, x := range s.Samples(nil, c.From, c.To) {
				if value.IsStaleNaN(x.V) {
					x.V = -1
				}
				got = append(got, x.V)
			}
		case s.Labels.Get("__name__") == "kube_node_info":
			providers++
		}
	}
	if d := cmp.Diff([]float64{1, 1, 1, 2, 2, -1, 3}, got); d != "" || providers != 3 {
		t.Errorf("%d nodes, capacity every 15 s (-want +got):\n%s", providers, d)
	}
}

// Series are made one metric after another: what is in memory doesn't grow with their number.
func TestMemoryIsThatOfOneMetric(t *testing.T) {
	c := Random(Config{Seed: 11, Name: "c", Span: Span{newYear, newYear + hour}, Nodes: 100, Pods: 1500})
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, most := heap(), uint64(0)
	all, largest, bytes := 0, 0, 0
	n, last := 0, ""
	for s := range c.Series(c.From, c.To) {
		name := s.Labels.Get("__name__")
		if n++; name != last {
			n, last = 1, name
		}
		all, largest, bytes = all+1, max(largest, n), bytes+int(s.Labels.ByteSize())
		if all%20_000 == 0 {
			now := heap()
			most = max(most, now-min(now, before))
		}
	}
	// Each series of the largest metric may take its labels and a kilobyte.
	if limit := uint64(largest * (bytes/all + 1024)); most > limit || all < 5*largest || most == 0 {
		t.Errorf("%d bytes in use for %d series, at most %d of one metric: want at most %d", most, all, largest, limit)
	}
	runtime.KeepAlive(c)
}

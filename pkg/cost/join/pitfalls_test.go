package join

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// n1 is a node of 4 cores and 1000 bytes, of which 3.5 and 900 are allocatable: 14400 and 12600 core-seconds in the hour, 3600000
// and 3240000 byte-seconds.
const n1 = `
kube_node_info{node="n1",provider_id="i-1"} -1h..2h=1
kube_node_status_capacity{node="n1",resource="cpu"} -1h..2h=4
kube_node_status_capacity{node="n1",resource="memory"} -1h..2h=1000
kube_node_status_allocatable{node="n1",resource="cpu"} -1h..2h=3.5
kube_node_status_allocatable{node="n1",resource="memory"} -1h..2h=900
`

// n1Row is what n1 is in all of these where nothing about it changes.
const n1Row = "node n1 i-1 0s-1h0m0s blind 0s cpu 14400/12600/0 ram 3.6e+06/3.24e+06/0"

// agent lives on n1 all the time and asks for nothing, so that n1 is never blind.
const agent = `kube_pod_info{namespace="kube-system",pod="agent",uid="a",node="n1"} -1h..2h=1
`

type pitfall struct {
	name   string
	series string
	want   []string // rows but n1's where it is as always
}

func TestPitfalls(t *testing.T) {
	for _, p := range pitfalls {
		t.Run(p.name, func(t *testing.T) {
			got := text(load(t, n1, agent, p.series).hour(Options{Labels: []string{"app.kubernetes.io/team"}}))
			got = slices.DeleteFunc(got, func(s string) bool { return s == n1Row })
			if d := cmp.Diff(p.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

var pitfalls = []pitfall{
	{
		// Two pods called db-0: d1 until its marker at 20m, d2 from 20m on. Each asks for 1 core, and d1 uses 0.5 cores, d2 2 cores.
		// d1: 1200 s × 0.5 = 600 used, 600 unused. d2: its container began at 20m10s, its first sample at 20m30s has 40 s of CPU;
		// until 60m it uses 2 × 2390 s = 4780, and asks for 10 s of 1 core in which its usage is not known.
		name: "1 same name, new uid",
		series: `
kube_pod_info{namespace="x",pod="db-0",uid="d1",node="n1"} -1h..19m30s=1 20m=stale
kube_pod_info{namespace="x",pod="db-0",uid="d2",node="n1"} 20m..2h=1
kube_pod_status_scheduled_time{namespace="x",pod="db-0",uid="d2"} 20m..2h=1800001200
kube_pod_container_resource_requests{namespace="x",pod="db-0",uid="d1",node="n1",container="c",resource="cpu"} -1h..19m30s=1 20m=stale
kube_pod_container_resource_requests{namespace="x",pod="db-0",uid="d2",node="n1",container="c",resource="cpu"} 20m..2h=1
container_cpu_usage_seconds_total{namespace="x",pod="db-0",container="c",id="/kubepods.slice/kubepods-podd1.slice/cri-containerd-1.scope"} -1h..20m=100+0.5
container_cpu_usage_seconds_total{namespace="x",pod="db-0",container="c",id="/kubepods.slice/kubepods-podd2.slice/cri-containerd-2.scope"} 20m30s..2h=40+2
container_start_time_seconds{namespace="x",pod="db-0",container="c",id="/kubepods.slice/kubepods-podd2.slice/cri-containerd-2.scope"} 20m30s..2h=1800001210
`,
		want: []string{
			"x/db-0/d1/c n1 0s-20m0s cpu 600/600/0 ram 0/0/0",
			"x/db-0/d2/c n1 20m0s-1h0m0s cpu 4780/0/10 ram 0/0/0",
		},
	},
	{
		// The same without a cgroup's path: usage goes to the pod that lived then.
		name: "1 same name, new uid, no id",
		series: `
kube_pod_info{namespace="x",pod="db-0",uid="d1",node="n1"} -1h..19m30s=1 20m=stale
kube_pod_info{namespace="x",pod="db-0",uid="d2",node="n1"} 20m..2h=1
container_memory_working_set_bytes{namespace="x",pod="db-0",container="c"} -1h..19m30s=100 20m..2h=10
`,
		want: []string{
			"x/db-0/d1/c n1 0s-20m0s cpu 0/0/0 ram 120000/0/0",
			"x/db-0/d2/c n1 20m0s-1h0m0s cpu 0/0/0 ram 24000/0/0",
		},
	},
	{
		// One name in two namespaces, and the same namespace and name in another cluster, whose node n1 has no capacity.
		name: "2 same pod name in two namespaces and two clusters",
		series: `
kube_pod_info{namespace="x",pod="p",uid="1",node="n1"} -1h..2h=1
kube_pod_info{namespace="y",pod="p",uid="2",node="n1"} -1h..2h=1
kube_pod_info{cluster="b",namespace="x",pod="p",uid="1",node="n1"} -1h..2h=1
kube_node_info{cluster="b",node="n1",provider_id="i-2"} -1h..2h=1
container_memory_working_set_bytes{namespace="x",pod="p",container="c"} -1h..2h=1
container_memory_working_set_bytes{namespace="y",pod="p",container="c"} -1h..2h=2
container_memory_working_set_bytes{cluster="b",namespace="x",pod="p",container="c"} -1h..2h=3
`,
		want: []string{
			"x/p/1/c n1 0s-1h0m0s cpu 0/0/0 ram 3600/0/0",
			"y/p/2/c n1 0s-1h0m0s cpu 0/0/0 ram 7200/0/0",
			"b/x/p/1/c n1 0s-1h0m0s cpu 0/0/0 ram 10800/0/0",
			"node b/n1 i-2 0s-1h0m0s blind 0s cpu 0/0/0 ram 0/0/0",
		},
	},
	{
		// Scheduled at 10m05s, completed at 10m25s, seen once at 10m30s: 20 s of 2 cores, of which nothing is known to be used, and
		// 100 bytes. The request was first seen after the end.
		name: "3 shorter than a scrape interval",
		series: `
kube_pod_info{namespace="x",pod="p",uid="1",node="n1"} 10m30s=1 11m=stale
kube_pod_status_scheduled_time{namespace="x",pod="p",uid="1"} 10m30s=1800000605 11m=stale
kube_pod_completion_time{namespace="x",pod="p",uid="1"} 10m30s=1800000625 11m=stale
kube_pod_status_phase{namespace="x",pod="p",uid="1",phase="Succeeded"} 10m30s=1 11m=stale
kube_pod_container_resource_requests{namespace="x",pod="p",uid="1",container="c",resource="cpu"} 10m30s=2 11m=stale
kube_pod_container_resource_requests{namespace="x",pod="p",uid="1",container="c",resource="memory"} 10m30s=100 11m=stale
`,
		want: []string{
			"x/p/1/c n1 10m5s-10m25s cpu 0/0/40 ram 0/0/2000",
			"warning usage_missing 1 x/p/c",
		},
	},
	{
		// done completed at 15m and is still there; its request counts for 900 s. half has lost one container, but runs. waiting has a
		// node since 30m and no container yet. homeless has none.
		name: "4 finished pods and pending pods",
		series: `
kube_pod_info{namespace="x",pod="done",uid="1",node="n1"} -1h..2h=1
kube_pod_completion_time{namespace="x",pod="done",uid="1"} 15m..2h=1800000900
kube_pod_status_phase{namespace="x",pod="done",uid="1",phase="Failed"} -1h..14m30s=0 15m..2h=1
kube_pod_container_resource_requests{namespace="x",pod="done",uid="1",container="c",resource="cpu"} -1h..2h=1
kube_pod_info{namespace="x",pod="half",uid="2",node="n1"} -1h..2h=1
kube_pod_completion_time{namespace="x",pod="half",uid="2"} 15m..2h=1800000900
kube_pod_status_phase{namespace="x",pod="half",uid="2",phase="Succeeded"} -1h..2h=0
kube_pod_container_resource_requests{namespace="x",pod="half",uid="2",container="c",resource="cpu"} -1h..2h=1
kube_pod_info{namespace="x",pod="waiting",uid="3",node=""} 20m..29m30s=1 30m=stale
kube_pod_info{namespace="x",pod="waiting",uid="3",node="n1"} 30m..2h=1
kube_pod_status_scheduled_time{namespace="x",pod="waiting",uid="3"} 30m..2h=1800001790
kube_pod_container_resource_requests{namespace="x",pod="waiting",uid="3",container="c",resource="cpu"} 20m..2h=1
kube_pod_info{namespace="x",pod="homeless",uid="4",node=""} -1h..2h=1
kube_pod_container_resource_requests{namespace="x",pod="homeless",uid="4",container="c",resource="cpu"} -1h..2h=1
`,
		want: []string{
			"x/done/1/c n1 0s-15m0s cpu 0/0/900 ram 0/0/0",
			"x/half/2/c n1 0s-1h0m0s cpu 0/0/3600 ram 0/0/0",
			"x/waiting/3/c n1 29m50s-1h0m0s cpu 0/0/1810 ram 0/0/0",
			"warning usage_missing 3 x/done/c",
		},
	},
	{
		// Containers ask for 0.5 + 0.25 (a sidecar), an init container for 2, and there is an overhead of 0.1: the pod holds 2.1, of it
		// 1.35 beyond its containers: 4860 core-seconds. Memory: 100 + 50 against 120, overhead 10: 10 beyond, 36000 byte-seconds.
		// CPU of c is known for the whole hour: all that is beyond is unused, but for what the init container used in the first
		// minute, 1 core: 60. Of memory nothing is known.
		name: "5 init containers, sidecars, overhead",
		series: `
kube_pod_info{namespace="x",pod="p",uid="1",node="n1"} 0s..2h=1
kube_pod_init_container_info{namespace="x",pod="p",uid="1",container="side",restart_policy="Always"} 0s..2h=1
kube_pod_init_container_info{namespace="x",pod="p",uid="1",container="init"} 0s..2h=1
kube_pod_container_resource_requests{namespace="x",pod="p",uid="1",container="c",resource="cpu"} 0s..2h=0.5
kube_pod_container_resource_requests{namespace="x",pod="p",uid="1",container="c",resource="memory"} 0s..2h=100
kube_pod_init_container_resource_requests{namespace="x",pod="p",uid="1",container="side",resource="cpu"} 0s..2h=0.25
kube_pod_init_container_resource_requests{namespace="x",pod="p",uid="1",container="side",resource="memory"} 0s..2h=50
kube_pod_init_container_resource_requests{namespace="x",pod="p",uid="1",container="init",resource="cpu"} 0s..2h=2
kube_pod_init_container_resource_requests{namespace="x",pod="p",uid="1",container="init",resource="memory"} 0s..2h=120
kube_pod_overhead_cpu_cores{namespace="x",pod="p",uid="1"} 0s..2h=0.1
kube_pod_overhead_memory_bytes{namespace="x",pod="p",uid="1"} 0s..2h=10
container_cpu_usage_seconds_total{namespace="x",pod="p",container="c"} 0s..2h=0+0.5
container_cpu_usage_seconds_total{namespace="x",pod="p",container="init"} 0s=0 30s=30 60s=60 90s=stale
`,
		want: []string{
			"x/p/1/__pod__ n1 0s-1h0m0s cpu 60/4800/0 ram 0/0/36000",
			"x/p/1/c n1 0s-1h0m0s cpu 1800/0/0 ram 0/0/360000",
			"x/p/1/side n1 0s-1h0m0s cpu 0/0/900 ram 0/0/180000",
			"warning usage_missing 1 x/p/side",
		},
	},
	{
		// Two kube-state-metrics, two sources of cAdvisor, cgroups of the pod, its sandbox and slices. The source with more samples, a,
		// counts; b fills a's gap from 20m to 40m, where it has 3 cores: 1200 × 3 + 2400 × 1. a's gap is longer than its bridge.
		name: "6 counted once",
		series: `
kube_pod_info{namespace="x",pod="p",uid="1",node="n1",instance="ksm-1"} -1h..2h=1
kube_pod_info{namespace="x",pod="p",uid="1",node="n1",instance="ksm-2"} -1h..2h=1
kube_pod_container_resource_requests{namespace="x",pod="p",uid="1",container="c",resource="cpu",instance="ksm-1"} -1h..2h=1
kube_pod_container_resource_requests{namespace="x",pod="p",uid="1",container="c",resource="cpu",instance="ksm-2"} -1h..2h=1
container_cpu_usage_seconds_total{namespace="x",pod="p",container="c",id="/kubepods/pod1/r",job="a"} -1h..20m=0+1 40m..2h=6000+1
container_cpu_usage_seconds_total{namespace="x",pod="p",container="c",id="/kubepods/pod1/r",job="b"} 10m..50m=50+3
container_cpu_usage_seconds_total{namespace="x",pod="p",container="POD",id="/kubepods/pod1/s",job="a"} -1h..2h=0+1
container_cpu_usage_seconds_total{namespace="x",pod="p",id="/kubepods/pod1",job="a"} -1h..2h=0+1
container_cpu_usage_seconds_total{id="/kubepods",job="a"} -1h..2h=0+1
container_cpu_usage_seconds_total{id="/",job="a"} -1h..2h=0+1
`,
		want: []string{"x/p/1/c n1 0s-1h0m0s cpu 6000/0/0 ram 0/0/0"},
	},
	{
		// n2 is one machine until 30m and another from 35m on; the second one was created at 34m50s. The capacity's series goes on
		// meanwhile. q lives on the first, r on the second.
		name: "7 names of nodes are reused",
		series: `
kube_node_info{node="n2",provider_id="i-2",instance="10.0.0.1"} -1h..29m30s=1 30m=stale
kube_node_info{node="n2",provider_id="i-3",instance="10.0.0.1"} 35m..2h=1
kube_node_created{node="n2"} -1h..29m30s=1700000000 30m=stale 35m..2h=1800002090
kube_node_status_capacity{node="n2",resource="cpu"} -1h..34m30s=2 35m..2h=8
kube_node_status_capacity{node="n2",resource="memory"} -1h..2h=100
kube_node_status_allocatable{node="n2",resource="cpu"} -1h..34m30s=2 35m..2h=8
kube_node_status_allocatable{node="n2",resource="memory"} -1h..2h=100
kube_pod_info{namespace="x",pod="q",uid="1",node="n2"} -1h..29m30s=1 30m=stale
kube_pod_info{namespace="x",pod="r",uid="2",node="n2"} 35m..2h=1
kube_pod_container_info{namespace="x",pod="q",uid="1",container="c"} -1h..29m30s=1
kube_pod_container_info{namespace="x",pod="r",uid="2",container="c"} 35m..2h=1
`,
		want: []string{
			"x/q/1/c n2 0s-30m0s cpu 0/0/0 ram 0/0/0",
			"x/r/2/c n2 35m0s-1h0m0s cpu 0/0/0 ram 0/0/0",
			// 1800 s × 2, 1510 s × 8
			"node n2 i-2 0s-30m0s blind 0s cpu 3600/3600/0 ram 180000/180000/0",
			"node n2 i-3 34m50s-1h0m0s blind 0s cpu 12080/12080/0 ram 151000/151000/0",
			"warning usage_missing 2 x/q/c",
		},
	},
	{
		// The team changes at 20m: 1200 s of 1 core for a, 2400 s for b. The namespace has one too, which the pod's wins over.
		name: "8 a label changes",
		series: `
kube_pod_info{namespace="x",pod="p",uid="1",node="n1"} -1h..2h=1
kube_pod_labels{namespace="x",pod="p",uid="1",label_app_kubernetes_io_team="a"} -1h..19m30s=1 20m=stale
kube_pod_labels{namespace="x",pod="p",uid="1",label_app_kubernetes_io_team="b"} 20m..2h=1
kube_namespace_labels{namespace="x",label_app_kubernetes_io_team="z"} -1h..2h=1
container_cpu_usage_seconds_total{namespace="x",pod="p",container="c"} -1h..2h=0+1
`,
		want: []string{
			"x/p/1/c n1 0s-20m0s cpu 1200/0/0 ram 0/0/0 app.kubernetes.io/team=a",
			"x/p/1/c n1 20m0s-1h0m0s cpu 2400/0/0 ram 0/0/0 app.kubernetes.io/team=b",
		},
	},
	{
		// A restart at 30m10s. The first run has 1 core until its last sample at 30m: 1800. The second began at 30m10s and has used 40 s at
		// 30m30s, then 2 cores: 40 + 2 × 1770. 10 s are not known. The request is 4 cores: 14400 - 40 (not known) - 5380.
		// The first run's memory has no marker; it ends where the second's begins.
		name: "9 restarts",
		series: `
kube_pod_info{namespace="x",pod="p",uid="1",node="n1"} -1h..2h=1
kube_pod_container_resource_requests{namespace="x",pod="p",uid="1",container="c",resource="cpu"} -1h..2h=4
kube_pod_container_state_started{namespace="x",pod="p",uid="1",container="c"} -1h..30m=1700000000 30m30s..2h=1800001810
container_cpu_usage_seconds_total{namespace="x",pod="p",container="c",id="/kubepods/burstable/pod1/r9"} -1h..30m=7+1
container_cpu_usage_seconds_total{namespace="x",pod="p",container="c",id="/kubepods/burstable/pod1/r10"} 30m30s..2h=40+2
container_memory_working_set_bytes{namespace="x",pod="p",container="c",id="/kubepods/burstable/pod1/r9"} -1h..30m=100
container_memory_working_set_bytes{namespace="x",pod="p",container="c",id="/kubepods/burstable/pod1/r10"} 30m30s..2h=10
`,
		want: []string{"x/p/1/c n1 0s-1h0m0s cpu 5380/8980/40 ram 200700/0/0"},
	},
	{
		// The series are all gone from 20m to 40m. Values hold until 25m (19m30s + 5 min = 24m30s). The pod has not gone; what it asked
		// for is not known from then on: 1470 + 1200 s of 1 core. Usage is known until its last sample before, 19m30s, so 300 s of the
		// request are unknown. The node has not gone either, but is blind for 930 s: 3720 core-seconds. That time has rows of its own.
		name: "10 the scraper is down",
		series: `
kube_node_info{node="n3",provider_id="i-3"} -1h..19m30s=1 40m..2h=1
kube_node_status_capacity{node="n3",resource="cpu"} -1h..19m30s=4 40m..2h=4
kube_node_status_capacity{node="n3",resource="memory"} -1h..19m30s=100 40m..2h=100
kube_node_status_allocatable{node="n3",resource="cpu"} -1h..19m30s=4 40m..2h=4
kube_node_status_allocatable{node="n3",resource="memory"} -1h..19m30s=100 40m..2h=100
kube_pod_info{namespace="x",pod="p",uid="1",node="n3"} -1h..19m30s=1 40m..2h=1
kube_pod_container_resource_requests{namespace="x",pod="p",uid="1",container="c",resource="cpu"} -1h..19m30s=1 40m..2h=1
container_cpu_usage_seconds_total{namespace="x",pod="p",container="c"} -1h..19m30s=0+0.5 40m..2h=9999+0.5
`,
		want: []string{
			"x/p/1/c n3 0s-24m30s cpu 585/585/300 ram 0/0/0",
			"x/p/1/c n3 24m30s-40m0s cpu 0/0/0 ram 0/0/0",
			"x/p/1/c n3 40m0s-1h0m0s cpu 600/600/0 ram 0/0/0",
			"node n3 i-3 0s-24m30s blind 0s cpu 5880/5880/0 ram 147000/147000/0",
			"node n3 i-3 24m30s-40m0s blind 15m30s cpu 3720/3720/3720 ram 93000/93000/93000",
			"node n3 i-3 40m0s-1h0m0s blind 0s cpu 4800/4800/0 ram 120000/120000/0",
		},
	},
	{
		// 1 core until 15m, then 3. Usage is 2: 900 s × 2 used, then 2700 s × 2 used and × 1 unused.
		name: "11 in-place resize",
		series: `
kube_pod_info{namespace="x",pod="p",uid="1",node="n1"} -1h..2h=1
kube_pod_container_resource_requests{namespace="x",pod="p",uid="1",container="c",resource="cpu"} -1h..14m30s=1 15m..2h=3
container_cpu_usage_seconds_total{namespace="x",pod="p",container="c"} -1h..2h=0+2
`,
		want: []string{"x/p/1/c n1 0s-1h0m0s cpu 7200/2700/0 ram 0/0/0"},
	},
	{
		// At 10m the counter jumps by 900 s in 30 s. The node has 4 cores: 120 s. Memory of 5000 is more than the node's 1000.
		name: "14 spikes are bounded",
		series: `
kube_pod_info{namespace="x",pod="p",uid="1",node="n1"} -1h..2h=1
container_cpu_usage_seconds_total{namespace="x",pod="p",container="c"} -1h..9m30s=0 10m..2h=900
container_memory_working_set_bytes{namespace="x",pod="p",container="c"} -1h..9m30s=0 10m=5000 10m30s..2h=0
`,
		want: []string{
			"x/p/1/c n1 0s-1h0m0s cpu 120/0/0 ram 30000/0/0",
			"warning usage_bounded 2 x/p/c",
		},
	},
	{
		// A marker off the grid ends the pod and its request at 20m07s, and its memory at 20m03s. 1207 s × 1 core are unknown.
		name: "15 markers off the grid",
		series: `
kube_pod_info{namespace="x",pod="p",uid="1",node="n1"} -1h..20m=1 20m7s=stale
kube_pod_container_resource_requests{namespace="x",pod="p",uid="1",container="c",resource="cpu"} -1h..20m=1 20m7s=stale
container_memory_working_set_bytes{namespace="x",pod="p",container="c"} -1h..20m=100 20m3s=stale
`,
		want: []string{"x/p/1/c n1 0s-20m7s cpu 0/0/1207 ram 120300/0/0"},
	},
}

package join

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/quantity"
	"github.com/varve-io/varve/pkg/series"
)

// 13. Of the ReplicaSets new is exported, alone has no owner, old has vanished; of the Jobs one has vanished.
func TestControllers(t *testing.T) {
	h := load(t, n1, `
kube_pod_info{namespace="x",pod="bare",uid="1",node="n1",created_by_kind="<none>",created_by_name="<none>"} -1h..2h=1
kube_pod_info{namespace="x",pod="created",uid="2",node="n1",created_by_kind="StatefulSet",created_by_name="db"} -1h..2h=1
kube_pod_info{namespace="x",pod="known",uid="3",node="n1"} -1h..2h=1
kube_pod_info{namespace="x",pod="alone",uid="4",node="n1"} -1h..2h=1
kube_pod_info{namespace="x",pod="vanished",uid="5",node="n1"} -1h..2h=1
kube_pod_info{namespace="x",pod="cron",uid="6",node="n1"} -1h..2h=1
kube_pod_info{namespace="x",pod="nightly",uid="7",node="n1"} -1h..2h=1
kube_pod_info{namespace="x",pod="job",uid="8",node="n1"} -1h..2h=1
kube_pod_owner{namespace="x",pod="bare",uid="1",owner_kind="<none>",owner_name="<none>"} -1h..2h=1
kube_pod_owner{namespace="x",pod="known",uid="3",owner_kind="ReplicaSet",owner_name="odd-name"} -1h..2h=1
kube_pod_owner{namespace="x",pod="alone",uid="4",owner_kind="ReplicaSet",owner_name="alone-5d4f8c7b9d"} -1h..2h=1
kube_pod_owner{namespace="x",pod="vanished",uid="5",owner_kind="ReplicaSet",owner_name="web-api-5d4f8c7b9d"} -1h..2h=1
kube_pod_owner{namespace="x",pod="cron",uid="6",owner_kind="Job",owner_name="weekly-1"} -1h..2h=1
kube_pod_owner{namespace="x",pod="nightly",uid="7",owner_kind="Job",owner_name="nightly-29384160"} -1h..2h=1
kube_pod_owner{namespace="x",pod="job",uid="8",owner_kind="Job",owner_name="import-abcdefgh"} -1h..2h=1
kube_replicaset_owner{namespace="x",replicaset="odd-name",owner_kind="Deployment",owner_name="odd"} -1h..2h=1
kube_replicaset_owner{namespace="x",replicaset="alone-5d4f8c7b9d",owner_kind="<none>",owner_name="<none>"} -1h..2h=1
kube_job_owner{namespace="x",job_name="weekly-1",owner_kind="CronJob",owner_name="weekly"} -1h..2h=1
kube_pod_container_info{namespace="x",pod="bare",uid="1",container="c"} -1h..2h=1
kube_pod_container_info{namespace="x",pod="created",uid="2",container="c"} -1h..2h=1
kube_pod_container_info{namespace="x",pod="known",uid="3",container="c"} -1h..2h=1
kube_pod_container_info{namespace="x",pod="alone",uid="4",container="c"} -1h..2h=1
kube_pod_container_info{namespace="x",pod="vanished",uid="5",container="c"} -1h..2h=1
kube_pod_container_info{namespace="x",pod="cron",uid="6",container="c"} -1h..2h=1
kube_pod_container_info{namespace="x",pod="nightly",uid="7",container="c"} -1h..2h=1
kube_pod_container_info{namespace="x",pod="job",uid="8",container="c"} -1h..2h=1
`).hour(Options{})
	got := map[string]cost.Controller{}
	for _, w := range h.Workloads {
		got[w.Pod] = w.Controller
	}
	want := map[string]cost.Controller{
		"bare": {Kind: "Pod", Name: "bare"}, "created": {Kind: "StatefulSet", Name: "db"}, "known": {Kind: "Deployment", Name: "odd"},
		"alone": {Kind: "ReplicaSet", Name: "alone-5d4f8c7b9d"}, "vanished": {Kind: "Deployment", Name: "web-api"},
		"cron": {Kind: "CronJob", Name: "weekly"}, "nightly": {Kind: "CronJob", Name: "nightly"}, "job": {Kind: "Job", Name: "import-abcdefgh"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// What is only described, not added up: classes, labels, peaks, sketches.
func TestDescriptions(t *testing.T) {
	h := load(t, strings.ReplaceAll(n1, "=1000", "=16e9"), `
kube_node_labels{node="n1",label_kubernetes_io_hostname="n1",label_node_kubernetes_io_instance_type="m5.xlarge",label_topology_kubernetes_io_region="eu-1",label_topology_kubernetes_io_zone="eu-1a",label_karpenter_sh_capacity_type="spot",label_pool="n1-pool"} -1h..2h=1
kube_pod_info{exported_namespace="x",exported_pod="p",namespace="monitoring",pod="ksm-0",uid="1",node="n1",priority_class="high"} -1h..2h=1
kube_pod_status_qos_class{namespace="x",pod="p",uid="1",qos_class="Burstable"} -1h..2h=1
kube_pod_status_qos_class{namespace="x",pod="p",uid="1",qos_class="Guaranteed"} -1h..2h=0
kube_namespace_labels{namespace="x",label_cost_center="7"} -1h..2h=1
kube_pod_container_resource_limits{namespace="x",pod="p",uid="1",container="c",resource="cpu"} -1h..2h=2
kube_pod_container_resource_requests{namespace="x",pod="p",uid="1",container="c",resource="nvidia_com_gpu"} -1h..2h=1
container_cpu_usage_seconds_total{namespace="x",pod="p",container="c"} -1h..30m=0+0.005 30m30s..2h=27.0375+0.015
container_memory_working_set_bytes{namespace="x",pod="p",container="c"} -1h..2h=15000000
`).hour(Options{Labels: []string{"cost-center"}})
	want := cost.Workload{
		Owner: cost.Owner{Namespace: "x", Pod: "p", UID: "1", QoS: "Burstable", Priority: "high",
			Controller: cost.Controller{Kind: "Pod", Name: "p"}, Labels: cost.Labels{{Name: "cost-center", Value: "7"}}},
		Container: "c", Node: "n1", Provider: "i-1", From: begin, To: begin + hourLength, Alive: hourLength,
		// 1800 s × 0.005; 0.0375 in the 30 s after; 1770 s × 0.015.
		CPU:      cost.Held{Used: 9_000_000 + 37_500 + 26_550_000, Limit: 7200_000_000},
		RAM:      cost.Held{Used: 15_000_000 * 3600},
		GPU:      cost.Held{Request: 3600_000_000, Unknown: 3600_000_000},
		CPUKnown: hourLength, RAMKnown: hourLength, CPUPeak: 15, RAMPeak: 15_000_000,
		CPUSketch: cost.Sketch{{Index: 0, Millis: 1_830_000}, {Index: 1, Millis: 1_770_000}},
		RAMSketch: cost.Sketch{{Index: 1, Millis: hourLength}},
	}
	if d := cmp.Diff([]cost.Workload{want}, h.Workloads); d != "" {
		t.Error(d)
	}
	n := h.Nodes[0]
	if n.InstanceType != "m5.xlarge" || n.Region != "eu-1" || n.Zone != "eu-1a" || !n.Spot {
		t.Errorf("node is %+v", n)
	}
	if slices.ContainsFunc(n.Labels, func(l cost.Label) bool { return strings.Contains(l.Value, "n1") }) {
		t.Errorf("labels %v name one node", n.Labels)
	}
}

func TestMissingMetrics(t *testing.T) {
	usage := `container_memory_working_set_bytes{namespace="x",pod="p",container="c"} -1h..2h=1`
	for _, c := range []struct {
		name   string
		series []string
		want   []string
	}{
		{"nothing", nil, nil},
		{"no kube_pod_info", []string{n1, usage}, []string{
			"node n1 i-1 0s-1h0m0s blind 1h0m0s cpu 14400/12600/14400 ram 3.6e+06/3.24e+06/3.6e+06", "warning pods_missing 1 kube_pod_info", "warning usage_without_pod 1 x/p"}},
		{"no kube_node_info", []string{agent}, []string{"warning nodes_missing 1 kube_node_info"}},
		{"no allocatable", []string{n1[:strings.Index(n1, "kube_node_status_allocatable")], agent}, []string{
			"node n1 i-1 0s-1h0m0s blind 0s cpu 14400/14400/0 ram 3.6e+06/3.6e+06/0", "warning allocatable_missing 1 n1"}},
	} {
		if d := cmp.Diff(c.want, text(load(t, c.series...).hour(Options{}))); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

func TestRowsDependOnSamplesOnly(t *testing.T) {
	for _, p := range pitfalls {
		w := load(t, n1, agent, p.series)
		want := w.hour(Options{})
		for seed := range uint64(5) {
			w.seed = seed + 1
			slices.Reverse(w.series)
			if d := cmp.Diff(want, w.hour(Options{})); d != "" {
				t.Fatalf("%s: %s", p.name, d)
			}
		}
	}
}

func TestCgroup(t *testing.T) {
	const uid = "8a3f0d1c-6f1e-4c6e-9f0a-1234567890ab"
	for id, want := range map[string][2]string{
		"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod8a3f0d1c_6f1e_4c6e_9f0a_1234567890ab.slice/cri-containerd-77.scope": {uid, "cri-containerd-77.scope"},
		"/kubepods/besteffort/pod" + uid + "/77": {uid, "77"},
		"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod8a3f0d1c_6f1e_4c6e_9f0a_1234567890ab.slice/crio-77.scope": {uid, "crio-77.scope"},
		"/docker/77": {"", "77"},
		"":           {"", ""},
		"/":          {"", ""},
	} {
		if uid, run := cgroup(id); uid != want[0] || run != want[1] {
			t.Errorf("%s: %q, %q", id, uid, run)
		}
	}
}

type broken struct{ series.Set }

func (broken) Next() bool   { return false }
func (broken) Err() error   { return errors.New("a block is gone") }
func (broken) Close() error { return nil }

func (b broken) Select(context.Context, series.Query) (series.Set, error) { return b, nil }

func TestErrors(t *testing.T) {
	if _, err := Hour(t.Context(), broken{}, Options{Start: begin}); err == nil || !strings.Contains(err.Error(), "a block is gone") {
		t.Errorf("a broken set: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Hour(ended, load(t, n1, agent), Options{Start: begin}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if _, err := Hour(t.Context(), load(t), Options{Start: begin + 1}); err == nil || !strings.Contains(err.Error(), "full hour") {
		t.Errorf("no full hour: %v", err)
	}
}

func TestSpans(t *testing.T) {
	a := union([]span{{5, 9}, {1, 3}, {2, 4}, {7, 7}, {9, 11}, {20, 30}})
	if d := cmp.Diff([]span{{1, 4}, {5, 11}, {20, 30}}, a, cmp.AllowUnexported(span{})); d != "" {
		t.Error(d)
	}
	got := without(a, []span{{0, 2}, {6, 7}, {10, 25}, {30, 40}})
	if d := cmp.Diff([]span{{2, 4}, {5, 6}, {7, 10}, {25, 30}}, got, cmp.AllowUnexported(span{})); d != "" {
		t.Error(d)
	}
	lanes := []lane[quantity.Level]{{samples: 1, pieces: []quantity.Level{{From: 0, To: 10, Value: 1}}}, {samples: 2, pieces: []quantity.Level{{From: 2, To: 4, Value: 2}}}}
	if d := cmp.Diff([]quantity.Level{{From: 0, To: 2, Value: 1}, {From: 2, To: 4, Value: 2}, {From: 4, To: 10, Value: 1}}, overlay(lanes)); d != "" {
		t.Error(d)
	}
}

// 12. Bytes of the pod's own interface count, once; not what the host has of it, lo, or the node's that a pod in its network shows.
func TestTraffic(t *testing.T) {
	h := load(t, n1, `
kube_pod_info{namespace="x",pod="p",uid="1",node="n1",host_network="false"} -1h..2h=1
kube_pod_info{namespace="x",pod="q",uid="2",node="n1",host_network="true"} -1h..2h=1
container_network_receive_bytes_total{namespace="x",pod="p",container="POD",interface="eth0",id="/kubepods/pod1/s",job="a"} -1h..2h=5+10
container_network_receive_bytes_total{namespace="x",pod="p",container="POD",interface="eth0",id="/kubepods/pod1/s",job="b"} -1h..1h=5+10
container_network_receive_bytes_total{namespace="x",pod="p",container="POD",interface="eth1",id="/kubepods/pod1/s",job="a"} -1h..2h=0+1
container_network_receive_bytes_total{namespace="x",pod="p",container="POD",interface="lo",id="/kubepods/pod1/s",job="a"} -1h..2h=0+100
container_network_transmit_bytes_total{namespace="x",pod="p",interface="eth0",id="/kubepods/pod1",job="a"} -1h..2h=0+20
container_network_transmit_bytes_total{namespace="x",pod="p",interface="veth12",id="/kubepods/pod1",job="a"} -1h..2h=0+20
container_network_transmit_bytes_total{namespace="x",pod="q",interface="eth0",id="/kubepods/pod2",job="a"} -1h..2h=0+20
container_fs_reads_bytes_total{namespace="x",pod="p",container="c",device="/dev/sda",id="/kubepods/pod1/r"} -1h..2h=0+2
container_fs_reads_bytes_total{namespace="x",pod="p",container="c",device="/dev/sdb",id="/kubepods/pod1/r"} -1h..2h=0+3
container_fs_writes_bytes_total{namespace="x",pod="p",container="c",device="/dev/sdb",id="/kubepods/pod1/r"} -1h..2h=0+4
`).hour(Options{})
	if len(h.Workloads) != 2 {
		t.Fatalf("%d rows: %v", len(h.Workloads), text(h))
	}
	if got, want := h.Workloads[0].Network, (cost.Network{Received: 39_600, Sent: 72_000}); got != want {
		t.Errorf("network %+v, want %+v", got, want)
	}
	if got, want := h.Workloads[1].Disk, (cost.Disk{Read: 18_000, Written: 14_400}); got != want {
		t.Errorf("disk %+v, want %+v", got, want)
	}
}

// Two devices, one of them busy at 0.5, the other at 0.25 and known from 30m on only: 1800 s × 0.75 are used of 1800 s × 2. A device that
// the exporter says is its own is nobody's.
func TestGPU(t *testing.T) {
	h := load(t, n1, `
kube_pod_info{namespace="x",pod="p",uid="1",node="n1"} -1h..2h=1
kube_pod_info{namespace="gpu",pod="dcgm",uid="2",node="n1"} -1h..2h=1
kube_pod_container_resource_requests{namespace="x",pod="p",uid="1",container="c",resource="nvidia_com_gpu"} -1h..2h=2
kube_pod_container_info{namespace="gpu",pod="dcgm",uid="2",container="exporter"} -1h..2h=1
DCGM_FI_PROF_GR_ENGINE_ACTIVE{UUID="GPU-1",exported_namespace="x",exported_pod="p",exported_container="c",namespace="gpu",pod="dcgm",container="exporter"} -1h..2h=0.5
DCGM_FI_PROF_GR_ENGINE_ACTIVE{UUID="GPU-2",exported_namespace="x",exported_pod="p",exported_container="c",namespace="gpu",pod="dcgm",container="exporter"} 30m..2h=0.25
DCGM_FI_PROF_GR_ENGINE_ACTIVE{UUID="GPU-3",namespace="gpu",pod="dcgm",container="exporter"} -1h..2h=1
DCGM_FI_PROF_GR_ENGINE_ACTIVE{UUID="GPU-4",namespace="gpu",pod="unseen",container="exporter"} -1h..2h=0
DCGM_FI_DEV_GPU_UTIL{UUID="GPU-1",exported_namespace="x",exported_pod="p",exported_container="c"} -1h..2h=99
`).hour(Options{})
	if slices.ContainsFunc(h.Warnings, func(w cost.Warning) bool { return w.Name == UsageWithoutPod }) {
		t.Errorf("a GPU that nobody has is usage: %+v", h.Warnings)
	}
	want := cost.Held{Used: 1350_000_000, Unused: 2250_000_000, Unknown: 3600_000_000, Request: 7200_000_000}
	if len(h.Workloads) != 2 || h.Workloads[0].GPU != (cost.Held{}) || h.Workloads[1].GPU != want || h.Workloads[1].GPUKnown != 1800_000 {
		t.Errorf("got %+v", text(h))
	}
}

// A device that is the container's in other hours only says nothing of this one, however its samples are dealt out to chunks.
func TestGPUOfOtherHours(t *testing.T) {
	w := load(t, n1, `
kube_pod_info{namespace="x",pod="p",uid="1",node="n1"} -2h..3h=1
kube_pod_container_resource_requests{namespace="x",pod="p",uid="1",container="c",resource="nvidia_com_gpu"} -2h..3h=1
DCGM_FI_PROF_GR_ENGINE_ACTIVE{UUID="GPU-1",exported_namespace="x",exported_pod="p",exported_container="c"} -2h..-31m=1 91m..3h=1
DCGM_FI_DEV_GPU_UTIL{UUID="GPU-2",exported_namespace="x",exported_pod="p",exported_container="c"} -2h..3h=50
`)
	for w.seed = range uint64(8) {
		together, err := Hours(t.Context(), w, Options{}, []int64{begin - hourLength, begin, begin + hourLength})
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range []*cost.Hour{w.hour(Options{}), together[1]} {
			if got := h.Workloads[0]; got.GPU.Used != 1800_000_000 || got.GPUKnown != 3600_000 {
				t.Errorf("seed %d: %+v, known for %d ms", w.seed, got.GPU, got.GPUKnown)
			}
		}
	}
}

package join

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/price"
	"github.com/varve-io/varve/pkg/tenant"
)

// m1 has 4 cores, of which 3.5 are allocatable, and 8 GiB. A core-second is 0.00001, a GiB-second 0.000001: so an hour is 0.144 + 0.0288, of it system
// 0.018, and 0.126 + 0.0288 = 0.1548 to hold. GiB are typed as 1073741824.
const m1 = `
kube_node_info{node="n1",provider_id="i-1"} -1h..3h=1
kube_node_status_capacity{node="n1",resource="cpu"} -1h..3h=4
kube_node_status_capacity{node="n1",resource="memory"} -1h..3h=8589934592
kube_node_status_allocatable{node="n1",resource="cpu"} -1h..3h=3.5
kube_node_status_allocatable{node="n1",resource="memory"} -1h..3h=8589934592
kube_pod_info{namespace="kube-system",pod="agent",uid="a",node="n1"} -1h..3h=1
`

const billsBook = `currency: EUR
prices:
- from: 2027-01-01
  nodes: [{cpu_core_hour: 0.036, ram_gib_hour: 0.0036}]
  network: [{match: {direction: sent}, gib: 0.64}]
- from: 2027-01-15T09:00:00Z   # an hour after the tests begin
  nodes: [{cpu_core_hour: 0.072, ram_gib_hour: 0.0036}]
`

type billCase struct {
	name, by string
	hours    int64 // 0 is 1
	series   string
	want     []string // lines; of workloads used + unused + usage_unknown
	total    string   // 0.1728 if it is ""
	book     string   // billsBook if it is ""
}

const classesBook = `currency: EUR
prices:
- from: 2027-01-01
  nodes: [{cpu_core_hour: 0.036, ram_gib_hour: 0.0036}]
  network:
  - {match: {direction: sent, class: internet}, gib: 0.64}
  - {match: {class: cross_zone}, gib: 0.16}
  - {match: {direction: sent, class: unclassified}, gib: 0.32}
`

// TestPitfallsInMoney goes from samples typed by hand to the printed report.
func TestPitfallsInMoney(t *testing.T) {
	for _, c := range bills {
		t.Run(c.name, func(t *testing.T) {
			got, total := printed(t, load(t, m1, c.series), &c)
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
			want := c.total
			if want == "" {
				want = "0.1728"
			}
			if total != want {
				t.Errorf("total %s, want %s", total, want)
			}
		})
	}
}

// printed is the report's lines and total.
func printed(t *testing.T, w *world, c *billCase) (out []string, total string) {
	t.Helper()
	prices := billsBook
	if c.book != "" {
		prices = c.book
	}
	book, err := price.Parse([]byte(prices))
	if err != nil {
		t.Fatal(err)
	}
	q := cost.Query{From: begin, To: begin + max(c.hours, 1)*hourLength, By: strings.Split(c.by, ",")}
	b, err := cost.NewBuilder(q, book)
	if err != nil {
		t.Fatal(err)
	}
	for l, err := range Ledgers(t.Context(), w, Options{Tenant: tenant.Anonymous, Labels: q.LabelNames()}, q) {
		if err == nil {
			err = b.Add(l)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	r, err := b.Report()
	if err != nil || r.Residual != "0" {
		t.Fatalf("%+v: %v", r, err)
	}
	for _, l := range r.Lines {
		text := fmt.Sprintf("%s %s %v", l.Kind, strings.Join(l.Key, "/"), l.Cost)
		if l.Kind == cost.Workloads {
			text = fmt.Sprintf("%s %v + %v + %v", strings.Join(l.Key, "/"), l.Used, l.Unused, l.UsageUnknown)
		}
		out = append(out, text)
	}
	for _, w := range r.Warnings {
		if w.Name != UsageMissing && w.Name != cost.WorkloadWithoutNode {
			out = append(out, fmt.Sprintf("warning %s %d", w.Name, w.Count))
		}
	}
	return out, r.Total.String()
}

// pitfallSeries are those of TestPitfalls, which works out their core-seconds.
func pitfallSeries(name string) string {
	return pitfalls[slices.IndexFunc(pitfalls, func(p pitfall) bool { return p.name == name })].series
}

var bills = []billCase{
	{
		// d1: 600 + 600 core-seconds; d2: 4780 and 10 of which usage isn't known. Idle: 12600 - 5990 = 6610 core-seconds, and all RAM.
		name: "1 same name, new uid", by: "uid", series: pitfallSeries("1 same name, new uid"),
		want: []string{"d1 0.006 + 0.006 + 0", "d2 0.0478 + 0 + 0.0001", "idle  0.0949", "system  0.018"},
	},
	{
		// 1, 2 and 3 GiB for an hour: 0.0036 each. Cluster b has a node like m1. Idle is 0.1548 - 0.0108 in each.
		name: "2 same pod name in two namespaces and two clusters", by: "cluster,namespace", total: "0.3456",
		series: strings.ReplaceAll(m1, "{", `{cluster="b",`) + `
kube_pod_info{namespace="x",pod="p",uid="1",node="n1"} -1h..2h=1
kube_pod_info{namespace="y",pod="p",uid="2",node="n1"} -1h..2h=1
kube_pod_info{cluster="b",namespace="x",pod="p",uid="1",node="n1"} -1h..2h=1
container_memory_working_set_bytes{namespace="x",pod="p",container="c"} -1h..2h=1073741824
container_memory_working_set_bytes{namespace="y",pod="p",container="c"} -1h..2h=2147483648
container_memory_working_set_bytes{cluster="b",namespace="x",pod="p",container="c"} -1h..2h=3221225472
`,
		want: []string{"/x 0.0036 + 0 + 0", "/y 0.0072 + 0 + 0", "b/x 0.0108 + 0 + 0", "idle / 0.144", "idle b/ 0.144", "system / 0.018", "system b/ 0.018"},
	},
	{
		// 20 s of 2 cores and 1 GiB, which were asked for: 0.0004 + 0.00002. Nothing of it is known to be used.
		name: "3 shorter than a scrape interval", by: "pod",
		series: strings.ReplaceAll(pitfallSeries("3 shorter than a scrape interval"), "10m30s=100 ", "10m30s=1073741824 "),
		want:   []string{"p 0 + 0 + 0.00042", "idle  0.15438", "system  0.018"},
	},
	{
		// 900, 3600 and 1810 core-seconds are asked for; the pod without a node has none. Idle: 0.1548 - 0.0631.
		name: "4 finished pods and pending pods", by: "pod", series: pitfallSeries("4 finished pods and pending pods"),
		want: []string{"done 0 + 0 + 0.009", "half 0 + 0 + 0.036", "waiting 0 + 0 + 0.0181", "idle  0.0917", "system  0.018"},
	},
	{
		// The pod holds 2 (init) + 0.1 (overhead) cores: 7560 core-seconds; c uses the 1800 it asks for, of the sidecar's 900 nothing is known, and of the
		// 4860 beyond them 60 were used by init. Memory: c and side ask for 100 and 50 bytes, next to nothing; they are taken out.
		name: "5 init containers, sidecars, overhead", by: "container",
		series: withoutMemory(pitfallSeries("5 init containers, sidecars, overhead")),
		want:   []string{"__pod__ 0.0006 + 0.048 + 0", "c 0.018 + 0 + 0", "side 0 + 0 + 0.009", "idle  0.0792", "system  0.018"},
	},
	{
		// 6000 core-seconds, once. Idle: 12600 - 6000.
		name: "6 counted once", by: "namespace", series: pitfallSeries("6 counted once"),
		want: []string{"x 0.06 + 0 + 0", "idle  0.0948", "system  0.018"},
	},
	{
		// n2 is a machine of 2 cores for 1800 s, then one of 8 for 1510 s, each with 1 GiB: 3600 + 12080 core-seconds, 3310 GiB-seconds: 0.1568 + 0.00331. q
		// asks for 1 core until 30m, r from 35m on: 1800 + 1500.
		name: "7 names of nodes are reused", by: "node", total: "0.33291",
		series: strings.NewReplacer("=100\n", "=1073741824\n", `resource="memory"} -1h..2h=100`, `resource="memory"} -1h..2h=1073741824`).Replace(
			pitfallSeries("7 names of nodes are reused")) + `
kube_pod_container_resource_requests{namespace="x",pod="q",uid="1",container="c",resource="cpu"} -1h..29m30s=1 30m=stale
kube_pod_container_resource_requests{namespace="x",pod="r",uid="2",container="c",resource="cpu"} 35m..2h=1
`,
		want: []string{"n2 0 + 0 + 0.033", "idle n1 0.1548", "idle n2 0.12711", "system n1 0.018"},
	},
	{
		// 1200 core-seconds for a, 2400 for b. Idle: 12600 - 3600.
		name: "8 a label changes", by: "label:app.kubernetes.io/team", series: pitfallSeries("8 a label changes"),
		want: []string{"a 0.012 + 0 + 0", "b 0.024 + 0 + 0", "idle  0.1188", "system  0.018"},
	},
	{
		// 5380 used, 8980 unused and 40 not known are all of the node's 14400 core-seconds: nothing idle, and no system. RAM: 1 GiB, which holds until
		// the next run's first sample at 30m30s, then a half: 1830 + 885 GiB-seconds used; idle is the rest, 28800 - 2715.
		name: "9 restarts", by: "namespace",
		series: strings.NewReplacer("30m=100\n", "30m=1073741824\n", "2h=10\n", "2h=536870912\n").Replace(pitfallSeries("9 restarts")),
		want:   []string{"x 0.056515 + 0.0898 + 0.0004", "idle  0.026085"},
	},
	{
		// n3 has 4 cores and 1 GiB, all allocatable, and is blind for 930 s: 0.0372 + 0.00093 unknown. Else 10680 core-seconds, of which p held 2670, and 2670 GiB-seconds:
		// idle are 8010 and 2670.
		name: "10 the scraper is down", by: "node", total: "0.3204", series: strings.ReplaceAll(pitfallSeries("10 the scraper is down"), "=100", "=1073741824"),
		want: []string{"n3 0.01185 + 0.01185 + 0.003", "idle n1 0.1548", "idle n3 0.08277", "system n1 0.018", "unknown n3 0.03813"},
	},
	{
		// The same, but only of kube-state-metrics: usage of 0.5 cores is known throughout. In blind time, 465 core-seconds, it is no part of what was held:
		// 2670 s × 0.5 are used, and as much unused.
		name: "10 only pods' facts are missing", by: "node", total: "0.3204",
		series: strings.NewReplacer("=100", "=1073741824", `container="c"} -1h..19m30s=0+0.5 40m..2h=9999+0.5`, `container="c"} -1h..2h=0+0.5`).Replace(
			pitfallSeries("10 the scraper is down")),
		want: []string{"n3 0.01335 + 0.01335 + 0", "idle n1 0.1548", "idle n3 0.08277", "system n1 0.018", "unknown n3 0.03813"},
	},
	{
		// Two hours; CPU costs twice as much in the second. 1 core is asked for until 15m, then 3; 2 are used.
		// First hour: 7200 used, 2700 unused, idle 12600 - 9900 = 2700, system 1800: 0.072, 0.027, 0.027, 0.018.
		// Second one: 7200 used, 3600 unused, idle 1800, system 1800, at 0.00002: 0.144, 0.072, 0.036, 0.036. RAM is idle: 2 × 0.0288.
		name: "11 in-place resize, a price that changes", by: "pod", hours: 2, total: "0.4896",
		series: `
kube_pod_info{namespace="x",pod="p",uid="1",node="n1"} -1h..3h=1
kube_pod_container_resource_requests{namespace="x",pod="p",uid="1",container="c",resource="cpu"} -1h..14m30s=1 15m..3h=3
container_cpu_usage_seconds_total{namespace="x",pod="p",container="c"} -1h..3h=0+2
`,
		want: []string{"p 0.216 + 0.099 + 0", "idle  0.1206", "system  0.054"},
	},
	{
		// p sends 1 MiB a second by eth0: 3600 / 1024 GiB × 0.64 = 2.25. What it receives costs nothing; lo, the host's end of its interface, and q,
		// which shows the node's bytes, don't count.
		name: "12 traffic of the host, of lo and of both ends", by: "pod", total: "2.4228",
		series: `
kube_pod_info{namespace="x",pod="p",uid="1",node="n1",host_network="false"} -1h..2h=1
kube_pod_info{namespace="x",pod="q",uid="2",node="n1",host_network="true"} -1h..2h=1
container_network_receive_bytes_total{namespace="x",pod="p",interface="eth0",id="/kubepods/pod1"} -1h..2h=0+1048576
container_network_transmit_bytes_total{namespace="x",pod="p",interface="eth0",id="/kubepods/pod1"} -1h..2h=0+1048576
container_network_transmit_bytes_total{namespace="x",pod="p",interface="lo",id="/kubepods/pod1"} -1h..2h=0+1048576
container_network_transmit_bytes_total{namespace="x",pod="p",interface="veth12",id="/kubepods/pod1"} -1h..2h=0+1048576
container_network_transmit_bytes_total{namespace="x",pod="q",interface="eth0",id="/kubepods/pod2"} -1h..2h=0+1048576
`,
		want: []string{"p 2.25 + 0 + 0", "idle  0.1548", "system  0.018"},
	},
	{
		// p sends 1 MiB a second: of it 1/4 over the internet and 1/2 to another zone, so 900/1024, 1800/1024 and without a class 900/1024 GiB: × 0.64, × 0.16
		// and × 0.32 are 0.5625 + 0.28125 + 0.28125. What it receives from another zone costs 0.16, too: 900/1024 × 0.16 = 0.140625. q only has cAdvisor:
		// 3600/1024 × 0.32 = 1.125.
		name: "classes of traffic", by: "pod", total: "2.563425", book: classesBook,
		series: `
kube_pod_info{namespace="x",pod="p",uid="1",node="n1"} -1h..2h=1
kube_pod_info{namespace="x",pod="q",uid="2",node="n1"} -1h..2h=1
container_network_transmit_bytes_total{namespace="x",pod="p",interface="eth0",id="/kubepods/pod1"} -1h..2h=0+1048576
container_network_transmit_bytes_total{namespace="x",pod="q",interface="eth0",id="/kubepods/pod2"} -1h..2h=0+1048576
kubecost_pod_network_egress_bytes_total{namespace="x",pod_name="p",internet="true",same_region="false",same_zone="false"} -1h..2h=5+262144
kubecost_pod_network_egress_bytes_total{namespace="x",pod_name="p",internet="false",same_region="true",same_zone="false"} -1h..2h=5+524288
kubecost_pod_network_ingress_bytes_total{namespace="x",pod_name="p",internet="false",same_region="true",same_zone="false"} -1h..2h=5+262144
`,
		// No class: 62.5 % of what was sent, a quarter of p's and all of q's.
		want: []string{"p 1.265625 + 0 + 0", "q 1.125 + 0 + 0", "idle  0.1548", "system  0.018", "warning traffic_partly_classified 1"},
	},
	{
		// Nobody exports the ReplicaSet and the Job any more. 1 core each.
		name: "13 owners that vanish", by: "controller",
		series: `
kube_pod_info{namespace="x",pod="a",uid="1",node="n1"} -1h..2h=1
kube_pod_info{namespace="x",pod="b",uid="2",node="n1"} -1h..2h=1
kube_pod_owner{namespace="x",pod="a",uid="1",owner_kind="ReplicaSet",owner_name="web-api-5d4f8c7b9d"} -1h..2h=1
kube_pod_owner{namespace="x",pod="b",uid="2",owner_kind="Job",owner_name="nightly-29384160"} -1h..2h=1
kube_pod_container_resource_requests{namespace="x",pod="a",uid="1",container="c",resource="cpu"} -1h..2h=1
kube_pod_container_resource_requests{namespace="x",pod="b",uid="2",container="c",resource="cpu"} -1h..2h=1
`,
		want: []string{"CronJob/nightly 0 + 0 + 0.036", "Deployment/web-api 0 + 0 + 0.036", "idle  0.0828", "system  0.018"},
	},
	{
		// The counter jumps by 900 s in 30 s, on 4 cores: 120. Memory is 1 TiB for 30 s, on 8 GiB: 240 GiB-seconds. 0.0012 + 0.00024.
		name: "14 spikes are bounded", by: "namespace", series: strings.ReplaceAll(pitfallSeries("14 spikes are bounded"), "10m=5000", "10m=1099511627776"),
		want: []string{"x 0.00144 + 0 + 0", "idle  0.15336", "system  0.018", "warning usage_bounded 2"},
	},
	{
		// 1207 core-seconds are asked for, 1203 GiB-seconds used.
		name: "15 markers off the grid", by: "namespace", series: strings.ReplaceAll(pitfallSeries("15 markers off the grid"), "20m=100 ", "20m=1073741824 "),
		want: []string{"x 0.001203 + 0 + 0.01207", "idle  0.141527", "system  0.018"},
	},
}

func withoutMemory(series string) (out string) {
	for line := range strings.Lines(series) {
		if !strings.Contains(line, "memory") {
			out += line
		}
	}
	return out
}

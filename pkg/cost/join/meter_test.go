package join

import (
	"fmt"
	"testing"

	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/tools/clustergen/cluster"
)

// What two CPUs did is 0.5 + 0.25 of one, and of 1000 bytes 600 are not available, from 30m on 700. Each way to find the node does.
func TestNodesOwnMeters(t *testing.T) {
	const meters = `
node_cpu_seconds_total{%[1]s,cpu="0",mode="user"} -1h..2h=100+0.5
node_cpu_seconds_total{%[1]s,cpu="1",mode="system"} -1h..2h=7+0.25
node_cpu_seconds_total{%[1]s,cpu="1",mode="idle"} -1h..2h=7+0.75
node_cpu_seconds_total{%[1]s,cpu="1",mode="iowait"} -1h..2h=7+0.1
node_memory_MemTotal_bytes{%[1]s} -1h..2h=1000
node_memory_MemAvailable_bytes{%[1]s} -1h..29m30s=400 30m..2h=300
`
	const twin = `
node_cpu_seconds_total{%[1]s,cpu="0",mode="user",replica="b"} 10m..50m=100+0.6
node_memory_MemAvailable_bytes{%[1]s,replica="b"} 10m..50m=0
`
	const address = `kube_node_info{node="n1",provider_id="i-1",internal_ip="10.0.0.1"} -1h..2h=1`
	const uname = `node_uname_info{instance="exporter-7:9100",nodename="n1"} -1h..2h=1`
	for _, c := range []struct {
		name, labels string
		more         []string
		cpu, ram     int64
	}{
		{"label", `node="n1",instance="x:9100"`, nil, 2700_000_000, 600*1800 + 700*1800},
		{"name", `instance="n1"`, nil, 2700_000_000, 600*1800 + 700*1800},
		{"name and port", `instance="n1:9100"`, nil, 2700_000_000, 600*1800 + 700*1800},
		{"address", `instance="10.0.0.1:9100"`, []string{address}, 2700_000_000, 600*1800 + 700*1800},
		{"uname", `instance="exporter-7:9100"`, []string{uname}, 2700_000_000, 600*1800 + 700*1800},
		{"nobody's", `instance="10.0.0.9:9100"`, []string{address, uname}, 0, 0},
		{"twin", `instance="n1:9100"`, []string{fmt.Sprintf(twin, `instance="n1:9100"`)}, 2700_000_000, 600*1800 + 700*1800},
		{"another cluster's", `cluster="b",instance="n1"`, nil, 0, 0},
	} {
		n := load(t, append(c.more, n1, agent, fmt.Sprintf(meters, c.labels))...).hour(Options{}).Nodes[0]
		if n.CPU.Used != c.cpu || n.RAM.Used != c.ram {
			t.Errorf("%s: CPU %d, RAM %d, want %d and %d", c.name, n.CPU.Used, n.RAM.Used, c.cpu, c.ram)
		}
	}
}

// A node that took over the address of another has what is measured in its time; a CPU that jumps is never more than one.
func TestMetersOfAnAddressThatIsUsedAgain(t *testing.T) {
	h := load(t, agent, `
kube_node_info{node="a",provider_id="i-1",internal_ip="10.0.0.1"} -1h..20m=1 20m30s=stale
kube_node_info{node="b",provider_id="i-2",internal_ip="10.0.0.1"} 30m..2h=1
node_cpu_seconds_total{instance="10.0.0.1:9100",cpu="0",mode="user"} -1h..20m=0+0.5 30m..40m=0+0.25 40m30s..2h=9000+0.25
`).hour(Options{})
	if len(h.Nodes) != 2 || h.Nodes[0].CPU.Used != 600_000_000 || h.Nodes[1].CPU.Used != 450_000_000+30_000_000-7_500_000 {
		t.Errorf("%+v", h.Nodes)
	}
}

// Generated nodes use what their pods do and more, and not more than they have.
func TestGeneratedMeters(t *testing.T) {
	cfg := cluster.Config{Seed: 5, Nodes: 3, Pods: 20, Life: 4 * hourLength, Interval: 60_000, NodeExporter: true}
	cfg.Span = cluster.Span{From: begin - 2*hourLength, To: begin + 3*hourLength}
	h, err := Hour(t.Context(), generate(t, cfg.From, cfg.To, cluster.Random(cfg)), Options{Tenant: tenant.Anonymous, Start: begin})
	if err != nil {
		t.Fatal(err)
	}
	pods := map[string][2]int64{}
	for _, w := range h.Workloads {
		pods[w.Node] = [2]int64{pods[w.Node][0] + w.CPU.Used, pods[w.Node][1] + w.RAM.Used}
	}
	for _, n := range h.Nodes {
		if of := pods[n.Name]; n.CPU.Used < of[0]*99/100 || n.CPU.Used > n.CPU.Capacity || n.RAM.Used < of[1]*99/100 || n.RAM.Used > n.RAM.Capacity || n.RAM.Used == 0 {
			t.Errorf("%s: %d of %d and %d of %d, its pods %v", n.Name, n.CPU.Used, n.CPU.Capacity, n.RAM.Used, n.RAM.Capacity, of)
		}
	}
}

package join

import (
	"fmt"
	"strings"
	"testing"

	"github.com/varve-io/varve/pkg/cost"
)

// A node whose memory is 1000 and 2000 in turn, another whose labels change at each scrape, and a pod of that kind: one row each, with the exact
// integral, and a warning. What changes some times has a row for each.
func TestWhatIsNeverSteady(t *testing.T) {
	var lines strings.Builder
	lines.WriteString(`
kube_node_info{node="a",provider_id="i-1"} -1h..2h=1
kube_node_info{node="b",provider_id="i-2"} -1h..2h=1
kube_node_info{node="c",provider_id="i-3"} -1h..2h=1
kube_node_status_capacity{node="b",resource="memory"} -1h..2h=1000
kube_node_status_capacity{node="c",resource="memory"} -1h..15m=1000 15m30s..2h=2000
kube_pod_info{namespace="x",pod="p",uid="1",node="b"} -1h..2h=1
kube_pod_container_info{namespace="x",pod="p",uid="1",container="c"} -1h..2h=1
kube_node_status_capacity{node="a",resource="memory"}`)
	for i := range 240 {
		fmt.Fprintf(&lines, " %ds=%d", 30*i-1800, 1000+i%2*1000)
	}
	for i := range 120 {
		at := 30*i - 900
		fmt.Fprintf(&lines, "\nkube_node_labels{node=\"b\",label_beat=\"%d\"} %ds=1 %ds=stale", i, at, at+30)
		fmt.Fprintf(&lines, "\nkube_pod_labels{namespace=\"x\",pod=\"p\",uid=\"1\",label_beat=\"%d\"} %ds=1 %ds=stale", i, at, at+30)
	}
	h := load(t, lines.String()).hour(Options{Labels: []string{"beat"}})
	rows := map[string]int{}
	for _, n := range h.Nodes {
		rows[n.Name]++
	}
	if rows["a"] != 1 || rows["b"] != 1 || rows["c"] != 2 || len(h.Workloads) != 1 || h.Nodes[0].RAM.Capacity != 1500*3600 {
		t.Errorf("%v rows of nodes, %d of workloads: %+v", rows, len(h.Workloads), h.Nodes)
	}
	got := map[string]cost.Warning{}
	for _, w := range h.Warnings {
		got[w.Name] = w
	}
	if got[CapacityUnsteady].Example != "a" || got[CapacityUnsteady].Count != 1 || got[LabelsUnsteady].Count != 2 {
		t.Errorf("%+v", h.Warnings)
	}
}

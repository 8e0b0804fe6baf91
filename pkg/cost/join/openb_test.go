package join

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/tools/clustergen/cluster"
)

// Pods of a trace wait for their node for any time, hold it for any time, and were there before anybody watched: each hour of each is the
// truth, of the trace's samples to the millisecond.
func TestTracesAgreeWithTheirTruth(t *testing.T) {
	const day = 86_400
	var pods strings.Builder
	pods.WriteString("name,cpu_milli,memory_mib,num_gpu,gpu_milli,qos,pod_phase,creation_time,deletion_time,scheduled_time\n")
	pod := func(phase string, created, scheduled, deleted int) {
		fmt.Fprintf(&pods, "pod-%d,1000,2048,0,0,BE,%s,%d,%d,%d\n", pods.Len(), phase, created, deleted, scheduled)
	}
	for wait := 0; wait < 4*3600; wait += 677 {
		pod("Running", 2*day+1000, 2*day+1000+wait, 2*day+20_000)
		pod("Succeeded", 2*day+3000, 2*day+3000+wait, 2*day+3400+wait)
	}
	pod("Running", 0, 5000, 2*day+21_600) // before anybody watched, until the end
	pod("Failed", 2*day-4000, 2*day-4000, 2*day+7)
	files := fstest.MapFS{"nodes.csv": {Data: []byte("sn,cpu_milli,memory_mib,gpu,model\nn,64000,262144,0,\n")}, "pods.csv": {Data: []byte(pods.String())}}
	c, err := cluster.ReadOpenB(files, cluster.Config{Seed: 1, Name: "openb", Span: cluster.Span{From: begin - begin%(day*1000)}, Interval: 60_000})
	if err != nil {
		t.Fatal(err)
	}
	c.WatchLast(1)
	g := generate(t, c.From, c.To, c)
	for at := c.From; at < c.To; at += hourLength {
		h, err := Hour(t.Context(), g, Options{Tenant: tenant.Anonymous, Start: at})
		if err != nil {
			t.Fatal(err)
		}
		checkContainers(t, c.Truth(at), h)
	}
}

package cluster

import (
	"strings"
	"testing"
	"testing/fstest"
)

const openbNodes = `sn,cpu_milli,memory_mib,gpu,model
node-0,32000,262144,0,
node-1,96000,393216,2,G2
`

const openbPods = `name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time
pod-0,12000,16384,1,460,,LS,Running,0,9000,5
pod-1,6000,12288,1,1000,,BE,Succeeded,60,700,61
pod-2,6000,12288,1,1000,,BE,Failed,100,900,100
pod-3,40000,12288,0,0,,LS,Pending,100,900,
`

func openb(nodes, pods string) fstest.MapFS {
	return fstest.MapFS{"nodes.csv": {Data: []byte(nodes)}, "pods.csv": {Data: []byte(pods)}}
}

// Requests, lives and phases are those of the trace; usage is made up, and within the request.
func TestReadOpenB(t *testing.T) {
	c, err := ReadOpenB(openb(openbNodes, openbPods), Config{Name: "openb", Span: Span{From: newYear}})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Nodes) != 2 || len(c.Pods) != 4 || c.To != newYear+9_000_000+hour {
		t.Fatalf("%d nodes, %d pods until %d", len(c.Nodes), len(c.Pods), c.To)
	}
	truth := c.Truth(newYear)
	alive := map[string]int64{"pod-0": 3_595_000, "pod-1": 639_000, "pod-2": 800_000}
	if len(truth.Containers) != len(alive) {
		t.Errorf("%d rows, want %d", len(truth.Containers), len(alive))
	}
	for _, r := range truth.Containers {
		if r.Real.Alive != alive[r.Pod] || r.Node != "node-1" {
			t.Errorf("%s is alive for %d ms on %s, want %d on node-1", r.Pod, r.Real.Alive, r.Node, alive[r.Pod])
		}
		if r.Real.CPU.Used.Sign() <= 0 || r.Real.CPU.Used.Cmp(r.Real.CPU.Request) >= 0 {
			t.Errorf("%s uses %s of %s", r.Pod, r.Real.CPU.Used, r.Real.CPU.Request)
		}
	}
	// Both devices are taken, so the third pod goes to where there is no room, without one.
	if a, b, third := c.Pods[0].Containers[0].GPUs, c.Pods[1].Containers[0].GPUs, c.Pods[2].Containers[0].GPUs; len(a) != 1 || len(b) != 1 ||
		a[0].Index == b[0].Index || len(third) != 0 {
		t.Errorf("devices %v, %v and %v", a, b, third)
	}
	for i := range c.Pods {
		if p := &c.Pods[i]; (p.Node < 0) != (p.Name == "pod-3") || p.Failed != (p.Name == "pod-2") {
			t.Errorf("%s: node %d, failed %v", p.Name, p.Node, p.Failed)
		}
	}
}

func TestReadOpenBRefuses(t *testing.T) {
	for _, c := range []struct{ nodes, pods, want string }{
		{"", openbPods, "nodes.csv: empty"},
		{"sn,cpu_milli\n", openbPods, "no column memory_mib"},
		{strings.Replace(openbNodes, "32000", "many", 1), openbPods, "cpu_milli of node-0"},
		{openbNodes, strings.Replace(openbPods, "9000", "-1", 1), "deletion_time of pod-0"},
		{"sn,cpu_milli,memory_mib,gpu,model\n", openbPods, "nodes.csv: no nodes"},
	} {
		if _, err := ReadOpenB(openb(c.nodes, c.pods), Config{Span: Span{From: newYear}}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want an error with %q", err, c.want)
		}
	}
}

// Of a trace that is watched late there are samples of the last days only; what happened before counts on.
func TestWatchLast(t *testing.T) {
	c, err := ReadOpenB(openb(openbNodes, strings.Replace(openbPods, "9000", "250000", 1)), Config{Name: "openb", Span: Span{From: newYear}})
	if err != nil {
		t.Fatal(err)
	}
	c.WatchLast(1)
	if want := int64(newYear) + 24*hour; c.From != want {
		t.Fatalf("watched from %d, want %d", c.From, want)
	}
	n := 0
	for s := range c.Series(newYear, c.To) {
		for _, x := range s.Samples(nil, newYear, c.To) {
			n++
			if x.T < c.From {
				t.Fatalf("%s has a sample at %d", s.Labels, x.T)
			}
		}
	}
	if n == 0 {
		t.Error("no samples")
	}
}

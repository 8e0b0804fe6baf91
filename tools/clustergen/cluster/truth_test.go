package cluster

import (
	"math/big"
	"testing"
)

// The real truth is the sum over all milliseconds of what the description says.
func TestRealIsTheSumOfMilliseconds(t *testing.T) {
	c := Random(Config{Seed: 7, Name: "c", Span: Span{newYear, newYear + hour}, Nodes: 1, Pods: 3, Life: 20 * minute})
	truth := c.Truth(c.From)
	rows := map[[2]string]ContainerTruth{}
	for _, r := range truth.Containers {
		rows[[2]string{r.UID, r.Container}] = r
	}
	n := 0
	for i := range c.Pods {
		p := &c.Pods[i]
		for _, list := range [][]Container{p.Containers, p.InitContainers} {
			for j := range list {
				if r, ok := rows[[2]string{p.UID, list[j].Name}]; ok && r.Real.Alive > 0 {
					n++
					checkReal(t, p, &list[j], r, Span{c.From, c.From + hour})
				}
			}
		}
	}
	if n < 4 {
		t.Errorf("only %d rows", n)
	}
}

func checkReal(t *testing.T, p *Pod, c *Container, r ContainerTruth, in Span) {
	t.Helper()
	var alive int64
	var used, unused, request [2]int64
	life := p.holds().clip(in)
	for ms := life.From; ms < life.To; ms++ {
		alive++
		asked, uses := [2]int64{c.RequestCPU.At(ms), c.RequestMemory.At(ms)}, [2]int64{}
		for k := range c.Runs {
			if c.Runs[k].Contains(ms) {
				uses = [2]int64{c.Runs[k].CPU.At(ms), c.Runs[k].Memory.At(ms)}
			}
		}
		for i := range asked {
			request[i], used[i], unused[i] = request[i]+asked[i], used[i]+uses[i], unused[i]+max(asked[i]-uses[i], 0)
		}
	}
	for i, h := range []Held{r.Real.CPU, r.Real.Memory} {
		if h.Known != alive || h.Unknown.Sign() != 0 || h.Request.Int64() != request[i] || h.Used.Int64() != used[i] || h.Unused.Int64() != unused[i] {
			t.Errorf("%s/%s: %+v, milliseconds say %d %d %d %d", r.Pod, r.Container, h, alive, request[i], used[i], unused[i])
		}
	}
}

// small is a cluster whose truth can be worked out by hand. It is scraped at the full quarter minutes.
//
// One node of 8 cores, 32 GiB and 2 GPUs is there from 00:00:05 on. One pod is created at 00:09:58, scheduled at 00:10:02.500, started at 00:10:03,
// and removed at 00:40:07.250. It sends 10 bytes a millisecond, of which 3 go over the internet, 1 to another region and 2 to another zone. Its init container asks for 3 cores and uses 2 from 00:10:04 to 00:11:04. Its sidecar asks for 0.5 and uses 0.1
// from 00:10:04 to the end. Its container asks for 1 core, from 00:20:08 on for 2, uses 0.5 from 00:11:05 on, and has GPU 1, half busy. The
// overhead is 0.25 cores.
func small() *Cluster {
	at := func(ms int64) int64 { return newYear + ms }
	job := []Job{{Name: "j", Interval: 15_000}}
	node := Node{Name: "n", ProviderID: "p", IP: "10.0.0.1", Span: Span{at(5_000), Forever}, Capacity: Amounts{8_000, 32 << 30, 2}, Allocatable: Amounts{7_000, 30 << 30, 2}}
	pod := Pod{Namespace: "ns", Name: "pod", UID: "u-1", Created: at(598_000), Scheduled: at(602_500), Started: at(603_000), Removed: at(2_407_250),
		Overhead: Amounts{CPU: 250}, Sent: Constant(10), Received: Constant(1)}
	pod.SentBy = Classified{Internet: Constant(3), CrossRegion: Constant(1), CrossZone: Constant(2)}
	pod.ReceivedBy = Classified{InZone: Constant(1)}
	pod.InitContainers = []Container{
		{Name: "init", RequestCPU: Constant(3_000), Runs: []Run{{ID: "a", Span: Span{at(604_000), at(664_000)}, CPU: Constant(2_000)}}},
		{Name: "side", Sidecar: true, RequestCPU: Constant(500), Runs: []Run{{ID: "b", Span: Span{at(604_000), pod.Removed}, CPU: Constant(100)}}},
	}
	pod.Containers = []Container{{Name: "main", RequestCPU: Shape{Steps: []Step{{0, 1_000}, {at(1_208_000), 2_000}}},
		GPUs: []Device{{Index: 1, Busy: Constant(500), Memory: Constant(1_000)}},
		Runs: []Run{{ID: "c", Span: Span{at(665_000), pod.Removed}, CPU: Constant(500), Memory: Constant(1 << 30)}}}}
	return &Cluster{Name: "c", Span: Span{at(0), at(2 * hour)}, Nodes: []Node{node}, Pods: []Pod{pod},
		Volumes:  []Volume{{Name: "v", Namespace: "ns", Claim: "data", Span: Span{at(5_000), Forever}, Size: Constant(1 << 30), Pods: []int{0}}},
		Services: []Service{{Namespace: "ns", Name: "s", UID: "s-1", Type: "LoadBalancer", Span: Span{at(5_000), Forever}, Pods: []int{0}}},
		Scrape:   Scrape{State: job, CAdvisor: job, Kubelet: job, DCGM: job, NodeExporter: job, NetworkCosts: job}}
}

type number struct {
	what      string
	got       *big.Int
	want      int64
	wantedFor string
}

func check(t *testing.T, list []number) {
	t.Helper()
	for _, n := range list {
		if n.got.Cmp(big.NewInt(n.want)) != 0 {
			t.Errorf("%s is %s, want %d: %s", n.what, n.got, n.want, n.wantedFor)
		}
	}
}

func TestTruthByHand(t *testing.T) {
	truth := small().Truth(newYear)
	rows := map[string]ContainerTruth{}
	for _, r := range truth.Containers {
		rows[r.Container] = r
	}
	main, side, beyond := rows["main"], rows["side"], rows[PodContainer]
	ms := func(n int64) *big.Int { return big.NewInt(n) }
	check(t, []number{
		{"real life", ms(main.Real.Alive), 1_804_750, "00:10:02.500 to 00:40:07.250"},
		{"observed life", ms(main.Observed.Alive), 1_812_500, "to the marker at 00:40:15"},
		{"real request", main.Real.CPU.Request, 605_500*1_000 + 1_199_250*2_000, "resized at 00:20:08"},
		{"observed request", main.Observed.CPU.Request, 612_500*1_000 + 1_200_000*2_000, "seen at 00:20:15, until the marker"},
		{"real usage", main.Real.CPU.Used, 1_742_250 * 500, "half a core from 00:11:05 on"},
		{"observed usage", main.Observed.CPU.Used, 1_735_000 * 500, "to the last scrape at 00:40:00"},
		{"observed unknown", main.Observed.CPU.Unknown, 62_500*1_000 + 15_000*2_000, "before the start, and after the last scrape"},
		{"real unused", main.Real.CPU.Unused, 62_500*1_000 + 543_000*500 + 1_199_250*1_500, "all of it before the start"},
		{"observed unused", main.Observed.CPU.Unused, 550_000*500 + 1_185_000*1_500, "while usage is known"},
		{"observed memory", main.Observed.Memory.Used, 1_740_000 * (1 << 30), "from the scrape at 00:11:15 to the marker"},
		{"real GPU busy", main.Real.GPU.Used, 1_804_250 * 500, "half, from 00:10:03 on"},
		{"observed GPU busy", main.Observed.GPU.Used, 1_800_000 * 500, "00:10:15 to 00:40:15"},
		{"observed GPU request", main.Observed.GPU.Request, 1_812_500 * 1_000, "one device"},
		{"real sidecar", side.Real.CPU.Used, 1_803_250 * 100, "a tenth from 00:10:04 on"},
		{"real excess", beyond.Real.CPU.Request, 605_500*1_750 + 1_199_250*750, "3 - 1.5 + 0.25, later 3 - 2.5 + 0.25"},
		{"observed excess", beyond.Observed.CPU.Request, 612_500*1_750 + 1_200_000*750, "resize seen later"},
		{"real init usage", beyond.Real.CPU.Used, 60_000 * 2_000, "one minute of two cores"},
		{"observed init usage", beyond.Observed.CPU.Used, 56_000 * 2_000, "00:10:04 to 00:11:00"},
		{"observed excess known", ms(beyond.Observed.CPU.Known), 1_796_000, "while the sidecar's is"},
	})
	traffic := truth.Traffic[0]
	check(t, []number{
		{"really sent over the internet", ms(traffic.Real.Sent.Classes[Internet]), 1_804_250 * 3, "00:10:03 to 00:40:07.250"},
		{"really sent without a class", ms(traffic.Real.Sent.Unclassified), 1_804_250 * 4, "10 - 3 - 1 - 2"},
		{"observed to be sent to a zone", ms(traffic.Observed.Sent.Classes[CrossZone]), 1_797_000 * 2, "00:10:03 to the scrape at 00:40:00"},
		{"observed without a class", ms(traffic.Observed.Sent.Unclassified), 1_797_000 * 4, ""},
		{"received in the zone", ms(traffic.Observed.Received.Classes[InZone]), 1_797_000, ""},
		{"received without a class", ms(traffic.Observed.Received.Unclassified), 0, ""},
	})
	node, volume, balancer := truth.Nodes[0], truth.Volumes[0], truth.Balancers[0]
	check(t, []number{
		{"real up", ms(node.Real.Up), 3_595_000, "from 00:00:05 on"},
		{"observed up", ms(node.Observed.Up), 3_595_000, "from the creation on"},
		{"blind", ms(node.Observed.Blind), 0, "no gaps"},
		{"capacity", node.Real.CPU, 3_595_000 * 8_000, ""},
		{"allocatable", node.Real.AllocatableCPU, 3_595_000 * 7_000, ""},
		{"real volume", volume.Real.Quantity, 3_595_000 * (1 << 30), ""},
		{"observed volume", volume.Observed.Quantity, 3_585_000 * (1 << 30), "from the scrape at 00:00:15 on"},
		{"real mount", volume.Real.Shares["u-1"].Num(), 1_804_750 * (1 << 30), "the pod's life"},
		{"observed mount", volume.Observed.Shares["u-1"].Num(), 1_812_500 * (1 << 30), "the pod's life as seen"},
		{"real balancer", balancer.Real.Quantity, 3_595_000, ""},
		{"real behind it", balancer.Real.Shares["u-1"].Num(), 1_742_250, "ready from 00:11:05 on"},
		{"observed behind it", balancer.Observed.Shares["u-1"].Num(), 1_740_000, "00:11:15 to 00:40:15"},
	})
}

// Two pods that mount a volume share it evenly while both are there.
func TestSharesAreEven(t *testing.T) {
	got := share([]piece{{Span{0, 100}, 7}}, map[string][]piece{"a": {{Span{0, 60}, 1}}, "b": {{Span{40, 80}, 1}}})
	if got.Quantity.Int64() != 700 || got.Shares["a"].Cmp(big.NewRat(40*7+20*7/2, 1)) != 0 || got.Shares["b"].Cmp(big.NewRat(20*7+20*7/2, 1)) != 0 {
		t.Errorf("%v", got)
	}
}

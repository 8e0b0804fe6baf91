package cube

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/varve-io/varve/pkg/cost"
)

// cluster is hours of n containers with the repetition of a real one: four fifths run the whole hour with constant requests, usage
// moves around a level of the workload's own, a twentieth of the pods is new in each hour.
type cluster struct {
	r    *rand.Rand
	pods []cost.Workload
	base []float64
}

func newCluster(n int) *cluster {
	c := &cluster{r: rand.New(rand.NewPCG(7, 7)), pods: make([]cost.Workload, n), base: make([]float64, n)}
	for i := range c.pods {
		c.start(i)
	}
	return c
}

func (c *cluster) start(i int) {
	controller := i / 4
	node := c.r.IntN(len(c.pods)/20 + 1)
	hash := fmt.Sprintf("%08x", c.r.Uint32())
	c.pods[i] = cost.Workload{
		Owner: cost.Owner{
			Cluster: "production-eu-1", Namespace: fmt.Sprintf("team-%03d", controller%300),
			Controller: cost.Controller{Kind: "Deployment", Name: fmt.Sprintf("service-%04d", controller)},
			Pod:        fmt.Sprintf("service-%04d-%s-%s", controller, hash, hash[:5]),
			UID:        fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", c.r.Uint32(), c.r.Uint32()>>16, c.r.Uint32()>>20, c.r.Uint32()>>20, c.r.Uint64()>>16),
			QoS:        []string{"Burstable", "Guaranteed"}[controller%2], Priority: "default",
			Labels: cost.Labels{{Name: "app", Value: fmt.Sprintf("service-%04d", controller)}, {Name: "team", Value: fmt.Sprintf("team-%03d", controller%300)}},
		},
		Container: []string{"app", "proxy"}[i%2],
		Node:      fmt.Sprintf("ip-10-0-%d-%d.eu-west-1.compute.internal", node/250, node%250),
		Provider:  fmt.Sprintf("aws:///eu-west-1a/i-%017x", node*7919),
	}
	c.base[i] = math.Exp(c.r.NormFloat64()) * 0.1
}

func (c *cluster) hour(start int64) *cost.Hour {
	h := &cost.Hour{Start: start}
	for i := range c.pods {
		whole := c.r.IntN(20) != 0
		if !whole {
			c.start(i)
		}
		w := c.pods[i]
		w.From, w.To, w.Alive = start, start+hourMillis, hourMillis
		if !whole {
			w.From += c.r.Int64N(hourMillis)
			w.Alive = w.To - w.From
		}
		c.use(&w, i)
		h.Workloads = append(h.Workloads, w)
	}
	h.Workloads = inOrder(workloadTable(), h.Workloads)
	return h
}

func (c *cluster) use(w *cost.Workload, i int) {
	request := float64(50*(i/4%20+1)) / 1000
	level := c.base[i] * (1 + 0.1*c.r.NormFloat64())
	w.CPUKnown, w.RAMKnown = w.Alive, w.Alive
	w.CPU = cost.Held{
		Used: int64(math.Abs(level) * float64(w.Alive) * 1000), Request: int64(request * float64(w.Alive) * 1000),
		Unused: int64(max(request-level, 0) * float64(w.Alive) * 1000),
	}
	ram := int64(i/4%16+1) << 27
	w.RAM = cost.Held{Used: int64(c.base[i] * 1e8 * (10 + c.r.Float64()) * float64(w.Alive) / 1000), Request: ram * w.Alive / 1000, Limit: 2 * ram * w.Alive / 1000}
	w.RAM.Unused = max(w.RAM.Request-w.RAM.Used, 0)
	w.CPUPeak, w.RAMPeak = int64(level*3000), int64(c.base[i]*1.2e9)
	from := int32(math.Log(level*100+1) * 20)
	left := w.Alive
	for k := int32(0); left > 0; k++ {
		n := min(left, 30_000*(1+c.r.Int64N(20)))
		w.CPUSketch = append(w.CPUSketch, cost.Bucket{Index: max(from+k, 0) + k, Millis: n})
		left -= n
	}
	w.RAMSketch = cost.Sketch{{Index: from / 2, Millis: w.Alive}}
}

func clusterDay(n int) []*cost.Hour {
	c := newCluster(n)
	var hours []*cost.Hour
	for i := range int64(24) {
		hours = append(hours, c.hour(i*hourMillis))
	}
	return hours
}

func BenchmarkWriteHours(b *testing.B) {
	hours := clusterDay(10_000)
	b.ReportAllocs()
	for b.Loop() {
		var n counted
		if err := WriteHours(b.Context(), &n, Workloads, nil, hours); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(n)/240_000, "B/row")
	}
	b.ReportMetric(240_000*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

type counted int64

func (c *counted) Write(p []byte) (int, error) { *c += counted(len(p)); return len(p), nil }

var _ io.Writer = (*counted)(nil)

// One hour more at the end of a day of 23.
func BenchmarkAddAnHour(b *testing.B) {
	hours := clusterDay(10_000)
	day := write(b, nil, hours[:23]...)
	b.ReportAllocs()
	for b.Loop() {
		if err := WriteHours(b.Context(), io.Discard, Workloads, day[Workloads], hours[23:]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadHours(b *testing.B) {
	day := write(b, nil, clusterDay(10_000)...)
	for _, bench := range []struct {
		name    string
		columns Columns
	}{
		{"all", nil},
		{"by namespace", Columns{Workloads: {"namespace", "node", "cpu_used_core_us", "cpu_unused_core_us", "ram_used_byte_s", "ram_unused_byte_s"}}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				day[Workloads].(*memory).bytes = 0
				for _, err := range Hours(b.Context(), day, bench.columns) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(240_000*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
			b.ReportMetric(float64(day[Workloads].(*memory).bytes)/240_000, "B/row")
		})
	}
}

package distributor

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"golang.org/x/sys/unix"

	"github.com/varve-io/varve/pkg/remote"
	"github.com/varve-io/varve/pkg/tenant"
)

// podLabels is a series as a Kubernetes cluster has them.
func podLabels(n int) labels.Labels {
	return labels.FromStrings("__name__", fmt.Sprintf("container_cpu_usage_seconds_total_%d", n%50), "cluster", "prod-eu-1", "container", "app",
		"cpu", "total", "image", "registry.example.com/team/app:v1.2.3", "instance", fmt.Sprintf("10.0.%d.%d:10250", n/500%256, n/50%256),
		"job", "kubelet", "namespace", fmt.Sprint("payments-", n/5000), "node", fmt.Sprint("node-", n/500), "pod", fmt.Sprintf("app-7d4b9c-%05d", n/50))
}

const perRequest = 2000

// packed is a request with one sample for each series.
func packed(t testing.TB, p remote.Protocol, at time.Time, all []labels.Labels) []byte {
	return packedValues(t, p, at, all, func(n int) float64 { return float64(n) })
}

// packedValues is packed with the value of each.
func packedValues(t testing.TB, p remote.Protocol, at time.Time, all []labels.Labels, value func(n int) float64) []byte {
	var raw []byte
	var err error
	if p == remote.WriteV1 {
		var w prompb.WriteRequest
		for n, ls := range all {
			w.Timeseries = append(w.Timeseries, prompb.TimeSeries{Labels: prompb.FromLabels(ls, nil), Samples: []prompb.Sample{{Timestamp: at.UnixMilli(), Value: value(n)}}})
		}
		raw, err = w.Marshal()
	} else {
		symbols := writev2.NewSymbolTable()
		var w writev2.Request
		for n, ls := range all {
			w.Timeseries = append(w.Timeseries, writev2.TimeSeries{LabelsRefs: symbols.SymbolizeLabels(ls, nil), Samples: []writev2.Sample{{Timestamp: at.UnixMilli(), Value: value(n)}}})
		}
		w.Symbols = symbols.Symbols()
		raw, err = w.Marshal()
	}
	if err != nil {
		t.Fatal(err)
	}
	return s2.EncodeSnappy(nil, raw)
}

// BenchmarkTable is the CPU time that a sample of one of 100,000 series costs the distributor after its request was inflated: in the order
// of the time before, in another order each time, and for the first time.
func BenchmarkTable(b *testing.B) {
	const count = 100_000
	var known []labels.Labels
	for n := range count {
		known = append(known, podLabels(n))
	}
	for protocol, name := range map[remote.Protocol]string{remote.WriteV1: "v1", remote.WriteV2: "v2"} {
		b.Run(name+"/followed", func(b *testing.B) { benchmarkTable(b, protocol, known, func(int) []labels.Labels { return known }) })
		b.Run(name+"/found", func(b *testing.B) {
			benchmarkTable(b, protocol, known, func(int) []labels.Labels {
				all := append([]labels.Labels(nil), known...)
				rand.Shuffle(count, func(i, j int) { all[i], all[j] = all[j], all[i] })
				return all
			})
		})
		b.Run(name+"/new", func(b *testing.B) {
			benchmarkTable(b, protocol, known, func(round int) []labels.Labels {
				var all []labels.Labels
				for n := range count {
					all = append(all, podLabels((round+1)*count+n))
				}
				return all
			})
		})
	}
}

// BenchmarkChurn is BenchmarkTable with 100,000 series that lie anywhere among 700,000 ones, as where series come and go: in the order of
// the time before, and with a fortieth of them replaced each time by new ones, beside which their stale markers come.
func BenchmarkChurn(b *testing.B) {
	for _, share := range []int{0, 40} {
		b.Run(fmt.Sprint("one in ", share), func(b *testing.B) {
			const count, ever = 100_000, 700_000
			made := ever
			var all []labels.Labels
			for n := range ever {
				all = append(all, podLabels(n))
			}
			rand.Shuffle(ever, func(i, j int) { all[i], all[j] = all[j], all[i] })
			live := append([]labels.Labels(nil), all[:count]...)
			rand.Shuffle(ever, func(i, j int) { all[i], all[j] = all[j], all[i] })
			known := append(append(all, live...), live...)
			benchmarkTable(b, remote.WriteV1, known, func(int) []labels.Labels {
				var sent []labels.Labels
				for i := range live {
					if share > 0 && rand.IntN(share) == 0 {
						sent = append(sent, live[i])
						live[i] = podLabels(made)
						made++
					}
					sent = append(sent, live[i])
				}
				return sent[:len(sent)/perRequest*perRequest]
			})
		})
	}
}

// BenchmarkGrow is the CPU time that an entry costs when the index of 700,000 ones grows.
func BenchmarkGrow(b *testing.B) {
	const count = 700_000
	tab := newTable()
	for range count {
		tab.make(remote.Key{Hi: rand.Uint64() | 1, Lo: rand.Uint64()}, 0, 0)
	}
	old, took := tab.index.Load(), time.Duration(0)
	for b.Loop() {
		begun := cpuTime(b)
		tab.grow(old)
		took += cpuTime(b) - begun
		giveBack(tab.arena, tab.index.Load().slots)
		tab.old = nil
	}
	b.ReportMetric(float64(took.Nanoseconds())/float64(b.N)/count, "ns/series")
	b.ReportMetric(0, "ns/op")
}

// cpuTime is what the process has used: other processes don't count.
func cpuTime(t testing.TB) time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &now); err != nil {
		t.Fatal(err)
	}
	return time.Duration(now.Nano())
}

// benchmarkTable pushes rounds of series; what inflates them isn't timed.
func benchmarkTable(b *testing.B, p remote.Protocol, known []labels.Labels, round func(int) []labels.Labels) {
	y := newBlackHole(b)
	at := time.Now()
	r := newRequest(y.Distributor)
	var raw []byte
	push := func(body []byte) time.Duration {
		raw, _ = s2.Decode(raw[:cap(raw)], body)
		begun := cpuTime(b)
		if w, err := r.push(context.Background(), tenant.Anonymous, p, raw); err != nil || w.Floats != perRequest {
			b.Fatal(w, err)
		}
		return cpuTime(b) - begun
	}
	bodies := func(all []labels.Labels) (list [][]byte) {
		for len(all) > 0 {
			list = append(list, packed(b, p, at, all[:perRequest]))
			all = all[perRequest:]
		}
		return list
	}
	for _, body := range bodies(known) {
		push(body)
	}
	took, n := time.Duration(0), 0
	var list [][]byte
	for b.Loop() {
		if len(list) == 0 {
			list = bodies(round(n))
		}
		took += push(list[0])
		list = list[1:]
		n++
	}
	b.ReportMetric(float64(took.Nanoseconds())/float64(n)/perRequest, "ns/sample")
	b.ReportMetric(0, "ns/op")
}

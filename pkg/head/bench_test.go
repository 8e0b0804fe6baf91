package head

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
)

// benchLabels are ten labels as a Kubernetes container's series has them.
func benchLabels(i int) labels.Labels {
	return labels.FromStrings(
		"__name__", fmt.Sprintf("container_network_receive_bytes_total_%d", i%200),
		"cluster", "production-1", "namespace", fmt.Sprintf("team-%d", i/200%20),
		"pod", fmt.Sprintf("checkout-7d9c5b8f4-%05d", i/200), "container", "main",
		"instance", fmt.Sprintf("10.12.%d.17:10250", i/4000), "job", "kubelet",
		"node", fmt.Sprintf("node-%03d", i/4000), "interface", "eth0", "metrics_path", "/metrics/cadvisor",
	)
}

func benchSeries(n int, h *Head) []*Series {
	out := make([]*Series, n)
	for i := range out {
		out[i], _, _ = h.Series(benchLabels(i))
	}
	return out
}

// benchValue is a series' value in a round: every fourth is a gauge that stays, every other fourth one that doesn't,
// the rest are counters.
func benchValue(i, round int) float64 {
	switch r := uint64(i*31+round) * 0x9e3779b97f4a7c15 >> 40; i % 4 {
	case 0:
		return float64(i)
	case 1:
		return float64(r) / 1000
	default:
		return float64(round*50 + int(r%50))
	}
}

// cpuTime is what the process has used so far.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// reportCPU reports what was used since begun: on a busy machine, clocks tell more of the neighbours.
func reportCPU(b *testing.B, begun time.Duration) {
	b.ReportMetric(float64(cpuTime()-begun)/float64(b.N), "cpu-ns/op")
}

// BenchmarkAppendFloat appends one scrape of all series after the other, in the order in which they were made, or in
// another.
func BenchmarkAppendFloat(b *testing.B) {
	for _, n := range []int{100, 50_000, 500_000} {
		for _, order := range []string{"created", "random"} {
			b.Run(fmt.Sprintf("series=%d/order=%s", n, order), func(b *testing.B) {
				all := benchSeries(n, New(Options{}))
				if order == "random" {
					rand.New(rand.NewPCG(1, 2)).Shuffle(n, func(i, j int) { all[i], all[j] = all[j], all[i] })
				}
				b.ReportAllocs()
				i, round, begun := 0, 0, cpuTime()
				for b.Loop() {
					all[i].AppendFloat(int64(round)*15_000, benchValue(i, round))
					if i++; i == n {
						i, round = 0, round+1
					}
				}
				reportCPU(b, begun)
			})
		}
	}
}

func BenchmarkAppendHistogram(b *testing.B) {
	all := benchSeries(100, New(Options{}))
	hs := tsdbutil.GenerateTestHistograms(1000)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		all[i%100].AppendHistogram(int64(i/100)*15_000, hs[i/100%1000])
	}
}

func BenchmarkSeries(b *testing.B) {
	const n = 20_000
	ls := make([]labels.Labels, n)
	for i := range ls {
		ls[i] = benchLabels(i)
	}
	b.Run("create", func(b *testing.B) {
		b.ReportAllocs()
		h := New(Options{})
		defer reportCPU(b, cpuTime())
		for i := range b.N {
			if i%n == 0 {
				h = New(Options{})
			}
			h.Series(ls[i%n])
		}
	})
	b.Run("find", func(b *testing.B) {
		b.ReportAllocs()
		h := New(Options{})
		benchSeries(n, h)
		b.ResetTimer()
		defer reportCPU(b, cpuTime())
		for i := range b.N {
			h.Series(ls[i%n])
		}
	})
}

func BenchmarkSelect10kSeries(b *testing.B) {
	h := New(Options{})
	all := benchSeries(10_000, h)
	for i := range 300 {
		for _, s := range all {
			s.AppendFloat(int64(i)*15_000, float64(i))
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		set, err := h.Select(context.Background(), everything())
		if err != nil {
			b.Fatal(err)
		}
		for set.Next() {
		}
		set.Close()
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestMemoryStaysSmall measures what heads take, and holds them to what the design counts on.
func TestMemoryStaysSmall(t *testing.T) {
	before := heap()
	heads := make([]*Head, 1000)
	for i := range heads {
		heads[i] = New(Options{MaxExemplars: 1000})
	}
	empty := (heap() - before) / uint64(len(heads))
	runtime.KeepAlive(heads)
	if empty > 1024 {
		t.Errorf("an empty head takes %d bytes", empty)
	}

	const n = 40_000
	before = heap()
	h := New(Options{})
	all := benchSeries(n, h)
	sizes := map[int]uint64{0: (heap() - before - 8*n) / n}
	r := rand.New(rand.NewPCG(1, 2))
	v := make([]float64, n)
	for i := range 480 {
		for j, s := range all {
			v[j] += float64(r.IntN(50))
			s.AppendFloat(int64(i)*15_000+int64(j%3), v[j])
		}
		if i == 119 || i == 479 {
			sizes[i+1] = (heap() - before - 16*n) / n
		}
	}
	before = heap()
	next := New(Options{})
	for _, s := range all {
		next.SeriesLike(s)
	}
	like := (heap() - before) / n
	runtime.KeepAlive(all)
	runtime.KeepAlive(next)
	t.Logf("empty head %d B; a series of 10 labels %d B, with 120 samples %d B, with 480 %d B, by Stats %d B; in the next head %d B",
		empty, sizes[0], sizes[120], sizes[480], h.Stats().Bytes/n, like)
	if sizes[120] > 500 || like > 250 {
		t.Errorf("a series with 120 samples takes %d bytes, without samples in the next head %d", sizes[120], like)
	}
}

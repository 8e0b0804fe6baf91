package ingester

import (
	"context"
	"math"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// BenchmarkPushScattered is BenchmarkPush, per sample, for series that lie anywhere in memory, as those do that come and go.
func BenchmarkPushScattered(b *testing.B) {
	const known, size = 1 << 20, 2000
	bed := newBed(b)
	var bl series.Builder
	push := func() {
		r, err := bed.Push(bl.AppendTo(nil))
		if err == nil {
			_, err = r.Wait(context.Background())
		}
		if err != nil {
			b.Fatal(err)
		}
		bl.Reset(series.StreamID{Distributor: 1, Generation: 1}, tenant.Anonymous)
	}
	bl.Reset(series.StreamID{Distributor: 1, Generation: 1}, tenant.Anonymous)
	for n := range known {
		bl.Define(series.Number(n), labels.FromStrings("__name__", "m", "n", strconv.Itoa(n)))
		bl.Float(series.Number(n), 0, float64(n))
		if bl.Samples() == size {
			push()
		}
	}
	push()
	n, sum := 1, time.Duration(0)
	for round := 1; b.Loop(); round++ {
		for range size {
			n = (n*5 + 12345) % known // each of them once, in no order
			bl.Float(series.Number(n), int64(round)*15_000, sampleOf(n, round))
		}
		begun := cpuTime()
		push()
		sum += cpuTime() - begun
	}
	b.ReportMetric(float64(sum)/float64(b.N)/size, "cpu-ns/sample")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkPush logs and applies 50 batches of 2000 series each, until they are synced: values as of counters and
// gauges, half of them as before. It counts the log's bytes as they are written.
func BenchmarkPush(b *testing.B) {
	const size, batches = 2000, 50
	bed := newBed(b)
	encoded := make([][]byte, batches)
	encode := func(round int) {
		var bl series.Builder
		for part := range encoded {
			bl.Reset(series.StreamID{Distributor: 1, Generation: 1}, tenant.Anonymous)
			for n := range size {
				number := part*size + n
				if round == 0 {
					bl.Define(series.Number(number), labels.FromStrings("__name__", "m", "n", strconv.Itoa(number)))
				}
				bl.Float(series.Number(number), int64(round+1)*15_000, sampleOf(number, round))
			}
			encoded[part] = bl.AppendTo(encoded[part][:0])
		}
	}
	push := func() {
		receipts := make([]*Receipt, 0, batches)
		for _, e := range encoded {
			r, err := bed.Push(e)
			if err != nil {
				b.Fatal(err)
			}
			receipts = append(receipts, r)
		}
		for _, r := range receipts {
			if _, err := r.Wait(context.Background()); err != nil {
				b.Fatal(err)
			}
		}
	}
	encode(0)
	push()
	before, round := bed.log.Size(), 0
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		round++
		encode(round)
		b.StartTimer()
		push()
	}
	samples := float64(round * size * batches)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/samples, "ns/sample")
	b.ReportMetric(float64(bed.log.Size()-before)/samples, "B/sample")
}

func sampleOf(number, round int) float64 {
	switch number % 8 {
	case 0, 1:
		return float64(number + 3*round)
	case 2:
		return float64(number) + math.Floor(math.Sqrt(float64(round*number))*1e6)/1e9
	case 3:
		return float64(4096 * (number*round*7919%65536 + 1))
	}
	return float64(number)
}

// cpuTime is what the process has used so far: on a busy machine, clocks tell more of the neighbours.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

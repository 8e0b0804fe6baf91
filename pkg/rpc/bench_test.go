package rpc

import (
	"errors"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/varve-io/varve/pkg/series"
)

// BenchmarkPush sends batches over loopback TCP, with as many on their way as fit. cpu-ns/MB is of both ends.
func BenchmarkPush(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10, 512 << 10} {
		b.Run(byteSize(size), func(b *testing.B) {
			w := newWorld(b, &recorder{refuse: func([]byte) error { return nil }})
			l := w.dial(b)
			batch := make([]byte, size)
			b.SetBytes(int64(size))
			waiting := make(chan series.Receipt, maxUnackedBytes/size/2)
			done := make(chan error, 1)
			go func() {
				var err error
				for r := range waiting {
					_, werr := r.Wait(b.Context())
					err = errors.Join(err, werr)
				}
				done <- err
			}()
			before := cpu(b)
			b.ResetTimer()
			for b.Loop() {
				r, err := l.Push(batch, kept)
				if err != nil {
					b.Fatal(err)
				}
				waiting <- r
			}
			close(waiting)
			if err := <-done; err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(cpu(b)-before)/(float64(b.N)*float64(size)/(1<<20)), "cpu-ns/MB")
		})
	}
}

func BenchmarkSelect(b *testing.B) {
	r := &recorder{series: someSeries(b, 10_000)}
	w := newWorld(b, r)
	reads, err := w.pool.Reads(w.owner)
	if err != nil {
		b.Fatal(err)
	}
	bytes := 0
	for _, s := range r.series {
		bytes += len(appendSeries(nil, s))
	}
	b.SetBytes(int64(bytes))
	for b.Loop() {
		set, _, err := reads.Select(b.Context(), series.Query{Tenant: someTenant(b)})
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for set.Next() {
			n++
		}
		if err := errors.Join(set.Err(), set.Close()); err != nil || n != len(r.series) {
			b.Fatal(n, err)
		}
		r.queries = r.queries[:0]
	}
}

func byteSize(n int) string { return strconv.Itoa(n>>10) + "KiB" }

func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

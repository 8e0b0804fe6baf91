package wal

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// columns makes a record as the ingester's batches are: series numbers, times and values in columns, for n samples. Half
// of the values are counters, a quarter gauges that rarely move, a quarter noise.
func columns(seed uint64, n int) []byte {
	rng := rand.New(rand.NewPCG(seed, 2))
	var b []byte
	for i := range n {
		b = binary.AppendUvarint(b, uint64(i+rng.IntN(3)))
	}
	for range n {
		b = binary.AppendVarint(b, int64(rng.IntN(4)))
	}
	for i := range n {
		v := rng.Float64()
		switch i % 4 {
		case 0, 1:
			v = float64(rng.IntN(100_000))
		case 2:
			v = 1
		}
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
	}
	return b
}

func BenchmarkAppendWait(b *testing.B) {
	rec := columns(1, 500)
	for _, writers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("goroutines=%d", writers), func(b *testing.B) {
			l := openTest(b, Options{Dir: b.TempDir()})
			defer start(b, l)()
			b.SetBytes(int64(len(rec)))
			b.ReportAllocs()
			b.SetParallelism((writers + 1) / 2) // times GOMAXPROCS, 2 on the reference machine
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					p, err := l.Append(rec)
					if err == nil {
						err = l.Wait(context.Background(), p)
					}
					if err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// BenchmarkFrame is the processor time of a group's bytes, without the disk; 1M samples are about 2,000 of its records.
func BenchmarkFrame(b *testing.B) {
	raw := make([]byte, 0, frameTarget)
	for seed := uint64(0); len(raw) < frameTarget-6000; seed++ {
		raw = append(raw, columns(seed, 500)...)
	}
	for _, compress := range []bool{false, true} {
		b.Run(fmt.Sprintf("compress=%t", compress), func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			var out []byte
			for b.Loop() {
				fw := frameWriter{compress: compress}
				out = fw.append(out[:0], frameHeader{count: 1}, raw)
			}
			b.ReportMetric(float64(len(out))/float64(len(raw)), "size/raw")
		})
	}
}

func BenchmarkReplay(b *testing.B) {
	disk := newMemFS()
	l := openTest(b, Options{Dir: "/log", FS: disk})
	stop := start(b, l)
	rec := columns(1, 500)
	for range 2000 {
		if _, err := l.Append(rec); err != nil {
			time.Sleep(time.Millisecond)
		}
	}
	stop()
	l = openTest(b, options(disk))
	defer l.Close()
	b.SetBytes(int64(2000 * len(rec)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.Replay(b.Context(), Replaying{Record: func(uint64, uint64, []byte) error { return nil }}); err != nil {
			b.Fatal(err)
		}
	}
}

package head

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// podSeries is how many series a pod has.
const podSeries = 64

// newPod gives the labels of the pod that is number i of all so far: first the name of each of its series, then those that all have.
func newPod(i int) []labels.Label {
	all := make([]labels.Label, 0, podSeries+9)
	for k := range podSeries {
		all = append(all, labels.Label{Name: "__name__", Value: fmt.Sprintf("container_network_receive_bytes_total_%d", k)})
	}
	pod, life := i%1500, i/1500
	return append(all,
		labels.Label{Name: "cluster", Value: "production-1"}, labels.Label{Name: "container", Value: fmt.Sprintf("service-%d", pod/4)},
		labels.Label{Name: "id", Value: fmt.Sprintf("/kubepods/burstable/pod-%x-%x-%x", pod*7919, life, life*104729)},
		labels.Label{Name: "instance", Value: fmt.Sprintf("10.12.%d.17:10250", pod/30)}, labels.Label{Name: "job", Value: "kubelet"},
		labels.Label{Name: "namespace", Value: fmt.Sprintf("team-%d", pod%16)},
		labels.Label{Name: "node", Value: fmt.Sprintf("ip-10-0-%d-1.eu-west-1.compute.internal", pod/30)},
		labels.Label{Name: "pod", Value: fmt.Sprintf("checkout-7d9c5b8f4-%05d%d", pod, life)},
		labels.Label{Name: "uid", Value: fmt.Sprintf("%08x-0000-4000-a000-%012x", pod, life)})
}

// lookupBatch is some series that are looked up together.
type lookupBatch struct {
	labels []labels.Label
	of     []int // for each of labels, what numbers are kept for it as
	series [][]uint32
}

// newBatches gives the series of some new pods in no order, 50 in a batch.
func newBatches(r *rand.Rand, first, pods int, ids map[labels.Label]int) (out []lookupBatch) {
	all := make([][]labels.Label, pods)
	for i := range all {
		all[i] = newPod(first + i)
	}
	order := r.Perm(pods * podSeries)
	for len(order) > 0 {
		n := min(50, len(order))
		var b lookupBatch
		places := map[labels.Label]uint32{}
		flat := make([]uint32, 0, n*10)
		for _, s := range order[:n] {
			pod := all[s/podSeries]
			for _, l := range append([]labels.Label{pod[s%podSeries]}, pod[podSeries:]...) {
				if _, ok := places[l]; !ok {
					places[l] = uint32(len(b.labels))
					if _, ok := ids[l]; !ok {
						ids[l] = len(ids)
					}
					b.labels, b.of = append(b.labels, l), append(b.of, ids[l])
				}
				flat = append(flat, places[l])
			}
			b.series = append(b.series, flat[len(flat)-10:])
		}
		out, order = append(out, b), order[n:]
	}
	return out
}

// BenchmarkLookup makes the series of pods that replace others, by the text of their labels or by numbers, and looks at other series
// in between, as whoever appends samples does. It gives the CPU per new series, without that.
func BenchmarkLookup(b *testing.B) {
	const pods, replaced = 1500, 39
	r, ids := rand.New(rand.NewPCG(1, 2)), map[labels.Label]int{}
	rounds := [][]lookupBatch{newBatches(r, 0, pods, ids)}
	for n := pods; n < 2*pods; n += replaced {
		rounds = append(rounds, newBatches(r, n, replaced, ids))
	}
	for _, by := range []string{"text", "number"} {
		b.Run("by="+by, func(b *testing.B) {
			var sum time.Duration
			made := 0
			for b.Loop() {
				w := lookups{h: New(Options{}), numbers: make([]uint32, len(ids)), known: by == "number"}
				for i, batches := range rounds {
					for _, batch := range batches {
						begun := cpuTime()
						w.make(b, batch)
						if i > 0 {
							sum += cpuTime() - begun
							made += len(batch.series)
							w.touch(r, 1950)
						}
					}
				}
			}
			b.ReportMetric(float64(sum)/float64(made), "cpu-ns/series")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// lookups makes series of batches.
type lookups struct {
	h       *Head
	lookup  Lookup
	numbers []uint32 // by lookupBatch.of
	known   bool
	of      []uint32
	all     []*Series
}

func (w *lookups) make(b *testing.B, batch lookupBatch) {
	w.of = w.of[:0]
	if w.known {
		for _, id := range batch.of {
			w.of = append(w.of, w.numbers[id])
		}
	}
	w.lookup.Begin(w.h, batch.labels, w.of)
	for i, at := range batch.series {
		var soon []uint32
		if i+4 < len(batch.series) {
			soon = batch.series[i+4]
		}
		s, _, err := w.lookup.Series(at, soon)
		if err != nil {
			b.Fatal(err)
		}
		w.all = append(w.all, s)
	}
	for i, id := range batch.of {
		w.numbers[id] = w.lookup.Number(i)
	}
}

// touch looks at some of the series.
func (w *lookups) touch(r *rand.Rand, n int) {
	for range n {
		w.all[r.IntN(len(w.all))].Touch()
	}
}

package ingester

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// pods is a load of pods with some series each, which are scraped in no order. Some pods are replaced by others at each scrape.
type pods struct {
	order   []int // series by their turn
	number  []series.Number
	fresh   []bool
	lives   []int // of each pod, how many there were
	next    series.Number
	random  *rand.Rand
	replace int
	labels  map[labels.Label]series.LabelNumber
	counter series.LabelNumber
	room    []series.LabelNumber
}

const perPod = 64

func newPods(n, replace int) *pods {
	p := &pods{order: make([]int, n*perPod), number: make([]series.Number, n*perPod), fresh: make([]bool, n*perPod), lives: make([]int, n),
		random: rand.New(rand.NewPCG(1, 2)), replace: replace, labels: map[labels.Label]series.LabelNumber{}}
	for i := range p.order {
		p.order[i] = i
	}
	p.random.Shuffle(len(p.order), func(i, j int) { p.order[i], p.order[j] = p.order[j], p.order[i] })
	for i := range n {
		p.renew(i)
	}
	return p
}

func (p *pods) renew(pod int) {
	p.lives[pod]++
	for i := range perPod {
		p.fresh[pod*perPod+i] = true
	}
}

// define defines a series if it is new, as a distributor does: by numbers of its labels, which are said once.
func (p *pods) define(bl *series.Builder, s int) series.Number {
	if !p.fresh[s] {
		return p.number[s]
	}
	p.fresh[s] = false
	p.number[s] = p.next
	p.next++
	pod := s / perPod
	name := fmt.Sprintf("checkout-7d9c5b8f4-%05d%d", pod, p.lives[pod])
	p.room = p.room[:0]
	for _, l := range []labels.Label{
		{Name: "__name__", Value: fmt.Sprintf("container_network_receive_bytes_total_%d", s%perPod)},
		{Name: "cluster", Value: "production-1"}, {Name: "container", Value: fmt.Sprintf("service-%d", pod/4)},
		{Name: "id", Value: fmt.Sprintf("/kubepods/burstable/pod-%x-%x-%x", pod*7919, name, p.lives[pod]*104729)},
		{Name: "instance", Value: fmt.Sprintf("10.12.%d.17:10250", pod/30)}, {Name: "job", Value: "kubelet"},
		{Name: "namespace", Value: fmt.Sprintf("team-%d", pod%16)}, {Name: "node", Value: fmt.Sprintf("ip-10-0-%d-1.eu-west-1.compute.internal", pod/30)},
		{Name: "pod", Value: name}, {Name: "uid", Value: fmt.Sprintf("%08x-0000-4000-a000-%012x", pod, p.lives[pod])},
	} {
		k, ok := p.labels[l]
		if !ok || k+series.LabelsKept/2 < p.counter {
			k = p.counter
			p.labels[l] = k
			p.counter++
			bl.Label(k, l)
		}
		p.room = append(p.room, k)
	}
	bl.DefineNumbered(p.number[s], p.room)
	return p.number[s]
}

// BenchmarkPushChurn pushes scrapes of 100,000 series of which some are new in each, and gives the CPU per sample.
func BenchmarkPushChurn(b *testing.B) {
	for _, replace := range []int{0, 39} {
		b.Run(fmt.Sprintf("pods=%d", replace), func(b *testing.B) {
			const size, rounds = 2000, 60
			for b.Loop() {
				bed, p := newBed(b), newPods(1563, replace)
				var bl series.Builder
				sum, samples := time.Duration(0), 0
				for round := range rounds {
					if round > 0 {
						for range replace {
							p.renew(p.random.IntN(len(p.lives)))
						}
					}
					for at := 0; at < len(p.order); at += size {
						bl.Reset(series.StreamID{Distributor: 1, Generation: 1}, tenant.Anonymous)
						for _, s := range p.order[at:min(at+size, len(p.order))] {
							bl.Float(p.define(&bl, s), int64(round)*15_000, sampleOf(s, round))
						}
						batch := bl.AppendTo(nil)
						begun := cpuTime()
						r, err := bed.Push(batch)
						if err == nil {
							_, err = r.Wait(context.Background())
						}
						if err != nil {
							b.Fatal(err)
						}
						if round > 0 {
							sum += cpuTime() - begun
							samples += bl.Samples()
						}
					}
				}
				b.ReportMetric(float64(sum)/float64(samples), "cpu-ns/sample")
				b.ReportMetric(float64(int(p.next)-len(p.order))/float64(samples)*100, "%new")
				bed.stop()
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

package join

import (
	"math"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/quantity"
)

// addExtra integrates what a pod holds beyond its containers: the usage of init containers, one after the other, and none while
// that of any other container is known.
func (p *pod) addExtra() {
	x := p.extra
	var cpu []quantity.Spread
	for _, s := range union(x.cpuKnown) {
		cpu = append(cpu, quantity.NewSpread(s.from, s.to, 0))
	}
	var ram []quantity.Level
	for _, s := range union(x.ramKnown) {
		ram = append(ram, quantity.Level{From: s.from, To: s.to})
	}
	cpu = overlay(append([]lane[quantity.Spread]{{run: math.MinInt64, pieces: cpu}}, x.initCPU...))
	ram = overlay(append([]lane[quantity.Level]{{run: math.MinInt64, pieces: ram}}, x.initRAM...))
	for i, s := range p.segments {
		x.rows[i].addCPU(cpu, x.request[cpuResource], s.span)
		x.rows[i].addRAM(ram, x.request[ramResource], s.span)
	}
}

// row is what a container held in one segment.
type row struct {
	cpu                  quantity.CPU
	ram                  quantity.RAM
	cpuPeak, ramPeak     int64
	cpuSketch, ramSketch cost.Sketch
	gpu                  quantity.RAM // thousandths of devices instead of bytes
	traffic              [kinds]int64
}

func (r *row) addCPU(pieces []quantity.Spread, request []quantity.Level, in span) {
	r.cpu.Add(pieces, request, in.from, in.to)
	var d dense
	for _, s := range pieces {
		if s = s.Clip(in.from, in.to); s.To > s.From {
			rate := s.Rate()
			r.cpuPeak = max(r.cpuPeak, (rate+999)/1000)
			d[cpuBuckets.Index(rate)] += s.To - s.From
		}
	}
	r.cpuSketch = d.addTo(r.cpuSketch)
}

func (r *row) addRAM(pieces, request []quantity.Level, in span) {
	r.ram.Add(pieces, request, in.from, in.to)
	var d dense
	for _, l := range pieces {
		if l = l.Clip(in.from, in.to); l.To > l.From {
			r.ramPeak = max(r.ramPeak, l.Value)
			d[ramBuckets.Index(l.Value)] += l.To - l.From
		}
	}
	r.ramSketch = d.addTo(r.ramSketch)
}

// Buckets of sketches: of millionths of a core, and of bytes.
var (
	cpuBuckets = quantity.NewBuckets(10_000, 1_000_000_000)
	ramBuckets = quantity.NewBuckets(10_000_000, 100_000_000_000_000)
)

// dense is a sketch with all its buckets.
type dense [300]int64

func (d *dense) addTo(s cost.Sketch) cost.Sketch {
	for _, b := range s {
		d[b.Index] += b.Millis
	}
	n := 0
	for _, ms := range d {
		if ms > 0 {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	s = make(cost.Sketch, 0, n)
	for i, ms := range d {
		if ms > 0 {
			s = append(s, cost.Bucket{Index: int32(i), Millis: ms})
		}
	}
	return s
}

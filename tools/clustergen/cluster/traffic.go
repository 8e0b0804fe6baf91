package cluster

import "math/rand/v2"

// TrafficClasses are where the other end of traffic may be, as truths name it.
const (
	Internet = iota
	CrossRegion
	CrossZone
	InZone
	TrafficClasses
)

// Classified are rates in bytes per millisecond of what goes where.
type Classified [TrafficClasses]Shape

// perClass makes series of network-costs, Kubecost's daemon, for pods that aren't in the host's network.
func perClass(name string, of func(p *Pod) *Classified) family {
	return family{name, func(v *view) {
		if len(v.Scrape.NetworkCosts) == 0 {
			return
		}
		for _, i := range v.pods {
			p := &v.Pods[i]
			if p.Node < 0 || p.Started == 0 || p.HostNetwork {
				continue
			}
			for class, rate := range of(p) {
				if rate.Set() {
					v.put(networkCosts, p.Node, p.sandbox(), counter(rate, p.Started, 1), "namespace", p.Namespace, "pod_name", p.Name,
						"internet", text(class == Internet), "same_region", text(class >= CrossZone), "same_zone", text(class == InZone))
				}
			}
		}
	}}
}

func text(b bool) string {
	if b {
		return "true"
	}
	return "false"
}

func trafficFamilies() []family {
	return []family{
		perClass("kubecost_pod_network_egress_bytes_total", func(p *Pod) *Classified { return &p.SentBy }),
		perClass("kubecost_pod_network_ingress_bytes_total", func(p *Pod) *Classified { return &p.ReceivedBy }),
	}
}

// classify lets network-costs run, and gives a part of all traffic a class.
func (g *generator) classify() {
	g.rng = rand.New(rand.NewPCG(g.Seed, 0x636c6173))
	job := Job{Name: "network-costs", Interval: g.Interval, Phase: g.rng.Int64N(g.Interval), Spread: true}
	if g.Faults {
		job.Failed = []Span{g.outage()}
	}
	g.out.Scrape.NetworkCosts = []Job{job}
	for i := range g.out.Pods {
		p := &g.out.Pods[i]
		p.ReceivedBy, p.SentBy = g.parts(p.Received), g.parts(p.Sent)
	}
}

// parts are eighths, rounded down.
func (g *generator) parts(all Shape) (out Classified) {
	left := int64(8)
	for class := range out {
		part := g.between(0, min(left, 4))
		if left -= part; part == 0 {
			continue
		}
		out[class] = Shape{Origin: all.Origin, Period: all.Period}
		for _, s := range all.Steps {
			out[class].Steps = append(out[class].Steps, Step{s.At, s.Value * part / 8})
		}
	}
	return out
}

// TrafficTruth is the traffic of one pod in one hour, of clusters whose traffic has classes. A pod in the host's network has none.
//
// Real is from its start to its end. Observed is within its life as it is seen, and its counters increase as CPU does; but what they had
// at their first scrape came evenly since the life's begin, if a bridge reaches so far. Where Reused, another pod had the name, too: then
// nobody can tell which of them a series of the daemon is of, and Observed is what one could wish for.
type TrafficTruth struct {
	Namespace, Pod, UID string
	Reused              bool
	Real, Observed      PodTraffic
}

// PodTraffic is bytes.
type PodTraffic struct{ Received, Sent Bytes }

// Bytes are those of each class, and what the interface had beyond all of them: at least 0.
type Bytes struct {
	Classes      [TrafficClasses]int64
	Unclassified int64
}

func (o *observer) traffic(p *Pod) TrafficTruth {
	t := TrafficTruth{Namespace: p.Namespace, Pod: p.Name, UID: p.UID}
	if o.names == nil {
		o.names = map[[2]string]int{}
		for i := range o.Pods {
			o.names[[2]string{o.Pods[i].Namespace, o.Pods[i].Name}]++
		}
	}
	t.Reused = o.names[[2]string{p.Namespace, p.Name}] > 1
	real := p.sandbox().clip(p.holds()).clip(o.hour)
	t.Real = PodTraffic{real.bytes(p.Received, &p.ReceivedBy), real.bytes(p.Sent, &p.SentBy)}
	t.Observed = PodTraffic{o.bytes(p, p.Received, &p.ReceivedBy), o.bytes(p, p.Sent, &p.SentBy)}
	return t
}

func (s Span) bytes(all Shape, of *Classified) Bytes {
	return bytesOf(all.Sum(s.From, s.To), func(class int) int64 { return of[class].Sum(s.From, s.To) })
}

func (o *observer) bytes(p *Pod, all Shape, of *Classified) Bytes {
	return bytesOf(o.grown(p, cadvisor, all), func(class int) int64 { return o.grown(p, networkCosts, of[class]) })
}

func bytesOf(all int64, of func(class int) int64) (b Bytes) {
	b.Unclassified = all
	for class := range b.Classes {
		b.Classes[class] = of(class)
		b.Unclassified -= b.Classes[class]
	}
	b.Unclassified = max(b.Unclassified, 0)
	return b
}

// grown is by how much a pod's counter grew.
func (o *observer) grown(p *Pod, k kind, rate Shape) (sum int64) {
	g, life := o.grid(k, p.Node), o.lived(p)
	if g == nil || !rate.Set() || life.empty() {
		return 0
	}
	r := &Run{Span: p.sandbox(), CPU: rate}
	slopes := o.slopes(g, r)
	if first, ok := g.first(r.Span); ok && len(slopes) > 0 && slopes[0].To == first {
		slopes = slopes[1:]
	}
	if first, ok := g.first(r.Span); ok && first > life.From && first-life.From <= g.bridge() {
		slopes = append(slopes, slope{Span{life.From, first}, 0, rate.Sum(p.Started, first)})
	}
	for _, s := range slopes {
		if in := s.clip(life).clip(o.hour); !in.empty() {
			sum += s.at(in.To) - s.at(in.From)
		}
	}
	return sum
}

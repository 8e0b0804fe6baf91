package join

import (
	"math/bits"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/pkg/cost"
)

// What of a pod's traffic went where is told by network-costs, the daemon of Kubecost and OpenCost. It looks at connections:
// kubecost_pod_network_egress_bytes_total and …_ingress_… have the pod in pod_name, and internet, same_region and same_zone, which older
// versions call sameRegion and sameZone. What a pod's interfaces have beyond that is unclassified.

// classes are those of cost.TrafficClasses, and one more for bytes that the daemon itself has no class for.
const classes = 5

// isOfPod leaves out what is not of a pod.
var isOfPod = []*labels.Matcher{not("pod_name", "")}

// readClass takes the pod and what tells series of it apart: the class, and labels that split one class. The pod that the scrape's own
// labels name is the daemon's.
func readClass(f *fields, ls labels.Labels) {
	get := func(name string) string {
		if v := ls.Get("exported_" + name); v != "" {
			return v
		}
		return ls.Get(name)
	}
	internet, region, zone := get("internet"), get("same_region")+get("sameRegion"), get("same_zone")+get("sameZone")
	f.pod = get("pod_name")
	f.device = strconv.Itoa(classOf(internet, region, zone)) + strings.Join([]string{internet, region, zone, get("nat_gateway"), get("service")}, ",")
}

// classOf is the class's place; the last one if the labels don't tell.
func classOf(internet, sameRegion, sameZone string) int {
	class := cost.TrafficClass("")
	switch {
	case internet == "true":
		class = cost.Internet
	case internet == "":
	case sameZone == "true":
		class = cost.InZone
	case sameZone == "false" && sameRegion == "true":
		class = cost.CrossZone
	case sameZone == "false" && sameRegion == "false":
		class = cost.CrossRegion
	}
	for i, c := range cost.TrafficClasses() {
		if c == class {
			return i
		}
	}
	return classes - 1
}

func byClass(f *fields) (container, part string, ok bool) {
	return cost.PodContainer, f.device, f.pod != ""
}

// classified is what is known of the classes of a pod's traffic: bytes received and sent, in each segment of the hour. How many have no class
// is a matter of the whole hour, so that it doesn't depend on what the hour is cut into.
type classified [][2][classes]int64

// classifier sums up the bytes of one kind that the daemon tells of.
func (j *joiner) classifier(of kind) func(groupKey, []source) error {
	return j.eachGrown(func(p *pod, _ *container, g *growth, k groupKey) {
		if p.extra.classified == nil {
			p.extra.classified = make(classified, len(p.segments))
		}
		m, class := p.extra.classified, k.part[0]-'0'
		for i, s := range p.segments {
			m[i][of][class] += g.in(s.span)
		}
	})
}

// classify gives what has a class rows of their own, and leaves the rest of the bytes in those of the pod: so many as its interfaces had
// more of in the whole hour, when they had them, and those that the daemon has no class for.
func (m classified) classify(rows []cost.Workload) []cost.Workload {
	if m == nil {
		return rows
	}
	var more []cost.Workload
	for i := range rows {
		for class, name := range cost.TrafficClasses() {
			of := &m[i]
			if of[received][class]|of[sent][class] == 0 {
				continue
			}
			w := &rows[i]
			more = append(more, cost.Workload{
				Owner: w.Owner, Container: w.Container, Class: name, Node: w.Node, Provider: w.Provider, From: w.From, To: w.To,
				Network: cost.Network{Received: of[received][class], Sent: of[sent][class]},
			})
		}
	}
	m.unclassified(received, rows, func(w *cost.Workload) *int64 { return &w.Network.Received })
	m.unclassified(sent, rows, func(w *cost.Workload) *int64 { return &w.Network.Sent })
	return append(rows, more...)
}

// unclassified lowers bytes of interfaces to those that have no class.
func (m classified) unclassified(of kind, rows []cost.Workload, at func(*cost.Workload) *int64) {
	var all, some, done int64
	for i := range rows {
		all += *at(&rows[i])
		for _, n := range m[i][of] {
			some += n
		}
	}
	left := max(all-some, 0)
	until := func(n int64) int64 {
		if all == 0 {
			return 0
		}
		hi, lo := bits.Mul64(uint64(left), uint64(n))
		q, _ := bits.Div64(hi, lo, uint64(all)) // not more than left: n is of all
		return int64(q)
	}
	for i := range rows {
		n := at(&rows[i])
		from := done
		done += *n
		*n = until(done) - until(from) + m[i][of][classes-1]
	}
}

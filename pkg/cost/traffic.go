package cost

import (
	"fmt"
	"strings"

	"github.com/varve-io/varve/pkg/cost/money"
	"github.com/varve-io/varve/pkg/cost/price"
)

// traffic is bytes of one direction and class, on a node.
type traffic struct {
	*Class
	direction string
	class     TrafficClass
}

// Attribute is that of the node's class, the direction, and the class of the bytes.
func (t traffic) Attribute(name string) string {
	switch {
	case name == "direction":
		return t.direction
	case name == "class" && t.class == "":
		return price.Unclassified
	case name == "class":
		return string(t.class)
	}
	return t.Class.Attribute(name)
}

// namesClass tells whether prices of traffic there depend on its class.
func namesClass(p price.Prices, at *Class, direction string) bool {
	for _, class := range TrafficClasses() {
		if p.NamesClass(traffic{at, direction, class}) {
			return true
		}
	}
	return false
}

// Warnings of traffic whose price depends on its class, and that may have the wrong one because nobody tells the class.
const (
	TrafficUnclassified     = "traffic_unclassified"      // a cluster of whose traffic no byte has a class
	TrafficPartlyClassified = "traffic_partly_classified" // one of whose traffic some has, and of a direction a twentieth or more has none
)

// fewUnclassified is one part of so many: metrics of interfaces and of connections never agree wholly.
const fewUnclassified = 20

// classless are clusters with traffic whose price depends on its class, by name.
type classless map[string]*told

// told is of how many bytes, received and sent, the class is told, and of how many it isn't.
type told struct{ some, none [2]money.Quantity }

// see looks at what was used of a node.
func (c classless) see(a *AssetItem, class *Class, r *rates) {
	for direction, n := range [...]money.Quantity{a.Received, a.Sent} {
		if n.IsZero() || !r.byClass[direction] {
			continue
		}
		of := c[class.Cluster]
		if of == nil {
			of = &told{}
			c[class.Cluster] = of
		}
		to := &of.none[direction]
		if class.Traffic != "" {
			to = &of.some[direction]
		}
		*to = to.Plus(n)
	}
}

func (c classless) warnings() (all []Warning) {
	for cluster, of := range c {
		if of.some[0].IsZero() && of.some[1].IsZero() {
			all = append(all, Warning{Name: TrafficUnclassified, Cluster: cluster, Count: 1, Example: "kubecost_pod_network_egress_bytes_total"})
		} else if shares := of.shares(); shares != "" {
			all = append(all, Warning{Name: TrafficPartlyClassified, Cluster: cluster, Count: 1, Example: "without a class: " + shares})
		}
	}
	return all
}

// shares are those without a class, of directions in which they are not few.
func (t *told) shares() string {
	var shares []string
	for i, direction := range [...]string{"received", "sent"} {
		all := t.some[i].Plus(t.none[i])
		if !t.none[i].IsZero() && !t.none[i].Times(fewUnclassified).Less(all) {
			shares = append(shares, fmt.Sprintf("%.1f %% of what was %s", 100*t.none[i].Float()/all.Float(), direction))
		}
	}
	return strings.Join(shares, ", ")
}

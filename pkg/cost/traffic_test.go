package cost_test

import (
	"bytes"
	"encoding/json"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/price"
)

// trafficBook has no prices but those of traffic.
const trafficBook = `currency: USD
prices:
- from: 2025-01-01
  nodes: [{node_hour: 0}]
  volumes: [{gib_hour: 0}]
  load_balancers: [{hour: 0}]
  network:
  - {match: {class: internet, direction: sent, zone: b}, gib: 0.12}
  - {match: {class: internet, direction: sent}, gib: 0.090000000001}
  - {match: {class: "cross_*"}, gib: 0.01}
  - {match: {class: unclassified, direction: received}, gib: 0.003}
`

// priceOf is the book by hand: of a GiB.
func priceOf(class cost.TrafficClass, direction, zone string) string {
	switch {
	case class == cost.Internet && direction == "sent" && zone == "b":
		return "0.12"
	case class == cost.Internet && direction == "sent":
		return "0.090000000001"
	case class == cost.CrossZone || class == cost.CrossRegion:
		return "0.01"
	case class == "" && direction == "received":
		return "0.003"
	}
	return "0"
}

// Bytes are paid by class, direction and where the node is, whatever they are grouped by; nothing of them is lost.
func TestTrafficIsPaidByClass(t *testing.T) {
	b := bookOf(t, trafficBook)
	rapid.Check(t, func(t *rapid.T) {
		h := anyHour(t, 0)
		h.Nodes = slices.CompactFunc(h.Nodes, func(a, b cost.Node) bool { return a.Name == b.Name }) // so that nothing is cut
		at := map[string]string{}
		for _, n := range h.Nodes {
			at[n.Cluster+n.Name] = n.Zone
		}
		want, bytes := new(big.Rat), map[string]*big.Int{}
		for i := range h.Workloads {
			w := &h.Workloads[i]
			if w.Provider = ""; len(h.Nodes) > 0 {
				n := &h.Nodes[i%len(h.Nodes)]
				w.Cluster, w.Node, w.From, w.To = n.Cluster, n.Name, n.From, max(n.To, n.From+1)
			}
			for direction, n := range map[string]int64{"received": w.Network.Received, "sent": w.Network.Sent} {
				p, _ := new(big.Rat).SetString(priceOf(w.Class, direction, at[w.Cluster+w.Node]))
				want.Add(want, p.Mul(p, big.NewRat(n, 1<<30)))
				name := "network_" + direction + "_bytes"
				add(bytes, name, n)
				if w.Class != "" {
					add(bytes, name+"_"+string(w.Class), n)
				}
			}
		}
		l, err := cost.MaxRequestUsage.Ledger(h, cost.NewNames())
		if err != nil {
			t.Fatal(err)
		}
		q := cost.Query{From: l.From, To: l.To, By: rapid.SliceOfNDistinct(rapid.SampledFrom(dimensions), 0, 3, rapid.ID).Draw(t, "by"), Sharing: anySharing(t)}
		r := report(t, q, b, l)
		verify(t, r)
		got, _ := new(big.Rat).SetString(r.Total.String())
		if off := got.Sub(got, want); off.Abs(off).Cmp(big.NewRat(1, 2_000_000_000)) > 0 {
			t.Fatalf("total %v, want %s", r.Total, want.FloatString(12))
		}
		if d := cmp.Diff(texts(bytes), quantities(t, r, "network_")); d != "" {
			t.Fatal(d)
		}
	})
}

func add(sums map[string]*big.Int, name string, n int64) {
	if sums[name] == nil {
		sums[name] = new(big.Int)
	}
	sums[name].Add(sums[name], big.NewInt(n))
}

func texts(sums map[string]*big.Int) map[string]string {
	out := map[string]string{}
	for name, n := range sums {
		if n.Sign() != 0 {
			out[name] = n.String()
		}
	}
	return out
}

// quantities adds up what JSON says.
func quantities(t interface{ Fatal(...any) }, r *cost.Report, prefix string) map[string]string {
	var out bytes.Buffer
	if err := r.WriteJSON(&out); err != nil {
		t.Fatal(err)
	}
	var read struct {
		Lines []struct{ Quantities map[string]string }
	}
	if err := json.Unmarshal(out.Bytes(), &read); err != nil {
		t.Fatal(err)
	}
	sums := map[string]*big.Int{}
	for _, l := range read.Lines {
		for name, text := range l.Quantities {
			if n, ok := new(big.Int).SetString(text, 10); ok && strings.HasPrefix(name, prefix) {
				add(sums, name, 0)
				sums[name].Add(sums[name], n)
			}
		}
	}
	return texts(sums)
}

// classHour is smallHour's, whose web also sends 3 GiB over the internet and 2 to another zone, and batch receives 1 from there.
func classHour() *cost.Hour {
	h := smallHour()
	for _, c := range []struct {
		of      int
		class   cost.TrafficClass
		network cost.Network
	}{{1, cost.Internet, cost.Network{Sent: 3 << 30}}, {1, cost.CrossZone, cost.Network{Sent: 2 << 30}}, {0, cost.CrossZone, cost.Network{Received: 1 << 30}}} {
		w := h.Workloads[c.of]
		h.Workloads = append(h.Workloads, cost.Workload{Owner: w.Owner, Container: cost.PodContainer, Class: c.class, Node: w.Node, From: w.From, To: w.To, Network: c.network})
	}
	return h
}

// Money by hand, of a book that knows classes: 3 × 0.09, 3 × 0.01, and 0.02 for the GiB that has none.
func TestNetworkByClass(t *testing.T) {
	const rules = `network: [{match: {direction: sent, class: internet}, gib: 0.09}, {match: {class: cross_zone}, gib: 0.01}, {match: {direction: sent}, gib: 0.02}]`
	b := bookOf(t, strings.Replace(smallBook, "network: [{match: {direction: sent}, gib: 0.01}]", rules, 1))
	for _, c := range []struct {
		name     string
		hour     *cost.Hour
		want     map[string]string // by controller
		warnings []string
	}{
		{"classes", classHour(), map[string]string{"Deployment/web": "0.31", "Job/batch": "0.01"}, []string{"built_in_price", "traffic_partly_classified"}},
		{"no metric tells of them", smallHour(), map[string]string{"Deployment/web": "0.02", "Job/batch": "0"}, []string{"built_in_price", "traffic_unclassified"}},
	} {
		for _, byNode := range []bool{false, true} {
			l, err := cost.MaxRequestUsage.Ledger(c.hour, cost.NewNames())
			if err != nil {
				t.Fatal(err)
			}
			r := report(t, cost.Query{From: start, To: start + hour, By: []string{"controller"}, Sharing: cost.Sharing{Idle: cost.ShareEven, ByNode: byNode}}, b, l)
			got := map[string]string{}
			for _, line := range r.Lines {
				if line.Kind == cost.Workloads {
					got[line.Key[0]] = line.Network.String()
				}
			}
			if d := cmp.Diff(c.want, got); d != "" || r.Residual != "0" {
				t.Errorf("%s: residual %s\n%s", c.name, r.Residual, d)
			}
			if d := cmp.Diff(c.warnings, names(r.Warnings)); d != "" {
				t.Errorf("%s: %s", c.name, d)
			}
			f, err := cost.NewFleetBuilder(cost.FleetQuery{From: start, To: start + hour}, b)
			if err == nil {
				err = f.Add(l)
			}
			if err != nil {
				t.Fatal(err)
			}
			if fleet := f.Fleet(); fleet.Total != r.Total || len(fleet.Lines) != 3 || !cmp.Equal(names(fleet.Warnings), c.warnings) {
				t.Errorf("%s: assets are %d and cost %v, the report says %v; warnings %v", c.name, len(fleet.Lines), fleet.Total, r.Total, fleet.Warnings)
			}
		}
	}
}

// Of traffic whose price depends on its class, the shares are told that have none, by cluster and direction, unless they are below a twentieth.
func TestPartlyClassifiedTraffic(t *testing.T) {
	const both, sentOnly = "network: [{match: {class: internet}, gib: 0.09}]", "network: [{match: {direction: sent, class: internet}, gib: 0.09}, {gib: 0.01}]"
	for _, c := range []struct {
		rules          string
		received, sent int64 // of 1,000 each, those that have a class
		name, shares   string
	}{
		{rules: both, received: 875, sent: 500, name: cost.TrafficPartlyClassified, shares: "without a class: 12.5 % of what was received, 50.0 % of what was sent"},
		{rules: both, received: 951, sent: 950, name: cost.TrafficPartlyClassified, shares: "without a class: 5.0 % of what was sent"},
		{rules: both, received: 0, sent: 1000, name: cost.TrafficPartlyClassified, shares: "without a class: 100.0 % of what was received"},
		{rules: both, received: 951, sent: 951},
		{rules: both, name: cost.TrafficUnclassified, shares: "kubecost_pod_network_egress_bytes_total"},
		{rules: sentOnly, received: 0, sent: 1000},
		{rules: sentOnly, received: 1000, sent: 0, name: cost.TrafficUnclassified, shares: "kubecost_pod_network_egress_bytes_total"},
		{rules: "network: [{match: {direction: sent}, gib: 0.01}]", received: 500, sent: 500},
	} {
		h := smallHour()
		w := &h.Workloads[0]
		for i := range h.Workloads {
			h.Workloads[i].Network = cost.Network{}
		}
		w.Network = cost.Network{Received: 1000 - c.received, Sent: 1000 - c.sent}
		h.Workloads = append(h.Workloads, cost.Workload{Owner: w.Owner, Container: cost.PodContainer, Class: cost.CrossZone, Node: w.Node, From: w.From, To: w.To,
			Network: cost.Network{Received: c.received, Sent: c.sent}})
		l, err := cost.MaxRequestUsage.Ledger(h, cost.NewNames())
		if err != nil {
			t.Fatal(err)
		}
		b := bookOf(t, strings.Replace(smallBook, "network: [{match: {direction: sent}, gib: 0.01}]", c.rules, 1))
		r := report(t, cost.Query{From: start, To: start + hour, By: []string{"controller"}}, b, l)
		var want []cost.Warning
		if c.name != "" {
			want = []cost.Warning{{Name: c.name, Cluster: w.Cluster, Count: 1, Example: c.shares}}
		}
		got := slices.DeleteFunc(r.Warnings, func(w cost.Warning) bool { return !strings.HasPrefix(w.Name, "traffic_") })
		if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%s, %d and %d of 1,000: %s", c.rules, c.received, c.sent, d)
		}
	}
}

func names(all []cost.Warning) (out []string) {
	for _, w := range all {
		out = append(out, w.Name)
	}
	return out
}

// What is nobody's is shared on the node among its workloads once each, though their bytes are elsewhere; and by a quantity of one class.
func TestSharingWithClasses(t *testing.T) {
	b := bookOf(t, smallBook)
	l, err := cost.MaxRequestUsage.Ledger(classHour(), cost.NewNames())
	if err != nil {
		t.Fatal(err)
	}
	shared := func(s cost.Sharing) map[string]string {
		out := map[string]string{}
		for _, line := range report(t, cost.Query{From: start, To: start + hour, By: []string{"controller"}, Sharing: s}, b, l).Lines {
			if line.Kind == cost.Workloads {
				out[line.Key[0]] = line.Shared.String()
			}
		}
		return out
	}
	// Idle is 1.5 cores and 10 GiB: 0.045 + 0.04.
	if d := cmp.Diff(map[string]string{"Deployment/web": "0.0425", "Job/batch": "0.0425"}, shared(cost.Sharing{Idle: cost.ShareEven, ByNode: true})); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]string{"Deployment/web": "0.085", "Job/batch": "0"}, shared(cost.Sharing{Idle: "quantity:network_sent_bytes_internet", ByNode: true})); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]string{"Deployment/web": "0.1", "Job/batch": "0"}, shared(cost.Sharing{Overhead: "quantity:network_sent_bytes_cross_zone"})); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]string{"Deployment/web": "0", "Job/batch": "0.1"}, shared(cost.Sharing{Overhead: "quantity:network_received_bytes_cross_zone"})); d != "" {
		t.Error(d)
	}
}

// Books and rows have the same classes, and an unknown one is refused.
func TestClassesOfTraffic(t *testing.T) {
	want := []string{price.Unclassified}
	for _, c := range cost.TrafficClasses() {
		want = append(want, string(c))
	}
	got := price.TrafficClasses()
	slices.Sort(want)
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	h := smallHour()
	h.Workloads[0].Class = "moon"
	if _, err := cost.MaxRequestUsage.Ledger(h, cost.NewNames()); err == nil || !strings.Contains(err.Error(), `no class of traffic "moon"`) {
		t.Errorf("%v", err)
	}
}

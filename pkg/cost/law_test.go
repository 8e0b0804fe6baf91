package cost_test

import (
	"fmt"
	"math/big"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/money"
	"github.com/varve-io/varve/pkg/cost/price"
)

const (
	hour  = 3_600_000
	start = 1_735_689_600_000 // 2025-01-01
)

// anyHour is an hour of clusters whose nodes change within it, are blind, overcommitted, or have no capacity.
func anyHour(t *rapid.T, n int) *cost.Hour {
	h := &cost.Hour{Start: start + int64(n)*hour}
	for c := range rapid.IntRange(1, 2).Draw(t, "clusters") {
		cluster := fmt.Sprintf("c%d", c)
		for i := range rapid.IntRange(0, 3).Draw(t, "nodes") {
			anyNode(t, h, cluster, fmt.Sprintf("n%d", i))
		}
		for i := range rapid.IntRange(0, 6).Draw(t, "workloads") {
			h.Workloads = append(h.Workloads, anyWorkload(t, h.Start, cluster, i))
		}
		for i := range rapid.IntRange(0, 2).Draw(t, "assets") {
			anyAsset(t, h, cluster, i)
		}
	}
	return h
}

func anyNode(t *rapid.T, h *cost.Hour, cluster, name string) {
	cut := rapid.SampledFrom([]int64{0, 1, 60_000, 1_800_000, hour}).Draw(t, "cut")
	for part, span := range [][2]int64{{0, cut}, {cut, hour}} {
		n := cost.Node{
			Cluster: cluster, Name: name, Provider: rapid.SampledFrom([]string{"", "p1"}).Draw(t, "provider"),
			InstanceType: fmt.Sprintf("type%d", part), Zone: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "zone"),
			Spot: rapid.Bool().Draw(t, "spot"), From: h.Start + span[0], To: h.Start + span[1],
		}
		n.Up = rapid.Int64Range(0, n.To-n.From).Draw(t, "up")
		if n.Up == 0 {
			continue
		}
		n.Blind = rapid.SampledFrom([]int64{0, n.Up, n.Up / 3}).Draw(t, "blind")
		for _, c := range []*cost.Capacity{&n.CPU, &n.RAM, &n.GPU} {
			each := rapid.SampledFrom([]int64{0, 1000, 4000, 16_374_123_457}).Draw(t, "capacity")
			c.Capacity = each * n.Up
			c.Allocatable = c.Capacity / rapid.Int64Range(1, 3).Draw(t, "allocatable")
			c.Blind = each * n.Blind
		}
		h.Nodes = append(h.Nodes, n)
	}
}

func anyOwner(t *rapid.T, cluster string) cost.Owner {
	pod := rapid.SampledFrom([]string{"web-1", "web-2", "db-0"}).Draw(t, "pod")
	return cost.Owner{
		Cluster: cluster, Namespace: rapid.SampledFrom([]string{"app", "kube-system"}).Draw(t, "namespace"), Pod: pod, UID: pod + cluster,
		Controller: cost.Controller{Kind: "Deployment", Name: pod[:2]}, QoS: "Burstable",
		Labels: cost.Labels{{Name: "team", Value: rapid.SampledFrom([]string{"", "red", "blue"}).Draw(t, "team")}},
	}
}

func anyWorkload(t *rapid.T, from int64, cluster string, i int) cost.Workload {
	a, b := rapid.Int64Range(0, hour).Draw(t, "from"), rapid.Int64Range(0, hour).Draw(t, "to")
	w := cost.Workload{
		Owner: anyOwner(t, cluster), Container: fmt.Sprintf("container%d", i),
		Node: rapid.SampledFrom([]string{"n0", "n1", "n2"}).Draw(t, "node"), Provider: rapid.SampledFrom([]string{"", "p1"}).Draw(t, "provider"),
		From: from + min(a, b), To: from + max(a, b),
	}
	w.Class = rapid.SampledFrom([]cost.TrafficClass{"", "", "", cost.Internet, cost.CrossRegion, cost.CrossZone, cost.InZone}).Draw(t, "class")
	for _, held := range []*cost.Held{&w.CPU, &w.RAM, &w.GPU} {
		if w.Class != "" {
			break
		}
		amount := rapid.OneOf(rapid.Int64Range(0, 10), rapid.Int64Range(0, 14_400_000_000), rapid.Int64Range(0, 1e17))
		*held = cost.Held{Used: amount.Draw(t, "used"), Unused: amount.Draw(t, "unused"), Unknown: amount.Draw(t, "unknown")}
		held.Request = held.Unused + held.Unknown + held.Used/2
	}
	w.Network = cost.Network{Received: rapid.Int64Range(0, 1e12).Draw(t, "received"), Sent: rapid.Int64Range(0, 1e12).Draw(t, "sent")}
	return w
}

func anyAsset(t *rapid.T, h *cost.Hour, cluster string, i int) {
	a := cost.Asset{
		Kind:    rapid.SampledFrom([]cost.AssetKind{cost.VolumeAsset, cost.LoadBalancerAsset}).Draw(t, "kind"),
		Cluster: cluster, Name: fmt.Sprintf("asset%d", i), Namespace: "app", Class: "fast", From: h.Start, To: h.Start + hour,
		Quantity: rapid.Int64Range(0, 1e15).Draw(t, "quantity"),
	}
	h.Assets = append(h.Assets, a)
	left := a.Quantity
	for range rapid.IntRange(0, 3).Draw(t, "shares") {
		s := cost.Share{Owner: anyOwner(t, cluster), Kind: a.Kind, Asset: a.Name, From: a.From, Quantity: rapid.Int64Range(0, left).Draw(t, "share")}
		left -= s.Quantity
		h.Shares = append(h.Shares, s)
	}
}

var methods = []cost.Method{cost.MaxRequestUsage, cost.RequestOnly, cost.UsageOnly}

// Of each node row's capacity every unit is somebody's, idle, system or unknown; what was held is billed or overcommitted.
func TestTheLawConserves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, method := anyHour(t, 0), rapid.SampledFrom(methods).Draw(t, "method")
		l, err := method.Ledger(h, cost.NewNames())
		if err != nil {
			t.Fatal(err)
		}
		var capacity, billed, quantity, amount, traffic big.Int
		for _, n := range h.Nodes {
			for _, c := range []int64{n.CPU.Capacity, n.RAM.Capacity, n.GPU.Capacity} {
				capacity.Add(&capacity, big.NewInt(c))
			}
		}
		for _, a := range h.Assets {
			quantity.Add(&quantity, big.NewInt(a.Quantity))
		}
		for _, w := range h.Workloads {
			traffic.Add(&traffic, big.NewInt(w.Network.Received+w.Network.Sent))
		}
		for _, i := range l.Items {
			for _, p := range []cost.Parts{i.CPU, i.RAM, i.GPU} {
				for _, q := range []money.Quantity{p.Used, p.Unused, p.Unknown} {
					billed.Add(&billed, bigOf(t, q))
				}
			}
			if kind := l.Names.PlaceOf(i.Place).Kind; kind == cost.VolumeClass || kind == cost.LoadBalancerClass {
				amount.Add(&amount, bigOf(t, i.Amount))
			}
			traffic.Sub(&traffic, bigOf(t, i.Received.Plus(i.Sent)))
		}
		if capacity.Cmp(&billed) != 0 || quantity.Cmp(&amount) != 0 || traffic.Sign() != 0 {
			t.Fatalf("billed %v of %v, and %v of %v of assets; %v bytes are lost", &billed, &capacity, &amount, &quantity, &traffic)
		}
	})
}

func bigOf(t *rapid.T, q money.Quantity) *big.Int {
	i, ok := new(big.Int).SetString(q.String(), 10)
	if !ok {
		t.Fatal(q)
	}
	return i
}

// The three cases of the table in docs/cost.md, with 10 of capacity of which 8 are allocatable; and with half of the time blind.
func TestTheLaw(t *testing.T) {
	for _, c := range []struct {
		name                      string
		held                      [2]int64
		blind                     int64
		idle, system, unknown     int64
		first, second, overcommit int64
	}{
		{"H ≤ A", [2]int64{3, 4}, 0, 1, 2, 0, 3, 4, 0},
		{"A < H ≤ C", [2]int64{3, 6}, 0, 0, 1, 0, 3, 6, 0},
		{"H > C: 7 × 10/13 = 5.4, 6 × 10/13 = 4.6", [2]int64{7, 6}, 0, 0, 0, 0, 5, 5, 3},
		{"ties go to the first: 5.5, 5.5 of 11 in 10... 5 × 10/10", [2]int64{5, 5}, 0, 0, 0, 0, 5, 5, 0},
		{"half blind: C = 5, A = 4", [2]int64{1, 1}, 5, 2, 1, 5, 1, 1, 0},
		{"half blind, overcommitted: 3 × 5/6 = 2.5 each", [2]int64{3, 3}, 5, 0, 0, 5, 3, 2, 1},
	} {
		h := &cost.Hour{Start: start, Nodes: []cost.Node{{
			Cluster: "c", Name: "n", From: start, To: start + hour, Up: hour, Blind: hour * c.blind / 10,
			CPU: cost.Capacity{Capacity: 10, Allocatable: 8, Blind: c.blind}, RAM: cost.Capacity{Capacity: 1, Blind: 1},
		}}}
		for i, held := range c.held {
			h.Workloads = append(h.Workloads, cost.Workload{
				Owner: cost.Owner{Cluster: "c", Pod: fmt.Sprint(i)}, Node: "n", From: start, To: start + hour, CPU: cost.Held{Used: held},
			})
		}
		l, err := cost.MaxRequestUsage.Ledger(h, cost.NewNames())
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		var over money.Quantity
		for _, i := range l.Items {
			if pod := l.Names.SubjectOf(i.Subject).Pod; i.Kind == cost.Workloads {
				got[pod] = i.CPU.Used.String()
				over = over.Plus(i.CPU.Over)
			} else if !i.CPU.Unused.IsZero() {
				got[i.Kind.String()] = i.CPU.Unused.String()
			}
		}
		want := map[string]string{"0": fmt.Sprint(c.first), "1": fmt.Sprint(c.second)}
		for name, n := range map[string]int64{"idle": c.idle, "system": c.system, "unknown": c.unknown} {
			if n > 0 {
				want[name] = fmt.Sprint(n)
			}
		}
		if d := cmp.Diff(want, got); d != "" || over != money.Units(c.overcommit) {
			t.Errorf("%s: overcommit %v, want %d\n%s", c.name, over, c.overcommit, d)
		}
	}
}

// Two nodes had one name within the hour. A workload that is on the first has nothing of the second, though it was seen while that was up.
func TestANameOfTwoNodes(t *testing.T) {
	node := func(provider string, from, to int64) cost.Node {
		return cost.Node{Cluster: "c", Name: "n", Provider: provider, Zone: provider, From: from, To: to, Up: to - from, CPU: cost.Capacity{Capacity: 1000, Allocatable: 1000}}
	}
	h := &cost.Hour{Start: start, Nodes: []cost.Node{node("first", start, start+hour/2), node("second", start+hour/2, start+hour)}}
	h.Workloads = []cost.Workload{{Owner: cost.Owner{Cluster: "c", Pod: "p"}, Node: "n", Provider: "first", From: start, To: start + hour, CPU: cost.Held{Used: 900}}}
	l, err := cost.MaxRequestUsage.Ledger(h, cost.NewNames())
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range l.Items {
		if zone := l.Names.PlaceOf(i.Place).Zone; i.Kind == cost.Workloads && (zone != "first" || i.CPU.Used != money.Units(900)) {
			t.Errorf("%s of 900 in %s", i.CPU.Used, zone)
		}
	}
}

const book = `currency: USD
prices:
- from: 2025-01-01
  nodes:
  - {match: {instance_type: type0}, node_hour: 0.333333333333}
  - {match: {zone: a}, cpu_core_hour: 0.031611, ram_gib_hour: 0.004237, gpu_hour: 0.95}
  volumes: [{gib_hour: 0.0001}]
  network: [{match: {class: internet}, gib: 0.09}, {match: {class: cross_zone, direction: received}, gib: 0.01}, {match: {direction: sent, zone: b}, gib: 0.07}]
  overheads: [{name: control plane, cluster_hour: 0.1}, {name: support, percent: 3.1415}]
  discounts: [{match: {spot: true}, percent: 33.3333}]
- from: 2025-01-02T05:00:00Z
  nodes: [{cpu_core_hour: 0.05, ram_gib_hour: 0.01}]
`

func bookOf(t interface{ Fatal(...any) }, text string) *price.Book {
	b, err := price.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// anyLedgers are those of some hours around a change of prices, with names in common.
func anyLedgers(t *rapid.T) []*cost.Ledger {
	names := cost.NewNames()
	var all []*cost.Ledger
	for n := range rapid.IntRange(1, 4).Draw(t, "hours") {
		l, err := cost.MaxRequestUsage.Ledger(anyHour(t, 27+n), names)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	return all
}

func report(t interface{ Fatal(...any) }, q cost.Query, b *price.Book, ledgers ...*cost.Ledger) *cost.Report {
	builder, err := cost.NewBuilder(q, b)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range ledgers {
		if err := builder.Add(l); err != nil {
			t.Fatal(err)
		}
	}
	r, err := builder.Report()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// verify adds up what is printed.
func verify(t *rapid.T, r *cost.Report) {
	var total money.Nanos
	for _, l := range r.Lines {
		total = total.Plus(l.Cost)
		var pools money.Nanos
		for _, p := range []money.Nanos{l.CPU, l.RAM, l.GPU, l.Storage, l.Network, l.LB, l.Other} {
			pools = pools.Plus(p)
		}
		if pools != l.Cost {
			t.Fatalf("pools of %v are %v, its cost %v", l.Key, pools, l.Cost)
		}
		if used := l.Used.Plus(l.Unused).Plus(l.UsageUnknown).Plus(l.Shared); l.Kind == cost.Workloads && used != l.Cost {
			t.Fatalf("parts of %v are %v, its cost %v", l.Key, used, l.Cost)
		}
	}
	if total != r.Total || r.Residual != "0" {
		t.Fatalf("lines cost %v, total %v, residual %s", total, r.Total, r.Residual)
	}
}

var dimensions = []string{
	"cluster", "namespace", "controller", "pod", "uid", "container", "node", "node_class", "instance_type", "region", "zone", "spot",
	"qos", "priority", "label:team",
}

func anySharing(t *rapid.T) cost.Sharing {
	mode := rapid.SampledFrom([]cost.Mode{"", cost.ShareNone, cost.ShareEven, cost.ShareWeighted})
	return cost.Sharing{
		Idle: mode.Draw(t, "idle"), System: mode.Draw(t, "system"), Overhead: mode.Draw(t, "overhead"), Namespace: mode.Draw(t, "shared"),
		ByNode: rapid.Bool().Draw(t, "by node"), Namespaces: rapid.SliceOfN(rapid.Just("kube-system"), 0, 1).Draw(t, "namespaces"),
	}
}

// Whatever is asked for, lines add up to the bill of the assets, and it is the same bill.
func TestEveryReportIsTheBill(t *testing.T) {
	b := bookOf(t, book)
	rapid.Check(t, func(t *rapid.T) {
		ledgers := anyLedgers(t)
		from, to := ledgers[0].From, ledgers[len(ledgers)-1].To
		total := report(t, cost.Query{From: from, To: to}, b, ledgers...).Total
		q := cost.Query{
			From: from, To: to, Step: rapid.SampledFrom([]cost.Step{cost.StepNone, cost.StepHour, cost.StepDay, cost.StepWeek, cost.StepMonth}).Draw(t, "step"),
			By: rapid.SliceOfNDistinct(rapid.SampledFrom(dimensions), 0, 4, rapid.ID).Draw(t, "by"), Sharing: anySharing(t),
		}
		r := report(t, q, b, ledgers...)
		verify(t, r)
		if r.Total != total {
			t.Fatalf("total is %v, of the same window by nothing %v", r.Total, total)
		}
	})
}

// A roll-up gives what its hours give, to the last bit of the hash, and hours in any order do.
func TestARollUpIsItsHours(t *testing.T) {
	b := bookOf(t, book)
	rapid.Check(t, func(t *rapid.T) {
		ledgers := anyLedgers(t)
		ledgers = ledgers[:min(len(ledgers), 2)] // of one list of prices
		from, to := ledgers[0].From, ledgers[len(ledgers)-1].To
		q := cost.Query{From: from, To: to, By: rapid.SliceOfNDistinct(rapid.SampledFrom(dimensions), 0, 4, rapid.ID).Draw(t, "by"), Sharing: anySharing(t)}
		q.By = slices.DeleteFunc(q.By, func(by string) bool { return by == "pod" || by == "uid" || by == "node" })
		q.Sharing.ByNode = false
		if !q.RollsUp(b, from, to) {
			t.Fatal("it can't be rolled up")
		}
		sum, err := cost.RollUp(from, to, ledgers...)
		if err != nil {
			t.Fatal(err)
		}
		hours := report(t, q, b, ledgers...)
		slices.Reverse(ledgers)
		for name, r := range map[string]*cost.Report{"the roll-up": report(t, q, b, sum), "reversed": report(t, q, b, ledgers...)} {
			if r.Hash != hours.Hash || r.Total != hours.Total {
				t.Fatalf("%s is %v and %s, hours are %v and %s", name, r.Total, r.Hash, hours.Total, hours.Hash)
			}
		}
	})
}

// A sum of hours is the roll-up of their ledgers, and keeps no names that the hours have alone: of pods, of nodes.
func TestASumOfHoursIsTheirRollUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from, to := int64(start+27*hour), int64(start+30*hour)
		names := cost.NewNames()
		sum := cost.NewSum(cost.MaxRequestUsage, names, from, to)
		var ledgers []*cost.Ledger
		of := cost.NewNames()
		for n := range 3 {
			h := anyHour(t, 27+n)
			l, err := cost.MaxRequestUsage.Ledger(h, of)
			if err != nil {
				t.Fatal(err)
			}
			ledgers = append(ledgers, l)
			if err := sum.AddHour(h); err != nil {
				t.Fatal(err)
			}
		}
		want, err := cost.RollUp(from, to, ledgers...)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(named(want), named(sum.Ledger())); diff != "" {
			t.Fatal(diff)
		}
		subjects, places := names.All()
		for _, s := range subjects {
			if s.Pod+s.UID != "" {
				t.Fatalf("the sum keeps the pod %q", s.Pod)
			}
		}
		for _, p := range places {
			if p.Name+p.Provider != "" {
				t.Fatalf("the sum keeps the node or asset %q", p.Name)
			}
		}
	})
}

// named is a ledger with names instead of numbers.
func named(l *cost.Ledger) map[string]any {
	out := map[string]any{"lives": l.Lives, "scalings": l.Scalings, "scalers": l.Scalers, "warnings": l.Warnings}
	for i, item := range l.Items {
		subject, place := *l.Names.SubjectOf(item.Subject), *l.Names.PlaceOf(item.Place)
		item.Subject, item.Place = 0, 0
		out[fmt.Sprint("item ", i)] = []any{subject, place, item}
	}
	for i, asset := range l.Assets {
		subject, place := *l.Names.SubjectOf(asset.Subject), *l.Names.PlaceOf(asset.Place)
		asset.Subject, asset.Place = 0, 0
		out[fmt.Sprint("asset ", i)] = []any{subject, place, asset}
	}
	return out
}

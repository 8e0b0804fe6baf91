package cost_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/money"
	"github.com/varve-io/varve/pkg/cost/price"
)

const (
	day      = 24 * hour
	coreHour = 3_600_000_000    // core-microseconds
	gibHour  = 3600 * (1 << 30) // byte-seconds
)

func scales(t interface{ Fatal(...any) }, q cost.Query, b *price.Book, ledgers ...*cost.Ledger) *cost.ScaleEvents {
	builder, err := cost.NewScaleBuilder(q, b)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range ledgers {
		if err := builder.Add(l); err != nil {
			t.Fatal(err)
		}
	}
	e, err := builder.Events()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func ledgerOf(t interface{ Fatal(...any) }, h *cost.Hour, names *cost.Names) *cost.Ledger {
	l, err := cost.MaxRequestUsage.Ledger(h, names)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// web is a workload of the hour that asks for cores and GiB and uses so many of them.
func web(from int64, pod string, cpu, cpuUsed, ram, ramUsed float64) cost.Workload {
	return cost.Workload{
		Owner: cost.Owner{Cluster: "prod", Namespace: "shop", Controller: cost.Controller{Kind: "Deployment", Name: "web"}, Pod: pod},
		Node:  "n1", From: from, To: from + hour, Alive: hour, CPUKnown: hour, RAMKnown: hour,
		CPU: cost.Held{Used: int64(cpuUsed * coreHour), Unused: int64((cpu - cpuUsed) * coreHour), Request: int64(cpu * coreHour)},
		RAM: cost.Held{Used: int64(ramUsed * gibHour), Unused: int64((ram - ramUsed) * gibHour), Request: int64(ram * gibHour)},
	}
}

// node is one of 8 cores and 16 GiB, of which 7 and 14 are allocatable.
func node(name, class string, from, to int64) cost.Node {
	up := to - from
	return cost.Node{
		Cluster: "prod", Name: name, Provider: "aws:///" + name, InstanceType: class, From: from, To: to, Up: up,
		CPU: cost.Capacity{Capacity: 8 * up * 1000, Allocatable: 7 * up * 1000},
		RAM: cost.Capacity{Capacity: 16 * (1 << 30) * up / 1000, Allocatable: 14 * (1 << 30) * up / 1000},
	}
}

// web goes 3 → 5 → 2. n2 comes a quarter after one and leaves half past two. Of 7 cores and 14 GiB of n1, web asks for 3, 5 and 2 cores and as many GiB, and uses
// one third, so 4 + 2 + 5 cores and 11 + 9 + 12 GiB are idle; of n2 all, 1.25 hours of 7 and 14. A core costs 0.03 an hour, a GiB 0.004.
// Its autoscaler wants 5, its maximum, in the second hour and 2, its minimum, in the third.
// Idle: n1 11 × 0.03 + 32 × 0.004 = 0.458, n2 8.75 × 0.03 + 17.5 × 0.004 = 0.3325. Unused: two thirds of 10 × 0.034 = 0.226666…, of which the
// minimum keeps a third.
func threeHours(t interface{ Fatal(...any) }) []*cost.Ledger {
	var ledgers []*cost.Ledger
	names := cost.NewNames()
	for n, replicas := range []int64{3, 5, 2} {
		h := &cost.Hour{Start: start + int64(n)*hour}
		h.Nodes = append(h.Nodes, node("n1", "large", h.Start, h.Start+hour))
		if from, to := max(h.Start, start+75*60_000), min(h.Start+hour, start+150*60_000); from < to {
			h.Nodes = append(h.Nodes, node("n2", "spot", from, to))
		}
		scaler := cost.Autoscaler{
			Cluster: "prod", Namespace: "shop", Controller: cost.Controller{Kind: "Deployment", Name: "web"}, Known: hour, Min: 2, Max: 5,
		}
		scaler.AtMin, scaler.AtMax = []int64{0, 0, hour}[n], []int64{0, hour, 0}[n]
		h.Scalers = append(h.Scalers, scaler)
		for pod := range replicas {
			w := web(h.Start, fmt.Sprint(pod), 1, 0, 1, 0)
			for _, held := range []*cost.Held{&w.CPU, &w.RAM} {
				held.Used = held.Request / 3
				held.Unused = held.Request - held.Used
			}
			h.Workloads = append(h.Workloads, w)
		}
		if n > 0 {
			h.Scalings = []cost.Scaling{{
				Cluster: "prod", Namespace: "shop", Controller: cost.Controller{Kind: "Deployment", Name: "web"}, At: h.Start,
				Before: []int64{0, 3, 5}[n], After: replicas,
			}}
		}
		ledgers = append(ledgers, ledgerOf(t, h, names))
	}
	return ledgers
}

func nanos(units float64) money.Nanos { return money.Nanos{Lo: uint64(units*1e9 + 0.5)} }

func TestScales(t *testing.T) {
	ledgers, b := threeHours(t), bookOf(t, smallBook)
	came, left := cost.Time(start+75*60_000), cost.Time(start+150*60_000)
	q := cost.Query{From: start, To: start + 3*hour}
	got := scales(t, q, b, ledgers...)
	want := &cost.ScaleEvents{
		Currency: "USD", Window: cost.Window{From: start, To: start + 3*hour}, Method: cost.MaxRequestUsage, Step: cost.StepNone,
		Idle: nanos(0.7905), Unused: nanos(0.226666667), Kept: nanos(0.075555556),
		Workloads: []cost.ScaleLine{{
			From: start, Cluster: "prod", Namespace: "shop", Controller: "Deployment/web", Ups: 1, Downs: 1, Added: 2, Removed: 3, Least: 2, Most: 5,
			Unused:     nanos(0.226666667),
			Autoscaled: &cost.Autoscaled{Min: 2, Max: 5, Known: 3 * hour, AtMin: hour, AtMax: hour, Kept: nanos(0.075555556)},
		}},
		Nodes: []cost.NodeEvents{{From: start, Cluster: "prod", Came: 1, Left: 1, Most: 2, Idle: nanos(0.7905)}},
		Classes: []cost.NodeEvents{
			{From: start, Cluster: "prod", Class: "large", Most: 1, Idle: nanos(0.458)},
			{From: start, Cluster: "prod", Class: "spot", Came: 1, Left: 1, Most: 1, Idle: nanos(0.3325)},
		},
		Changes:  []cost.NodeChange{{Cluster: "prod", Node: "n2", ProviderID: "aws:///n2", Class: "spot", Came: &came, Left: &left}},
		Creep:    cost.Creep{Step: cost.StepDay, Workloads: []cost.CreepLine{}, LeftOut: 1},
		Warnings: []cost.Warning{},
	}
	want.Hash = got.Hash
	hidden := cmpopts.IgnoreUnexported(cost.ScaleLine{}, cost.NodeEvents{})
	if d := cmp.Diff(want, got, hidden); d != "" {
		t.Error(d)
	}
	q.Step = cost.StepHour
	got = scales(t, q, b, ledgers...)
	at := func(n int) cost.Time { return cost.Time(start + n*hour) }
	nodes := []cost.NodeEvents{
		{From: at(0), Cluster: "prod", Most: 1, Idle: nanos(0.164)},
		{From: at(1), Cluster: "prod", Came: 1, Most: 2, Idle: nanos(0.2955)},
		{From: at(2), Cluster: "prod", Left: 1, Most: 2, Idle: nanos(0.331)},
	}
	if d := cmp.Diff(nodes, got.Nodes, hidden); d != "" || got.Idle != want.Idle || got.Unused != want.Unused {
		t.Errorf("by hour: idle %v, unused %v\n%s", got.Idle, got.Unused, d)
	}
	if got.Workloads[1].Most != 5 || got.Workloads[2].Removed != 3 || got.Workloads[2].Least != 2 ||
		got.Workloads[2].Autoscaled.Kept != got.Workloads[2].Unused || got.Kept != got.Workloads[2].Unused {
		t.Errorf("by hour: %+v", got.Workloads)
	}
}

// Pages have every line of any kind once, and are one answer's.
func TestPagesOfScales(t *testing.T) {
	e := scales(t, cost.Query{From: start, To: start + 3*hour, Step: cost.StepHour}, bookOf(t, smallBook), threeHours(t)...)
	e.Creep = scales(t, cost.Query{From: start, To: start + 5*day}, bookOf(t, smallBook), creepingDays(t)...).Creep
	var all cost.ScaleEvents
	var cursor string
	for n := 0; n == 0 || cursor != ""; n++ {
		page, next, err := e.Page(cost.Page{Limit: 2, Cursor: cursor})
		if err != nil || n > 9 {
			t.Fatalf("page %d: %v", n, err)
		}
		p := page.(*cost.ScaleEvents)
		if lines := len(p.Workloads) + len(p.Nodes) + len(p.Classes) + len(p.Changes) + len(p.Creep.Workloads); lines > 2 || next != "" && lines < 2 || p.Idle != e.Idle {
			t.Errorf("page %d: %+v", n, p)
		}
		all.Workloads, all.Nodes = append(all.Workloads, p.Workloads...), append(all.Nodes, p.Nodes...)
		all.Classes, all.Changes = append(all.Classes, p.Classes...), append(all.Changes, p.Changes...)
		all.Creep.Workloads = append(all.Creep.Workloads, p.Creep.Workloads...)
		cursor = next
	}
	hidden := cmpopts.IgnoreUnexported(cost.ScaleLine{}, cost.NodeEvents{})
	if d := cmp.Diff([]any{e.Workloads, e.Nodes, e.Classes, e.Changes, e.Creep.Workloads}, []any{all.Workloads, all.Nodes, all.Classes, all.Changes, all.Creep.Workloads}, hidden); d != "" {
		t.Error(d)
	}
}

// Who is there at both ends of a gap, or of the window, neither came nor left: nobody knows.
func TestNodesInGaps(t *testing.T) {
	ledgers, b := threeHours(t), bookOf(t, smallBook)
	q := cost.Query{From: start, To: start + 3*hour}
	got := scales(t, q, b, ledgers[0], ledgers[2])
	if len(got.Changes) != 1 || got.Changes[0].Came != nil || got.Changes[0].Left == nil {
		t.Errorf("without the second hour: %+v", got.Changes)
	}
	if d := cmp.Diff([]cost.Warning{{Name: cost.HoursMissing, Count: 1}}, got.Warnings); d != "" {
		t.Error(d)
	}
	builder, err := cost.NewScaleBuilder(q, b)
	if err != nil {
		t.Fatal(err)
	}
	if err := builder.Add(ledgers[1]); err != nil {
		t.Fatal(err)
	}
	for _, l := range ledgers[:2] {
		if err := builder.Add(l); err == nil || !strings.Contains(err.Error(), "order of time") {
			t.Errorf("an hour that isn't after the last one: %v", err)
		}
	}
}

// Somebody begins to watch the cluster at 20 past and ends half past two. Only the node that is first seen later came, and only the one that
// is last seen before left.
func TestNodesOfAClusterThatIsFirstSeen(t *testing.T) {
	const minute = 60_000
	var ledgers []*cost.Ledger
	names := cost.NewNames()
	for n := range int64(4) {
		h := &cost.Hour{Start: start + n*hour}
		for name, life := range map[string][2]int64{"n1": {20, 150}, "n2": {22, 149}, "n3": {40, 150}, "n4": {20, 100}} {
			if from, to := max(h.Start, start+life[0]*minute), min(h.Start+hour, start+life[1]*minute); from < to {
				h.Nodes = append(h.Nodes, node(name, "large", from, to))
			}
		}
		ledgers = append(ledgers, ledgerOf(t, h, names))
	}
	e := scales(t, cost.Query{From: start, To: start + 4*hour}, bookOf(t, smallBook), ledgers...)
	came, left := cost.Time(start+40*minute), cost.Time(start+100*minute)
	want := []cost.NodeChange{
		{Cluster: "prod", Node: "n3", ProviderID: "aws:///n3", Class: "large", Came: &came}, {Cluster: "prod", Node: "n4", ProviderID: "aws:///n4", Class: "large", Left: &left},
	}
	if d := cmp.Diff(want, e.Changes); d != "" {
		t.Error(d)
	}
	if n := e.Nodes[0]; n.Came != 1 || n.Left != 1 || n.Most != 4 {
		t.Errorf("%+v", n)
	}
}

// A table for people has the lines with changes, and of the others the twenty that left most unused.
func TestTableOfManyWorkloads(t *testing.T) {
	h := &cost.Hour{Start: start, Nodes: []cost.Node{node("n1", "large", start, start+hour)}}
	for n := range 30 {
		w := web(start, "p", float64(n+1)/100, 0, 0, 0)
		w.Controller.Name = fmt.Sprintf("w%02d", n)
		h.Workloads = append(h.Workloads, w)
	}
	h.Scalings = []cost.Scaling{{Cluster: "prod", Namespace: "shop", Controller: h.Workloads[0].Controller, At: start, Before: 1, After: 2}}
	var out strings.Builder
	if err := scales(t, cost.Query{From: start, To: start + hour}, bookOf(t, smallBook), ledgerOf(t, h, cost.NewNames())).WriteTable(&out); err != nil {
		t.Fatal(err)
	}
	for name, shown := range map[string]bool{"w00": true, "w01": false, "w09": false, "w10": true, "w29": true, "kept; 9 more left less unused": true} {
		if strings.Contains(out.String(), name) != shown {
			t.Errorf("%s is shown: %v\n%s", name, !shown, out.String())
		}
	}
}

// Headroom is to the last grain what the report of the window says of its idle lines, and of what its workloads left unused.
func TestHeadroomIsTheReports(t *testing.T) {
	b := bookOf(t, book)
	rapid.Check(t, func(t *rapid.T) {
		ledgers := anyLedgers(t)
		q := cost.Query{
			From: ledgers[0].From, To: ledgers[len(ledgers)-1].To, Step: rapid.SampledFrom([]cost.Step{cost.StepNone, cost.StepHour, cost.StepDay}).Draw(t, "step"),
		}
		e := scales(t, q, b, ledgers...)
		q.By = []string{"cluster", "namespace", "controller"}
		want := map[string]money.Amount{}
		for _, l := range report(t, q, b, ledgers...).Lines {
			key := fmt.Sprint(l.From, l.Key)
			switch {
			case l.Kind == cost.Idle && l.Amount() != (money.Amount{}):
				want[key] = l.Amount()
			case l.Kind == cost.Workloads && !l.UnusedAmount().IsZero():
				want[key] = l.UnusedAmount()
			}
		}
		got, printed := map[string]money.Amount{}, money.Nanos{}
		for _, w := range e.Workloads {
			printed = printed.Plus(w.Unused)
			if a := w.Amount(); !a.IsZero() {
				got[fmt.Sprint(w.From, []string{w.Cluster, w.Namespace, w.Controller})] = a
			}
		}
		if printed != e.Unused {
			t.Fatalf("unused is %v, its lines are %v", e.Unused, printed)
		}
		printed = money.Nanos{}
		for _, n := range e.Classes {
			printed = printed.Plus(n.Idle)
			key := fmt.Sprint(n.From, []string{n.Cluster, "", ""})
			if a := n.Amount(); !a.IsZero() {
				got[key] = got[key].Plus(a)
			}
		}
		if printed != e.Idle {
			t.Fatalf("idle is %v, its classes are %v", e.Idle, printed)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
	})
}

// manyDays repeats some hours over days; the names of the nodes are of the hour and come and go.
func manyDays(t *rapid.T, days int) []*cost.Ledger {
	var some []*cost.Hour
	for range 3 {
		h := anyHour(t, 0)
		h.Scalings = []cost.Scaling{{Cluster: "c0", At: start + rapid.Int64Range(0, hour-1).Draw(t, "at"), Before: 1, After: rapid.Int64Range(0, 3).Draw(t, "after")}}
		scaler := cost.Autoscaler{Cluster: "c0", Controller: h.Scalings[0].Controller, Known: rapid.Int64Range(0, hour).Draw(t, "known"), Min: 1}
		scaler.AtMin = rapid.Int64Range(0, scaler.Known).Draw(t, "at the minimum")
		h.Scalers = append(h.Scalers, scaler)
		for i := range h.Workloads {
			w := &h.Workloads[i]
			if i == 0 {
				h.Scalers[0].Cluster, h.Scalers[0].Namespace, h.Scalers[0].Controller = w.Cluster, w.Namespace, w.Controller
			}
			w.Alive = w.To - w.From
			w.CPUKnown, w.RAMKnown = w.Alive, w.Alive/2
		}
		some = append(some, h)
	}
	var ledgers []*cost.Ledger
	names := cost.NewNames()
	order := rapid.SliceOfN(rapid.IntRange(0, 2), 24*days, 24*days).Draw(t, "order")
	for n, which := range order {
		ledgers = append(ledgers, ledgerOf(t, moved(some[which], start+int64(n)*hour), names))
	}
	return ledgers
}

// moved is the hour at another time.
func moved(h *cost.Hour, to int64) *cost.Hour {
	shift := to - h.Start
	out := &cost.Hour{
		Start: to, Workloads: slices.Clone(h.Workloads), Nodes: slices.Clone(h.Nodes), Assets: slices.Clone(h.Assets), Shares: slices.Clone(h.Shares),
		Scalings: slices.Clone(h.Scalings), Scalers: h.Scalers,
	}
	for i := range out.Workloads {
		out.Workloads[i].From += shift
		out.Workloads[i].To += shift
	}
	for i := range out.Nodes {
		out.Nodes[i].From += shift
		out.Nodes[i].To += shift
	}
	for i := range out.Assets {
		out.Assets[i].From += shift
		out.Assets[i].To += shift
	}
	for i := range out.Shares {
		out.Shares[i].From += shift
	}
	for i := range out.Scalings {
		out.Scalings[i].At += shift
	}
	return out
}

// Roll-ups of days give the bytes that their hours give, and a roll-up of all days too, where steps are longer: counts, names, money and creep.
func TestScalesOfRollUps(t *testing.T) {
	const days = 4
	b := bookOf(t, strings.Split(book, "- from: 2025-01-02")[0])
	rapid.Check(t, func(t *rapid.T) {
		ledgers := manyDays(t, days)
		q := cost.Query{From: start, To: start + days*day, Step: rapid.SampledFrom([]cost.Step{cost.StepNone, cost.StepDay, cost.StepMonth}).Draw(t, "step")}
		var rolled []*cost.Ledger
		for hours := range slices.Chunk(ledgers, 24) {
			from := hours[0].From
			if !cost.ScalesRollUp(q, b, from, from+day) {
				t.Fatal("a day can't be rolled up")
			}
			sum, err := cost.RollUp(from, from+day, hours...)
			if err != nil {
				t.Fatal(err)
			}
			rolled = append(rolled, sum)
		}
		answers := map[string][]*cost.Ledger{"days": rolled, "days and hours": append(slices.Clone(rolled[:2]), ledgers[48:]...)}
		if q.Step == cost.StepMonth {
			sum, err := cost.RollUp(q.From, q.To, rolled...)
			if err != nil {
				t.Fatal(err)
			}
			answers["all in one"] = []*cost.Ledger{sum}
		}
		want := text(t, scales(t, q, b, ledgers...))
		for name, of := range answers {
			if d := cmp.Diff(want, text(t, scales(t, q, b, of...))); d != "" {
				t.Fatalf("%s (-hours +roll-ups):\n%s", name, d)
			}
		}
	})
}

func text(t interface{ Fatal(...any) }, v any) string {
	out, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

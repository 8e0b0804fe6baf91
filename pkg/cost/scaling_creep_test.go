package cost_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/varve-io/varve/pkg/cost"
)

// creepingDays are five days of a node. web asks for 1, 2, … 5 cores and always uses 0.5, and has 4 GiB, of which it uses 1, 1.5, … 3. Half of the usage of the
// third day is unknown, and all of the fourth. late comes at noon of the second day and leaves at noon of the fourth.
func creepingDays(t *testing.T) []*cost.Ledger {
	var ledgers []*cost.Ledger
	names := cost.NewNames()
	for n := range int64(5 * 24) {
		of, h := n/24, &cost.Hour{Start: start + n*hour}
		h.Nodes = []cost.Node{node("n1", "large", h.Start, h.Start+hour)}
		w := web(h.Start, "web", float64(1+of), 0.5, 4, 1+float64(of)/2)
		if of == 3 || of == 2 && n%2 == 0 {
			w.CPUKnown, w.RAMKnown = 0, 0
			w.CPU = cost.Held{Unknown: w.CPU.Request, Request: w.CPU.Request}
			w.RAM = cost.Held{Unknown: w.RAM.Request, Request: w.RAM.Request}
		}
		h.Workloads = append(h.Workloads, w)
		if n >= 24+12 && n < 3*24+12 {
			late := web(h.Start, "late", 1, 1, 1, 1)
			late.Controller.Name = "late"
			h.Workloads = append(h.Workloads, late)
		}
		ledgers = append(ledgers, ledgerOf(t, h, names))
	}
	return ledgers
}

// Of web, days 1, 2, 3 and 5 count. Requests rise by a core a day, 30 in 30 days, from 1 to 5. The gap widens by 4 cores, of which each costs 0.03 × 720 hours: 86.4; and of
// RAM by minus 2 GiB, as usage rises by half of one a day, of which each costs 0.004 × 720: −5.76. late has one whole day, and is left out.
func TestCreep(t *testing.T) {
	const gib = 1 << 30
	q := cost.Query{From: start, To: start + 5*day}
	got := scales(t, q, bookOf(t, smallBook), creepingDays(t)...).Creep
	want := cost.Creep{
		Step: cost.StepDay, LeftOut: 1,
		Workloads: []cost.CreepLine{{
			Cluster: "prod", Namespace: "shop", Controller: "Deployment/web", Widening: 80.64,
			CPU: &cost.CreepGrowth{
				Steps: 4, Request: cost.Growth{Ends: cost.Ends{First: 1, Last: 5}, Per30Days: 30}, Usage: cost.Growth{Ends: cost.Ends{First: 0.5, Last: 0.5}},
				Ratio: cost.Ends{First: 2, Last: 10}, Coverage: cost.Ends{First: 1, Last: 1},
			},
			RAM: &cost.CreepGrowth{
				Steps: 4, Request: cost.Growth{Ends: cost.Ends{First: 4 * gib, Last: 4 * gib}},
				Usage: cost.Growth{Ends: cost.Ends{First: gib, Last: 3 * gib}, Per30Days: 15 * gib},
				Ratio: cost.Ends{First: 4, Last: 1.3333}, Coverage: cost.Ends{First: 1, Last: 1},
			},
		}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// A day that the window cuts, or of which an hour is missing, isn't whole; a workload that is there on both sides of it stays.
func TestCreepOfCutDays(t *testing.T) {
	ledgers := creepingDays(t)
	for name, c := range map[string]struct {
		from, to int64
		drop     int // an hour
		steps    int // 0 if web is left out
	}{
		"days 1 and 5 are cut":      {1, 5*24 - 1, -1, 0},
		"day 1 is cut":              {1, 5 * 24, -1, 3},
		"of day 2 an hour is lost":  {0, 5 * 24, 30, 3},
		"of day 3 a known one is":   {0, 5 * 24, 49, 3},
		"all hours of days 1 and 2": {0, 2 * 24, -1, 0},
	} {
		builder, err := cost.NewScaleBuilder(cost.Query{From: start + c.from*hour, To: start + c.to*hour}, bookOf(t, smallBook))
		if err != nil {
			t.Fatal(err)
		}
		for n, l := range ledgers[c.from:c.to] {
			if n+int(c.from) == c.drop {
				continue
			}
			if err := builder.Add(l); err != nil {
				t.Fatal(err)
			}
		}
		got := 0
		e, err := builder.Events()
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range e.Creep.Workloads {
			if l.Controller == "Deployment/web" {
				got = l.CPU.Steps
			}
		}
		if got != c.steps {
			t.Errorf("%s: %d steps, want %d", name, got, c.steps)
		}
	}
}

// A workload that is only scaled, and never there, isn't left out: whenever its scaling comes, and so in roll-ups, which have all scalings first.
func TestCreepIsOfWorkloadsThatWereThere(t *testing.T) {
	q := cost.Query{From: start, To: start + 5*day}
	for _, at := range []int{0, 40} {
		ledgers := creepingDays(t)
		ledgers[at].Scalings = []cost.Scaling{{Cluster: "prod", Namespace: "shop", Controller: cost.Controller{Kind: "Deployment", Name: "gone"}, At: ledgers[at].From + 1, Before: 1}}
		if got := scales(t, q, bookOf(t, smallBook), ledgers...).Creep; got.LeftOut != 1 || len(got.Workloads) != 1 {
			t.Errorf("scaled in hour %d: %d are left out of %d", at, got.LeftOut, len(got.Workloads))
		}
	}
}

package cost_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/money"
	"github.com/varve-io/varve/pkg/cost/price"
)

func fleet(t interface{ Fatal(...any) }, q cost.FleetQuery, b *price.Book, ledgers ...*cost.Ledger) *cost.Fleet {
	builder, err := cost.NewFleetBuilder(q, b)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range ledgers {
		if err := builder.Add(l); err != nil {
			t.Fatal(err)
		}
	}
	return builder.Fleet()
}

// Assets cost what the report says, by whatever lines, and a roll-up's classes are those of its hours.
func TestAFleetIsTheBill(t *testing.T) {
	b := bookOf(t, book)
	rapid.Check(t, func(t *rapid.T) {
		ledgers := anyLedgers(t)
		ledgers = ledgers[:min(len(ledgers), 2)]
		from, to := ledgers[0].From, ledgers[len(ledgers)-1].To
		total := report(t, cost.Query{From: from, To: to}, b, ledgers...).Total
		sum, err := cost.RollUp(from, to, ledgers...)
		if err != nil {
			t.Fatal(err)
		}
		for _, by := range []cost.FleetBy{cost.ByAsset, cost.ByClass, cost.ByCluster} {
			q := cost.FleetQuery{From: from, To: to, By: by}
			f := fleet(t, q, b, ledgers...)
			var printed money.Nanos
			for _, l := range f.Lines {
				printed = printed.Plus(l.Cost)
			}
			if f.Total != total || printed != total {
				t.Fatalf("by %s assets cost %v, lines %v, the report says %v", by, f.Total, printed, total)
			}
			if q.RollsUp(b, from, to) != (by != cost.ByAsset) {
				t.Fatalf("RollsUp by %s", by)
			}
			if by == cost.ByAsset {
				continue
			}
			hours, err := json.Marshal(f)
			if err != nil {
				t.Fatal(err)
			}
			rolled, err := json.Marshal(fleet(t, q, b, sum))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(hours, rolled) {
				t.Fatalf("by %s:\n%s\nhours:\n%s", by, rolled, hours)
			}
		}
	})
}

func TestFleetFormats(t *testing.T) {
	l, err := cost.MaxRequestUsage.Ledger(smallHour(), cost.NewNames())
	if err != nil {
		t.Fatal(err)
	}
	f := fleet(t, cost.FleetQuery{From: start, To: start + hour}, bookOf(t, smallBook), l)
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "fleet.json", append(text, '\n'))
	var out bytes.Buffer
	if err := f.WriteTable(&out); err != nil {
		t.Fatal(err)
	}
	golden(t, "fleet.txt", out.Bytes())
	out.Reset()
	if err := f.WriteCSV(&out); err != nil {
		t.Fatal(err)
	}
	golden(t, "fleet.csv", out.Bytes())
}

// What can't be asked for, or added, is said.
func TestErrors(t *testing.T) {
	b := bookOf(t, book)
	for _, c := range []struct {
		q    cost.Query
		want string
	}{
		{cost.Query{From: start + 1, To: start + hour}, "window: "},
		{cost.Query{From: start, To: start}, "window: "},
		{cost.Query{From: start, To: start + hour, By: []string{"pods"}}, `by: there is no "pods"`},
		{cost.Query{From: start, To: start + hour, By: []string{"pod", "pod"}}, "twice"},
		{cost.Query{From: start, To: start + hour, By: []string{"label:"}}, "by: "},
		{cost.Query{From: start, To: start + hour, Step: "year"}, "step: "},
		{cost.Query{From: 0, To: start, Step: cost.StepHour}, "step: the window has more than 100000"},
		{cost.Query{From: start, To: start + hour, Method: "x"}, `method: there is no "x"`},
		{cost.Query{From: start, To: start + hour, Sharing: cost.Sharing{Idle: "all"}}, "share: idle"},
	} {
		if _, err := cost.NewBuilder(c.q, b); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.q, err, c.want)
		}
	}
	l, err := cost.MaxRequestUsage.Ledger(smallHour(), cost.NewNames())
	if err != nil {
		t.Fatal(err)
	}
	for name, q := range map[string]cost.Query{
		"method":     {From: start, To: start + hour, Method: cost.RequestOnly},
		"the window": {From: start + hour, To: start + 2*hour},
	} {
		builder, err := cost.NewBuilder(q, b)
		if err != nil {
			t.Fatal(err)
		}
		if err := builder.Add(l); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	days := &cost.Ledger{From: start + 24*hour, To: start + 48*hour, Names: cost.NewNames()} // the price changes at 5 o'clock
	weeks := &cost.Ledger{From: start + 4*24*hour, To: start + 6*24*hour, Names: cost.NewNames()}
	for step, l := range map[cost.Step]*cost.Ledger{cost.StepNone: days, cost.StepWeek: weeks} {
		q := cost.Query{From: start, To: start + 14*24*hour, Step: step}
		builder, err := cost.NewBuilder(q, b)
		if err != nil {
			t.Fatal(err)
		}
		if err := builder.Add(l); err == nil || !strings.Contains(err.Error(), "more than one step or list of prices") || q.RollsUp(b, l.From, l.To) {
			t.Errorf("step %s: %v, RollsUp %v", step, err, q.RollsUp(b, l.From, l.To))
		}
	}
	builder, err := cost.NewBuilder(cost.Query{From: start, To: start + 3*hour}, b)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := builder.Add(l); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := builder.Report(); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("an hour twice: %v", err)
	}
}

// Hours that nobody tells of are a warning, not a silent zero.
func TestMissingHours(t *testing.T) {
	l, err := cost.MaxRequestUsage.Ledger(smallHour(), cost.NewNames())
	if err != nil {
		t.Fatal(err)
	}
	r := report(t, cost.Query{From: start - hour, To: start + 3*hour}, bookOf(t, smallBook), l)
	if !slices.Contains(r.Warnings, cost.Warning{Name: cost.HoursMissing, Count: 3}) {
		t.Errorf("%v", r.Warnings)
	}
}

// Bad hours are errors that name the row.
func TestBadHours(t *testing.T) {
	for name, spoil := range map[string]func(*cost.Hour){
		`pod`:       func(h *cost.Hour) { h.Workloads[0].CPU.Used = -1 },
		`"n1"`:      func(h *cost.Hour) { h.Nodes[0].CPU.Allocatable = 1 << 60 },
		`up for`:    func(h *cost.Hour) { h.Nodes[0].Up = hour + 1 },
		`too large`: func(h *cost.Hour) { h.Workloads[0].RAM.Used, h.Workloads[1].RAM.Used = 1<<63-1, 1<<63-1 },
		`more than`: func(h *cost.Hour) { h.Shares[0].Quantity = 1 << 60 },
		`at its bo`: func(h *cost.Hour) { h.Scalers = []cost.Autoscaler{{Known: 1, AtMin: 2}} },
		`"pv1"`:     func(h *cost.Hour) { h.Assets[0].Kind = "disk" },
	} {
		h := smallHour()
		spoil(h)
		if _, err := cost.MaxRequestUsage.Ledger(h, cost.NewNames()); err == nil || name != "pod" && !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Steps end at midnight, on Mondays and on the first; 2025-01-01 is a Wednesday.
func TestSteps(t *testing.T) {
	b := bookOf(t, smallBook)
	for step, want := range map[cost.Step][]string{
		cost.StepDay:   {"2024-12-31T22:00:00Z", "2025-01-01T00:00:00Z", "2025-01-02T00:00:00Z"},
		cost.StepWeek:  {"2024-12-31T22:00:00Z", "2025-01-06T00:00:00Z", "2025-01-13T00:00:00Z"},
		cost.StepMonth: {"2024-12-31T22:00:00Z", "2025-01-01T00:00:00Z", "2025-02-01T00:00:00Z"},
	} {
		names := cost.NewNames()
		var ledgers []*cost.Ledger
		for _, s := range want {
			at, err := time.Parse(time.RFC3339, s)
			if err != nil {
				t.Fatal(err)
			}
			h := smallHour()
			shift := at.UnixMilli() - h.Start
			h.Start += shift
			h.Nodes[0].From, h.Nodes[0].To = h.Start, h.Start+hour
			l, err := cost.MaxRequestUsage.Ledger(h, names)
			if err != nil {
				t.Fatal(err)
			}
			ledgers = append(ledgers, l)
		}
		r := report(t, cost.Query{From: ledgers[0].From, To: ledgers[2].To, Step: step, By: []string{"node"}}, b, ledgers...)
		var got []string
		for _, l := range r.Lines {
			if l.Kind == cost.Idle {
				got = append(got, l.From.String())
			}
		}
		if d := cmp.Diff(want, got); d != "" || r.Residual != "0" {
			t.Errorf("%s: %s", step, d)
		}
	}
}

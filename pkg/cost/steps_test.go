package cost_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/money"
	"github.com/varve-io/varve/pkg/cost/price"
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	z, err := cost.ParseZone(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// slotsOf are the starts of slots, and the end.
func slotsOf(q cost.Query) (starts []int64) {
	for at := q.From; at < q.To; at = q.SlotEnd(at) {
		starts = append(starts, at)
	}
	return append(starts, q.To)
}

// lineSteps are the steps of a report of ledgers that have the same in each slot, and what it costs per hour.
func lineSteps(t *testing.T, q cost.Query) (starts []string, hours []string) {
	t.Helper()
	names := cost.NewNames()
	place := names.Place(cost.Place{Class: cost.Class{Kind: cost.LoadBalancerClass, Cluster: "c"}})
	subject := names.Subject(cost.Subject{Owner: cost.Owner{Cluster: "c"}})
	var all []*cost.Ledger
	slots := slotsOf(q)
	for i, from := range slots[1:] {
		amount := money.Units(from - slots[i])
		all = append(all, &cost.Ledger{
			From: slots[i], To: from, Names: names,
			Items:  []cost.Item{{Kind: cost.Workloads, Subject: subject, Place: place, Amount: amount}},
			Assets: []cost.AssetItem{{Subject: subject, Place: place, Amount: amount}},
		})
	}
	r := report(t, q, bookOf(t, "currency: USD\nprices: [{from: 2010-01-01, load_balancers: [{hour: 1}]}]"), all...)
	if r.Residual != "0" || len(r.Warnings) != 0 {
		t.Errorf("residual %s, warnings %v", r.Residual, r.Warnings)
	}
	for _, l := range r.Lines {
		starts = append(starts, l.From.String())
		hours = append(hours, l.Cost.String())
	}
	return starts, hours
}

// Days as a wall clock's calendar has them: of 23 and 25 hours, of 23.5 and 24.5 on Lord Howe; with borders at half hours; without midnight in Cairo, with two of
// them in Havana; and Samoa had no 30 December 2011.
func TestDaysOfTimeZones(t *testing.T) {
	for _, c := range []struct {
		zone, from string
		days       int
		starts     []string
		hours      []string
	}{
		{"Europe/Berlin", "2026-03-28", 3, []string{"2026-03-27T23:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"}, []string{"24", "23", "24"}},
		{"Europe/Berlin", "2026-10-25", 2, []string{"2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"}, []string{"25", "24"}},
		{"Asia/Kolkata", "2026-01-01", 2, []string{"2025-12-31T18:30:00Z", "2026-01-01T18:30:00Z"}, []string{"24", "24"}},
		{"Asia/Kathmandu", "2026-01-01", 1, []string{"2025-12-31T18:15:00Z"}, []string{"24"}},
		{"Australia/Lord_Howe", "2026-10-04", 1, []string{"2026-10-03T13:30:00Z"}, []string{"23.5"}},
		{"Australia/Lord_Howe", "2026-04-05", 1, []string{"2026-04-04T13:00:00Z"}, []string{"24.5"}},
		{"Africa/Cairo", "2025-04-24", 3, []string{"2025-04-23T22:00:00Z", "2025-04-24T22:00:00Z", "2025-04-25T21:00:00Z"}, []string{"24", "23", "24"}},
		{"America/Havana", "2025-11-01", 3, []string{"2025-11-01T04:00:00Z", "2025-11-02T04:00:00Z", "2025-11-03T05:00:00Z"}, []string{"24", "25", "24"}},
		{"Pacific/Apia", "2011-12-29", 3, []string{"2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"}, []string{"24", "24"}},
	} {
		first, err := time.Parse(time.DateOnly, c.from)
		if err != nil {
			t.Fatal(err)
		}
		question, err := cost.ParseQuestion(cost.AskReport, func(name string) string {
			return map[string]string{
				"window": c.from + "," + first.AddDate(0, 0, c.days).Format(time.DateOnly), "timezone": c.zone, "step": "day",
			}[name]
		})
		if err != nil {
			t.Fatalf("%s: %v", c.zone, err)
		}
		starts, hours := lineSteps(t, question.Query)
		if !slices.Equal(starts, c.starts) || !slices.Equal(hours, c.hours) {
			t.Errorf("%s, %d days from %s: %v of %v hours, want %v of %v", c.zone, c.days, c.from, starts, hours, c.starts, c.hours)
		}
	}
}

// In twenty years of any zone each day begins where the date changes, and months and weeks begin with a day.
func TestBordersAreWhereTheCalendarChanges(t *testing.T) {
	for _, name := range []string{"UTC", "Europe/Berlin", "America/Sao_Paulo", "America/Havana", "Asia/Beirut", "Asia/Tehran", "Africa/Casablanca", "Pacific/Apia", "Australia/Lord_Howe", "America/St_Johns"} {
		z := zone(t, name)
		in := z
		if in == nil {
			in = time.UTC
		}
		for _, step := range []cost.Step{cost.StepDay, cost.StepWeek, cost.StepMonth} {
			q := cost.Query{From: time.Date(2006, 1, 1, 3, 0, 0, 0, time.UTC).UnixMilli(), Step: step, Zone: z}
			q.To = q.From + 20*365*24*hour
			borders := 0
			for at := q.From; at < q.To; {
				next := cost.BorderOf(&q, at)
				before, after := time.UnixMilli(next-1).In(in), time.UnixMilli(next).In(in)
				if next <= at || before.Format(time.DateOnly) >= after.Format(time.DateOnly) {
					t.Fatalf("%s: %v and %v are of two steps", name, before, after)
				}
				if step == cost.StepMonth && before.Month() == after.Month() || step == cost.StepWeek && after.Weekday() != time.Monday {
					t.Fatalf("%s: a %s begins at %v", name, step, after)
				}
				at = next
				borders++
			}
			if want := map[cost.Step]int{cost.StepDay: 7299, cost.StepWeek: 1042, cost.StepMonth: 239}[step]; borders < want-1 || borders > want+2 {
				t.Errorf("%s: %d times a %s, want about %d", name, borders, step, want)
			}
		}
	}
}

// A roll-up of a UTC day is used where no border of the zone is in it.
func TestRollUpsAreUsedWhereTheirBordersFit(t *testing.T) {
	from := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	for _, c := range []struct {
		zone string
		step cost.Step
		want bool
	}{
		{"UTC", cost.StepDay, true}, {"Europe/Berlin", cost.StepDay, false}, {"Europe/Berlin", cost.StepNone, true},
		{"Europe/Berlin", cost.StepMonth, true}, {"Europe/London", cost.StepDay, true}, {"Asia/Kolkata", cost.StepWeek, true},
	} {
		q := cost.Query{From: from, To: from + 30*24*hour, Step: c.step, Zone: zone(t, c.zone)}
		day := from + 3*24*hour // a Wednesday
		if got := q.RollsUp(price.Default(), day, day+24*hour); got != c.want {
			t.Errorf("%s by %s: %v", c.zone, c.step, got)
		}
		if q.RollsUp(price.Default(), from-24*hour, from) {
			t.Error("a day before the window is used")
		}
	}
}

func TestTimeZonesThatAreNone(t *testing.T) {
	for _, name := range []string{"Local", "Europe/Nowhere", "../etc/passwd", "+01:00"} {
		if _, err := cost.ParseZone(name); err == nil || !strings.HasPrefix(err.Error(), "timezone: ") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

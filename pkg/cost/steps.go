package cost

import (
	"fmt"
	"math"
	"slices"
	"time"
	_ "time/tzdata" // images without files of time zones know them, too
)

// Step is how long each line of a report is for: UTC hours, or days, weeks (from Monday) and months of a time zone.
type Step string

// Steps.
const (
	StepNone  Step = "none"
	StepHour  Step = "hour"
	StepDay   Step = "day"
	StepWeek  Step = "week"
	StepMonth Step = "month"
)

// MaxSteps is how many steps a report may have.
const MaxSteps = 100_000

const hourMillis = 3_600_000

// ParseZone reads the name of a time zone, such as Europe/Berlin; "" and UTC are nil.
func ParseZone(name string) (*time.Location, error) {
	if name == "" || name == "UTC" {
		return nil, nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return nil, fmt.Errorf("timezone: there is no %q; names are such as UTC or Europe/Berlin", name)
	}
	return zone, nil
}

// steps are the starts of steps in the window, the first of which may be cut.
func (q *Query) steps() ([]int64, error) {
	switch q.Step {
	case "", StepNone, StepHour, StepDay, StepWeek, StepMonth:
	default:
		return nil, fmt.Errorf("step: there is no %q, but none, hour, day, week and month", q.Step)
	}
	steps := []int64{q.From}
	for t := q.border(q.From); t < q.To; t = q.border(t) {
		if len(steps) == MaxSteps {
			return nil, fmt.Errorf("step: the window has more than %d", MaxSteps)
		}
		steps = append(steps, t)
	}
	return steps, nil
}

// SlotEnd is the end of the slot that begins at t: each hour of the window is one, and where a step begins within an hour, its parts are. A
// ledger of a slot is of one step.
func (q *Query) SlotEnd(t int64) int64 { return min(t-t%hourMillis+hourMillis, q.border(t), q.To) }

// border is where the first step after t begins.
func (q *Query) border(t int64) int64 {
	at := time.UnixMilli(t).In(q.zone())
	year, month, day := at.Date()
	switch q.Step {
	case StepHour:
		return t - t%hourMillis + hourMillis
	case StepDay:
		return dayStart(year, month, day+1, q.zone())
	case StepWeek:
		return dayStart(year, month, day+7-(int(at.Weekday())+6)%7, q.zone())
	case StepMonth:
		return dayStart(year, month+1, 1, q.zone())
	}
	return math.MaxInt64
}

func (q *Query) zone() *time.Location {
	if q.Zone == nil {
		return time.UTC
	}
	return q.Zone
}

// zoneName is "" for UTC.
func (q *Query) zoneName() string {
	if q.Zone == nil {
		return ""
	}
	return q.Zone.String()
}

// dayStart is the first instant of a day, or of the next day that there is. Where clocks change at midnight, a day may begin at one o'clock, or midnight
// may come twice.
func dayStart(year int, month time.Month, day int, zone *time.Location) int64 {
	wall := time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	if zone == time.UTC {
		return wall.UnixMilli()
	}
	begins := func(t time.Time) bool {
		return !dateOf(t, zone).Before(wall) && dateOf(t.Add(-time.Millisecond), zone).Before(wall)
	}
	var all []time.Time
	for _, near := range []time.Time{wall.Add(-36 * time.Hour), wall.Add(36 * time.Hour)} {
		_, offset := near.In(zone).Zone()
		from, to := near.In(zone).ZoneBounds()
		all = append(all, wall.Add(-time.Duration(offset)*time.Second), from, to)
	}
	slices.SortFunc(all, time.Time.Compare)
	for _, t := range all {
		if !t.IsZero() && begins(t) {
			return t.UnixMilli()
		}
	}
	return time.Date(year, month, day, 0, 0, 0, 0, zone).UnixMilli()
}

// dateOf is the date that clocks of the zone show, as its midnight in UTC.
func dateOf(t time.Time, zone *time.Location) time.Time {
	year, month, day := t.In(zone).Date()
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
}

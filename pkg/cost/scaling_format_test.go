package cost_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/varve-io/varve/pkg/cost"
)

// someScales are three hours of scale events, and five days of creep.
func someScales(t *testing.T) *cost.ScaleEvents {
	t.Helper()
	b := bookOf(t, smallBook)
	e := scales(t, cost.Query{From: start, To: start + 3*hour, Step: cost.StepHour}, b, threeHours(t)...)
	e.Creep = scales(t, cost.Query{From: start, To: start + 5*day}, b, creepingDays(t)...).Creep
	return e
}

// Days of scale events begin where those of the zone do, and so do those of creep; a zone whose days begin within an hour is refused.
func TestScalesOfTimeZones(t *testing.T) {
	b := bookOf(t, smallBook)
	zone := func(name string) *time.Location {
		z, err := cost.ParseZone(name)
		if err != nil {
			t.Fatal(err)
		}
		return z
	}
	q := cost.Query{From: start, To: start + 3*hour, Step: cost.StepDay}
	utc := scales(t, q, b, threeHours(t)...)
	q.Zone = zone("Etc/GMT-1") // its midnight is 23:00 UTC
	q.From, q.To = start-hour, start+3*hour
	same := scales(t, q, b, threeHours(t)...)
	if same.Timezone != "Etc/GMT-1" || len(same.Workloads) != len(utc.Workloads) || same.Workloads[0].From != cost.Time(start-hour) || same.Unused != utc.Unused || same.Hash == utc.Hash {
		t.Errorf("%s: %+v\n%+v", same.Timezone, same.Workloads, utc.Workloads)
	}
	q.Zone = zone("Etc/GMT+1") // and here it is 01:00
	later := scales(t, q, b, threeHours(t)...)
	var days []cost.Time
	for _, l := range later.Workloads {
		days = append(days, l.From)
	}
	if !slices.Contains(days, cost.Time(start+hour)) || later.Unused != utc.Unused {
		t.Errorf("days from %v", days)
	}
	q.Zone = zone("Asia/Kolkata")
	q.To = start + day
	if _, err := cost.NewScaleBuilder(q, b); err == nil || !strings.Contains(err.Error(), "whole UTC hours") {
		t.Errorf("of Kolkata: %v", err)
	}
	q.Step = cost.StepNone // creep has days all the same
	if _, err := cost.NewScaleBuilder(q, b); err == nil {
		t.Error("creep of days of Kolkata")
	}
}

// What a namespace or a node is called is neither a formula nor a command.
func TestScaleFormats(t *testing.T) {
	e := someScales(t)
	e.Workloads[1].Namespace, e.Changes[0].Node = "=cmd()", "\x1b[2J"
	e.Warnings = []cost.Warning{{Name: cost.HoursMissing, Count: 3}}
	for format, file := range map[string]string{"json": "scales.json", "csv": "scales.csv", "table": "scales.txt"} {
		var out bytes.Buffer
		if err := e.Write(&out, format); err != nil {
			t.Fatal(err)
		}
		golden(t, file, out.Bytes())
		if text := out.String(); strings.Contains(text, ",=cmd") || strings.Contains(text, "\x1b") && format != "csv" {
			t.Errorf("%s: %q", format, text)
		}
	}
	if err := e.Write(&bytes.Buffer{}, "xml"); err == nil || !strings.HasPrefix(err.Error(), "format: ") {
		t.Errorf("XML: %v", err)
	}
}

package querier_test

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/cube"
)

// costTotals is what tests look at in a report or in assets.
type costTotals struct {
	Total, Residual string
	Lines           []struct{ From, Cost string }
	Warnings        []cost.Warning
}

func (s *costSite) totals(t *testing.T, question string) (r costTotals, total float64) {
	t.Helper()
	code, body := s.send("GET", "/api/v1/cost/"+question, "", "")
	if err := json.Unmarshal([]byte(body), &r); err != nil || code != http.StatusOK {
		t.Fatalf("%s: %d %v %.300s", question, code, err, body)
	}
	total, err := strconv.ParseFloat(r.Total, 64)
	if err != nil {
		t.Fatal(err)
	}
	return r, total
}

func (r *costTotals) proRata() (w cost.Warning) {
	for _, w := range r.Warnings {
		if w.Name == "hours_pro_rata" {
			return w
		}
	}
	return cost.Warning{}
}

// Where samples are gone, hours are cut pro rata, and the answer names them; whole hours are not.
func TestFrozenHoursAreCutProRata(t *testing.T) {
	with := newCubes()
	s := newCostSiteWith(t, with)
	with.count(t, s, costBegin, 24, cube.Settings{ClusterLabel: "cluster"})
	live, frozen := []float64{}, []float64{}
	for _, tt := range []struct {
		question string
		count    int64 // of hours that are cut and frozen
		example  string
	}{
		{"report?by=namespace&step=day&timezone=Europe/Berlin&" + window(costBegin, costBegin+day), 0, ""},
		{"report?by=namespace&timezone=Asia/Kolkata&" + window(costBegin, costBegin+day), 0, ""},
		{"report?by=namespace&step=day&timezone=Asia/Kolkata&" + window(costBegin, costBegin+day), 1, cost.Time(costBegin + 18*hour).String()},
		{"report?by=pod,node&step=hour&" + window(costBegin+30*minute, costBegin+day), 1, cost.Time(costBegin).String()},
		{"report?by=namespace&share=idle%3Dweighted&" + window(costBegin+30*minute, costBegin+9*hour+minute), 2, cost.Time(costBegin).String() + ", " + cost.Time(costBegin+9*hour).String()},
		{"report?by=namespace&" + window(costBegin+17*minute, costBegin+23*minute), 1, cost.Time(costBegin).String()},
		{"assets?" + window(costBegin+30*minute, costBegin+day), 1, cost.Time(costBegin).String()},
		{"report?" + window(costBegin, costBegin+day+30*minute), 0, ""}, // cut where there are samples
	} {
		with.manifest.Days[0].Frozen = 0
		s.setTime(s.clock.Load() + 60_000)
		_, before := s.totals(t, tt.question)
		with.manifest.Days[0].Frozen = with.manifest.Days[0].Closed
		s.setTime(s.clock.Load() + 60_000)
		selects := s.samples.selects.Load()
		r, after := s.totals(t, tt.question)
		if w := r.proRata(); w.Count != tt.count || w.Example != tt.example {
			t.Errorf("%s: %+v", tt.question, r.Warnings)
		}
		if tt.count > 0 && s.samples.selects.Load() != selects {
			t.Errorf("%s: samples were read", tt.question)
		}
		if strings.HasPrefix(tt.question, "report") && r.Residual != "0" {
			t.Errorf("%s: residual %s", tt.question, r.Residual)
		}
		live, frozen = append(live, before), append(frozen, after)
	}
	for i := range live {
		if math.Abs(live[i]-frozen[i]) > live[i]/50 || live[i] <= 0 {
			t.Errorf("%d: %v pro rata, %v by samples", i, frozen[i], live[i])
		}
	}
	if frozen[1] != frozen[2] { // days add up to their window
		t.Errorf("%v by day, %v at once", frozen[2], frozen[1])
	}
}

// However frozen hours are cut, their parts cost what they do, but for what nodes round in their class.
func TestPartsOfFrozenHoursCostTheHours(t *testing.T) {
	with := newCubes()
	s := newCostSiteWith(t, with)
	with.count(t, s, costBegin, 24, cube.Settings{ClusterLabel: "cluster"})
	with.manifest.Days[0].Frozen = with.manifest.Days[0].Closed
	from, to := costBegin+3*hour, costBegin+6*hour
	_, whole := s.totals(t, "report?"+window(from, to))
	sum := 0.0
	for at := from; at < to; at += 12 * minute {
		_, part := s.totals(t, "report?by=pod&"+window(at, at+12*minute))
		sum += part
	}
	if math.Abs(sum-whole) > 2e-8 || whole <= 0 {
		t.Errorf("parts cost %v, the hours %v", sum, whole)
	}
}

func TestWindowsThatAreNone(t *testing.T) {
	s := newCostSite(t)
	for question, want := range map[string]int{
		window(costBegin, costBegin+day) + "&timezone=Europe/Nowhere":            http.StatusBadRequest,
		window(costBegin+1000, costBegin+day):                                    http.StatusBadRequest,
		"window=2024-10-04,2024-10-05&timezone=America/Halifax":                  http.StatusOK,
		"window=2024-10-04T02:00:00%2B02:00,2024-10-05&timezone=America/Halifax": http.StatusOK,
	} {
		code, body := s.send("GET", "/api/v1/cost/report?by=namespace&"+question, "", "")
		if code != want || code == http.StatusBadRequest && !strings.Contains(body, "timezone: ") && !strings.Contains(body, "whole minutes") {
			t.Errorf("%s: %d, want %d: %.300s", question, code, want, body)
		}
	}
}

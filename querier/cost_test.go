package querier_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/varve-io/varve/pkg/cost/cube"
	"github.com/varve-io/varve/pkg/cost/price"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/querier"
)

// page asks for one, and gives the cursor of the next one.
func (s *costSite) page(question string) (code int, body, next string) {
	s.t.Helper()
	resp, err := http.Get(s.url + "/api/v1/cost/" + question)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(text), resp.Header.Get(querier.NextHeader)
}

// raise makes everything dearer.
func (s *costSite) raise() {
	s.t.Helper()
	book, err := price.Parse([]byte("currency: EUR\nprices: [{from: 1970-01-01, nodes: [{cpu_core_hour: 3, ram_gib_hour: 0.4}]}]"))
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.books.Put(s.t.Context(), tenant.Anonymous, book); err != nil {
		s.t.Fatal(err)
	}
}

// rows are the keys and lists of JSON's lines, or the lines of CSV without its header.
func rows(t *testing.T, format, body string) (all []string) {
	t.Helper()
	if format == "csv" {
		return strings.Split(strings.TrimSpace(body), "\n")[1:]
	}
	var a map[string]json.RawMessage
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		t.Fatalf("%v: %.300s", err, body)
	}
	var creep struct{ Workloads json.RawMessage }
	if a["creep"] != nil {
		if err := json.Unmarshal(a["creep"], &creep); err != nil {
			t.Fatal(err)
		}
		a["creep"] = creep.Workloads
	}
	for _, list := range []string{"lines", "assets", "workloads", "nodes", "classes", "changes", "creep"} {
		var lines []json.RawMessage
		if a[list] != nil {
			if err := json.Unmarshal(a[list], &lines); err != nil {
				t.Fatal(err)
			}
		}
		for _, l := range lines {
			all = append(all, string(l))
		}
	}
	return all
}

// Pages are the lines of the whole answer in order, from cubes and from samples, and the last one has no next.
func TestCostPages(t *testing.T) {
	with := newCubes()
	s := newCostSiteWith(t, with)
	with.count(t, s, costBegin, 24, cube.Settings{ClusterLabel: "cluster"})
	for _, question := range []string{
		"report?by=namespace,controller&" + window(costBegin, costBegin+day),
		"report?by=pod,container&format=csv&" + window(costBegin+22*hour, costBegin+26*hour),
		"assets?" + window(costBegin, costBegin+2*hour),
		"assets?format=csv&" + window(costBegin, costBegin+2*hour),
		"utilization?by=asset&step=hour&" + window(costBegin, costBegin+2*hour),
		"scale-events?step=hour&" + window(costBegin, costBegin+day),
		"scale-events?step=hour&format=csv&" + window(costBegin, costBegin+day),
	} {
		format := "json"
		if strings.Contains(question, "format=csv") {
			format = "csv"
		}
		code, whole, next := s.page(question)
		want := rows(t, format, whole)
		if code != http.StatusOK || next != "" || len(want) < 5 {
			t.Fatalf("%s: %d, next %q: %.300s", question, code, next, whole)
		}
		var got []string
		cursor := ""
		for n := 0; n == 0 || cursor != ""; n++ {
			code, body, next := s.page(question + "&limit=3&cursor=" + cursor)
			lines := rows(t, format, body)
			if code != http.StatusOK || len(lines) > 3 || len(lines) == 0 || (len(lines) < 3) != (next == "" && len(want)%3 != 0) {
				t.Fatalf("%s, page %d: %d, next %q: %.300s", question, n, code, next, body)
			}
			if format == "json" && strings.Contains(body, `"next"`) != (next != "") {
				t.Errorf("%s, page %d: next is %q in the header, in the body: %.300s", question, n, next, body)
			}
			got, cursor = append(got, lines...), next
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: pages have %d lines, the whole %d, or others", question, len(got), len(want))
		}
	}
}

// Who turns pages reads one answer, whatever comes meanwhile; when that isn't kept any more, the cursor says so.
func TestPagesAreOfOneAnswer(t *testing.T) {
	s := newCostSite(t)
	question := "report?by=pod&" + window(costBegin, costBegin+2*hour)
	_, whole, _ := s.page(question)
	_, _, next := s.page(question + "&limit=2")
	s.raise()
	selects := s.samples.selects.Load()
	code, body, _ := s.page(question + "&limit=2&cursor=" + next)
	if code != http.StatusOK || !slices.Equal(rows(t, "json", body), rows(t, "json", whole)[2:4]) {
		t.Errorf("the second page: %d %.300s", code, body)
	}
	if s.samples.selects.Load() != selects {
		t.Error("samples were read again for the second page")
	}
	if _, changed, _ := s.page(question); changed == whole {
		t.Error("nothing has changed")
	}
	s.setTime(s.clock.Load() + 10*60_000)
	if code, body, _ := s.page(question + "&limit=2&cursor=" + next); code != http.StatusGone || !strings.Contains(body, "start anew") {
		t.Errorf("the second page of what is gone: %d %.300s", code, body)
	}
	other := strings.Replace(question, "pod", "namespace", 1)
	if code, body, _ := s.page(other + "&cursor=" + next); code != http.StatusGone {
		t.Errorf("a cursor of another question: %d %.300s", code, body)
	}
	_, _, next = s.page(question + "&limit=2")
	if code, body, _ := s.page(question + "&cursor=" + strings.Replace(next, ".2", ".20000", 1)); code != http.StatusBadRequest || !strings.Contains(body, "cursor: ") {
		t.Errorf("a cursor beyond the end: %d %.300s", code, body)
	}
}

// Parquet comes as such, the same each time.
func TestCostParquet(t *testing.T) {
	s := newCostSite(t)
	for _, verb := range []string{"report", "assets", "utilization", "scale-events"} {
		question := s.url + "/api/v1/cost/" + verb + "?format=parquet&" + window(costBegin, costBegin+hour)
		resp, err := http.Get(question)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		_, again, _ := s.page(strings.TrimPrefix(question, s.url+"/api/v1/cost/"))
		if kind := resp.Header.Get("Content-Type"); kind != "application/vnd.apache.parquet" || again != string(body) || len(body) < 1000 ||
			again[:4] != "PAR1" || again[len(again)-4:] != "PAR1" {
			t.Errorf("%s: %d bytes of %s, then %d", verb, len(body), kind, len(again))
		}
	}
}

// slow is a source of samples that takes 11 seconds for each read, and at one of them tells and waits until nobody wants it any more.
type slow struct {
	*counted
	site  *costSite
	reads atomic.Int64
	at    int64
	waits chan struct{}
}

func (s *slow) Select(ctx context.Context, q series.Query) (querier.RecentAnswer, error) {
	s.site.setTime(s.site.clock.Load() + 11_000)
	if s.reads.Add(1) == s.at {
		close(s.waits)
		<-ctx.Done()
		return querier.RecentAnswer{}, ctx.Err()
	}
	return s.counted.Select(ctx, q)
}

// over is a querier over other sources, and what it logs and counts.
func (s *costSite) over(recent querier.Recent, with querier.Cubes) (*querier.Querier, *bytes.Buffer, *prometheus.Registry) {
	s.t.Helper()
	var log bytes.Buffer
	reg := prometheus.NewRegistry()
	q, err := querier.New(querier.Default(), querier.Dependencies{
		Recent: recent, Older: sourcesOf{}, Limits: defaultLimits(), Cubes: with, Registerer: reg,
		Logger: slog.New(slog.NewTextHandler(&log, nil)), Now: func() time.Time { return time.UnixMilli(s.clock.Load()) },
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return q, &log, reg
}

// Long answers tell in the log how far they are; every answer tells where its hours came from, and that is counted.
func TestCostsTellWhereTheyAre(t *testing.T) {
	with := newCubes()
	s := newCostSiteWith(t, with)
	with.count(t, s, costBegin, 24, cube.Settings{ClusterLabel: "cluster"})
	q, log, reg := s.over(&slow{counted: s.samples, site: s}, with)
	for question, want := range map[string]string{
		"by=namespace&" + window(costBegin, costBegin+day):                     "rollups=24, cubes=0, samples=0",
		"by=pod&limit=2&" + window(costBegin+hour, costBegin+4*hour):           "rollups=0, cubes=3, samples=0",
		"by=pod&step=day&" + window(costBegin+23*hour, costBegin+26*hour):      "rollups=0, cubes=1, samples=2",
		"by=pod&" + window(costBegin+day+hour/2, costBegin+day+2*hour):         "rollups=0, cubes=0, samples=2",
		"by=zone&step=day&format=csv&" + window(costBegin, costBegin+day+hour): "rollups=24, cubes=0, samples=1",
	} {
		for range 2 {
			w := httptest.NewRecorder()
			q.ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/cost/report?"+question, nil))
			if got := w.Header().Get(querier.HoursHeader); w.Code != http.StatusOK || got != want {
				t.Errorf("%s: %d, %q, want %q", question, w.Code, got, want)
			}
		}
	}
	for _, text := range []string{`msg="counting costs" tenant=anonymous asked=report hours_done=2 hours=3 sources="rollups=0, cubes=1, samples=2"`} {
		if !strings.Contains(log.String(), text) {
			t.Errorf("the log has no %s:\n%s", text, log)
		}
	}
	text := `# HELP varve_querier_cost_hours_total Hours that answers about costs were made of, by where these came from: rollups and cubes of the compactor, or samples.
# TYPE varve_querier_cost_hours_total counter
varve_querier_cost_hours_total{source="cubes"} 5
varve_querier_cost_hours_total{source="rollups"} 72
varve_querier_cost_hours_total{source="samples"} 10
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(text), "varve_querier_cost_hours_total"); err != nil {
		t.Error(err)
	}
}

// goesAway is somebody who goes away as soon as a cube is opened.
type goesAway struct {
	*cubes
	now context.CancelFunc
}

func (g goesAway) Open(name string, size int64) querier.CubeFile {
	g.now()
	return g.cubes.Open(name, size)
}

// An answer for which nobody waits any more isn't made, be it of samples or of cubes.
func TestCostsAreCanceled(t *testing.T) {
	with := newCubes()
	s := newCostSiteWith(t, with)
	with.count(t, s, costBegin, 24, cube.Settings{ClusterLabel: "cluster"})
	recent := &slow{counted: s.samples, site: s, at: 20, waits: make(chan struct{})}
	q, _, reg := s.over(recent, nil)
	ended := make(chan int, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q.ServeHTTP(w, r)
		ended <- int(recent.reads.Load())
	}))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-recent.waits
		cancel()
	}()
	r, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/api/v1/cost/report?"+window(costBegin, costBegin+costHours*hour), nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := http.DefaultClient.Do(r); err == nil {
		resp.Body.Close()
		t.Errorf("an answer came: %s", resp.Status)
	}
	if reads := <-ended; reads > 60 { // an hour reads about as often; the window has 28
		t.Errorf("samples were read %d times", reads)
	}
	text := `# HELP varve_querier_costs_running_answers Answers about costs that are being made.
# TYPE varve_querier_costs_running_answers gauge
varve_querier_costs_running_answers 0
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(text), "varve_querier_costs_running_answers"); err != nil {
		t.Error(err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	q, _, _ = s.over(s.samples, goesAway{with, cancel})
	w := httptest.NewRecorder()
	q.ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/cost/report?by=pod&"+window(costBegin, costBegin+day), nil).WithContext(ctx))
	if w.Code != 499 {
		t.Errorf("cubes: %d %.300s", w.Code, w.Body)
	}
}

// An error says which parameter is wrong, and what it may be.
func TestCostParameters(t *testing.T) {
	s := newCostSite(t)
	w := window(costBegin, costBegin+hour)
	for question, says := range map[string]string{
		"report":                           "window: ",
		"report?window=now":                "window: ",
		"report?window=2026-01-02,2026-01": "neither a time in RFC 3339 nor a date",
		"report?" + window(costBegin, costBegin+hour/2+30_000):   "whole minutes",
		"report?" + w + "&by=team":                               "by: there is no \\\"team\\\", but cluster, namespace",
		"report?" + w + "&by=pod,pod":                            "by: \\\"pod\\\" is there twice",
		"report?" + w + "&step=year":                             "step: there is no \\\"year\\\", but none, hour, day",
		"report?" + w + "&method=fair":                           "method: ",
		"report?" + w + "&share=idle":                            "share: \\\"idle\\\" is not NAME=MODE",
		"report?" + w + "&share=" + url.QueryEscape("idle=fair"): "share: ",
		"report?" + w + "&limit=many":                            "limit: \\\"many\\\" is not a number of lines",
		"report?" + w + "&limit=-1":                              "limit: ",
		"report?" + w + "&cursor=x":                              "cursor: \\\"x\\\" is none",
		"report?" + w + "&format=xml":                            "format: there is no \\\"xml\\\", but json, csv",
		"report?" + w + "&groupby=pod":                           "groupby: there is no such parameter, but window, timezone, step, by",
		"report?" + w + "&by=pod&by=node":                        "by: it is there 2 times",
		"scale-events?" + window(costBegin, costBegin+hour/2):    "whole UTC hours",
		"assets?" + w + "&share=idle%3Deven":                     "share: nothing is shared in assets",
		"assets?" + w + "&by=pod":                                "by: there is no \\\"pod\\\", but asset, class and cluster",
		"utilization?" + w + "&by=pod":                           "by: there is no \\\"pod\\\", but asset, class and cluster",
	} {
		if code, body, _ := s.page(question); code != http.StatusBadRequest || !strings.Contains(body, says) {
			t.Errorf("%s: %d %s, want %s", question, code, body, fmt.Sprintf("%q", says))
		}
	}
}

// An answer that is computed from samples is computed again: they may be others by then.
func TestCostAnswersOutOfSamplesAreNotKept(t *testing.T) {
	s := newCostSite(t)
	for range 2 {
		before := s.samples.selects.Load()
		if code, body := s.send("GET", "/api/v1/cost/report?"+window(costBegin, costBegin+hour), "", ""); code != http.StatusOK {
			t.Fatalf("%d %s", code, body)
		}
		if s.samples.selects.Load() == before {
			t.Error("no sample was read")
		}
	}
}

package querier_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage/remote"

	"github.com/varve-io/varve/pkg/cost/price"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/querier"
	generated "github.com/varve-io/varve/tools/clustergen/cluster"
)

const hour = int64(3_600_000)

// costBegin is the first hour of the tests' cluster, which lives for costHours.
const (
	costBegin = int64(480_000) * hour
	costHours = 28
)

// costSite is a querier over the samples of a generated cluster.
type costSite struct {
	site
	querier *querier.Querier
	clock   atomic.Int64 // milliseconds
	samples *counted
	books   *books
}

// books are price books in memory.
type books struct {
	mu   sync.Mutex
	book *price.Book
}

func (b *books) Book(context.Context, tenant.ID) (*price.Book, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.book, nil
}

func (b *books) Put(_ context.Context, _ tenant.ID, book *price.Book) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.book = book
	return nil
}

// counted counts how often samples are asked for.
type counted struct {
	*heads
	selects atomic.Int64
}

func (c *counted) Select(ctx context.Context, q series.Query) (querier.RecentAnswer, error) {
	c.selects.Add(1)
	return c.heads.Select(ctx, q)
}

func newCostSite(t *testing.T) *costSite { return newCostSiteWith(t, nil) }

// newCostSiteWith keeps labels of pods, if any, as its cubes have to.
func newCostSiteWith(t *testing.T, with querier.Cubes, labels ...string) *costSite {
	t.Helper()
	s := &costSite{samples: &counted{heads: newHeads()}, books: &books{book: price.Default()}}
	span := generated.Span{From: costBegin, To: costBegin + costHours*hour}
	c := generated.Random(generated.Config{Seed: 11, Name: "east", Span: span, Nodes: 3, Pods: 12, Life: 4 * hour, Interval: 60_000})
	var buf []generated.Sample
	for x := range c.Series(span.From, span.To) {
		to, _, err := s.samples.of(tenant.Anonymous).Series(x.Labels)
		if err != nil {
			t.Fatal(err)
		}
		buf = x.Samples(buf[:0], span.From, span.To)
		for _, p := range buf {
			to.AppendFloat(p.T, p.V)
		}
	}
	s.setTime(span.To + hour)
	limits := defaultLimits()
	limits.limits.CostLabels = labels
	var err error
	s.querier, err = querier.New(querier.Default(), querier.Dependencies{
		Recent: s.samples, Older: sourcesOf{}, Limits: limits, Prices: s.books, Cubes: with,
		Now: func() time.Time { return time.UnixMilli(s.clock.Load()) },
	})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s.querier)
	t.Cleanup(srv.Close)
	s.site = site{t, srv.URL}
	return s
}

func (s *costSite) setTime(millis int64) { s.clock.Store(millis) }

// query evaluates text at a time.
func (s *costSite) query(text string, at int64) promql.Vector {
	s.t.Helper()
	q, err := s.querier.Engine().NewInstantQuery(s.t.Context(), s.querier.Queryable(), nil, text, time.UnixMilli(at))
	if err != nil {
		s.t.Fatal(err)
	}
	defer q.Close()
	v, err := q.Exec(s.t.Context()).Vector()
	if err != nil {
		s.t.Fatalf("%s: %v", text, err)
	}
	return v
}

// report is what the report says of a window.
func (s *costSite) report(from, to int64, by string) (r struct {
	Currency, Total string
	Lines           []struct {
		Kind, Cost string
		Key        map[string]string
	}
}) {
	s.t.Helper()
	window := time.UnixMilli(from).UTC().Format(time.RFC3339) + "," + time.UnixMilli(to).UTC().Format(time.RFC3339)
	code, body := s.send("GET", "/api/v1/cost/report", "window="+url.QueryEscape(window)+"&by="+by, "")
	if err := json.Unmarshal([]byte(body), &r); err != nil || code != http.StatusOK {
		s.t.Fatalf("%d %.300s: %v", code, body, err)
	}
	return r
}

func money(t *testing.T, text string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// near tells whether two sums are the same, but for the report's rounding to a billionth and that of floats.
func near(a, b float64) bool { return math.Abs(a-b) < 2e-9*(1+math.Abs(b)) }

// Each line of a report has a series of its name; an hour has sixty points, and their mean is what the line cost in it.
func TestCostSeriesAreTheReport(t *testing.T) {
	s := newCostSite(t)
	var total float64
	for n := range int64(5) {
		from := costBegin + n*hour
		r := s.report(from, from+hour, "cluster,namespace,controller")
		got := map[string]float64{}
		for _, x := range s.query(fmt.Sprintf("sum_over_time(%s[1h]) / 60", querier.CostPerHour), from+hour-60_000) {
			got[x.Metric.String()] = x.F
			total += x.F
		}
		for _, l := range r.Lines {
			b := labels.NewBuilder(labels.FromMap(l.Key)).Set("kind", l.Kind).Set("currency", r.Currency)
			name := b.Labels().WithoutEmpty().String()
			if v, ok := got[name]; !ok || !near(v, money(t, l.Cost)) {
				t.Errorf("hour %d: %s costs %v by PromQL, %s by the report", n, name, v, l.Cost)
			}
		}
		if len(got) != len(r.Lines) || len(got) < 4 {
			t.Errorf("hour %d: %d series, %d lines", n, len(got), len(r.Lines))
		}
	}
	if want := money(t, s.report(costBegin, costBegin+5*hour, "").Total); !near(total, want) || want <= 0 {
		t.Errorf("the hours cost %v by PromQL, %v by the report", total, want)
	}
}

// A point a minute; a line that isn't there in the next hour ends at once, not five minutes later.
func TestCostSeriesPoints(t *testing.T) {
	s := newCostSite(t)
	sum := fmt.Sprintf("sum(%s)", querier.CostPerHour)
	for n := range int64(4) {
		at := costBegin + (n+1)*hour
		want := money(t, s.report(at, at+hour, "").Total)
		for _, later := range []int64{0, 1, 30 * 60_000, hour - 1} {
			if got := s.query(sum, at+later); len(got) != 1 || !near(got[0].F, want) {
				t.Errorf("%d ms into hour %d: %v, want %v", later, n+1, got, want)
			}
		}
		count := s.query(fmt.Sprintf("min(count_over_time(%s[1h]))", querier.CostPerHour), at+hour-1)
		if len(count) != 1 || count[0].F != 60 {
			t.Errorf("hour %d has %v points", n+1, count)
		}
	}
}

// The hour that isn't over has the values of the last one that is, until now.
func TestCostSeriesOfTheHourUnderWay(t *testing.T) {
	s := newCostSite(t)
	last := costBegin + 3*hour
	want := money(t, s.report(last, last+hour, "").Total)
	before := money(t, s.report(last-hour, last, "").Total)
	sum := fmt.Sprintf("sum(%s)", querier.CostPerHour)
	for _, tt := range []struct{ now, want float64 }{{3, before}, {6, want}, {45, want}} {
		s.setTime(last + hour + int64(tt.now*60_000))
		if got := s.query(sum, s.clock.Load()); len(got) != 1 || !near(got[0].F, tt.want) {
			t.Errorf("%v minutes into the hour: %v, want %v", tt.now, got, tt.want)
		}
	}
	if got := s.query(fmt.Sprintf("count_over_time(%s{kind=\"idle\"}[10m])", querier.CostPerHour), last+hour+50*60_000); len(got) != 1 || got[0].F != 5 {
		t.Errorf("within 5 minutes before and after now there are %v points, want 5", got)
	}
}

// Costs are there for those who name them, and nowhere else.
func TestCostSeriesAreAskedForByName(t *testing.T) {
	s := newCostSite(t)
	at := costBegin + 4*hour
	times := fmt.Sprintf("&start=%d&end=%d", at/1000-600, at/1000)
	for _, text := range []string{`{__name__=~"varve_cost_.+"}`, `{__name__=~"varve_cost_per_hour"}`, `{kind="idle"}`, `{__name__!="x",currency="USD"}`} {
		if got := s.query(text, at); len(got) != 0 {
			t.Errorf("%s: %d series", text, len(got))
		}
	}
	if got := s.query(`{__name__="varve_cost_per_hour", kind=~"id.+", namespace=""}`, at); len(got) != 1 {
		t.Errorf("by name, as a matcher: %v", got)
	}
	s.setTime(at)
	for _, tt := range []struct {
		path, form, want string
		there            bool
	}{
		{"/series", "match[]=varve_cost_per_hour" + times, `"kind":"idle"`, true},
		{"/series", "match[]=varve_cost_per_hour", `"kind":"idle"`, true},
		{"/series", `match[]={cluster!=""}` + times, "varve_cost", false},
		{"/label/namespace/values", "match[]=varve_cost_per_hour" + times, `"web"`, true},
		{"/label/kind/values", "match[]=varve_cost_per_hour" + times, `["idle","system"`, true},
		{"/label/__name__/values", times[1:], "varve_cost", false},
		{"/labels", "match[]=varve_cost_per_hour" + times, `"__name__","cluster","controller","currency","kind","namespace"`, true},
		{"/labels", times[1:], `"currency"`, false},
		{"/cardinality/active_series", "selector=varve_cost_per_hour", "varve_cost", false},
		{"/status/tsdb", "limit=500", "varve_cost", false},
	} {
		code, body := s.send("GET", "/api/v1"+tt.path, strings.NewReplacer("{", "%7B", "}", "%7D", "!", "%21", `"`, "%22").Replace(tt.form), "")
		if code != http.StatusOK || strings.Contains(body, tt.want) != tt.there {
			t.Errorf("%s?%s: %d, %s there: %v, in %.300s", tt.path, tt.form, code, tt.want, !tt.there, body)
		}
	}
	if n := s.remoteRead(at); n != 0 {
		t.Errorf("remote read: %d series", n)
	}
}

// remoteRead is how many costs remote read gives.
func (s *costSite) remoteRead(at int64) int {
	s.t.Helper()
	q, err := remote.ToQuery(at-hour, at, []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "__name__", querier.CostPerHour)}, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	body, err := (&prompb.ReadRequest{Queries: []*prompb.Query{q}}).Marshal()
	if err != nil {
		s.t.Fatal(err)
	}
	res, err := http.Post(s.url+"/api/v1/read", "application/x-protobuf", strings.NewReader(string(snappy.Encode(nil, body))))
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	packed, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		s.t.Fatalf("%d: %s: %v", res.StatusCode, packed, err)
	}
	var answer prompb.ReadResponse
	plain, err := snappy.Decode(nil, packed)
	if err == nil {
		err = answer.Unmarshal(plain)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return len(answer.Results[0].Timeseries)
}

// Hours are priced once, until samples may have changed or prices have.
func TestCostSeriesAreKept(t *testing.T) {
	s := newCostSite(t)
	at := costBegin + 2*hour + 30*60_000
	s.setTime(at + 2*hour)
	sum := fmt.Sprintf("sum(%s)", querier.CostPerHour)
	reads := func(what string) (int64, float64) {
		before := s.samples.selects.Load()
		got := s.query(sum, at)
		if len(got) != 1 {
			t.Fatalf("%s: %v", what, got)
		}
		return s.samples.selects.Load() - before, got[0].F
	}
	n, first := reads("at first")
	if n == 0 {
		t.Fatal("nothing was read")
	}
	if n, again := reads("again"); n != 0 || again != first {
		t.Errorf("again: %d reads, %v after %v", n, again, first)
	}
	s.setTime(s.clock.Load() + 6*60_000)
	if n, _ := reads("6 minutes later"); n == 0 {
		t.Error("an hour to which samples may come was kept for 6 minutes")
	}
	s.setTime(costBegin + 24*hour)
	reads("a day later")
	s.setTime(s.clock.Load() + 30*60_000)
	if n, _ := reads("and half an hour"); n != 0 {
		t.Errorf("a closed hour was read again: %d", n)
	}
	book, err := price.Parse([]byte("currency: USD\nprices: [{from: 1970-01-01, nodes: [{cpu_core_hour: 3, ram_gib_hour: 0.4}]}]"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.books.Put(t.Context(), tenant.Anonymous, book); err != nil {
		t.Fatal(err)
	}
	if _, dearer := reads("with another book"); dearer < 50*first {
		t.Errorf("by prices a hundred times higher: %v after %v", dearer, first)
	}
}

// Grafana draws a panel and asks for what an alert would: the range query of a day is answered out of hours that are kept.
func TestCostSeriesOverHTTP(t *testing.T) {
	s := newCostSite(t)
	form := fmt.Sprintf("query=%s&start=%d&end=%d&step=3600", url.QueryEscape("sum by (kind) (varve_cost_per_hour)"),
		costBegin/1000, costBegin/1000+costHours*3600-3600)
	code, body := s.send("POST", "/api/v1/query_range", form, "")
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Values [][2]any
			}
		}
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || code != http.StatusOK {
		t.Fatalf("%d %.300s: %v", code, body, err)
	}
	var total float64
	for _, r := range answer.Data.Result {
		for _, v := range r.Values {
			total += money(t, v[1].(string))
		}
	}
	if want := money(t, s.report(costBegin, costBegin+costHours*hour, "").Total); !near(total, want) {
		t.Errorf("%v over HTTP, %v by the report", total, want)
	}
	before := s.samples.selects.Load()
	if code, again := s.send("POST", "/api/v1/query_range", form, ""); code != http.StatusOK || again != body || s.samples.selects.Load() != before {
		t.Errorf("again: %d, %d reads of samples", code, s.samples.selects.Load()-before)
	}
}

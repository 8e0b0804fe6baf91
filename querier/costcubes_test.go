package querier_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/cube"
	"github.com/varve-io/varve/pkg/cost/join"
	"github.com/varve-io/varve/pkg/cost/price"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/querier"
)

const (
	minute = hour / 60
	day    = 24 * hour
)

// cubes are a tenant's cubes in memory.
type cubes struct {
	manifest *cube.Manifest
	objects  map[string][]byte
	opened   int
}

func newCubes() *cubes {
	return &cubes{manifest: &cube.Manifest{Tenant: tenant.Anonymous}, objects: map[string][]byte{}}
}

func (c *cubes) Manifest(context.Context, tenant.ID) (*cube.Manifest, error) { return c.manifest, nil }

func (c *cubes) Open(name string, size int64) querier.CubeFile {
	c.opened++
	return object(c.objects[name])
}

type object []byte

func (o object) Size() int64  { return int64(len(o)) }
func (o object) Close() error { return nil }

func (o object) Ranges(_ context.Context, ranges []struct{ Off, Len int64 }) (out [][]byte, err error) {
	for _, r := range ranges {
		out = append(out, o[r.Off:r.Off+r.Len])
	}
	return out, nil
}

func (c *cubes) put(t testing.TB, level cube.Level, start, end int64, table cube.Table, data []byte) {
	t.Helper()
	name, err := cube.Name(tenant.Anonymous, level, time.UnixMilli(start), table, cube.Sum(data))
	if err != nil {
		t.Fatal(err)
	}
	c.objects[name] = data
	c.manifest.Objects = append(c.manifest.Objects, cube.Object{
		Level: level, Start: start, End: end, Table: table, Name: strings.TrimPrefix(name, "anonymous/varve/cost/"), Size: int64(len(data)),
	})
}

// headSource is a head as a cube's builder reads it.
type headSource struct{ *counted }

func (s headSource) Select(ctx context.Context, q series.Query) (series.Set, error) {
	a, err := s.heads.Select(ctx, q)
	return a.Set, err
}

// count counts the hours of a day, and rolls them up if they are all there.
func (c *cubes) count(t *testing.T, s *costSite, start int64, hours int64, s2 cube.Settings) {
	t.Helper()
	var all []*cost.Hour
	var ledgers []*cost.Ledger
	names := cost.NewNames()
	for n := range hours {
		h, err := join.Hour(t.Context(), headSource{s.samples}, join.Options{Tenant: tenant.Anonymous, Start: start + n*hour, Labels: s2.Labels})
		if err != nil {
			t.Fatal(err)
		}
		l, err := cost.MaxRequestUsage.Ledger(h, names)
		if err != nil {
			t.Fatal(err)
		}
		all, ledgers = append(all, h), append(ledgers, l)
	}
	for _, table := range cube.HourTables() {
		var out bytes.Buffer
		if err := cube.WriteHours(t.Context(), &out, table, nil, all); err != nil {
			t.Fatal(err)
		}
		c.put(t, cube.HourLevel, start, start+day, table, out.Bytes())
	}
	set := cube.HourSet(1<<hours - 1)
	d := cube.Day{Start: start, Closed: set, RolledUp: hours == 24, Settings: []cube.Applied{{Settings: s2, Hours: set}}}
	c.manifest.Days = append(c.manifest.Days, d)
	if !d.RolledUp {
		return
	}
	sum, err := cost.RollUp(start, start+day, ledgers...)
	if err != nil {
		t.Fatal(err)
	}
	first, end := cube.MonthOf(start)
	for _, table := range cube.RollUpTables() {
		var out bytes.Buffer
		if err := cube.WriteRollUp(t.Context(), &out, table, nil, []*cost.Ledger{sum}); err != nil {
			t.Fatal(err)
		}
		c.put(t, cube.DayLevel, first, end, table, out.Bytes())
	}
}

func window(from, to int64) string {
	text := func(t int64) string { return time.UnixMilli(t).UTC().Format(time.RFC3339) }
	return "window=" + url.QueryEscape(text(from)+","+text(to))
}

// Out of roll-ups, level 0 and samples, in one window, comes what comes out of samples alone, to the last bit.
func TestCubesAnswerAsSamplesDo(t *testing.T) {
	labels := cube.Settings{ClusterLabel: "cluster", Labels: []string{"app", "tier"}}
	live := newCostSiteWith(t, nil, labels.Labels...)
	with := newCubes()
	s := newCostSiteWith(t, with, labels.Labels...)
	with.count(t, s, costBegin, 24, labels)
	with.count(t, s, costBegin+day, 2, labels)
	all := window(costBegin, costBegin+costHours*hour)
	closed := window(costBegin, costBegin+26*hour)
	for _, tt := range []struct {
		question       string
		samples, cubes bool // what is read
	}{
		{"report?" + all, true, true},
		{"report?" + all + "&by=cluster,namespace,controller&step=day", true, true},
		{"report?" + closed + "&by=namespace&step=day", false, true},
		{"report?" + closed + "&by=namespace,controller,container,qos,zone", false, true},
		{"report?" + closed + "&by=pod,container&step=day", false, true},
		{"report?" + closed + "&by=node&step=hour", false, true},
		{"report?" + closed + "&by=uid&method=request-only", false, true},
		{"report?" + closed + "&by=namespace&method=usage-only", false, true},
		{"report?" + closed + "&by=namespace&share=idle%3Dweighted,system%3Deven,namespace:web%3Deven", false, true},
		{"report?" + closed + "&by=namespace&share=idle%3Dweighted,scope%3Dnode", false, true},
		{"report?" + closed + "&by=label:tier&step=day", false, true},
		{"report?" + closed + "&by=label:app", false, true},
		{"report?" + closed + "&by=label:tier,label:app,namespace", false, true},
		{"report?" + closed + "&by=label:tier&share=idle%3Dweighted,namespace:web%3Deven", false, true},
		{"report?" + closed + "&by=label:team", true, false},
		{"assets?" + closed + "&by=asset", false, true},
		{"assets?" + closed + "&by=class&step=day", false, true},
		{"utilization?" + closed, false, true},
		{"scale-events?" + closed + "&step=day", false, true},
		{"scale-events?" + closed + "&step=day&timezone=Europe/Berlin", false, true},
		{"report?" + closed + "&by=namespace&step=day&timezone=Europe/Berlin", false, true}, // its days have whole UTC hours
		{"report?" + closed + "&by=namespace&step=day&timezone=Asia/Kolkata", true, true},   // these begin within one
		{"assets?" + closed + "&by=class&step=day&timezone=Asia/Kolkata", true, true},
		{"report?" + window(costBegin+10*minute, costBegin+5*hour+20*minute) + "&by=pod&step=hour", true, true},
	} {
		_, want := live.send("GET", "/api/v1/cost/"+tt.question, "", "")
		selects, opened := s.samples.selects.Load(), with.opened
		code, got := s.send("GET", "/api/v1/cost/"+tt.question, "", "")
		if code != http.StatusOK || got != want || len(want) < 500 || strings.Contains(want, `"total": "0"`) {
			t.Errorf("%s: %d\n%s", tt.question, code, difference(got, want))
		}
		if read := s.samples.selects.Load() > selects; read != tt.samples || with.opened > opened != tt.cubes {
			t.Errorf("%s: samples were read: %v, cubes: %v", tt.question, read, with.opened > opened)
		}
	}
}

// difference is the first lines that differ.
func difference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d: %s\nwant %s", i, strings.Join(g[i:min(i+3, len(g))], "\n"), w[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}

// What a manifest doesn't have, or has as dirty, is computed; what it has and is not there is an error.
func TestCubesAreBelievedAsFarAsTheManifest(t *testing.T) {
	with := newCubes()
	s := newCostSiteWith(t, with)
	with.count(t, s, costBegin, 24, cube.Settings{ClusterLabel: "cluster"})
	question := "/api/v1/cost/report?" + window(costBegin+3*hour, costBegin+4*hour)
	reads := func() bool {
		t.Helper()
		before := s.samples.selects.Load()
		if code, body := s.send("GET", question, "", ""); code != http.StatusOK {
			t.Fatalf("%d %s", code, body)
		}
		return s.samples.selects.Load() > before
	}
	if reads() {
		t.Error("samples of a closed hour were read")
	}
	s.setTime(s.clock.Load() + 60_000) // a manifest is read again after a while
	with.manifest.Days[0].Dirty = 1 << 3
	with.manifest.Generation++
	if !reads() {
		t.Error("a dirty hour was taken from the cube")
	}
	s.setTime(s.clock.Load() + 60_000)
	with.manifest.Days[0].Dirty = 1 << 4
	with.manifest.Generation++
	if reads() {
		t.Error("samples of a closed hour were read because its neighbour is dirty")
	}
	s.setTime(s.clock.Load() + 60_000)
	question = "/api/v1/cost/report?" + window(costBegin+day, costBegin+day+hour)
	with.manifest.Days = append(with.manifest.Days, cube.Day{Start: costBegin + day, Closed: 1})
	if code, body := s.send("GET", question, "", ""); code != http.StatusInternalServerError || !strings.Contains(body, "the files don't") {
		t.Errorf("an hour without files: %d %s", code, body)
	}
}

// The parts of an hour cost what the hour does, but for how each total is rounded.
func TestPartsOfAnHourCostTheHour(t *testing.T) {
	s := newCostSite(t)
	total := func(from, to int64) float64 {
		code, body := s.send("GET", "/api/v1/cost/report?by=namespace&"+window(from, to), "", "")
		var r struct {
			Total    string
			Residual string
		}
		if err := json.Unmarshal([]byte(body), &r); err != nil || code != http.StatusOK || r.Residual != "0" {
			t.Fatalf("%d %v %.300s", code, err, body)
		}
		sum, err := strconv.ParseFloat(r.Total, 64)
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	begin := costBegin + 7*hour
	whole, first, second := total(begin, begin+hour), total(begin, begin+17*minute), total(begin+17*minute, begin+hour)
	if math.Abs(whole-first-second) > 2e-9 || first <= 0 || second <= first {
		t.Errorf("the hour costs %v, its parts %v and %v", whole, first, second)
	}
}

// Frozen hours can't be counted again: a label that they lack is not a reason to look for samples that are gone.
func TestFrozenHoursAreReadAsTheyAre(t *testing.T) {
	with := newCubes()
	s := newCostSiteWith(t, with)
	with.count(t, s, costBegin, 24, cube.Settings{ClusterLabel: "cluster"})
	with.manifest.Days[0].Frozen = with.manifest.Days[0].Closed
	before := s.samples.selects.Load()
	code, body := s.send("GET", "/api/v1/cost/report?by=label:team&"+window(costBegin, costBegin+day), "", "")
	if code != http.StatusOK || s.samples.selects.Load() != before || !strings.Contains(body, `"label:team": ""`) {
		t.Errorf("%d, %d reads of samples: %.300s", code, s.samples.selects.Load()-before, body)
	}
}

// An answer out of cubes is made once, until the cube or the prices are others.
func TestCostAnswersAreKept(t *testing.T) {
	with := newCubes()
	s := newCostSiteWith(t, with)
	with.count(t, s, costBegin, 24, cube.Settings{ClusterLabel: "cluster"})
	ask := func(parameters string) (body string, read bool) {
		t.Helper()
		before := with.opened
		code, body := s.send("GET", "/api/v1/cost/report?"+window(costBegin, costBegin+day)+parameters, "", "")
		if code != http.StatusOK {
			t.Fatalf("%d %s", code, body)
		}
		return body, with.opened > before
	}
	first, read := ask("&by=namespace")
	if again, more := ask("&by=namespace"); !read || more || again != first {
		t.Errorf("read: %v, again: %v, the same: %v", read, more, again == first)
	}
	for _, other := range []string{"&by=pod", "&by=namespace&format=csv", "&by=namespace&step=day", "&by=namespace&share=idle%3Deven", "&by=namespace&method=usage-only"} {
		if body, read := ask(other); !read || body == first {
			t.Errorf("%s: read: %v, the same: %v", other, read, body == first)
		}
	}
	book, err := price.Parse([]byte("currency: EUR\nprices: [{from: 1970-01-01, nodes: [{cpu_core_hour: 3, ram_gib_hour: 0.4}]}]"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.books.Put(t.Context(), tenant.Anonymous, book); err != nil {
		t.Fatal(err)
	}
	if body, read := ask("&by=namespace"); !read || !strings.Contains(body, "EUR") {
		t.Errorf("with another book: read: %v, %.100s", read, body)
	}
	s.setTime(s.clock.Load() + 11_000)
	with.manifest = &cube.Manifest{Tenant: tenant.Anonymous, Generation: 1, Objects: with.manifest.Objects, Days: with.manifest.Days}
	if _, read := ask("&by=namespace"); !read {
		t.Error("after the cube was written anew the old answer was given")
	}
}

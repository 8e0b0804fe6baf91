package integration

import (
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/varve-io/varve/pkg/bucket"
	"github.com/varve-io/varve/pkg/cost/cube"
	"github.com/varve-io/varve/pkg/tenant"
)

// What a day costs is the same before its hours are counted and after, when no sample is read any more; and a compactor that is killed
// while it counts leaves nothing that the next one doesn't complete with the same bytes.
func TestCubesOfARealCompactorAnswerAsSamplesDo(t *testing.T) {
	t.Parallel()
	limits := filepath.Join(t.TempDir(), "limits.yaml")
	window := func(past string) {
		if err := os.WriteFile(limits, []byte("defaults:\n  past_window: "+past+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	window("5d") // that long no hour is closed
	n := newNode(t, nodeConfig{name: "varve", target: "all", limits: limits, extra: Flags{"ingester.head_period": "2s", "compactor.settle": "2s"}})
	n.Start()
	n.WaitReady()
	to := time.Now().UTC().Truncate(24 * time.Hour).Add(-24 * time.Hour)
	from := to.Add(-24 * time.Hour)
	generator := filepath.Join(t.TempDir(), "clustergen")
	command(t, "go", "build", "-o", generator, "../tools/clustergen")
	command(t, generator, "write", "-url="+n.PushURL(), "-nodes=3", "-pods=20", "-interval=4m", "-window=1h", "-life=5h", "-faults", "-seed=3",
		"-from="+from.Format(time.RFC3339), "-to="+to.Format(time.RFC3339))
	c := costCube{n, from}
	c.flush(t)
	samples, series := c.report(t)
	if series == 0 || c.hours(t) != 0 {
		t.Fatalf("%v series were read before %d hours were counted", series, c.hours(t))
	}

	n.Stop()
	window("1m")
	n.Start()
	n.WaitReady()
	c.waitCounted(t)
	whole := c.objects(t)
	c.check(t, "from cubes", samples)

	n.Stop()
	if err := os.RemoveAll(filepath.Join(n.Dir, "bucket", "anonymous", "varve", "cost")); err != nil {
		t.Fatal(err)
	}
	deaths := 0
	for age := 40 * time.Millisecond; c.hours(t) < 24; age += age / 4 {
		n.Start()
		time.Sleep(age) // so it dies at all ages, until it lives to count
		n.Kill9()
		deaths++
	}
	if deaths < 3 {
		t.Errorf("%d deaths sufficed to count the day", deaths)
	}
	n.Start()
	n.WaitReady()
	c.waitCounted(t)
	if again := c.objects(t); !slices.Equal(again, whole) {
		t.Errorf("after %d kills the cube has\n%v\nwithout one\n%v", deaths, again, whole)
	}
	c.check(t, "from cubes, after kills", samples)
}

// costCube is the cube of one day in a process' local bucket.
type costCube struct {
	*Node
	day time.Time
}

// flush brings everything into the bucket.
func (c costCube) flush(t *testing.T) {
	t.Helper()
	resp, err := client.Post("http://"+c.Admin+"/ingester/flush", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode/100 != 2 {
		t.Fatalf("flush: %d %s %v", resp.StatusCode, body, err)
	}
}

// report is the day's by namespace, controller and hour, and how many series were read for it.
func (c costCube) report(t *testing.T) (body string, series float64) {
	t.Helper()
	before := c.metric(t, "varve_querier_selected_series_total")
	window := c.day.Format(time.RFC3339) + "," + c.day.Add(24*time.Hour).Format(time.RFC3339)
	body = getJSON(t, c.API, "/api/v1/cost/report?step=hour&by=namespace,controller&window="+url.QueryEscape(window))
	return body, c.metric(t, "varve_querier_selected_series_total") - before
}

// check compares the report with what samples gave, and wants it to read none.
func (c costCube) check(t *testing.T, when, want string) {
	t.Helper()
	got, series := c.report(t)
	if series != 0 {
		t.Errorf("%s: %v series were read", when, series)
	}
	if got != want {
		t.Errorf("%s: %s", when, cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")))
	}
}

func (c costCube) metric(t *testing.T, name string) float64 {
	t.Helper()
	all, err := Metrics("http://" + c.Admin)
	if err != nil {
		t.Fatal(err)
	}
	return all[name]
}

// waitCounted waits until all hours of the day and its roll-up are there.
func (c costCube) waitCounted(t *testing.T) {
	t.Helper()
	waitUntil(t, "the day is counted", time.Minute, func() error {
		if !c.manifest(t).Has(cube.DayLevel, c.day.UnixMilli()) {
			return fmt.Errorf("%d hours are", c.hours(t))
		}
		return nil
	})
}

func (c costCube) manifest(t *testing.T) *cube.Manifest {
	t.Helper()
	config := bucket.Default()
	config.Dir = filepath.Join(c.Dir, "bucket")
	bkt, err := bucket.Open(config, "", slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = bkt.Close() }()
	id, err := tenant.Parse("anonymous")
	if err != nil {
		t.Fatal(err)
	}
	m, err := cube.Load(t.Context(), bkt, id)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// hours is how many of the day can be read from the cube.
func (c costCube) hours(t *testing.T) (n int) {
	t.Helper()
	m := c.manifest(t)
	for hour := c.day; hour.Before(c.day.Add(24 * time.Hour)); hour = hour.Add(time.Hour) {
		if m.Has(cube.HourLevel, hour.UnixMilli()) {
			n++
		}
	}
	return n
}

// objects are those that the manifest names: a name has the sum of the content.
func (c costCube) objects(t *testing.T) (names []string) {
	t.Helper()
	m := c.manifest(t)
	for _, o := range m.Objects {
		names = append(names, o.Name)
	}
	slices.Sort(names)
	return names
}

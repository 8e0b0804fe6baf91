package querier_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/thanos-io/objstore"

	"github.com/varve-io/varve/pkg/bucket"
	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/cube"
	units "github.com/varve-io/varve/pkg/cost/money"
	"github.com/varve-io/varve/querier"
)

// far is a bucket that takes a while for each request.
type far struct {
	objstore.Bucket
	delay             func(name string) time.Duration
	requests          atomic.Int64
	underWay, atOnce  atomic.Int64
	fails             string // requests for such objects do
	failed, abandoned atomic.Int64
}

func (f *far) GetRange(ctx context.Context, name string, off, length int64) (io.ReadCloser, error) {
	f.requests.Add(1)
	now := f.underWay.Add(1)
	defer f.underWay.Add(-1)
	for most := f.atOnce.Load(); now > most && !f.atOnce.CompareAndSwap(most, now); most = f.atOnce.Load() {
	}
	select {
	case <-time.After(f.delay(name)):
	case <-ctx.Done():
		f.abandoned.Add(1)
		return nil, ctx.Err()
	}
	if f.fails != "" && strings.Contains(name, f.fails) {
		f.failed.Add(1)
		return nil, errFar
	}
	return f.Bucket.GetRange(ctx, name, off, length)
}

var errFar = errors.New("nobody is there")

// farCubes are cubes in a bucket, which is read as a server does.
type farCubes struct {
	*cubes
	reader *bucket.Reader
}

func (f farCubes) Open(name string, size int64) querier.CubeFile { return f.reader.File(name, size) }

// in puts the cubes into a bucket.
func (c *cubes) in(t testing.TB, f *far) farCubes {
	t.Helper()
	f.Bucket = objstore.NewInMemBucket()
	for name, data := range c.objects {
		if err := f.Upload(t.Context(), name, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
	}
	logger := slog.New(slog.DiscardHandler)
	reader, err := bucket.NewReader(bucket.Wrap(f, logger, nil), bucket.CacheConfig{}, logger, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return farCubes{c, reader}
}

// years are the daily roll-ups of some, and the window of all.
func (c *cubes) years(t testing.TB, n, workloads int) (all string) {
	t.Helper()
	begin := time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC)
	end := begin.AddDate(n, 0, 0)
	for month := begin; month.Before(end); month = month.AddDate(0, 1, 0) {
		c.fill(t, month, workloads)
	}
	return window(begin.UnixMilli(), end.UnixMilli())
}

func overCubes(t testing.TB, with querier.Cubes) *querier.Querier {
	t.Helper()
	q, err := querier.New(querier.Default(), querier.Dependencies{Recent: newHeads(), Older: sourcesOf{}, Limits: defaultLimits(), Cubes: with})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// Files of a cube are fetched side by side: an answer takes much less than all requests, one after the other. It is the same in whatever order they end.
func TestCubesAreFetchedSideBySide(t *testing.T) {
	const delay = 20 * time.Millisecond
	with := newCubes()
	all := with.years(t, 4, 20)
	question := "/api/v1/cost/report?step=day&by=namespace,controller&" + all
	want := httptest.NewRecorder()
	overCubes(t, with).ServeHTTP(want, httptest.NewRequest("GET", question, nil))
	if want.Code != http.StatusOK || want.Body.Len() < 100_000 {
		t.Fatalf("%d %.300s", want.Code, want.Body)
	}
	for name, wait := range map[string]func(string) time.Duration{
		"all alike": func(string) time.Duration { return delay },
		"at random": func(string) time.Duration { return rand.N(2 * delay) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &far{delay: wait}
				q, w, begun := overCubes(t, with.in(t, f)), httptest.NewRecorder(), time.Now()
				q.ServeHTTP(w, httptest.NewRequest("GET", question, nil))
				took, alone := time.Since(begun), time.Duration(f.requests.Load())*delay
				if w.Code != http.StatusOK || w.Body.String() != want.Body.String() {
					t.Errorf("%d\n%s", w.Code, difference(w.Body.String(), want.Body.String()))
				}
				if took > alone/20 || f.requests.Load() < 48*3 {
					t.Errorf("%d requests took %v, %d at once", f.requests.Load(), took, f.atOnce.Load())
				}
				if n := f.atOnce.Load(); n > 64 || f.underWay.Load() != 0 {
					t.Errorf("%d requests at once, %d are left", n, f.underWay.Load())
				}
			})
		})
	}
}

// The first file that can't be read ends the answer, and all other requests.
func TestAFileThatCannotBeReadEndsTheAnswer(t *testing.T) {
	with := newCubes()
	question := "/api/v1/cost/report?step=day&by=namespace&" + with.years(t, 4, 20)
	synctest.Test(t, func(t *testing.T) {
		f := &far{fails: "/2022-"}
		f.delay = func(name string) time.Duration {
			if f.failed.Load() == 0 || strings.Contains(name, f.fails) {
				return 20 * time.Millisecond
			}
			return time.Hour // others wait in vain
		}
		w, begun := httptest.NewRecorder(), time.Now()
		overCubes(t, with.in(t, f)).ServeHTTP(w, httptest.NewRequest("GET", question, nil))
		if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), errFar.Error()) {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if took := time.Since(begun); took > time.Minute || f.underWay.Load() != 0 {
			t.Errorf("after %v, %d requests are left", took, f.underWay.Load())
		}
	})
}

// A year of ten thousand workloads, day by day. peak-MiB is the most memory that the process had, the files in memory included.
func BenchmarkYearOfCubes(b *testing.B) {
	with := newCubes()
	target := "/api/v1/cost/report?step=day&" + with.years(b, 1, 10_000)
	ask := func(b *testing.B, q *querier.Querier, by string) {
		w := &discarded{header: http.Header{}}
		if q.ServeHTTP(w, httptest.NewRequest("GET", target+"&by="+by, nil)); w.bytes < 1_000_000 {
			b.Fatalf("%d %d bytes", w.code, w.bytes)
		}
	}
	asked := func(with querier.Cubes, manifest *cube.Manifest, by string, cold bool) func(b *testing.B) {
		q := overCubes(b, with)
		return func(b *testing.B) {
			if !cold {
				ask(b, q, by)
			}
			measured := beginMeasuring(b)
			for b.Loop() {
				if cold {
					manifest.Generation++
				}
				ask(b, q, by)
			}
			measured()
		}
	}
	for _, by := range []string{"namespace", "label:team"} {
		b.Run(by+"/cold", asked(with, with.manifest, by, true))
		b.Run(by+"/warm", asked(with, with.manifest, by, false))
	}
	b.Run("namespace/remote", func(b *testing.B) { // each request takes 20 ms
		remote := with.in(b, &far{delay: func(string) time.Duration { return 20 * time.Millisecond }})
		asked(remote, with.manifest, "namespace", true)(b)
	})
}

// discarded is a response that is sent and not kept.
type discarded struct {
	header      http.Header
	code, bytes int
}

func (d *discarded) Header() http.Header         { return d.header }
func (d *discarded) WriteHeader(code int)        { d.code = code }
func (d *discarded) Write(p []byte) (int, error) { d.bytes += len(p); return len(p), nil }

// beginMeasuring adds to a benchmark the CPU time of the process, since others share the machine, and the peak of its memory.
func beginMeasuring(b *testing.B) (end func()) {
	b.ReportAllocs()
	b.Cleanup(func() { debug.SetGCPercent(100) })
	debug.SetGCPercent(40) // as varve does
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		b.Log("the peak is that of the process's life:", err)
	}
	cpu := func() float64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
	}
	before := cpu()
	return func() {
		b.ReportMetric((cpu()-before)/float64(b.N), "cpu-s/op")
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			b.Fatal(err)
		}
		var kib float64
		_, peak, _ := strings.Cut(string(status), "VmHWM:")
		if _, err := fmt.Sscan(peak, &kib); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(kib/1024, "peak-MiB")
	}
}

// fill adds a month of daily roll-ups: workloads of a namespace are spread over twelve classes of nodes, and no quantity is another's.
func (c *cubes) fill(b testing.TB, month time.Time, workloads int) {
	b.Helper()
	names, r := cost.NewNames(), rand.New(rand.NewPCG(uint64(month.Unix()), 3))
	var items []cost.Item
	for n := range workloads {
		items = append(items, cost.Item{
			Subject: names.Subject(cost.Subject{Container: "app", Owner: cost.Owner{
				Cluster: "east", Namespace: fmt.Sprintf("team-%02d", n/100), Controller: cost.Controller{Kind: "Deployment", Name: fmt.Sprintf("service-%05d", n)},
				Labels: cost.Labels{{Name: "app", Value: fmt.Sprintf("service-%05d", n)}, {Name: "team", Value: fmt.Sprintf("team-%02d", n%90)}},
			}}),
			Place: names.Place(cost.Place{Class: cost.Class{
				Kind: cost.NodeClass, Cluster: "east", Type: fmt.Sprintf("m5.%dxlarge", 1<<(n%4)), Region: "eu-west-1", Zone: fmt.Sprintf("eu-west-1%c", 'a'+n%3),
				Size: cost.Size{CPU: 4000 << (n % 4), RAM: 16 << 30 << (n % 4)}, Labels: cost.Labels{{Name: "pool", Value: "general"}},
			}}),
		})
	}
	slices.SortFunc(items, func(a, b cost.Item) int { return int(a.Subject) - int(b.Subject) })
	var days []*cost.Ledger
	end := month.AddDate(0, 1, 0)
	for d := month; d.Before(end); d = d.AddDate(0, 0, 1) {
		l := &cost.Ledger{From: d.UnixMilli(), To: d.UnixMilli() + day, Names: names, Items: slices.Clone(items)}
		assets := map[uint32]*cost.AssetItem{}
		for i := range l.Items {
			item := &l.Items[i]
			item.CPU = cost.Parts{Used: units.Units(r.Int64N(1 << 36)), Unused: units.Units(r.Int64N(1 << 36)), Request: units.Units(day * 500)}
			item.RAM = cost.Parts{Used: units.Units(r.Int64N(1 << 46)), Unused: units.Units(r.Int64N(1 << 46)), Request: units.Units(86_400 << 29)}
			item.Received, item.Sent = units.Units(r.Int64N(1<<34)), units.Units(r.Int64N(1<<34))
			item.Alive = day - r.Int64N(day/10)
			item.CPUKnown, item.RAMKnown = item.Alive, item.Alive
			a := assets[item.Place]
			if a == nil {
				a = &cost.AssetItem{Subject: names.Subject(cost.Subject{Owner: cost.Owner{Cluster: "east"}}), Place: item.Place, Up: day}
				assets[item.Place] = a
			}
			a.CPU.Capacity = a.CPU.Capacity.Plus(item.CPU.Used).Plus(item.CPU.Unused)
			a.RAM.Capacity = a.RAM.Capacity.Plus(item.RAM.Used).Plus(item.RAM.Unused)
			a.Received, a.Sent = a.Received.Plus(item.Received), a.Sent.Plus(item.Sent)
		}
		for _, a := range assets {
			l.Assets = append(l.Assets, *a)
		}
		days = append(days, l)
		c.manifest.Days = append(c.manifest.Days, cube.Day{Start: d.UnixMilli(), Closed: 1<<24 - 1, RolledUp: true,
			Settings: []cube.Applied{{Settings: cube.Settings{Labels: []string{"app", "team"}}, Hours: 1<<24 - 1}}})
	}
	for _, table := range cube.RollUpTables() {
		var out bytes.Buffer
		if err := cube.WriteRollUp(b.Context(), &out, table, nil, days); err != nil {
			b.Fatal(err)
		}
		c.put(b, cube.DayLevel, month.UnixMilli(), end.UnixMilli(), table, out.Bytes())
	}
}

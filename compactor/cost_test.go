package compactor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/thanos-io/objstore"

	"github.com/varve-io/varve/pkg/config"
	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/cube"
	"github.com/varve-io/varve/tools/clustergen/cluster"
)

func TestCubeHasTheHoursOfTheBlocks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, localBucket(t))
	w.limits.PastWindow = config.Duration(3 * time.Hour)
	a, c := id(t, "a"), w.sample(26)
	day := c.From
	w.putCluster(a, c, part{from: c.From, to: c.To})
	w.put(id(t, "b"), spec{from: day, to: day + hour, series: 1, step: hour / 8})
	comp := w.compactor(w.bkt)

	w.now = time.UnixMilli(day + 10*hour) // the margin, the window and the settle time: 6.5 hours
	w.costs(comp, a)
	w.checkHours(a, c, day, 3)
	w.now = time.UnixMilli(day + 4*dayWidth)
	run(t, comp, a) // merges change nothing
	w.costs(comp, a)
	w.checkHours(a, c, day, 24)
	w.checkRollUp(a, day)
	n := testutil.ToFloat64(comp.metrics.costHours)
	before := w.manifest(a).Generation
	w.costs(comp, a)
	if again := w.manifest(a).Generation; again != before || n != 48 {
		t.Errorf("%v hours were counted, and the manifest was written %d times again without need", n, again-before)
	}
	w.costs(comp, id(t, "b"))
	if m := w.manifest(id(t, "b")); m.Generation != 0 {
		t.Error("a tenant without metrics of clusters has a cube")
	}
}

func TestLateBlocksMakeHoursDirty(t *testing.T) {
	t.Parallel()
	w := newWorld(t, objstore.NewInMemBucket())
	a, c := id(t, "a"), w.sample(24)
	day, late := c.From, "container_cpu_usage_seconds_total"
	w.putCluster(a, c, part{from: c.From, to: c.From + 8*hour})
	w.putCluster(a, c, part{from: c.From + 8*hour, to: c.From + 10*hour, without: late})
	w.putCluster(a, c, part{from: c.From + 10*hour, to: c.To})
	comp := w.compactor(w.bkt)
	w.costs(comp, a)
	if m := w.manifest(a); !m.Has(cube.DayLevel, day) {
		t.Fatal("the day is not rolled up")
	}
	before := testutil.ToFloat64(comp.metrics.costHours)
	w.putCluster(a, c, part{from: c.From + 8*hour, to: c.From + 10*hour, only: late})
	w.costs(comp, a)
	// The two hours, and those that see an hour of them.
	if n := testutil.ToFloat64(comp.metrics.costHours) - before; n != 4 {
		t.Errorf("%v hours were counted again", n)
	}
	w.checkHours(a, c, day, 24)
	w.checkRollUp(a, day)
	old := len(w.manifest(a).Removed)
	unnamed := "a/varve/cost/hours/2020-01-01/nodes-0123456789abcdef.parquet" // as of one that died
	if err := w.bkt.Upload(t.Context(), unnamed, strings.NewReader("PAR1")); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(unnamedDelay + time.Minute)
	w.costs(comp, a)
	if m := w.manifest(a); old == 0 || len(m.Removed) != 0 || len(objects(t, w.bkt, "a/varve/cost")) != len(m.Objects)+1 {
		t.Errorf("%d objects were let go of, %d of them are left, %d objects of %d", old, len(m.Removed), len(objects(t, w.bkt, "a/varve/cost")), len(m.Objects))
	}
}

// A late block has the hours around its samples counted again, and no others, not even when it is merged with those of its day; and a day whose
// blocks have been merged long ago remembers no more than what is there.
func TestMergesOfLateBlocksAreNoNews(t *testing.T) {
	t.Parallel()
	w := newWorld(t, objstore.NewInMemBucket())
	a, c := id(t, "a"), w.sample(24)
	late := []string{"container_cpu_usage_seconds_total", "container_memory_working_set_bytes"}
	w.putCluster(a, c, part{from: c.From, to: c.To, without: late[0]})
	comp := w.compactor(w.bkt)
	counted := func() float64 {
		before := testutil.ToFloat64(comp.metrics.costHours)
		w.costs(comp, a)
		return testutil.ToFloat64(comp.metrics.costHours) - before
	}
	counted()
	begin := w.now // blocks are as old as they are by the real clock
	for round, what := range []string{"not yet merged", "merged long ago"} {
		from := c.From + int64(4+8*round)*hour
		w.now = begin
		w.putCluster(a, c, part{from: from, to: from + 2*hour, only: late[round]})
		if n := counted(); n != 4 {
			t.Errorf("%s: %v hours were counted again", what, n)
		}
		w.now = begin.Add(26 * time.Hour)
		run(t, comp, a)
		if n := counted(); n != 0 || len(w.catalog(a).Blocks) != 1 {
			t.Errorf("%s: %v hours were counted again for a merge to %d blocks", what, n, len(w.catalog(a).Blocks))
		}
		if n := len(w.manifest(a).Day(c.From).Sources); n < 12 {
			t.Errorf("%s: the day remembers %d blocks, though it may yet be merged", what, n)
		}
		w.now = begin.Add(52 * time.Hour)
		if n := counted(); n != 0 {
			t.Errorf("%s: %v hours were counted again for nothing", what, n)
		}
		if n := len(w.manifest(a).Day(c.From).Sources); n != 1 {
			t.Errorf("%s: the day remembers %d blocks", what, n)
		}
	}
}

// Costs go a month at a time once cost_retention is over, whether samples are still there or not, and their objects some hours later.
func TestCostsAreKeptForTheirRetention(t *testing.T) {
	t.Parallel()
	w := newWorld(t, objstore.NewInMemBucket())
	a, c := id(t, "a"), w.sample(2)
	w.putCluster(a, c, part{from: c.From, to: c.To})
	comp := w.compactor(w.bkt)
	w.costs(comp, a)
	_, end := cube.MonthOf(c.From)
	w.limits.CostRetention = config.Duration(10 * 24 * time.Hour)
	w.now = time.UnixMilli(end).Add(10*24*time.Hour - time.Minute)
	w.costs(comp, a)
	if !w.manifest(a).Has(cube.DayLevel, c.From) {
		t.Fatal("the day is not there any more")
	}
	n := testutil.ToFloat64(comp.metrics.costHours)
	w.now = w.now.Add(time.Minute)
	w.costs(comp, a)
	if m := w.manifest(a); len(m.Days)+len(m.Objects) != 0 || len(m.Removed) == 0 || testutil.ToFloat64(comp.metrics.costHours) != n {
		t.Errorf("%d days and %d objects are kept, %d let go of", len(m.Days), len(m.Objects), len(m.Removed))
	}
	w.limits.Retention = config.Duration(time.Hour) // all blocks go, and costs are still looked after
	run(t, comp, a)
	w.now = w.now.Add(comp.cubeDelay() + time.Minute)
	w.costs(comp, a)
	if left := objects(t, w.bkt, "a/varve/cost"); len(left) != 1 || len(w.catalog(a).Blocks) != 0 {
		t.Errorf("objects %v are left, and %d blocks", left, len(w.catalog(a).Blocks))
	}
}

// Hours that can't be counted are told of, and for how long that has been so; those of a tenant without clusters are not.
func TestWaitingHoursAreToldOf(t *testing.T) {
	t.Parallel()
	w := newWorld(t, objstore.NewInMemBucket())
	a, c := id(t, "a"), w.sample(4)
	late := "container_cpu_usage_seconds_total"
	w.putCluster(a, c, part{from: c.From, to: c.To, without: late})
	w.put(id(t, "b"), spec{from: c.From, to: c.From + hour, series: 1, step: hour / 8})
	bkt := &full{Bucket: w.bkt}
	comp := w.compactor(bkt)
	w.costs(comp, id(t, "b"))
	tells := func(what string, lag float64, hours ...int) {
		t.Helper()
		s := comp.states[a]
		if comp.costLag() != lag || s.costUncounted != hours[0] || s.costDirty != hours[1] || comp.states[id(t, "b")].costUncounted != 0 {
			t.Errorf("%s: %d uncounted, %d dirty, for %v s", what, s.costUncounted, s.costDirty, comp.costLag())
		}
	}
	bkt.of = "varve/cost/hours"
	for range 2 {
		_ = comp.CountCosts(t.Context(), a, time.Now().Add(time.Hour))
		w.now = w.now.Add(time.Hour)
	}
	tells("nothing can be written", 7200, 24, 0)
	bkt.of = ""
	w.costs(comp, a)
	tells("all is well", 0, 0, 0)
	bkt.of = "varve/cost/hours"
	w.putCluster(a, c, part{from: c.From, to: c.From + 2*hour, only: late})
	_ = comp.CountCosts(t.Context(), a, time.Now().Add(time.Hour))
	tells("late samples", 0, 0, 3)
}

func TestOtherCostLabelsCountAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t, objstore.NewInMemBucket())
	a, c := id(t, "a"), w.sample(4)
	w.putCluster(a, c, part{from: c.From, to: c.To})
	comp := w.compactor(w.bkt)
	w.costs(comp, a)
	w.limits.CostLabels = []string{"team", "app", "team"}
	w.costs(comp, a)
	s, ok := w.manifest(a).SettingsOf(c.From)
	if !ok || !slices.Equal(s.Labels, []string{"app", "team"}) || len(w.manifest(a).Day(c.From).Settings) != 1 {
		t.Errorf("settings %+v", w.manifest(a).Day(c.From).Settings)
	}
}

// Two that work at once end with the objects that one makes.
func TestTwoCompactorsCountTheSame(t *testing.T) {
	t.Parallel()
	w := newWorld(t, objstore.NewInMemBucket())
	a, c := id(t, "a"), w.sample(8)
	w.putCluster(a, c, part{from: c.From, to: c.To})
	done := make(chan error, 2)
	for range 2 {
		comp := w.compactor(w.bkt)
		go func() { done <- comp.CountCosts(t.Context(), a, time.Now().Add(time.Hour)) }()
	}
	if err := errors.Join(<-done, <-done); err != nil {
		t.Fatal(err)
	}
	w.checkHours(a, c, c.From, 24)
	w.checkRollUp(a, c.From)
}

// Whatever step a compactor dies at, what the manifest offers is right, and the next one completes it.
func TestDeathWhileCountingCosts(t *testing.T) {
	t.Parallel()
	first := newWorld(t, objstore.NewInMemBucket())
	a, c := id(t, "a"), first.sample(2)
	var dirs []string
	for from := c.From; from < c.To; from += 2 * hour {
		dirs = append(dirs, first.clusterBlock(c, part{from: from, to: from + 2*hour}))
	}
	for n := 0; n < 2000; n += 1 + n/3 {
		w := newWorld(t, objstore.NewInMemBucket())
		w.now = first.now
		for _, dir := range dirs {
			w.upload(a, dir)
		}
		m := &mortal{Bucket: w.bkt, left: n}
		ctx, cancel := context.WithCancel(t.Context())
		m.die = cancel
		_ = w.compactor(m).CountCosts(ctx, a, time.Now().Add(time.Hour))
		cancel()
		if w.manifest(a).Has(cube.HourLevel, c.From) {
			w.checkHours(a, c, c.From, 24)
		}
		if m.dead {
			w.costs(w.compactor(w.bkt), a)
		}
		w.checkHours(a, c, c.From, 24)
		w.checkRollUp(a, c.From)
		if !m.dead {
			return
		}
	}
	t.Fatal("it never lives")
}

// What retention takes the samples of stays as it was counted.
func TestRetentionFreezesHours(t *testing.T) {
	t.Parallel()
	w := newWorld(t, objstore.NewInMemBucket())
	a, c := id(t, "a"), w.sample(24)
	w.putCluster(a, c, part{from: c.From, to: c.To})
	comp := w.compactor(w.bkt)
	w.costs(comp, a)
	w.limits.Retention = config.Duration(w.now.Sub(time.UnixMilli(c.From + 12*hour)))
	w.costs(comp, a)
	m := w.manifest(a)
	if d := m.Day(c.From); d.Frozen.Len() < 12 || d.Dirty != 0 {
		t.Fatalf("hours %b are frozen, %b dirty", d.Frozen, d.Dirty)
	}
	run(t, comp, a) // half of the blocks go
	w.putCluster(a, c, part{from: c.From + 2*hour, to: c.From + 4*hour})
	w.limits.CostLabels = []string{"app"} // would count all anew
	w.costs(comp, a)
	for start := c.From; start < c.From+dayWidth; start += hour {
		if !w.manifest(a).Has(cube.HourLevel, start) {
			t.Errorf("%s is not there any more", cost.Time(start))
		}
	}
	if s, _ := w.manifest(a).SettingsOf(c.From); len(s.Labels) != 0 {
		t.Error("a frozen hour was counted again")
	}
}

// A block that can't be read holds up the hours around it, and no other.
func TestADamagedBlockHoldsUpItsHours(t *testing.T) {
	t.Parallel()
	w := newWorld(t, objstore.NewInMemBucket())
	a, c := id(t, "a"), w.sample(26)
	w.putCluster(a, c, part{from: c.From, to: c.To})
	for _, b := range w.catalog(a).Blocks {
		if b.MinTime == c.From+12*hour {
			if err := w.bkt.Delete(t.Context(), w.name(a, b, "index")); err != nil {
				t.Fatal(err)
			}
		}
	}
	comp := w.compactor(w.bkt)
	if err := comp.CountCosts(t.Context(), a, time.Now().Add(time.Hour)); err == nil {
		t.Fatal("nobody said that a block is lacking")
	}
	w.checkHours(a, c, c.From, 24-4) // those from 11:00 to 15:00 need it
	if m := w.manifest(a); !m.Has(cube.DayLevel, c.From+dayWidth) || m.Has(cube.DayLevel, c.From) {
		t.Error("the other day is not rolled up, or this one is")
	}
}

// A damaged manifest is left to people: it may be all that is known of frozen hours.
func TestDamagedManifestStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, objstore.NewInMemBucket())
	a, c := id(t, "a"), w.sample(2)
	w.putCluster(a, c, part{from: c.From, to: c.To})
	const name = "a/varve/cost/manifest.json.zst"
	if err := w.bkt.Upload(t.Context(), name, strings.NewReader("damaged")); err != nil {
		t.Fatal(err)
	}
	comp := w.compactor(w.bkt)
	err := comp.CountCosts(t.Context(), a, time.Now().Add(time.Hour))
	if !errors.Is(err, cube.ErrDamaged) || testutil.ToFloat64(comp.metrics.costFailures) != 1 {
		t.Fatal(fmt.Errorf("counting costs with a damaged manifest: %w", err))
	}
}

// A month has what its days have, and late samples take its roll-up away until it is made again.
func TestMonthsAreRolledUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, objstore.NewInMemBucket())
	first := time.Date(w.now.UTC().Year(), w.now.UTC().Month()-2, 1, 0, 0, 0, 0, time.UTC)
	from, to := cube.MonthOf(first.UnixMilli())
	a, c := id(t, "a"), cluster.Random(cluster.Config{Seed: 2, Name: "sim", Nodes: 1, Pods: 1, Interval: 1_800_000, Span: cluster.Span{From: from, To: to}})
	w.upload(a, w.clusterBlock(c, part{from: from, to: to, only: "kube_node_info"})) // little of the other days
	for _, day := range []int64{from, from + 14*dayWidth, to - dayWidth} {
		w.upload(a, w.clusterBlock(c, part{from: day, to: day + dayWidth}))
	}
	comp := w.compactor(w.bkt)
	w.costs(comp, a)
	if !w.manifest(a).Has(cube.MonthLevel, from) {
		t.Fatal("the month is not rolled up")
	}
	w.checkMonth(a, from, to)
	w.upload(a, w.clusterBlock(c, part{from: from + 8*hour, to: from + 9*hour}))
	ctx, cancel := context.WithCancel(t.Context())
	bkt := &mortal{Bucket: w.bkt, left: 12, die: cancel} // dies among the tables of the hours
	_ = w.compactor(bkt).CountCosts(ctx, a, time.Now().Add(time.Hour))
	w.costs(comp, a)
	w.checkMonth(a, from, to)
}

// full is a bucket that takes no objects of a name.
type full struct {
	objstore.Bucket
	of string
}

func (b *full) Upload(ctx context.Context, name string, r io.Reader, opts ...objstore.ObjectUploadOption) error {
	if b.of != "" && strings.Contains(name, b.of) {
		return errors.New("no space")
	}
	return b.Bucket.Upload(ctx, name, r, opts...)
}

package compactor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/thanos-io/objstore"

	"github.com/varve-io/varve/pkg/block"
	"github.com/varve-io/varve/pkg/bucket"
	"github.com/varve-io/varve/pkg/config"
	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/cube"
	"github.com/varve-io/varve/pkg/cost/join"
	"github.com/varve-io/varve/pkg/head"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/tools/clustergen/cluster"
)

// part tells which samples of a cluster a block has.
type part struct {
	from, to int64
	without  string // a metric that isn't in it
	only     string // or the only one that is
}

func (p part) has(ls labels.Labels) bool {
	name := ls.Get(labels.MetricName)
	return p.only == "" && name != p.without || p.only != "" && name == p.only
}

// sample is all that a small cluster has in some hours of a day, three days ago.
func (w *world) sample(hours int64) *cluster.Cluster {
	from := w.midnight(3)
	return cluster.Random(cluster.Config{
		Seed: 5, Name: "sim", Nodes: 2, Pods: 8, Interval: 120_000, Life: 6 * hour, Faults: true, Span: cluster.Span{From: from, To: from + hours*hour},
	})
}

// putCluster uploads blocks of two hours.
func (w *world) putCluster(id tenant.ID, c *cluster.Cluster, p part) {
	w.t.Helper()
	for from := p.from; from < p.to; from += 2 * hour {
		w.upload(id, w.clusterBlock(c, part{from, min(from+2*hour, p.to), p.without, p.only}))
	}
}

func (w *world) clusterBlock(c *cluster.Cluster, p part) string {
	w.t.Helper()
	h := head.New(head.Options{})
	defer h.Free()
	for s := range c.Series(p.from, p.to) {
		if !p.has(s.Labels) {
			continue
		}
		ser, _, err := h.Series(s.Labels)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, x := range s.Samples(nil, p.from, p.to) {
			ser.AppendFloat(x.T, x.V)
		}
	}
	h.Seal()
	dir := w.t.TempDir()
	m, err := block.Write(w.t.Context(), dir, h.Reader(head.Range{Min: p.from, Max: p.to}), block.Spec{MinTime: p.from, MaxTime: p.to, Origin: block.Varve{Replica: "r"}})
	if err != nil || m.Stats.NumSamples == 0 {
		w.t.Fatalf("write block: %d samples, %v", m.Stats.NumSamples, err)
	}
	return filepath.Join(dir, m.ULID.String())
}

// generated is a join.Source without any blocks: the series of a cluster.
type generated []*cluster.Series

func (g generated) Select(_ context.Context, q series.Query) (series.Set, error) {
	var out list
	for _, s := range g {
		if slices.ContainsFunc(q.Matchers, func(m *labels.Matcher) bool { return !m.Matches(s.Labels.Get(m.Name)) }) {
			continue
		}
		samples := s.Samples(nil, q.MinTime, q.MaxTime+1)
		if len(samples) == 0 {
			continue
		}
		c := chunkenc.NewXORChunk()
		app, err := c.Appender()
		if err != nil {
			return nil, err
		}
		for _, x := range samples {
			app.Append(0, x.T, x.V)
		}
		out.all = append(out.all, series.Chunked{Labels: s.Labels, Chunks: []chunks.Meta{{Chunk: c, MinTime: samples[0].T, MaxTime: samples[len(samples)-1].T}}})
	}
	return &out, nil
}

type list struct {
	all []series.Chunked
	n   int
}

func (l *list) Next() bool         { l.n++; return l.n <= len(l.all) }
func (l *list) At() series.Chunked { return l.all[l.n-1] }
func (l *list) Err() error         { return nil }
func (l *list) Close() error       { return nil }

// costs counts all that can be counted.
func (w *world) costs(c *Compactor, id tenant.ID) {
	w.t.Helper()
	if err := c.CountCosts(w.t.Context(), id, time.Now().Add(time.Hour)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) manifest(id tenant.ID) *cube.Manifest {
	w.t.Helper()
	m, err := cube.Load(w.t.Context(), w.bkt, id)
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

// checkHours compares the hours that the cube of a day offers, byte by byte, with those of a cluster's samples.
func (w *world) checkHours(id tenant.ID, c *cluster.Cluster, day int64, want int) {
	w.t.Helper()
	m := w.manifest(id)
	all := generated(slices.Collect(c.Series(c.From, c.To)))
	var hours []*cost.Hour
	for start := day; start < day+dayWidth; start += hour {
		if !m.Has(cube.HourLevel, start) {
			continue
		}
		h, err := join.Hour(w.t.Context(), all, join.Options{Tenant: id, Start: start})
		if err != nil {
			w.t.Fatal(err)
		}
		hours = append(hours, h)
	}
	if len(hours) != want {
		w.t.Fatalf("the cube has %d hours, want %d", len(hours), want)
	}
	for _, table := range cube.HourTables() {
		var expected bytes.Buffer
		if err := cube.WriteHours(w.t.Context(), &expected, table, nil, hours); err != nil {
			w.t.Fatal(err)
		}
		if got := w.object(m, cube.HourLevel, day, table); !bytes.Equal(got, expected.Bytes()) {
			w.t.Errorf("table %s: %d bytes, want those %d that the cluster's samples give", table, len(got), expected.Len())
		}
	}
}

func (w *world) object(m *cube.Manifest, level cube.Level, start int64, table cube.Table) []byte {
	w.t.Helper()
	for _, o := range m.Objects {
		if o.Level == level && o.Start <= start && start < o.End && o.Table == table {
			r, err := w.bkt.Get(w.t.Context(), m.Path(o.Name))
			if err != nil {
				w.t.Fatal(err)
			}
			defer r.Close()
			data, err := io.ReadAll(r)
			if err != nil || int64(len(data)) != o.Size {
				w.t.Fatalf("object %s: %d bytes, %v", o.Name, len(data), err)
			}
			return data
		}
	}
	w.t.Fatalf("no %s of %s", table, level)
	return nil
}

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

// checkRollUp compares the roll-up of a day with its hours.
func (w *world) checkRollUp(id tenant.ID, day int64) {
	w.t.Helper()
	m := w.manifest(id)
	if !m.Has(cube.DayLevel, day) {
		w.t.Fatal("the day is not rolled up")
	}
	reader, err := bucket.NewReader(w.bkt, bucket.CacheConfig{}, quiet(), prometheus.NewRegistry())
	if err != nil {
		w.t.Fatal(err)
	}
	open := func(name string, size int64) cube.Source { return reader.File(name, size) }
	var sums []*cost.Ledger
	month, _ := cube.MonthOf(day)
	for _, d := range m.Days {
		if of, _ := cube.MonthOf(d.Start); of != month || !d.RolledUp {
			continue
		}
		names := cost.NewNames()
		var ledgers []*cost.Ledger
		for h, err := range cube.Hours(w.t.Context(), m.Files(cube.HourLevel, d.Start, open), nil) {
			if err != nil {
				w.t.Fatal(err)
			}
			l, err := cost.MaxRequestUsage.Ledger(h, names)
			if err != nil {
				w.t.Fatal(err)
			}
			ledgers = append(ledgers, l)
		}
		sum, err := cost.RollUp(d.Start, d.Start+dayWidth, ledgers...)
		if err != nil {
			w.t.Fatal(err)
		}
		sums = append(sums, sum)
	}
	for _, table := range cube.RollUpTables() {
		var expected bytes.Buffer
		if err := cube.WriteRollUp(w.t.Context(), &expected, table, nil, sums); err != nil {
			w.t.Fatal(err)
		}
		if got := w.object(m, cube.DayLevel, day, table); !bytes.Equal(got, expected.Bytes()) {
			w.t.Errorf("roll-up, table %s: %d bytes, want %d others", table, len(got), expected.Len())
		}
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
	// The two hours, those that see an hour of them, and the one whose samples reach up to their first instant.
	if n := testutil.ToFloat64(comp.metrics.costHours) - before; n < 4 || n > 5 {
		t.Errorf("%v hours were counted again", n)
	}
	w.checkHours(a, c, day, 24)
	w.checkRollUp(a, day)
	old := len(w.manifest(a).Removed)
	w.now = w.now.Add(comp.cubeDelay() + time.Minute)
	w.costs(comp, a)
	if m := w.manifest(a); old == 0 || len(m.Removed) != 0 || len(objects(t, w.bkt, "a/varve/cost")) != len(m.Objects)+1 {
		t.Errorf("%d objects were let go of, %d of them are left, %d objects of %d", old, len(m.Removed), len(objects(t, w.bkt, "a/varve/cost")), len(m.Objects))
	}
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
	a, c := id(t, "a"), first.sample(4)
	var dirs []string
	for from := c.From; from < c.To; from += 2 * hour {
		dirs = append(dirs, first.clusterBlock(c, part{from: from, to: from + 2*hour}))
	}
	for n := 0; n < 2000; n += 1 + n/8 {
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

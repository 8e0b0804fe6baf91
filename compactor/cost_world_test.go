package compactor

import (
	"bytes"
	"context"
	"io"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/varve-io/varve/pkg/block"
	"github.com/varve-io/varve/pkg/bucket"
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
	from := w.midnight(4) // hours of the second day close a day and some hours after their end, whatever time of the day it is
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

func (w *world) checkMonth(id tenant.ID, from, to int64) {
	w.t.Helper()
	m := w.manifest(id)
	reader, err := bucket.NewReader(w.bkt, bucket.CacheConfig{}, quiet(), prometheus.NewRegistry())
	if err != nil {
		w.t.Fatal(err)
	}
	names := cost.NewNames()
	var days []*cost.Ledger
	for l, err := range cube.RollUps(w.t.Context(), m.Files(cube.DayLevel, from, func(name string, size int64) cube.Source { return reader.File(name, size) }), nil, names) {
		if err != nil {
			w.t.Fatal(err)
		}
		day, err := cost.RollUp(l.From, l.To, l) // a copy
		if err != nil {
			w.t.Fatal(err)
		}
		days = append(days, day)
	}
	if want := int((to - from) / dayWidth); len(days) != want {
		w.t.Fatalf("%d days are rolled up, want %d", len(days), want)
	}
	sum, err := cost.RollUp(from, to, days...)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, table := range cube.RollUpTables() {
		var expected bytes.Buffer
		if err := cube.WriteRollUp(w.t.Context(), &expected, table, nil, []*cost.Ledger{sum}); err != nil {
			w.t.Fatal(err)
		}
		if got := w.object(m, cube.MonthLevel, from, table); !bytes.Equal(got, expected.Bytes()) {
			w.t.Errorf("month, table %s: %d bytes, want %d others", table, len(got), expected.Len())
		}
	}
}

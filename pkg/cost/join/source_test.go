package join

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/tools/clustergen/cluster"
)

// begin is the hour of the tests.
const begin = int64(500_000) * hourLength

// world is a source of typed series.
type world struct {
	t      testing.TB
	series []typed
	seed   uint64 // of how samples are dealt out to chunks
}

type typed struct {
	ls      labels.Labels
	samples []cluster.Sample
}

// load adds series, one a line, as `metric{labels} points`. A point is time=value; time is since the hour's begin; value may be
// stale; from..to=value is a sample every 30 s, both ends included, and =value+rate grows by rate per second.
func load(t testing.TB, texts ...string) *world {
	t.Helper()
	w := &world{t: t}
	for line := range strings.Lines(strings.Join(texts, "\n")) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		end := strings.LastIndex(line, "}") + 1
		ls, err := parser.NewParser(parser.Options{}).ParseMetric(line[:end])
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		var all []cluster.Sample
		for point := range strings.FieldsSeq(line[end:]) {
			all = append(all, points(t, point)...)
		}
		w.series = append(w.series, typed{ls, all})
	}
	return w
}

func points(t testing.TB, point string) (out []cluster.Sample) {
	t.Helper()
	times, values, ok := strings.Cut(point, "=")
	first, last, ranged := strings.Cut(times, "..")
	if !ranged {
		last = first
	}
	text, rate, _ := strings.Cut(values, "+")
	v, err := strconv.ParseFloat(text, 64)
	if text == "stale" {
		v, err = math.Float64frombits(value.StaleNaN), nil
	}
	grows, _ := strconv.ParseFloat(rate, 64)
	from, to := at(t, first), at(t, last)
	if !ok || err != nil {
		t.Fatalf("%q is no point", point)
	}
	for x := from; x <= to; x += 30_000 {
		out = append(out, cluster.Sample{T: x, V: v + grows*float64(x-from)/1000})
	}
	return out
}

func at(t testing.TB, text string) int64 {
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return begin + d.Milliseconds()
}

// Select answers with chunks that overlap, as those of several blocks and replicas do.
func (w *world) Select(_ context.Context, q series.Query) (series.Set, error) {
	rng := rand.New(rand.NewPCG(w.seed, 1))
	var out []series.Chunked
	for _, s := range w.series {
		if slices.ContainsFunc(q.Matchers, func(m *labels.Matcher) bool { return !m.Matches(s.ls.Get(m.Name)) }) {
			continue
		}
		c := series.Chunked{Labels: s.ls}
		if !q.SkipChunks {
			c.Chunks = w.chunks(rng, s.samples)
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b series.Chunked) int { return labels.Compare(a.Labels, b.Labels) })
	return &listed{list: out, at: -1}, nil
}

// chunks deals samples out to three writers at random, some to several.
func (w *world) chunks(rng *rand.Rand, samples []cluster.Sample) (out []chunks.Meta) {
	for part := range 3 {
		c := chunkenc.NewXORChunk()
		app, err := c.Appender()
		if err != nil {
			w.t.Fatal(err)
		}
		m := chunks.Meta{Chunk: c, MinTime: math.MaxInt64}
		for i, s := range samples {
			if i%3 == part || rng.IntN(4) == 0 {
				app.Append(0, s.T, s.V)
				m.MinTime, m.MaxTime = min(m.MinTime, s.T), s.T
			}
		}
		if c.NumSamples() > 0 {
			out = append(out, m)
		}
	}
	return out
}

type listed struct {
	list []series.Chunked
	at   int
}

func (l *listed) Next() bool         { l.at++; return l.at < len(l.list) }
func (l *listed) At() series.Chunked { return l.list[l.at] }
func (l *listed) Err() error         { return nil }
func (l *listed) Close() error       { return nil }

func (w *world) hour(opts Options) *cost.Hour {
	w.t.Helper()
	opts.Tenant, opts.Start = tenant.Anonymous, begin
	h, err := Hour(context.Background(), w, opts)
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

// text is an hour as lines to compare.
func text(h *cost.Hour) (out []string) {
	for _, w := range h.Workloads {
		line := fmt.Sprintf("%s %s %s cpu %s ram %s", strings.TrimPrefix(w.Cluster+"/"+w.Namespace+"/"+w.Pod+"/"+w.UID+"/"+w.Container, "/"), w.Node,
			during(w.From, w.To), heldText(w.CPU, 1e6), heldText(w.RAM, 1))
		for _, l := range w.Labels {
			line += " " + l.Name + "=" + l.Value
		}
		if w.GPU != (cost.Held{}) {
			line += " gpu " + heldText(w.GPU, 1e6)
		}
		out = append(out, line)
	}
	for _, n := range h.Nodes {
		out = append(out, fmt.Sprintf("node %s %s %s blind %v cpu %s ram %s", strings.TrimPrefix(n.Cluster+"/"+n.Name, "/"), n.Provider, during(n.From, n.To),
			time.Duration(n.Blind)*time.Millisecond, capacityText(n.CPU, 1e6), capacityText(n.RAM, 1)))
	}
	for _, w := range h.Warnings {
		out = append(out, fmt.Sprintf("warning %s %d %s", w.Name, w.Count, w.Example))
	}
	return out
}

func during(from, to int64) string {
	return fmt.Sprintf("%v-%v", time.Duration(from-begin)*time.Millisecond, time.Duration(to-begin)*time.Millisecond)
}

// heldText is used/unused/unknown.
func heldText(h cost.Held, unit float64) string {
	return fmt.Sprintf("%v/%v/%v", float64(h.Used)/unit, float64(h.Unused)/unit, float64(h.Unknown)/unit)
}

func capacityText(c cost.Capacity, unit float64) string {
	return fmt.Sprintf("%v/%v/%v", float64(c.Capacity)/unit, float64(c.Allocatable)/unit, float64(c.Blind)/unit)
}

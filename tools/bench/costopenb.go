package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"os"
	"time"

	sim "github.com/varve-io/varve/tools/clustergen/cluster"
)

// openbSuite is a real cluster's trace from samples to a bill.
func openbSuite(ctx context.Context, b *bench) ([]*table, error) {
	if b.openb == "" {
		b.say("-openb names no directory with the trace: left out")
		return nil, nil
	}
	begin := time.UnixMilli(costBegin).UTC()
	every := b.scrapeOr(time.Minute)
	trace, err := sim.ReadOpenB(os.DirFS(b.openb), sim.Config{Seed: 1, Name: "openb", Span: sim.Span{From: costBegin}, Interval: every.Milliseconds()})
	if err != nil {
		return nil, err
	}
	args := []string{"-openb=" + b.openb, "-cluster=openb", "-interval=" + every.String(), "-from=" + begin.Format(time.RFC3339), "-width=24h"}
	if b.days > 0 {
		trace.WatchLast(b.days)
		args = append(args, fmt.Sprintf("-days=%d", b.days))
	}
	from, to := floorTo(trace.From, day), floorTo(trace.To+day-1, day)
	c, done, err := b.newCosts(ctx, fmt.Sprintf("openb: %s nodes, %s pods, %d days, scraped every %s", thousands(len(trace.Nodes)), thousands(len(trace.Pods)), (to-from)/day, every))
	if err != nil {
		return nil, err
	}
	defer done()
	h, err := c.generate(ctx, args...)
	if err != nil {
		return nil, err
	}
	if _, _, err := c.compact(ctx, "counted", countOnly); err != nil {
		return nil, err
	}
	report, err := c.twice(ctx, "by namespace and day", from, to, "&by=namespace&step=day")
	if err != nil {
		return nil, err
	}
	if _, err := c.twice(ctx, "by pod and node", from, to, "&by=pod,node"); err != nil {
		return nil, err
	}
	facts, err := c.cubeTable(ctx, h)
	if err != nil {
		return nil, err
	}
	compared, err := compareTruth(trace, from, to, report)
	return []*table{c.stages, facts, compared}, err
}

const (
	hourMillis = int64(time.Hour / time.Millisecond)
	day        = 24 * hourMillis
)

func floorTo(t, width int64) int64 { return t - t%width }

// cubeTable is what is stored of blocks and cube.
func (c *costs) cubeTable(ctx context.Context, h *held) (*table, error) {
	bytes, rows, err := c.stored(ctx)
	if err != nil {
		return nil, err
	}
	t := &table{
		Title: "What is stored",
		Note: "Level 0 are the rows of each hour: a row of workloads is a container in an hour, mostly; one of nodes is a node in an hour. The cube is level 0 with the roll-ups " +
			"of days and months. Sizes in MiB.",
		columns: []column{
			{"M samples", "samples", 1}, {"Series of a block, at most", "series", 0}, {"Blocks", "blocks", 1}, {"bytes per sample", "per sample", 2},
			{"Level 0", "hours", 2}, {"rows of workloads", "containers", 0}, {"bytes each", "per container", 1}, {"rows of nodes", "nodes", 0}, {"bytes each", "per node", 2}, {"Cube", "cube", 2},
		},
	}
	t.add("Varve", figures{
		"samples": float64(h.samples) / 1e6, "series": float64(h.series), "blocks": mib(h.bytes), "per sample": float64(h.bytes) / float64(h.samples),
		"hours": bytes["hours"] / (1 << 20), "containers": rows["hours workloads"], "per container": bytes["hours workloads"] / rows["hours workloads"],
		"nodes": rows["hours nodes"], "per node": bytes["hours nodes"] / rows["hours nodes"], "cube": bytes[""] / (1 << 20),
	})
	return t, nil
}

// truthOf is what the samples of a trace tell, by its description: quantities, and the total at costPrices.
func truthOf(c *sim.Cluster, from, to int64) map[string]*big.Rat {
	sums := map[string]*big.Rat{}
	add := func(name string, v *big.Int, unit int64) {
		r := new(big.Rat).SetFrac(v, big.NewInt(unit))
		if sums[name] != nil {
			r.Add(r, sums[name])
		}
		sums[name] = r
	}
	for at := from; at < to; at += hourMillis {
		truth := c.Truth(at)
		for _, n := range truth.Nodes {
			add("core-hours", n.Observed.CPU, 1e6*3600)
			add("GiB-hours", n.Observed.Memory, 1000*3600<<30)
			add("GPU-hours", n.Observed.GPU, 1e6*3600)
		}
		for _, r := range truth.Containers {
			add("cpu_core_microseconds_requested", r.Observed.CPU.Request, 1)
			add("ram_byte_seconds_requested", r.Observed.Memory.Request, 1000)
			add("container_milliseconds", big.NewInt(r.Observed.Alive), 1)
		}
	}
	total := new(big.Rat)
	for name, price := range map[string]*big.Rat{"core-hours": big.NewRat(3, 100), "GiB-hours": big.NewRat(4, 1000), "GPU-hours": big.NewRat(95, 100)} {
		if sums[name] != nil {
			total.Add(total, price.Mul(price, sums[name]))
		}
	}
	sums["total"] = total
	return sums
}

// compareTruth compares a report with the truth. What isn't the truth's to a millionth is an error.
func compareTruth(c *sim.Cluster, from, to int64, report *costReport) (*table, error) {
	want := truthOf(c, from, to)
	got, err := report.sums()
	if err != nil {
		return nil, err
	}
	t := &table{
		Title:   "Against the truth",
		Note:    "The truth is computed from the description, not from samples: what the samples can tell, by the rules of docs/cost.md. The total is the nodes' capacity times prices.",
		columns: []column{{"Report", "report", 6}, {"Truth", "truth", 6}, {"Difference, parts per million", "ppm", 3}},
	}
	for _, name := range []string{"total", "cpu_core_microseconds_requested", "ram_byte_seconds_requested", "container_milliseconds"} {
		if got[name] == nil || want[name] == nil {
			return nil, fmt.Errorf("there is no %s in the report or in the truth", name)
		}
		r, _ := got[name].Float64()
		w, _ := want[name].Float64()
		diff, _ := new(big.Rat).Sub(got[name], want[name]).Float64()
		t.add(name, figures{"report": r, "truth": w, "ppm": diff / w * 1e6})
		if math.Abs(diff) > w/1e6 {
			return t, fmt.Errorf("%s is %f, the truth %f", name, r, w)
		}
	}
	return t, nil
}

// sums are the total, and the quantities of all workloads.
func (r *costReport) sums() (map[string]*big.Rat, error) {
	sums := map[string]*big.Rat{}
	var errs []error
	add := func(name, text string) {
		v, ok := new(big.Rat).SetString(text)
		if !ok {
			errs = append(errs, fmt.Errorf("%s is %q", name, text))
			return
		}
		if sums[name] != nil {
			v.Add(v, sums[name])
		}
		sums[name] = v
	}
	add("total", r.Total)
	for _, l := range r.Lines {
		if l.Kind != "workload" {
			continue
		}
		for name, text := range l.Quantities {
			add(name, text)
		}
	}
	return sums, errors.Join(errs...)
}

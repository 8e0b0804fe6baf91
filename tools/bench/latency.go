package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/varve-io/varve/tools/loadgen/load"
)

// latencySuite measures how long acks take at half of the greatest throughput, and over the number of senders.
func latencySuite(ctx context.Context, b *bench) ([]*table, error) {
	s := spec{series: or(b.series, 100_000), steps: latencySteps, senders: b.senders}
	half := &table{
		Title: fmt.Sprintf("Acks at half load: %s series", thousands(s.series)),
		Note:  "Half of what the same server took just before, as fast as it could. Of a request with 2,000 samples, all series known; with the sync of the log.",
		columns: []column{
			{"M samples/s at full load", "full", 2}, {"at half load", "rate", 2}, {"p50 ms", "p50", 1}, {"p99 ms", "p99", 1},
			{"syncs/s", "syncs", 0},
		},
	}
	if err := b.compare(ctx, half, b.contenders(s)[:2], b.halfLoad); err != nil {
		return nil, err
	}
	curve := &table{
		Title: "Acks over senders",
		Note:  "Each sender sends its next request of 2,000 samples when the last is acked. All series known.",
		columns: []column{
			{"M samples/s", "rate", 2}, {"p50 ms", "p50", 1}, {"p99 ms", "p99", 1}, {"syncs/s", "syncs", 0}, {"requests per sync", "group", 1},
		},
	}
	for run := range b.runs {
		b.say("curve, run %d of %d", run+1, b.runs)
		_, err := b.with(ctx, startVarve, func(t *target) (figures, error) { return nil, b.overSenders(ctx, t, s, curve) })
		if err != nil {
			return []*table{half, curve}, err
		}
	}
	return []*table{half, curve}, b.draw(curve)
}

// halfLoad finds out what a server takes, and then sends the next samples of the same series half as fast.
func (b *bench) halfLoad(ctx context.Context, t *target, s spec) (figures, error) {
	ledger, err := load.NewLedger("", s.config(t))
	if err != nil {
		return nil, err
	}
	full, err := b.goOn(ctx, t, s, ledger, 2*b.point)
	if err != nil {
		return nil, err
	}
	s.rate = full["rate"] * 1e6 / 2
	f, err := b.goOn(ctx, t, s, ledger, 5*b.point)
	if err != nil {
		return nil, err
	}
	f["full"] = s.rate * 2 / 1e6
	s.steps = int(full["samples"]+f["samples"]) / s.series // so many there are
	return f, b.check(ctx, t, ledger, s)
}

// The loads have their samples 15 s apart and all of them within the past window of 3 h: far more than what is written of
// them in the time that each point has.
const (
	latencySteps = 690
	mostLanes    = 64
)

// overSenders writes one load to one server, with another number of senders every few seconds.
func (b *bench) overSenders(ctx context.Context, t *target, s spec, curve *table) error {
	cfg := s.config(t)
	cfg.Lanes = min(mostLanes, s.series)
	ledger, err := load.NewLedger("", cfg)
	if err != nil {
		return err
	}
	sent := 0.0
	for i, senders := range []int{8, 1, 2, 4, 8, 16, 32, mostLanes} {
		s.senders = senders
		f, err := b.goOn(ctx, t, s, ledger, b.point)
		if err != nil {
			return err
		}
		sent += f["samples"]
		if i == 0 {
			continue // it created the series
		}
		b.say("  %d senders: %s", senders, curve.summary(f))
		curve.add(fmt.Sprint(senders), f)
	}
	s.steps = int(sent) / s.series // so many there are
	return b.check(ctx, t, ledger, s)
}

// goOn goes on with a load for a while. Its figures leave out what comes before the first request of each lane, when the sender is
// busy with itself.
func (b *bench) goOn(ctx context.Context, t *target, s spec, ledger *load.Ledger, d time.Duration) (figures, error) {
	const syncs = "varve_ingester_log_sync_seconds_count"
	before, err := metric(ctx, t.admin, syncs)
	if err != nil {
		return nil, err
	}
	short, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	f, err := b.sendMore(short, t, s, ledger)
	if err != nil {
		return nil, err
	}
	if f["samples"] == 0 {
		return nil, errors.New("the load has no samples left: give it more series, or less time per point")
	}
	after, err := metric(ctx, t.admin, syncs)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"rate", "p50", "p99"} {
		if v, ok := f["steady "+name]; ok {
			f[name] = v
		}
	}
	f["group"] = f["requests"] / (after - before)
	f["syncs"] = f["rate"] * 1e6 / f["samples"] * (after - before)
	return f, ctx.Err()
}

// draw makes the picture of the curve.
func (b *bench) draw(curve *table) error {
	if b.out == "" {
		return nil
	}
	c := chart{title: "Acks over senders", x: "senders", left: "ms", right: "M samples/s"}
	for _, r := range curve.Rows {
		c.ticks = append(c.ticks, r.Name)
	}
	for _, l := range []line{{name: "p50", figure: "p50"}, {name: "p99", figure: "p99"}, {name: "M samples/s", figure: "rate", right: true}} {
		for _, r := range curve.Rows {
			l.values = append(l.values, curve.median(l.figure, r.Name))
		}
		c.lines = append(c.lines, l)
	}
	file := filepath.Join(b.out, "ack-latency.svg")
	b.say("writing %s", file)
	return os.WriteFile(file, []byte(c.svg()), 0o644)
}

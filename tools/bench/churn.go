package main

import (
	"context"
	"fmt"
)

// churnPercent of the series are replaced per minute of the samples' time.
const churnPercent = 10

// churnSuite measures what series cost that come and go, against the same load with series that stay.
func churnSuite(ctx context.Context, b *bench) ([]*table, error) {
	s := spec{series: or(b.series, 100_000), steps: or(b.steps, 240), senders: b.senders}
	t := &table{
		Title: loadTitle(fmt.Sprintf("Churn of %d %% a minute", churnPercent), s),
		Note:  "CPU in seconds per million samples, of the whole run. CPU per new series is what the run with churn used more, in microseconds. Memory in MiB.",
		columns: []column{
			{"CPU, no churn", "cpu", 2}, {"CPU, churn", "churn cpu", 2}, {"ratio", "ratio", 2}, {"new series", "created", 0},
			{"µs per new series", "per series", 1}, {"Peak memory, no churn", "peak", 0}, {"Peak memory, churn", "churn peak", 0},
		},
	}
	created := 0.0 // varve tells; the peers get the same load
	one := func(ctx context.Context, t *target, s spec) (figures, error) { return b.churnOnce(ctx, t, s, &created) }
	return []*table{t}, b.compare(ctx, t, first(b.contenders(s)), one)
}

// churnOnce runs the load without churn on the target, and with churn on one more like it.
func (b *bench) churnOnce(ctx context.Context, t *target, s spec, created *float64) (figures, error) {
	still, err := b.sendAndCheck(ctx, t, s)
	if err != nil {
		return nil, err
	}
	t.close()
	s.churn = churnPercent
	churned, err := b.with(ctx, t.again, func(t *target) (figures, error) {
		f, err := b.sendAndCheck(ctx, t, s)
		if err != nil || t.admin == "" {
			return f, err
		}
		all, err := metric(ctx, t.admin, "varve_ingester_head_series")
		*created = all - float64(s.series)
		return f, err
	})
	if err != nil {
		return nil, err
	}
	still["churn cpu"], still["churn peak"] = churned["cpu"], churned["peak"]
	still["ratio"] = churned["cpu"] / still["cpu"]
	still["created"] = *created
	more := churned["cpu"]*churned["samples"] - still["cpu"]*still["samples"] // millionths of a second
	still["per series"] = more / *created
	return still, nil
}

// sendAndCheck writes a load, and reads it back from a varve. A peer is believed.
func (b *bench) sendAndCheck(ctx context.Context, t *target, s spec) (figures, error) {
	f, ledger, err := b.send(ctx, t, s)
	if err != nil || t.admin == "" {
		return f, err
	}
	return f, b.check(ctx, t, ledger, s)
}

package main

import (
	"context"
	"slices"
	"time"

	"github.com/varve-io/varve/tools/loadgen/load"
)

// memorySuite measures memory per active series, in which samples of the running hours are included.
func memorySuite(ctx context.Context, b *bench) ([]*table, error) {
	s := spec{series: or(b.series, 300_000), steps: or(b.steps, 120), senders: b.senders}
	t := &table{
		Title: loadTitle("Memory per active series", s),
		Note:  "KiB of resident memory per active series: when the last sample is acked, and at most. Empty: MiB of the process before.",
		columns: []column{
			{"At the end", "end per series", 2}, {"Peak", "peak per series", 2}, {"Empty", "idle", 0}, {"CPU-s per million samples", "cpu", 2},
		},
	}
	return []*table{t}, b.compare(ctx, t, first(b.contenders(s)), b.memoryOnce)
}

func (b *bench) memoryOnce(ctx context.Context, t *target, s spec) (figures, error) {
	f, ledger, err := b.send(ctx, t, s)
	if err != nil {
		return nil, err
	}
	f["end per series"] = f["end"] * 1024 / float64(s.series)
	f["peak per series"] = f["peak"] * 1024 / float64(s.series)
	if t.admin == "" {
		return f, nil
	}
	return f, b.check(ctx, t, ledger, time.Time{}, time.Time{})
}

// first are the contenders with remote write 1.0.
func first(all []contender) []contender {
	return slices.DeleteFunc(all, func(c contender) bool { return c.spec.protocol == load.RemoteWrite2 })
}

package main

import (
	"context"
)

// rf3Suite measures a cluster in which three ingesters hold each sample, all of its processes summed.
func rf3Suite(ctx context.Context, b *bench) ([]*table, error) {
	s := spec{series: or(b.series, 100_000), steps: or(b.steps, 240), senders: b.senders}
	t := &table{
		Title: loadTitle("Writing, three replicas", s),
		Note: "A distributor, three ingesters, and a querier with a compactor, all on this machine. CPU in seconds per million samples; memory in MiB, " +
			"the sum of each process' peak.",
		columns: []column{
			{"CPU, all", "cpu", 2}, {"CPU, all, steady", "steady cpu", 2}, {"distributor", "cpu distributor", 2}, {"an ingester", "cpu ingester", 2},
			{"querier and compactor", "cpu querier", 2}, {"M samples/s", "rate", 2}, {"Peak memory, all", "peak", 0}, {"distributor", "peak distributor", 0},
			{"an ingester", "peak ingester", 0}, {"p50 ms", "p50", 1}, {"p99 ms", "p99", 1},
		},
	}
	all := b.contenders(s)[:2]
	for i := range all {
		all[i].start = startCluster
	}
	return []*table{t}, b.compare(ctx, t, all, b.rf3Once)
}

func (b *bench) rf3Once(ctx context.Context, t *target, s spec) (figures, error) {
	before, err := t.usages()
	if err != nil {
		return nil, err
	}
	f, ledger, err := b.send(ctx, t, s)
	if err != nil {
		return nil, err
	}
	after, err := t.usages()
	if err != nil {
		return nil, err
	}
	million := f["samples"] / 1e6
	for i, name := range []string{"distributor", "ingester", "ingester", "ingester", "querier"} {
		share := 1.0
		if name == "ingester" {
			share = zones // the mean
		}
		f["cpu "+name] += (after[i].cpu - before[i].cpu).Seconds() / million / share
		f["peak "+name] += mib(after[i].peak) / share
	}
	return f, b.check(ctx, t, ledger, s)
}

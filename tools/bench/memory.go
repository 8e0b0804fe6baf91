package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

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
	err := b.compare(ctx, t, first(b.contenders(s)), b.memoryOnce)
	alone := &table{
		Title: loadTitle("A distributor alone", s),
		Note: fmt.Sprintf("The distributor of three replicas. Few series: %s, with as many requests under way. Memory in MiB, resident and, after a collection, of the heap; "+
			"bytes per series are the differences.", thousands(fewSeries)),
		columns: []column{
			{"Empty", "empty", 0}, {"few series", "few", 0}, {"all series", "all", 0}, {"bytes per series", "per series", 0},
			{"heap, few series", "heap few", 1}, {"heap, all series", "heap all", 1}, {"heap bytes per series", "heap per series", 0},
		},
	}
	return []*table{t, alone}, errors.Join(err, b.compare(ctx, alone, []contender{{"Varve", startCluster, s, b.runs}}, b.distributorOnce))
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
	return f, b.check(ctx, t, ledger, s)
}

// first are the contenders with remote write 1.0.
func first(all []contender) []contender {
	return slices.DeleteFunc(all, func(c contender) bool { return c.spec.protocol == load.RemoteWrite2 })
}

// fewSeries warm a distributor up: what it needs for requests is there, and hardly any series. They are as many as make the requests of all
// senders as large as those of more series.
const fewSeries = 16_000

// distributorOnce measures what a distributor needs for each series, by its process and by its heap.
func (b *bench) distributorOnce(ctx context.Context, t *target, s spec) (figures, error) {
	f := figures{}
	var err error
	if f["empty"], _, err = t.frontMemory(ctx); err != nil {
		return nil, err
	}
	few := s
	few.tenant, few.series = "few", fewSeries
	if _, _, err = b.send(ctx, t, few); err != nil {
		return nil, err
	}
	if f["few"], f["heap few"], err = t.frontMemory(ctx); err != nil {
		return nil, err
	}
	_, ledger, err := b.send(ctx, t, s)
	if err != nil {
		return nil, err
	}
	if f["all"], f["heap all"], err = t.frontMemory(ctx); err != nil {
		return nil, err
	}
	f["per series"] = (f["all"] - f["few"]) * (1 << 20) / float64(s.series)
	f["heap per series"] = (f["heap all"] - f["heap few"]) * (1 << 20) / float64(s.series)
	return f, b.check(ctx, t, ledger, s)
}

// frontMemory is the resident memory of the process that takes writes, and then its heap after a collection, in MiB.
func (t *target) frontMemory(ctx context.Context) (rss, heap float64, err error) {
	all, err := t.usages()
	if err != nil {
		return 0, 0, err
	}
	if _, err := get(ctx, t.front+"/debug/pprof/heap?gc=1"); err != nil {
		return 0, 0, err
	}
	bytes, err := metric(ctx, t.front, "go_memstats_heap_inuse_bytes")
	return mib(all[0].rss), bytes / (1 << 20), err
}

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
		Note: fmt.Sprintf("The distributor of three replicas. Few series: %s, with as many requests under way. Memory in MiB, resident without pages of the program's file, and of the heap "+
			"after a collection; bytes per series are the differences, of which the table has its part. The rest is the same for any number of series.", thousands(fewSeries)),
		columns: []column{
			{"Empty", "empty", 0}, {"few series", "few", 0}, {"all series", "all", 0}, {"with the file's pages", "rss", 0}, {"bytes per series", "per series", 0}, {"of these the table", "table per series", 0},
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

// warmSteps is how many times longer the few series are written, so that all that requests need has been needed at once.
const warmSteps = 4

// distributorOnce measures what a distributor needs for each series, by its process and by its heap.
func (b *bench) distributorOnce(ctx context.Context, t *target, s spec) (figures, error) {
	empty, err := t.frontMemory(ctx)
	if err != nil {
		return nil, err
	}
	few := s
	few.tenant, few.series, few.steps = "few", fewSeries, warmSteps*s.steps
	if _, _, err = b.send(ctx, t, few); err != nil {
		return nil, err
	}
	before, err := t.frontMemory(ctx)
	if err != nil {
		return nil, err
	}
	_, ledger, err := b.send(ctx, t, s)
	if err != nil {
		return nil, err
	}
	after, err := t.frontMemory(ctx)
	if err != nil {
		return nil, err
	}
	perSeries := func(before, after float64) float64 { return (after - before) * (1 << 20) / float64(s.series) }
	return figures{
		"empty": empty.anon, "few": before.anon, "all": after.anon, "rss": after.rss, "heap few": before.heap, "heap all": after.heap,
		"per series":       perSeries(before.anon, after.anon),
		"table per series": perSeries(before.table, after.table),
		"heap per series":  perSeries(before.heap, after.heap),
	}, b.check(ctx, t, ledger, s)
}

// frontMemory is of the process that takes writes, in MiB.
type frontMemory struct {
	rss, anon float64 // resident, and without pages of files
	heap      float64 // after a collection
	table     float64 // what the distributor's tables have mapped
}

func (t *target) frontMemory(ctx context.Context) (m frontMemory, err error) {
	all, err := t.usages()
	if err != nil {
		return m, err
	}
	m.rss, m.anon = mib(all[0].rss), mib(all[0].anon)
	if _, err := get(ctx, t.front+"/debug/pprof/heap?gc=1"); err != nil {
		return m, err
	}
	for name, to := range map[string]*float64{"go_memstats_heap_inuse_bytes": &m.heap, "varve_distributor_table_bytes": &m.table} {
		bytes, err := metric(ctx, t.front, name)
		if err != nil {
			return m, err
		}
		*to = bytes / (1 << 20)
	}
	return m, nil
}

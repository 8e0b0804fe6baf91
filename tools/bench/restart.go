package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"

	"github.com/varve-io/varve/tools/loadgen/load"
)

// restartSuite measures how a process comes back that was killed while it held two hours of samples.
func restartSuite(ctx context.Context, b *bench) ([]*table, error) {
	s := spec{series: or(b.series, 1_000_000), steps: or(b.steps, 480), senders: b.senders}
	t := &table{
		Title: loadTitle("Restart after kill -9", s),
		Note: "Seconds since the process was started again. Complete: a query over everything counts all series, and one over all of the time all samples of a metric. " +
			"Memory in MiB. Afterwards the ledger was compared with all samples of the first, a middle and the last part of the time.",
		columns: []column{
			{"First write acked", "write", 2}, {"Ready", "ready", 2}, {"Complete", "complete", 1}, {"CPU until complete", "restart cpu", 1},
			{"Peak memory until ready", "restart peak", 0}, {"with the queries", "query peak", 0}, {"Memory before the kill", "end", 0}, {"its peak", "peak", 0}, {"ratio of the peak until ready to memory before", "ratio", 2},
			{"Log and snapshots, bytes per sample", "disk", 2}, {"CPU of the writing", "cpu", 2},
		},
	}
	return []*table{t}, b.compare(ctx, t, []contender{{"Varve", startVarve, s, b.runs}}, b.restartOnce)
}

func (b *bench) restartOnce(ctx context.Context, t *target, s spec) (figures, error) {
	f, ledger, err := b.send(ctx, t, s)
	if err != nil {
		return nil, err
	}
	disk, err := size(filepath.Join(t.dir, "data", "ingester"))
	if err != nil {
		return nil, err
	}
	f["disk"] = float64(disk) / f["samples"]
	sum := probe{ledger.Config(), s.steps, -1}
	if sum.metric, err = sum.ofMetric(ctx, t); err != nil {
		return nil, err
	}
	b.say("  killing it: %s", restartMemory(f))
	old := t.processes[0]
	old.kill()
	begin := time.Now()
	p, err := launch(ctx, old.program)
	if err != nil {
		return nil, err
	}
	t.processes[0] = p
	if err := b.comeBack(ctx, t, sum, begin, f); err != nil {
		return nil, err
	}
	return f, b.check(ctx, t, ledger, s)
}

func restartMemory(f figures) string {
	return fmt.Sprintf("%.0f MiB, at most %.0f MiB", f["end"], f["peak"])
}

// comeBack waits for the first ack, readiness, and complete answers.
func (b *bench) comeBack(ctx context.Context, t *target, p probe, begin time.Time, f figures) error {
	since := func() float64 { return time.Since(begin).Seconds() }
	for _, stage := range []struct {
		figure string
		until  func(context.Context, *target) error
	}{
		{"write", probeWrite},
		{"ready", func(ctx context.Context, t *target) error { _, err := get(ctx, t.processes[0].ready); return err }},
		{"complete", p.complete},
	} {
		if err := t.retry(ctx, stage.until); err != nil {
			return fmt.Errorf("restart, %s: %w", stage.figure, err)
		}
		f[stage.figure] = since()
		b.say("  %s after %.2f s", stage.figure, f[stage.figure])
		u, err := t.usage()
		if err != nil {
			return err
		}
		switch stage.figure {
		case "ready":
			f["restart peak"], f["ratio"] = mib(u.peak), mib(u.peak)/f["end"]
		case "complete":
			f["restart cpu"], f["query peak"] = u.cpu.Seconds(), mib(u.peak)
		}
	}
	return nil
}

// retry tries until there is no error.
func (t *target) retry(ctx context.Context, try func(context.Context, *target) error) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for {
		err := try(ctx, t)
		if err == nil {
			return nil
		}
		if err := t.processes[0].alive(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(pollEvery):
		}
	}
}

// probeWrite writes one sample to a tenant of its own.
func probeWrite(ctx context.Context, t *target) error {
	w := prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{
		Labels:  []prompb.Label{{Name: "__name__", Value: "probe"}},
		Samples: []prompb.Sample{{Value: 1, Timestamp: time.Now().UnixMilli()}},
	}}}
	raw, err := w.Marshal()
	if err != nil {
		return err
	}
	header := http.Header{
		"Content-Encoding": {"snappy"}, "Content-Type": {"application/x-protobuf"}, "X-Scope-Orgid": {"probe"},
	}
	_, err = ask(ctx, http.MethodPost, t.write, header, snappy.Encode(nil, raw))
	return err
}

// probe knows what complete answers are.
type probe struct {
	load   load.Config
	steps  int
	metric int64 // samples of one metric, all of the time
}

// probedMetric is one that every pod has some series of.
const probedMetric = "container_memory_working_set_bytes"

func (p probe) ofMetric(ctx context.Context, t *target) (int64, error) {
	length := int64(p.steps) * p.load.IntervalMS
	n, err := t.ask(ctx, p.load.Tenant, fmt.Sprintf(`sum(count_over_time(%s[%dms]))`, probedMetric, length), p.load.Start+length-1)
	if err == nil && n == 0 {
		err = fmt.Errorf("there is no %s", probedMetric)
	}
	return n, err
}

// complete tells whether all samples of a metric are there, and of all series the last.
func (p probe) complete(ctx context.Context, t *target) error {
	n, err := p.ofMetric(ctx, t)
	if err != nil {
		return err
	}
	if n != p.metric {
		return fmt.Errorf("%d of %d samples of %s", n, p.metric, probedMetric)
	}
	last := p.load.Start + int64(p.steps-1)*p.load.IntervalMS
	all, err := t.ask(ctx, p.load.Tenant, `count({__name__!=""})`, last)
	if err == nil && all != int64(p.load.Series) {
		err = fmt.Errorf("%d of %d series", all, p.load.Series)
	}
	return err
}

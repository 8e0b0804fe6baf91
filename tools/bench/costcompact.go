package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// work is what a compactor is let do.
type work int

const (
	mergeOnly work = iota // no hour is closed yet, by the window of late samples
	countOnly             // what could be merged has been
)

// tick is the state of a compactor when another hour was counted.
type tick struct {
	at    time.Time
	hours float64
	usage
}

// watchEvery is seldom enough for its own cost not to count.
const watchEvery = 250 * time.Millisecond

// compact runs a compactor until it has nothing left to do.
func (c *costs) compact(ctx context.Context, stage string, w work) ([]tick, figures, error) {
	limits := filepath.Join(c.dir, "limits.yaml")
	window := map[work]string{mergeOnly: "50y", countOnly: "1h"}[w]
	if err := os.WriteFile(limits, []byte("defaults: {past_window: "+window+"}\n"), 0o600); err != nil {
		return nil, nil, err
	}
	begin := time.Now()
	p, _, admin, err := c.start(ctx, "compactor", "-target=compactor", "-ingester.head_period=1s", "-compactor.settle=1s", "-compactor.delete_delay=0s",
		"-tenants.limits_file="+limits)
	if err != nil {
		return nil, nil, err
	}
	defer p.kill()
	ticks, err := p.idle(ctx, admin)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w: %s", stage, err, p.lastWords())
	}
	u, err := usageOf(p.pid())
	if err != nil {
		return nil, nil, err
	}
	f := spent(time.Since(begin), u.cpu, u.peak)
	c.add(stage, f)
	return ticks, f, nil
}

// idle waits until the compactor has gone through everything twice without doing anything.
func (p *process) idle(ctx context.Context, admin string) (ticks []tick, err error) {
	var last compactorState
	quiet := 0
	for {
		now, err := readCompactor(ctx, admin)
		switch {
		case err != nil:
			return nil, errors.Join(err, p.alive())
		case now.failed > 0:
			return nil, errors.New("the compactor failed")
		}
		if now.hours > last.hours || ticks == nil {
			u, err := usageOf(p.pid())
			if err != nil {
				return nil, err
			}
			ticks = append(ticks, tick{time.Now(), now.hours, u})
		}
		switch {
		case now.jobs != last.jobs || now.hours != last.hours || now.pending > 0:
			quiet = 0
			last = now
		case now.cycles > last.cycles:
			quiet++
			last = now
		}
		if quiet == 3 { // the first cycle may have begun before
			return ticks, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(watchEvery):
		}
	}
}

// compactorState is what a compactor says of itself.
type compactorState struct{ cycles, failed, jobs, pending, hours float64 }

func readCompactor(ctx context.Context, admin string) (s compactorState, err error) {
	text, err := get(ctx, admin+"/metrics")
	if err != nil {
		return s, err
	}
	for name, v := range map[string]*float64{
		`varve_compactor_cycles_total{outcome="done"}`: &s.cycles, `varve_compactor_cycles_total{outcome="failed"}`: &s.failed,
		"varve_compactor_jobs_total": &s.jobs, "varve_compactor_pending_jobs": &s.pending, "varve_compactor_cost_hours_total": &s.hours,
	} {
		if *v, err = parseMetric(text, name); err != nil {
			return s, err
		}
	}
	return s, nil
}

package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/varve-io/varve/tools/loadgen/load"
)

// spec is a load, as the flags of loadgen describe one.
type spec struct {
	series, steps int
	senders       int    // 8 if 0
	batch         int    // samples per request, 2,000 if 0
	tenants       int    // 1 if 0
	tenant        string // the target's own if empty
	seed          uint64 // 1 if 0
	first         bool   // of the runs of a row: its ledger is checked most thoroughly
	protocol      load.Protocol
	churn         float64 // percent of the series per minute
	rate          float64 // samples per second; 0 = as fast as they are taken
}

// interval is the time between two samples of a series.
const interval = 15 * time.Second

// config is the load for a target.
func (s spec) config(t *target) load.Config {
	tenants := max(s.tenants, 1)
	return load.Config{
		Seed: max(s.seed, 1), Series: s.series, Steps: s.steps, Start: time.Now().Add(-time.Duration(s.steps) * interval).UnixMilli(), IntervalMS: interval.Milliseconds(),
		Lanes: min(max(or(s.senders, 8), tenants), s.series), Tenant: cmp.Or(s.tenant, t.tenant), Tenants: tenants, Churn: s.churn,
	}
}

func (s spec) writer(t *target) load.WriterConfig {
	return load.WriterConfig{
		URL: t.write, Protocol: s.protocol, Senders: or(s.senders, 8), Batch: or(s.batch, 2000), Rate: s.rate,
	}
}

// moment is what is known at one time of a run.
type moment struct {
	at    time.Time
	stats load.Stats
	usage usage
}

func (t *target) now(w *load.Writer) (moment, error) {
	u, err := t.usage()
	return moment{time.Now(), w.Stats(), u}, err
}

// send writes a load and measures. Everything must be acked.
func (b *bench) send(ctx context.Context, t *target, s spec) (figures, *load.Ledger, error) {
	ledger, err := load.NewLedger("", s.config(t))
	if err != nil {
		return nil, nil, err
	}
	f, err := b.sendMore(ctx, t, s, ledger)
	return f, ledger, err
}

// sendMore writes what the ledger does not have yet of its load, until the context ends.
func (b *bench) sendMore(ctx context.Context, t *target, s spec, ledger *load.Ledger) (figures, error) {
	w, err := load.NewWriter(ledger, s.writer(t))
	if err != nil {
		return nil, err
	}
	first, err := t.now(w)
	if err != nil {
		return nil, err
	}
	steady, err := b.watch(ctx, t, w)
	if err != nil {
		return nil, err
	}
	last, err := t.now(w)
	if err != nil {
		return nil, err
	}
	if n := last.stats.Samples() - last.stats.Acked + last.stats.Short; n > 0 {
		return nil, fmt.Errorf("%s: %d samples were not acked: %s", t.name, n, last.stats.LastError)
	}
	return measured(first, steady, last), nil
}

// watch runs the writer and returns the moment at which every series had its first sample.
func (b *bench) watch(ctx context.Context, t *target, w *load.Writer) (steady moment, err error) {
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	created := w.Created()
	for {
		select {
		case err := <-done:
			return steady, err
		case <-created:
			created = nil
			if steady, err = t.now(w); err != nil {
				return steady, err
			}
		case <-tick.C:
			s := w.Stats()
			b.say("  %s: %.1f million samples acked, %d retries %s", t, float64(s.Acked)/1e6, s.Retries, s.LastError)
		}
	}
}

// measured derives the figures of a run: of all of it, and of its steady state, when every series has been created.
func measured(first, steady, last moment) figures {
	whole, wall := float64(last.stats.Acked)/1e6, last.at.Sub(first.at).Seconds()
	f := figures{
		"samples":  whole * 1e6,
		"wall":     wall,
		"requests": float64(last.stats.Requests),
		"cpu":      (last.usage.cpu - first.usage.cpu).Seconds() / whole,
		"rate":     whole / wall,
		"p50":      last.stats.Latency.Quantile(0.5).Seconds() * 1e3,
		"p99":      last.stats.Latency.Quantile(0.99).Seconds() * 1e3,
		"retries":  float64(last.stats.Retries),
		"end":      mib(last.usage.rss),
		"peak":     mib(last.usage.peak),
		"idle":     mib(first.usage.rss),
		"files":    float64(last.usage.files),
	}
	if steady.at.IsZero() || steady.stats.Acked == last.stats.Acked {
		return f
	}
	rest := float64(last.stats.Acked-steady.stats.Acked) / 1e6
	latency := last.stats.Latency.Sub(steady.stats.Latency)
	f["steady cpu"] = (last.usage.cpu - steady.usage.cpu).Seconds() / rest
	f["steady rate"] = rest / last.at.Sub(steady.at).Seconds()
	f["steady p50"] = latency.Quantile(0.5).Seconds() * 1e3
	f["steady p99"] = latency.Quantile(0.99).Seconds() * 1e3
	return f
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

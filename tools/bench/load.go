package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/varve-io/varve/tools/loadgen/load"
)

// spec is a load, as the flags of loadgen describe one.
type spec struct {
	series, steps   int
	senders         int // 8 if 0
	batch           int // samples per request, 2,000 if 0
	tenants         int // 1 if 0
	protocol        load.Protocol
	churn           float64       // percent of the series per minute
	rate            float64       // samples per second; 0 = as fast as they are taken
	interval, since time.Duration // between samples, 15 s if 0; from the first sample to now, all steps if 0
}

// config is the load for a target.
func (s spec) config(t *target) load.Config {
	tenants, interval := max(s.tenants, 1), 15*time.Second
	if s.interval > 0 {
		interval = s.interval
	}
	since := s.since
	if since == 0 {
		since = time.Duration(s.steps) * interval
	}
	return load.Config{
		Seed: 1, Series: s.series, Steps: s.steps, Start: time.Now().Add(-since).UnixMilli(), IntervalMS: interval.Milliseconds(),
		Lanes: min(max(or(s.senders, 8), tenants), s.series), Tenant: t.tenant, Tenants: tenants, Churn: s.churn,
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
	steady, err := b.watch(ctx, t, w, int64(s.series)*int64(s.steps)/10)
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

// watch runs the writer and returns the first moment at which that many samples were acked.
func (b *bench) watch(ctx context.Context, t *target, w *load.Writer, acked int64) (steady moment, err error) {
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	told := time.Now()
	for {
		select {
		case err := <-done:
			return steady, err
		case <-tick.C:
		}
		s := w.Stats()
		if steady.at.IsZero() && s.Acked >= acked {
			if steady, err = t.now(w); err != nil {
				return steady, err
			}
		}
		if time.Since(told) >= 10*time.Second {
			told = time.Now()
			b.say("  %s: %.1f million samples acked, %d retries %s", t, float64(s.Acked)/1e6, s.Retries, s.LastError)
		}
	}
}

// measured derives the figures of a run: of all of it, and of it after its first tenth.
func measured(first, steady, last moment) figures {
	whole, wall := float64(last.stats.Acked)/1e6, last.at.Sub(first.at).Seconds()
	f := figures{
		"samples": whole * 1e6,
		"wall":    wall,
		"cpu":     (last.usage.cpu - first.usage.cpu).Seconds() / whole,
		"rate":    whole / wall,
		"p50":     last.stats.Latency.Quantile(0.5).Seconds() * 1e3,
		"p99":     last.stats.Latency.Quantile(0.99).Seconds() * 1e3,
		"retries": float64(last.stats.Retries),
		"end":     mib(last.usage.rss),
		"peak":    mib(last.usage.peak),
		"idle":    mib(first.usage.rss),
		"files":   float64(last.usage.files),
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

// check reads the load back, every bit, and compares it with the ledger. No bounds means all of it.
func (b *bench) check(ctx context.Context, t *target, ledger *load.Ledger, from, to time.Time) error {
	if !b.verify || t.query == "" {
		return nil
	}
	cfg := load.VerifierConfig{Exclusive: true}
	if !from.IsZero() {
		cfg.From = from.UnixMilli()
	}
	if !to.IsZero() {
		cfg.To = to.UnixMilli()
	}
	source := &load.RemoteRead{HTTPSource: load.HTTPSource{URL: t.query, Client: &http.Client{Timeout: 2 * time.Minute}}}
	v, err := load.NewVerifier(ledger, source, cfg)
	if err != nil {
		return err
	}
	begin := time.Now()
	verdict, err := v.Run(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", t.name, err)
	}
	if !verdict.OK() || verdict.Found != verdict.Acked {
		return fmt.Errorf("%s: of %d samples acked %d were found: %d lost, %d invented, %d twice, %d wrong: %v", t.name,
			verdict.Acked, verdict.Found, verdict.Lost, verdict.Invented, verdict.Twice, verdict.Wrong, verdict.Examples)
	}
	b.say("  %s: all %d samples acked are there, checked in %.0f s", t, verdict.Acked, time.Since(begin).Seconds())
	return nil
}

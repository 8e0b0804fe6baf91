package main

import (
	"context"
	"fmt"
	"time"
)

// scaleSuite measures how cost grows with series and with tenants.
func scaleSuite(ctx context.Context, b *bench) ([]*table, error) {
	series := &table{
		Title:   "One tenant, more series",
		Note:    "Requests of 2,000 samples. CPU in seconds per million samples; memory in MiB.",
		columns: scaleColumns(),
	}
	total := or(b.series, 100_000)
	// Few series need many samples to take a while at all.
	all := []contender{b.sized(total/10, 4), b.sized(total, 1), b.sized(total*10, 0.5)}
	if err := b.compare(ctx, series, all, b.sendAndCheck); err != nil {
		return []*table{series}, err
	}
	tenants := &table{
		Title:   fmt.Sprintf("%s series in all, more tenants", thousands(total)),
		Note:    "Requests of 100 samples. CPU in seconds per million samples; memory in MiB. The last row compares the most tenants with one.",
		columns: scaleColumns(),
	}
	all = nil
	for n := 1; n <= min(1000, total); n *= 10 {
		c := b.sized(total, 0.5)
		c.name, c.spec.tenants, c.spec.batch = fmt.Sprintf("%s tenants", thousands(n)), n, 100
		all = append(all, c)
	}
	if err := b.compare(ctx, tenants, all, b.sendAndCount); err != nil {
		return []*table{series, tenants}, err
	}
	tenants.compareEnds()
	opening := openingTable()
	open := contender{"Varve", startVarve, spec{tenants: min(1000, total)}, b.runs}
	err := b.compare(ctx, opening, []contender{open}, b.openTenants)
	return []*table{series, tenants, opening}, err
}

// compareEnds adds a row: the last one over the first one, by medians.
func (t *table) compareEnds() {
	ratio := figures{}
	for _, c := range t.columns {
		ratio[c.figure] = t.ratio(c.figure, t.Rows[len(t.Rows)-1].Name, t.Rows[0].Name)
	}
	t.add("ratio", ratio)
}

func scaleColumns() []column {
	return []column{
		{"CPU", "cpu", 2}, {"CPU, steady", "steady cpu", 2}, {"M samples/s", "rate", 2}, {"Memory at the end", "end", 0},
		{"Peak memory", "peak", 0}, {"Open files", "files", 0}, {"p99 ms", "p99", 1},
	}
}

// sized is varve with so many series and a share of the usual samples of each.
func (b *bench) sized(series int, share float64) contender {
	steps := max(int(float64(or(b.steps, 120))*share), 2)
	name := fmt.Sprintf("%s series × %s samples", thousands(series), thousands(steps))
	return contender{name, startVarve, spec{series: series, steps: steps, senders: b.senders}, b.runs}
}

func openingTable() *table {
	return &table{
		Title: "Opening a tenant",
		Note: "The first request of a new tenant, one series and sample, against the same with a new series of a tenant that is open. One at a time. " +
			"Memory in KiB per tenant.",
		columns: []column{
			{"first p50 ms", "open p50", 2}, {"p99 ms", "open p99", 2}, {"later p50 ms", "later p50", 2}, {"p99 ms", "later p99", 2},
			{"opening, p50 ms", "cost", 2}, {"CPU ms per tenant", "cpu tenant", 2}, {"memory per tenant", "memory", 1}, {"open files per tenant", "files tenant", 3},
		},
	}
}

// openTenants opens tenants, one after the other.
func (b *bench) openTenants(ctx context.Context, t *target, s spec) (figures, error) {
	n := float64(s.tenants)
	s = spec{series: s.tenants, steps: 1, senders: 1, tenants: s.tenants, batch: 1, seed: 2}
	if _, _, err := b.send(ctx, t, spec{series: 1000, steps: 10, tenant: "warm", senders: 1, batch: 1}); err != nil {
		return nil, err
	}
	before, err := t.usage()
	if err != nil {
		return nil, err
	}
	open, _, err := b.send(ctx, t, s)
	if err != nil {
		return nil, err
	}
	after, err := t.usage()
	if err != nil {
		return nil, err
	}
	s.seed = 3 // other series of the same tenants
	later, _, err := b.send(ctx, t, s)
	if err != nil {
		return nil, err
	}
	return figures{
		"open p50": open["p50"], "open p99": open["p99"], "later p50": later["p50"], "later p99": later["p99"], "cost": open["p50"] - later["p50"],
		"cpu tenant":   (open["cpu"] - later["cpu"]) / 1e3, // of 1 sample each
		"memory":       float64(after.rss-before.rss) / 1024 / n,
		"files tenant": float64(after.files-before.files) / n,
	}, nil
}

// sendAndCount writes a load of many tenants, and counts what each has: comparing every bit would take a hundred reads a
// tenant.
func (b *bench) sendAndCount(ctx context.Context, t *target, s spec) (figures, error) {
	if s.tenants <= 10 {
		return b.sendAndCheck(ctx, t, s)
	}
	f, ledger, err := b.send(ctx, t, s)
	if err != nil {
		return nil, err
	}
	cfg, found := ledger.Config(), int64(0)
	for i := range cfg.Tenants {
		n, err := t.count(ctx, cfg.TenantName(i), cfg.Start, time.Now().UnixMilli())
		if err != nil {
			return nil, err
		}
		found += n
	}
	if acked := int64(f["samples"]); found != acked {
		return nil, fmt.Errorf("%s: of %d samples acked %d are counted", t.name, acked, found)
	}
	b.say("  %s: all %d samples acked are counted", t, found)
	return f, nil
}

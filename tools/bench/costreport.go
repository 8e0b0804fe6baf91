package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// costPrices price all that simulated clusters have.
const costPrices = `currency: USD
prices: [{from: 1970-01-01, nodes: [{cpu_core_hour: 0.03, ram_gib_hour: 0.004, gpu_hour: 0.95}], volumes: [{gib_hour: 0.0001}], load_balancers: [{hour: 0.025}]}]
`

// costReport is what is looked at of a report.
type costReport struct {
	Total, Residual, Hash string
	Warnings              []struct {
		Name, Example string
		Count         int64
	}
	Lines []struct {
		Kind       string
		Cost       string
		Quantities map[string]string
	}
	bytes int
}

// reporter is a process that answers. Its compactor has nothing to do.
type reporter struct {
	*costs
	*process
	address string
}

// reporter starts one that has nothing in memory, and gives it prices.
func (c *costs) reporter(ctx context.Context) (*reporter, error) {
	p, address, _, err := c.start(ctx, "querier", "-target=distributor,ingester,querier")
	if err != nil {
		return nil, err
	}
	r := &reporter{c, p, address}
	if _, err := ask(ctx, http.MethodPut, address+"/api/v1/cost/pricebook", costHeader(), []byte(costPrices)); err != nil {
		p.kill()
		return nil, err
	}
	return r, nil
}

func costHeader() http.Header { return http.Header{"X-Scope-Orgid": {costTenant}} }

// report asks for one, measures, and refuses one that doesn't meet its bill.
func (r *reporter) report(ctx context.Context, stage string, from, to int64, question string) (*costReport, figures, error) {
	before, err := usageOf(r.pid())
	if err != nil {
		return nil, nil, err
	}
	when := func(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }
	target := r.address + "/api/v1/cost/report?window=" + url.QueryEscape(when(from)+","+when(to)) + question
	begin := time.Now()
	body, err := ask(ctx, http.MethodGet, target, costHeader(), nil)
	wall := time.Since(begin)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", stage, err), r.alive())
	}
	after, err := usageOf(r.pid())
	if err != nil {
		return nil, nil, err
	}
	report := &costReport{bytes: len(body)}
	if err := json.Unmarshal(body, report); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", stage, err)
	}
	if report.Residual != "0" || report.Total == "0" || len(report.Lines) == 0 {
		return nil, nil, fmt.Errorf("%s: %d lines, total %s, residual %s", stage, len(report.Lines), report.Total, report.Residual)
	}
	f := spent(wall, after.cpu-before.cpu, after.peak)
	r.add(stage, f)
	return report, f, nil
}

// warned tells of warnings, by name.
func (r *costReport) warned() string {
	counts, text := map[string]int64{}, ""
	for _, w := range r.Warnings {
		counts[w.Name] += w.Count
	}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		text += fmt.Sprintf(", %d × %s", counts[name], name)
	}
	return text
}

// twice asks a fresh process cold, and again warm.
func (c *costs) twice(ctx context.Context, name string, from, to int64, question string) (*costReport, error) {
	r, err := c.reporter(ctx)
	if err != nil {
		return nil, err
	}
	defer r.kill()
	cold, _, err := r.report(ctx, name+", cold", from, to, question)
	if err != nil {
		return nil, err
	}
	c.say("  %d lines, %.1f MiB, total %s%s", len(cold.Lines), mib(int64(cold.bytes)), cold.Total, cold.warned())
	warm, _, err := r.report(ctx, name+", warm", from, to, question)
	if err == nil && warm.Hash != cold.Hash {
		err = errors.New("the same question has another answer")
	}
	return cold, err
}

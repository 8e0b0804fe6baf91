package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/varve-io/varve/tools/loadgen/load"
)

// check reads the load back, every bit, and compares it with the ledger: all of it, or what is from a time on and before
// another one.
func (b *bench) check(ctx context.Context, t *target, ledger *load.Ledger, from, to time.Time) error {
	if !b.verify {
		return nil
	}
	cfg := load.VerifierConfig{Exclusive: true}
	if !from.IsZero() {
		cfg.From, cfg.To = from.UnixMilli(), to.UnixMilli()
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

// count reads all that is in a tenant at once, and returns how many samples these are. A verifier would come once per metric.
func (t *target) count(ctx context.Context, tenant string, from, to int64) (int64, error) {
	source := &load.RemoteRead{HTTPSource: load.HTTPSource{URL: t.query}}
	var n int64
	_, err := source.Read(ctx, load.Selection{Tenant: tenant, From: from, To: to}, func(s *load.ReadSeries) {
		n += int64(len(s.Samples) + len(s.Histograms))
	})
	return n, err
}

// ask asks for one number, at a time in Unix milliseconds. No answer with warnings is taken, and no answer means 0.
func (t *target) ask(ctx context.Context, tenant, query string, at int64) (int64, error) {
	form := url.Values{"query": {query}, "time": {strconv.FormatFloat(float64(at)/1000, 'f', 3, 64)}}
	body, err := ask(ctx, http.MethodGet, t.query+"/api/v1/query?"+form.Encode(), http.Header{"X-Scope-Orgid": {tenant}}, nil)
	if err != nil {
		return 0, err
	}
	return parseNumber(body)
}

// parseNumber reads the answer to a query that has at most one sample.
func parseNumber(body []byte) (int64, error) {
	var answer struct {
		Warnings []string `json:"warnings"`
		Data     struct {
			Result []struct {
				Value [2]json.RawMessage `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return 0, fmt.Errorf("query: %w", err)
	}
	switch result := answer.Data.Result; {
	case len(answer.Warnings) > 0:
		return 0, fmt.Errorf("query: %s", answer.Warnings[0])
	case len(result) == 0:
		return 0, nil
	case len(result) > 1:
		return 0, fmt.Errorf("query: %d series in the answer, want one", len(result))
	default:
		var text string
		if err := json.Unmarshal(result[0].Value[1], &text); err != nil {
			return 0, fmt.Errorf("query: %w", err)
		}
		v, err := strconv.ParseFloat(text, 64)
		return int64(v), err
	}
}

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

// What is compared with the ledger bit by bit: all of a load of at most wholly samples in the first run of a row, else
// three parts of the time, each of so many steps.
const (
	wholly    = 30_000_000
	partSteps = 8
)

// check reads a load back and compares it with the ledger.
func (b *bench) check(ctx context.Context, t *target, ledger *load.Ledger, s spec) error {
	if !b.verify {
		return nil
	}
	if s.steps <= 3*partSteps || s.first && s.series*s.steps <= wholly {
		return b.compareWithLedger(ctx, t, ledger, load.VerifierConfig{})
	}
	start := ledger.Config().Start
	for _, step := range []int{0, (s.steps - partSteps) / 2, s.steps - partSteps} {
		from := start + int64(step)*interval.Milliseconds()
		part := load.VerifierConfig{From: from, To: from + partSteps*interval.Milliseconds()}
		if err := b.compareWithLedger(ctx, t, ledger, part); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) compareWithLedger(ctx context.Context, t *target, ledger *load.Ledger, cfg load.VerifierConfig) error {
	cfg.Exclusive = true
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
	if !verdict.OK() || verdict.Found != verdict.Acked || verdict.Acked == 0 {
		return fmt.Errorf("%s: of %d samples acked %d were found: %d lost, %d invented, %d twice, %d wrong: %v", t.name,
			verdict.Acked, verdict.Found, verdict.Lost, verdict.Invented, verdict.Twice, verdict.Wrong, verdict.Examples)
	}
	b.say("  %s: %d samples acked are there, compared in %.0f s", t, verdict.Acked, time.Since(begin).Seconds())
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

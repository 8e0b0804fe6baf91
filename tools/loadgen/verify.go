package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/varve-io/varve/tools/loadgen/load"
)

func verify(ctx context.Context, args []string) (bool, error) {
	f := flag.NewFlagSet("loadgen verify", flag.ContinueOnError)
	path := f.String("ledger", "", "file that loadgen write kept")
	base := f.String("query", "http://127.0.0.1:9009/prometheus", "what /api/v1/read and /api/v1/query are appended to")
	via := f.String("via", "read", "read: remote read, every bit; query: range selectors, as users ask (no NaN payloads, staleness markers, buckets)")
	tenant := f.String("tenant", "", "must be the ledger's, if given")
	from := f.String("from", "", "only samples from this time on: RFC 3339, Unix seconds, -DURATION")
	to := f.String("to", "", "only samples before this time")
	token := f.String("token-file", "", "file whose content is sent as bearer token")
	var cfg load.VerifierConfig
	f.BoolVar(&cfg.PartialOK, "partial-ok", false, "samples missing from an answer that carries a warning are not lost (-via query)")
	f.BoolVar(&cfg.Exclusive, "exclusive", false, "nothing but this load may be in its tenants")
	f.IntVar(&cfg.MaxSamples, "max-samples", 200_000, "samples to read at once")
	f.IntVar(&cfg.Concurrency, "concurrency", 2, "reads at once")
	if err := f.Parse(args); errors.Is(err, flag.ErrHelp) {
		return true, nil
	} else if err != nil {
		return false, err
	}
	var err error
	if cfg.From, err = optionalTime(*from); err != nil {
		return false, fmt.Errorf("-from: %w", err)
	}
	if cfg.To, err = optionalTime(*to); err != nil {
		return false, fmt.Errorf("-to: %w", err)
	}
	http1 := load.HTTPSource{URL: *base, Client: &http.Client{Timeout: 2 * time.Minute}}
	if *token != "" {
		if http1.Header, err = bearer(*token); err != nil {
			return false, err
		}
	}
	var source load.Source
	switch *via {
	case "read":
		source = &load.RemoteRead{HTTPSource: http1}
	case "query":
		source = &load.Query{HTTPSource: http1}
	default:
		return false, fmt.Errorf("-via is %q, want read or query", *via)
	}
	ledger, err := load.OpenLedger(*path)
	if err != nil {
		return false, err
	}
	defer ledger.Close()
	if *tenant != "" && *tenant != ledger.Config().Tenant {
		return false, fmt.Errorf("-tenant is %q, the ledger's is %q", *tenant, ledger.Config().Tenant)
	}
	v, err := load.NewVerifier(ledger, source, cfg)
	if err != nil {
		return false, err
	}
	return runVerifier(ctx, v)
}

func optionalTime(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	t, err := parseTime(s, time.Now())
	return t.UnixMilli(), err
}

// runVerifier runs the verifier, prints a line each second and the verdict at the end.
func runVerifier(ctx context.Context, v *load.Verifier) (bool, error) {
	done := make(chan error, 1)
	go func() {
		_, err := v.Run(ctx)
		done <- err
	}()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			n, of, d := v.Progress()
			fmt.Fprintf(os.Stderr, "%d of %d reads, %d samples found, %d lost, %d invented, %d twice, %d wrong\n",
				n, of, d.Found, d.Lost, d.Invented, d.Twice, d.Wrong)
		case err := <-done:
			_, _, d := v.Progress()
			for _, e := range d.Examples {
				fmt.Println(e)
			}
			fmt.Printf("acked %d  found %d  lost %d  withheld %d  invented %d  twice %d  wrong %d  unknown but there %d\n",
				d.Acked, d.Found, d.Lost, d.Withheld, d.Invented, d.Twice, d.Wrong, d.Unknown)
			return err == nil && d.OK(), err
		}
	}
}

package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/varve-io/varve/distributor"
	"github.com/varve-io/varve/pkg/tenant"
)

// TestExplainWriteAddsDistributorsUp asks two servers that answer as distributors do; the answers of a real one are
// tested in package distributor, and both together in integration.
func TestExplainWriteAddsDistributorsUp(t *testing.T) {
	serve := func(n int64, example string, at time.Time) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != distributor.ExplainPath || r.Header.Get(tenant.Header) != "team-a" {
				http.Error(w, "no", http.StatusForbidden)
				return
			}
			_ = json.NewEncoder(w).Encode(distributor.Explanation{
				Tenant: "team-a",
				Usage:  []distributor.Usage{{Limit: "max_active_series", Current: float64(n), Max: 5000, Source: "built in"}},
				Causes: []distributor.Cause{{
					Reason: "past_window", Counts: "samples", FiveMinutes: n, Hour: 10 * n, Total: 1000 * n, Setting: "past_window", Value: "3h",
					Source: "built in", Advice: "Look at the clock.", Examples: []distributor.Example{{Time: at, Text: example}},
				}},
			})
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	urls := serve(2, "the earlier one", begin) + "," + serve(3, "the later one", begin.Add(time.Second))
	out := want(t, 0, "explain-write", "team-a", "-url="+urls)
	for _, has := range []string{"past_window=3h (built in)", "Look at the clock."} {
		if !strings.Contains(out, has) {
			t.Errorf("no %q in\n%s", has, out)
		}
	}
	fields := strings.Join(strings.Fields(out), " ")
	for _, has := range []string{"max_active_series 5 5,000", "past_window 5 50 5,000 samples", "03:04:06 the later one 2026-01-02 03:04:05 the earlier one"} {
		if !strings.Contains(fields, has) {
			t.Errorf("no %q in\n%s", has, out)
		}
	}
	if out := want(t, 2, "explain-write", "team-b", "-url="+urls); !strings.Contains(out, "403") {
		t.Errorf("a refusal is told as %s", out)
	}
	want(t, 2, "explain-write")
}

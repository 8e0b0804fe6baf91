package integration

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// costReport is what is compared of a report. The hash is of all exact quantities and amounts.
type costReport struct {
	Total, Residual, Hash string
	Lines                 []struct{ Kind, Cost string }
}

// What was written over the network and is still in ingesters costs what the same samples cost in blocks, to the last bit; after
// a crash, too.
func TestCostsAreThoseOfTheSamples(t *testing.T) {
	t.Parallel()
	n := startAlone(t)
	dir := t.TempDir()
	for _, tool := range []string{"clustergen", "varvectl"} {
		command(t, "go", "build", "-o", filepath.Join(dir, tool), "../tools/"+tool)
	}
	to := time.Now().UTC().Truncate(time.Hour)
	from := to.Add(-2 * time.Hour)
	// Samples begin within the first hour: at its end, past_window is less than half an hour further back.
	begin := to.Add(-90 * time.Minute)
	cluster := []string{"-nodes=4", "-pods=30", "-interval=30s", "-seed=7", "-from=" + begin.Format(time.RFC3339), "-to=" + to.Format(time.RFC3339)}
	command(t, filepath.Join(dir, "clustergen"), append([]string{"write", "-url=" + n.API.URL + "/api/v1/push"}, cluster...)...)
	command(t, filepath.Join(dir, "clustergen"), append([]string{"blocks", "-dir=" + filepath.Join(dir, "blocks")}, cluster...)...)

	window := from.Format(time.RFC3339) + "," + to.Format(time.RFC3339)
	for round := range 2 {
		for _, by := range []string{"namespace,controller", "pod,container", "node"} {
			var want, got costReport
			text := command(t, filepath.Join(dir, "varvectl"), "cost", "report", "-blocks="+filepath.Join(dir, "blocks"), "-format=json", "-window="+window, "-by="+by)
			decodeJSON(t, text[strings.Index(text, "{"):], &want)
			decodeJSON(t, getJSON(t, n.API, "/api/v1/cost/report?window="+url.QueryEscape(window)+"&by="+by), &got)
			if got.Hash != want.Hash || got.Total != want.Total || got.Residual != "0" || len(got.Lines) != len(want.Lines) || len(got.Lines) < 4 {
				t.Errorf("round %d, by %s: over HTTP %d lines, %s, residual %s, %s; from blocks %d lines, %s, %s",
					round, by, len(got.Lines), got.Total, got.Residual, got.Hash, len(want.Lines), want.Total, want.Hash)
			}
		}
		command(t, filepath.Join(dir, "varvectl"), "cost", "verify", "-url="+n.API.URL, "-window="+window, "-by=label:app")
		if round == 0 {
			n.Kill9()
			n.Start()
			n.WaitReady()
		}
	}
}

func decodeJSON(t *testing.T, text string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), v); err != nil {
		t.Fatal(fmt.Errorf("%w in %.300s", err, text))
	}
}

// command runs a program and gives all that it printed.
func command(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", filepath.Base(program), args, err, out)
	}
	return string(out)
}

// A price book that is sent as curl sends it prices what comes then; a wrong one changes nothing.
func TestPriceBooksAreKept(t *testing.T) {
	t.Parallel()
	n := startAlone(t)
	put := func(text string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, n.API.URL+"/api/v1/cost/pricebook", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	book := "currency: EUR\nprices: [{from: 2025-01-01, nodes: [{cpu_core_hour: 0.03, ram_gib_hour: 0.004}]}]\n"
	if code, body := put(book); code != http.StatusNoContent {
		t.Fatalf("status %d: %s", code, body)
	}
	if code, body := put("currency: EUR\nprices: [{from: yesterday}]\n"); code != http.StatusBadRequest || !strings.Contains(body, "from") {
		t.Errorf("a wrong one: status %d: %s", code, body)
	}
	n.Restart()
	if got := getJSON(t, n.API, "/api/v1/cost/pricebook"); got != book {
		t.Errorf("after a restart: %q", got)
	}
	if report := getJSON(t, n.API, "/api/v1/cost/report?window=2026-01-01,2026-01-02"); !strings.Contains(report, `"EUR"`) {
		t.Errorf("a report is in another currency: %s", report)
	}
}

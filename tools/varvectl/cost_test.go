package main

import (
	"encoding/json"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// costs is what a script reads of a report.
type costs struct {
	Total, Residual, Hash string
	Lines, Assets         []struct {
		Kind string
		Key  map[string]string
		Cost string
	}
}

// simulated is a directory of blocks of a made-up cluster, from 2026-01-01 00:00 to 06:00.
func simulated(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "clustergen")
	for _, c := range [][]string{
		{"go", "build", "-o", program, "../clustergen"},
		{program, "blocks", "-dir=" + filepath.Join(dir, "blocks"), "-nodes=3", "-pods=20", "-seed=2", "-interval=60s", "-twins", "-classes", "-from=2026-01-01T00:00:00Z", "-to=2026-01-01T06:00:00Z"},
	} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", c, err, out)
		}
	}
	return filepath.Join(dir, "blocks")
}

// A window costs the same however it is grouped and shared, wherever the blocks are, and its lines add up.
func TestCostReport(t *testing.T) {
	blocks, dir := simulated(t), t.TempDir()
	for _, b := range entriesOf(t, blocks) {
		want(t, 0, "tsdb", "import", "-bucket.dir="+dir, "-tenant=chain", filepath.Join(blocks, b))
	}
	prices := filepath.Join(t.TempDir(), "prices.yaml")
	text := "currency: EUR\nprices:\n- from: 2025-01-01\n  nodes: [{cpu_core_hour: 0.03, ram_gib_hour: 0.004, gpu_hour: 0.95}]\n  volumes: [{gib_hour: 0.0001}]\n"
	if err := os.WriteFile(prices, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	window := []string{"cost", "report", "-window=2026-01-01T00:00:00Z,2026-01-01T06:00:00Z", "-prices=" + prices, "-format=json"}
	var total string
	for _, options := range []string{
		"-by=pod", "-by=", "-by=namespace,controller", "-by=label:app", "-by=pod -step=hour",
		"-by=namespace -share=idle=weighted,system=even,scope=node", "-by=cluster,zone -share=idle=even,namespace:shop=weighted", "-by=qos -method=usage-only",
		"-by=pod -share=idle=quantity:cpu_core_microseconds_requested,system=quantity:container_milliseconds,namespace:shop=quantity:network_sent_bytes", "-method=request-only",
	} {
		args := append(slices.Clip(window), strings.Fields(options)...)
		fromBlocks := costsOf(t, append(args, "-blocks="+blocks)...)
		sum := new(big.Rat)
		for _, l := range fromBlocks.Lines {
			c, ok := new(big.Rat).SetString(l.Cost)
			if !ok || c.Sign() < 0 {
				t.Errorf("%s: %s %v costs %q", options, l.Kind, l.Key, l.Cost)
				continue
			}
			sum.Add(sum, c)
		}
		if sum.Sign() == 0 || strings.TrimRight(sum.FloatString(9), "0") != strings.TrimRight(fromBlocks.Total, "0") || fromBlocks.Residual != "0" {
			t.Errorf("%s: the lines add up to %s of %s, residual %s", options, sum.FloatString(9), fromBlocks.Total, fromBlocks.Residual)
		}
		if total == "" {
			total = fromBlocks.Total
		}
		if fromBlocks.Total != total {
			t.Errorf("%s: a total of %s, want %s", options, fromBlocks.Total, total)
		}
		if options != "-by=pod" {
			continue
		}
		if diff := cmp.Diff(fromBlocks, costsOf(t, append(args, "-bucket.dir="+dir, "-tenant=chain")...)); diff != "" {
			t.Errorf("from the bucket, the report differs: %s", diff)
		}
	}
}

// What assets, and nodes only, cost is what their lines add up to.
func TestFleetsAddUp(t *testing.T) {
	blocks := simulated(t)
	totals := map[string]bool{}
	for _, options := range []string{"assets -by=asset", "assets -by=cluster", "utilization -by=asset", "utilization -by=cluster"} {
		args := append([]string{"cost"}, strings.Fields(options)...)
		c := costsOf(t, append(args, "-blocks="+blocks, "-window=2026-01-01T00:00:00Z,2026-01-01T06:00:00Z", "-format=json")...)
		sum := new(big.Rat)
		for _, l := range c.Assets {
			cost, ok := new(big.Rat).SetString(l.Cost)
			if !ok {
				t.Fatalf("%s: a cost of %q", options, l.Cost)
			}
			sum.Add(sum, cost)
		}
		if total, ok := new(big.Rat).SetString(c.Total); !ok || total.Sign() == 0 || total.Cmp(sum) != 0 {
			t.Errorf("%s: the lines add up to %s of %s", options, sum.FloatString(9), c.Total)
		}
		totals[c.Total] = true
	}
	if len(totals) != 2 {
		t.Errorf("totals of all assets and of nodes: %v, want two", totals)
	}
}

func costsOf(t *testing.T, args ...string) (c costs) {
	t.Helper()
	_, out, _ := cli(t, nil, args...)
	if err := json.Unmarshal([]byte(out), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func entriesOf(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// The pages that the notices lead to are the whole report; a table tells its part.
func TestCostReportPages(t *testing.T) {
	blocks := simulated(t)
	report := []string{"cost", "report", "-window=2026-01-01T00:00:00Z,2026-01-01T02:00:00Z", "-by=pod", "-blocks=" + blocks}
	whole := want(t, 0, append(report, "-format=csv")...)
	header, _, _ := strings.Cut(whole, "\n")
	pages, cursor := header+"\n", ""
	for n := 0; n == 0 || cursor != ""; n++ {
		status, out, notice := cli(t, nil, append(report, "-format=csv", "-limit=10", "-cursor="+cursor)...)
		text, ok := strings.CutPrefix(out, header+"\n")
		if status != 0 || !ok || n > 10 {
			t.Fatalf("page %d: status %d, %s\n%s", n, status, notice, out)
		}
		pages += text
		_, cursor, _ = strings.Cut(strings.TrimSpace(notice), "-cursor=")
	}
	if pages != whole {
		t.Errorf("the pages are\n%s\nwant\n%s", pages, whole)
	}
	if out := want(t, 0, append(report, "-limit=3")...); !strings.Contains(out, "\nlines 1 to 3 of ") || !strings.Contains(out, "the next page is cursor=") {
		t.Errorf("the table of a page:\n%s", out)
	}
	file := filepath.Join(t.TempDir(), "report.parquet")
	if status, out, notice := cli(t, nil, append(report, "-format=parquet", "-output="+file, "-limit=2")...); status != 0 || out != "" || !strings.Contains(notice, "-cursor=") {
		t.Errorf("parquet: status %d, %q, %s", status, out, notice)
	}
	if data, err := os.ReadFile(file); err != nil || len(data) < 1000 || string(data[:4]) != "PAR1" || len(entriesOf(t, filepath.Dir(file))) != 1 {
		t.Errorf("parquet: %d bytes, %v", len(data), err)
	}
	if out := want(t, 2, append(report, "-limit=3", "-cursor=0123456789abcdef.3")...); !strings.Contains(out, "-cursor: what it belongs to has changed; start anew") {
		t.Errorf("a cursor of another report: %s", out)
	}
}

func TestCostReportRefuses(t *testing.T) {
	for _, c := range []struct{ options, says string }{
		{"", "-window: \"\" is not FROM,TO"},
		{"-window=2026-01-01,tomorrow", `"tomorrow" is neither`},
		{"-window=2026-01-01T00:00:30Z,2026-01-02", "whole minutes"},
		{"-window=2026-01-01,2026-01-02 -timezone=Berlin", "timezone: there is no"},
		{"-window=2026-01-01,2026-01-02 -by=team", `there is no "team"`},
		{"-window=2026-01-01,2026-01-02 -share=idle=fair", "can't be shared"},
		{"-window=2026-01-01,2026-01-02 -prices=/none", "read price book"},
		{"-window=2026-01-01,2026-01-02 -format=xml", `-format: there is no "xml"`},
		{"-window=2026-01-01,2026-01-02 -format=parquet -output=/none/x", "-output: open /none/x"},
		{"-window=2026-01-01,2026-01-02 -limit=few", `-limit: "few" is not`},
		{"-window=2026-01-01,2026-01-02 -cursor=2", `-cursor: "2" is none`},
		{"-window=2026-01-01,2026-01-02 -blocks=" + t.TempDir(), "has no blocks"},
	} {
		status, _, notice := cli(t, nil, append([]string{"cost", "report", "-bucket.dir=" + t.TempDir()}, strings.Fields(c.options)...)...)
		if status != 2 || !strings.Contains(notice, c.says) {
			t.Errorf("%q: status %d, %s; want %q", c.options, status, notice, c.says)
		}
	}
}

package cost_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/money"
)

var update = flag.Bool("update", false, "write golden files anew")

// smallHour is one hour of a node of 4 cores and 16 GiB at 0.03 and 0.004: 0.12 + 0.064. web holds 1 core, half of it used, and 4 GiB, of which it uses 1;
// batch holds 1 core of unknown usage; 3.5 cores and 14 GiB are allocatable. A volume of 100 GiB is mounted by web for half of the hour.
func smallHour() *cost.Hour {
	const core, gib, cpuHour = 3_600_000_000, 1 << 30, 3_600_000_000
	web := cost.Owner{
		Cluster: "prod", Namespace: "shop", Controller: cost.Controller{Kind: "Deployment", Name: "web"}, Pod: "web-1", UID: "u1",
		QoS: "Burstable", Labels: cost.Labels{{Name: "team", Value: "red"}},
	}
	batch := cost.Owner{Cluster: "prod", Namespace: "jobs", Controller: cost.Controller{Kind: "Job", Name: "batch"}, Pod: "batch-1", UID: "u2"}
	return &cost.Hour{
		Start: start,
		Workloads: []cost.Workload{
			{
				Owner: batch, Container: "main", Node: "n1", From: start, To: start + hour, Alive: hour,
				CPU: cost.Held{Unknown: core, Request: core},
			},
			{
				Owner: web, Container: "main", Node: "n1", From: start, To: start + hour, Alive: hour, CPUKnown: hour, RAMKnown: hour / 2,
				CPU: cost.Held{Used: core / 2, Unused: core / 2, Request: core},
				RAM: cost.Held{Used: 3600 * gib, Unused: 3 * 3600 * gib, Request: 4 * 3600 * gib}, Network: cost.Network{Sent: gib},
			},
		},
		Nodes: []cost.Node{{
			Cluster: "prod", Name: "n1", Provider: "aws:///i-1", InstanceType: "m5.xlarge", Region: "eu-west-1", Zone: "eu-west-1a",
			From: start, To: start + hour, Up: hour,
			CPU: cost.Capacity{Capacity: 4 * cpuHour, Allocatable: 3.5 * cpuHour, Used: cpuHour},
			RAM: cost.Capacity{Capacity: 16 * 3600 * gib, Allocatable: 14 * 3600 * gib, Used: 2 * 3600 * gib},
		}},
		Assets: []cost.Asset{{
			Kind: cost.VolumeAsset, Cluster: "prod", Name: "pv1", Namespace: "shop", Claim: "data", Class: "gp3", From: start, To: start + hour,
			Quantity: 100 * 3600 * gib,
		}},
		Shares: []cost.Share{{Owner: web, Kind: cost.VolumeAsset, Asset: "pv1", From: start, Quantity: 50 * 3600 * gib}},
	}
}

const smallBook = `currency: USD
prices:
- from: 2025-01-01
  nodes: [{cpu_core_hour: 0.03, ram_gib_hour: 0.004}]
  network: [{match: {direction: sent}, gib: 0.01}]
  overheads: [{name: control plane, cluster_hour: 0.1}]
`

func smallReport(t *testing.T, q cost.Query) *cost.Report {
	l, err := cost.MaxRequestUsage.Ledger(smallHour(), cost.NewNames())
	if err != nil {
		t.Fatal(err)
	}
	q.From, q.To = start, start+hour
	return report(t, q, bookOf(t, smallBook), l)
}

// golden compares with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s (-want +got):\n%s", name, d)
	}
}

// Scripts rely on these bytes. The bill by hand: node 0.184, volume 100 × 0.00006 (built-in), traffic 0.01, control plane 0.1: 0.3.
func TestFormats(t *testing.T) {
	r := smallReport(t, cost.Query{By: []string{"namespace", "controller"}})
	if r.Total.String() != "0.3" {
		t.Errorf("total %v", r.Total)
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "report.json", append(text, '\n'))
	var out bytes.Buffer
	if err := r.Write(&out, "json"); err != nil {
		t.Fatal(err)
	}
	golden(t, "report.json", out.Bytes())
	out.Reset()
	if err := r.WriteCSV(&out); err != nil {
		t.Fatal(err)
	}
	golden(t, "report.csv", out.Bytes())
	out.Reset()
	if err := r.WriteTable(&out); err != nil {
		t.Fatal(err)
	}
	golden(t, "report.txt", out.Bytes())
}

// What is written by hand is indented and escaped as the library does it, whatever names are.
func TestJSONIsAsTheLibraryWritesIt(t *testing.T) {
	h := smallHour()
	h.Workloads[0].Namespace, h.Workloads[1].Namespace = "<a&\"b\">\\", "\x1b\u2028\xffé"
	for _, q := range []cost.Query{{By: []string{"namespace", "label:a.b/c"}, Step: cost.StepHour}, {By: []string{"pod"}}, {}} {
		l, err := cost.MaxRequestUsage.Ledger(h, cost.NewNames())
		if err != nil {
			t.Fatal(err)
		}
		q.From, q.To = start, start+hour
		r := report(t, q, bookOf(t, smallBook), l)
		for _, lines := range [][]*cost.Line{r.Lines, {}} {
			r.Lines = lines
			var got bytes.Buffer
			if err := r.Write(&got, "json"); err != nil {
				t.Fatal(err)
			}
			want, err := json.MarshalIndent(r, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want)+"\n", got.String()); d != "" {
				t.Error(d)
			}
			for _, l := range lines {
				for _, v := range l.Key {
					if text, _ := json.Marshal(v); !bytes.Contains(want, text) {
						t.Errorf("there is no %s", text)
					}
				}
			}
		}
	}
}

// The room for an answer is guessed from its first lines. Long warnings before them are no part of the guess.
func TestJSONTakesTheRoomThatItNeeds(t *testing.T) {
	l, err := cost.MaxRequestUsage.Ledger(smallHour(), cost.NewNames())
	if err != nil {
		t.Fatal(err)
	}
	r := report(t, cost.Query{From: start, To: start + hour, By: []string{"pod"}}, bookOf(t, smallBook), l)
	r.Warnings = slices.Repeat([]cost.Warning{{Name: "usage_missing", Cluster: "prod", Count: 1, Example: strings.Repeat("x", 100)}}, 5000)
	r.Lines = slices.Repeat(r.Lines, 2000)
	var b bytes.Buffer
	if err := r.Write(&b, "json"); err != nil {
		t.Fatal(err)
	}
	if b.Cap() > 2*b.Len() {
		t.Errorf("%d bytes in a buffer of %d", b.Len(), b.Cap())
	}
}

// A label's value is neither a spreadsheet's formula nor a terminal's command.
func TestHostileLabels(t *testing.T) {
	h := smallHour()
	h.Workloads[0].Namespace, h.Workloads[1].Namespace = "=cmd()", "\x1b[2J"
	l, err := cost.MaxRequestUsage.Ledger(h, cost.NewNames())
	if err != nil {
		t.Fatal(err)
	}
	r := report(t, cost.Query{From: start, To: start + hour, By: []string{"namespace"}}, bookOf(t, smallBook), l)
	var csv, table bytes.Buffer
	if err := r.WriteCSV(&csv); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(csv.String(), ",=cmd") || strings.Contains(table.String(), "\x1b") {
		t.Errorf("%s\n%q", csv.String(), table.String())
	}
}

// Pages are the report's lines in order, and a cursor of another report is refused.
func TestPages(t *testing.T) {
	r := smallReport(t, cost.Query{By: []string{"namespace"}})
	var lines []*cost.Line
	for cursor, n := "", 0; ; n++ {
		page, next, err := r.Page(cost.Page{Limit: 2, Cursor: cursor})
		if err != nil || n > len(r.Lines) {
			t.Fatalf("page %d: %v", n, err)
		}
		p := page.(*cost.Report)
		if len(p.Lines) > 2 || p.Next != next || p.Total != r.Total || p.Hash != r.Hash {
			t.Fatalf("page %d: %+v", n, p)
		}
		lines = append(lines, p.Lines...)
		if cursor = next; cursor == "" {
			break
		}
	}
	if !slices.Equal(lines, r.Lines) {
		t.Errorf("pages have %d lines, the report %d, or others", len(lines), len(r.Lines))
	}
	other := smallReport(t, cost.Query{By: []string{"controller"}})
	_, next, err := other.Page(cost.Page{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Page(cost.Page{Cursor: next}); !errors.Is(err, cost.ErrChanged) {
		t.Errorf("a cursor of another report: %v", err)
	}
	for _, cursor := range []string{next, "x", "0123456789abcdef.1", r.Hash[7:23] + ".-1", r.Hash[7:23] + ".99"} {
		if _, _, err := r.Page(cost.Page{Limit: 1, Cursor: cursor}); err == nil || !strings.HasPrefix(err.Error(), "cursor: ") {
			t.Errorf("cursor %q: %v", cursor, err)
		}
	}
}

// Idle of 1.5 cores and 10 GiB costs 0.085. Evenly, each of two lines gets half; weighted, by what they cost of each pool: CPU 1:1, RAM all to web.
func TestSharing(t *testing.T) {
	for mode, want := range map[cost.Mode]map[string]string{
		cost.ShareEven:     {"jobs": "0.0425", "shop": "0.0425"},
		cost.ShareWeighted: {"jobs": "0.0225", "shop": "0.0625"},
	} {
		for _, byNode := range []bool{false, true} {
			r := smallReport(t, cost.Query{By: []string{"namespace"}, Sharing: cost.Sharing{Idle: mode, ByNode: byNode}})
			got := map[string]string{}
			for _, l := range r.Lines {
				if l.Kind == cost.Idle && !l.Cost.IsZero() {
					t.Errorf("%s: idle is still %v", mode, l.Cost)
				}
				if l.Kind == cost.Workloads {
					got[l.Key[0]] = l.Shared.String()
				}
			}
			if d := cmp.Diff(want, got); d != "" || r.Total.String() != "0.3" {
				t.Errorf("%s, by node %v: total %v\n%s", mode, byNode, r.Total, d)
			}
		}
	}
}

// Overheads are 0.1. Both lines request one core, only web requests memory and sends, and nobody reads from disks. Idle is 0.045 of CPU and 0.04 of
// RAM, both by the same weights: 4 GiB of web and nothing of batch, or one hour each.
func TestSharingByQuantity(t *testing.T) {
	for _, tt := range []struct {
		sharing    cost.Sharing
		jobs, shop string
		stays      string
	}{
		{cost.Sharing{Overhead: "quantity:cpu_core_microseconds_requested"}, "0.05", "0.05", "0.085"},
		{cost.Sharing{Overhead: "quantity:network_sent_bytes"}, "0", "0.1", "0.085"},
		{cost.Sharing{Overhead: "quantity:disk_read_bytes"}, "0", "0", "0.185"},
		{cost.Sharing{Idle: "quantity:ram_byte_seconds_requested", ByNode: true}, "0", "0.085", "0.1"},
		{cost.Sharing{Idle: "quantity:container_milliseconds"}, "0.0425", "0.0425", "0.1"},
		{cost.Sharing{Namespaces: []string{"jobs"}, Namespace: "quantity:storage_byte_seconds"}, "0", "0.03", "0.185"},
		{cost.Sharing{Namespaces: []string{"shop"}, Namespace: "quantity:storage_byte_seconds"}, "0", "0", "0.185"},
	} {
		r := smallReport(t, cost.Query{By: []string{"namespace"}, Sharing: tt.sharing})
		var stays money.Nanos
		for _, l := range r.Lines {
			if l.Kind == cost.Idle || l.Kind == cost.Overhead {
				stays = stays.Plus(l.Cost)
			}
		}
		jobs, shop := r.Lines[0].Shared.String(), r.Lines[1].Shared.String()
		if jobs != tt.jobs || shop != tt.shop || stays.String() != tt.stays || r.Total.String() != "0.3" || r.Residual != "0" {
			t.Errorf("%+v: jobs %s, shop %s, %s stays of %s", tt.sharing, jobs, shop, stays, r.Total)
		}
	}
	for mode, says := range map[string]string{
		"quantity:tea": `idle: there is no quantity "tea", but cpu_core_microseconds_used,`, "fair": `idle: it can't be shared "fair", but none, even, weighted, quantity:NAME or metric:EXPRESSION`,
	} {
		if _, err := cost.ParseSharing("idle=" + mode); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", mode, err)
		}
	}
}

// jobs costs 0.03, all of CPU; with it web pays for all workloads: 0.059 + 0.03. Overheads of 0.1 go in proportion to 0.03 : 0.059 if
// weighted, since no workload has anything in their pool: 3.37 and 6.63 cents.
func TestSharedNamespaces(t *testing.T) {
	r := smallReport(t, cost.Query{By: []string{"namespace"}, Sharing: cost.Sharing{Namespaces: []string{"jobs"}}})
	got := map[string]string{}
	for _, l := range r.Lines {
		if l.Kind == cost.Workloads {
			got[l.Key[0]] = l.Cost.String() + " with " + l.Shared.String()
		}
	}
	if d := cmp.Diff(map[string]string{"jobs": "0 with 0", "shop": "0.089 with 0.03"}, got); d != "" || r.Total.String() != "0.3" {
		t.Errorf("total %v\n%s", r.Total, d)
	}
	r = smallReport(t, cost.Query{By: []string{"namespace"}, Sharing: cost.Sharing{Overhead: cost.ShareWeighted}})
	if r.Lines[0].Shared.String() != "0.033707865" || r.Lines[1].Shared.String() != "0.066292135" {
		t.Errorf("overheads: %v and %v", r.Lines[0].Shared, r.Lines[1].Shared)
	}
}

// Long names are shortened in wide tables, in the middle, and so far only that they can be told apart; numbers never.
func TestTablesAreNarrow(t *testing.T) {
	h := smallHour()
	long := strings.Repeat("x", 40) + "-" + strings.Repeat("é", 60)
	h.Workloads[0].Pod, h.Workloads[0].Namespace = long+"-1", "namespace-of-a-long-name-that-says-much"
	l, err := cost.MaxRequestUsage.Ledger(h, cost.NewNames())
	if err != nil {
		t.Fatal(err)
	}
	r := report(t, cost.Query{From: start, To: start + hour, By: []string{"namespace", "pod"}}, bookOf(t, smallBook), l)
	text := string(write(t, r, "table"))
	for word := range strings.FieldsSeq(text) {
		if n := utf8.RuneCountInString(word); n > 24 {
			t.Errorf("%d columns: %s", n, word)
		}
	}
	if !strings.Contains(text, "é-1  ") || !strings.Contains(text, "…") || !strings.Contains(text, "web-1") || !strings.Contains(string(write(t, r, "csv")), long) {
		t.Errorf("names:\n%s", text)
	}
}

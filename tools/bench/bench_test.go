package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{3}, 3},
		{[]float64{4, 2}, 3},
		{[]float64{9, 1, 5}, 5},
		{[]float64{4, 1, 3, 2}, 2.5},
	} {
		if got := median(c.values); got != c.want {
			t.Errorf("median of %v is %v, want %v", c.values, got, c.want)
		}
	}
}

func TestTableShowsMedianAndSpread(t *testing.T) {
	table := &table{Title: "T", Note: "N", columns: []column{{"CPU", "cpu", 2}, {"Log", "log", 1}}}
	table.add("a", figures{"cpu": 1, "log": 4.04})
	table.add("b", figures{"cpu": 2})
	table.add("a", figures{"cpu": 3, "log": 4.01})
	want := `### T

|  | Runs | CPU | Log |
|---|---|---|---|
| a | 2 | 2.00 (1.00–3.00) | 4.0 |
| b | 1 | 2.00 | – |

N
`
	if got := table.markdown(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := table.ratio("cpu", "a", "b"); got != 1 {
		t.Errorf("ratio is %v, want 1", got)
	}
}

func TestParseCPU(t *testing.T) {
	stat := "17 (a ) b) S 1 17 17 0 -1 4194560 100 0 0 0 250 31 0 0 20 0 9 0 1234 5 6"
	if got, err := parseCPU([]byte(stat)); err != nil || got != 2810*time.Millisecond {
		t.Errorf("got %v, %v, want 2.81s", got, err)
	}
	for _, bad := range []string{"", "17 (a) S 1", "17 (a) S 1 17 17 0 -1 4194560 100 0 0 0 x 31 0"} {
		if got, err := parseCPU([]byte(bad)); err == nil {
			t.Errorf("parseCPU(%q) is %v, want an error", bad, got)
		}
	}
}

func TestParseKB(t *testing.T) {
	status := "Name:\tvarve\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\n"
	if got, err := parseKB([]byte(status), "VmRSS:"); err != nil || got != 1<<20 {
		t.Errorf("got %v, %v, want 1 MiB", got, err)
	}
	if _, err := parseKB([]byte(status), "VmSwap:"); err == nil {
		t.Error("no error for a line that is not there")
	}
}

func TestParseMetric(t *testing.T) {
	text := "# TYPE a counter\na_total 7\na 1\na{x=\"b }\"} 2.5\nb{} 4 1700000000\nc x\n"
	for name, want := range map[string]float64{"a": 3.5, "a_total": 7, "b": 4} {
		if got, err := parseMetric([]byte(text), name); err != nil || got != want {
			t.Errorf("%s is %v, %v, want %v", name, got, err, want)
		}
	}
	for _, name := range []string{"a_", "c", "d"} {
		if got, err := parseMetric([]byte(text), name); err == nil {
			t.Errorf("%s is %v, want an error", name, got)
		}
	}
}

func TestChartTop(t *testing.T) {
	for most, want := range map[float64]float64{0: 1, 0.9: 1, 1: 1, 1.1: 2, 4: 5, 6: 10, 753: 1000} {
		c := chart{lines: []line{{values: []float64{most / 2, most}}, {right: true, values: []float64{9999}}}}
		if got := c.top(false); got != want {
			t.Errorf("the scale for values up to %v ends at %v, want %v", most, got, want)
		}
	}
}

func TestParseNumber(t *testing.T) {
	for body, want := range map[string]int64{
		`{"status":"success","data":{"result":[{"metric":{},"value":[1.5,"42"]}]}}`: 42,
		`{"status":"success","data":{"result":[]}}`:                                 0,
	} {
		if got, err := parseNumber([]byte(body)); err != nil || got != want {
			t.Errorf("%s is %d, %v, want %d", body, got, err, want)
		}
	}
	for _, bad := range []string{
		`{`, `{"warnings":["an owner is missing"],"data":{"result":[{"value":[1,"42"]}]}}`,
		`{"data":{"result":[{"value":[1,"42"]},{"value":[1,"43"]}]}}`, `{"data":{"result":[{"value":[1,"x"]}]}}`,
	} {
		if got, err := parseNumber([]byte(bad)); err == nil {
			t.Errorf("%s is %d, want an error", bad, got)
		}
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}

// TestSuites runs suites with real processes and tiny loads: no figure of theirs means anything, but all must come, and the
// ledger must be whole.
func TestSuites(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts varve")
	}
	b := &bench{dir: t.TempDir(), runs: 1, peerRuns: 1, series: 500, steps: 60, senders: 2, point: 50 * time.Millisecond, verify: true,
		openb: tinyTrace(t), days: 2, clusters: 3, nodes: 2, pods: 6, scrape: time.Minute}
	if err := errors.Join(b.build(t.Context()), b.buildTool(t.Context())); err != nil {
		t.Fatal(err)
	}
	for _, s := range suites() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			b := *b
			if s.name == "latency" {
				b.series = 2000 // its time is bounded, not its samples
			}
			tables, err := s.run(t.Context(), &b)
			if err != nil {
				t.Fatal(err)
			}
			for _, table := range tables {
				if text := table.markdown(); len(table.Rows) == 0 || strings.Contains(text, "–") || strings.Contains(text, "NaN") {
					t.Errorf("figures are missing:\n%s", text)
				}
			}
		})
	}
}

// tinyTrace is a directory with a trace as that of openb is: two nodes, three pods, three days.
func tinyTrace(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"nodes.csv": "sn,cpu_milli,memory_mib,gpu,model\nnode-0,32000,262144,0,\nnode-1,96000,393216,2,G2\n",
		"pods.csv": "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time\n" +
			"pod-0,12000,16384,1,460,,LS,Running,0,250000,5\npod-1,6000,12288,1,1000,,BE,Succeeded,160000,190000,160001\npod-2,6000,12288,0,0,,BE,Failed,200000,230000,200000\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

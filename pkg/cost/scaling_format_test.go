package cost_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/varve-io/varve/pkg/cost"
)

// Two hours: web goes 2 → 5, then 5 → 4 → 3; a node comes in the second hour. What a namespace is called is neither a formula nor a command.
func TestScaleFormats(t *testing.T) {
	e := &cost.ScaleEvents{
		Window: cost.Window{From: start, To: start + 2*hour}, Step: cost.StepHour,
		Workloads: []cost.ScaleLine{
			{From: start, Cluster: "prod", Namespace: "shop", Controller: "Deployment/web", Ups: 1, Added: 3, Least: 2, Most: 5},
			{From: start + hour, Cluster: "prod", Namespace: "=cmd()", Controller: "Deployment/\x1b[2J", Ups: 1, Added: 1, Most: 1},
			{From: start + hour, Cluster: "prod", Namespace: "shop", Controller: "Deployment/web", Downs: 2, Removed: 2, Least: 3, Most: 5},
		},
		Nodes: []cost.NodeEvents{
			{From: start, Cluster: "prod", Most: 1},
			{From: start + hour, Cluster: "prod", Came: 1, Most: 2},
		},
		Warnings: []cost.Warning{{Name: cost.NodesUnnamed, Count: 3}},
	}
	for format, file := range map[string]string{"json": "scales.json", "csv": "scales.csv", "table": "scales.txt"} {
		var out bytes.Buffer
		if err := e.Write(&out, format); err != nil {
			t.Fatal(err)
		}
		golden(t, file, out.Bytes())
		if text := out.String(); strings.Contains(text, ",=cmd") || strings.Contains(text, "\x1b") && format != "csv" {
			t.Errorf("%s: %q", format, text)
		}
	}
	if err := e.Write(&bytes.Buffer{}, "xml"); err == nil || !strings.HasPrefix(err.Error(), "format: ") {
		t.Errorf("XML: %v", err)
	}
}

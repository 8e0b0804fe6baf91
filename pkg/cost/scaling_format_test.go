package cost_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/varve-io/varve/pkg/cost"
)

// Three hours of scale events, and five days of creep. What a namespace or a node is called is neither a formula nor a command.
func TestScaleFormats(t *testing.T) {
	b := bookOf(t, smallBook)
	e := scales(t, cost.Query{From: start, To: start + 3*hour, Step: cost.StepHour}, b, threeHours(t)...)
	e.Creep = scales(t, cost.Query{From: start, To: start + 5*day}, b, creepingDays(t)...).Creep
	e.Workloads[1].Namespace, e.Changes[0].Node = "=cmd()", "\x1b[2J"
	e.Warnings = []cost.Warning{{Name: cost.HoursMissing, Count: 3}}
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

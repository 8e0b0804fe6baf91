package cube

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"github.com/varve-io/varve/pkg/cost"
)

// secondReader is where hyparquet lies: an implementation of Parquet that shares nothing with the one that writes here.
func secondReader(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("needs real parts")
	}
	modules, err := filepath.Abs("../../../.parts/npm/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(modules, "hyparquet")); err != nil {
		t.Fatalf("%v; `make parts` installs it", err)
	}
	return modules
}

// readBySecond are a file's rows as JSON, numbers as strings.
func readBySecond(t *testing.T, modules string, data []byte) (rows []map[string]any) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rows.parquet")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", "testdata/read.mjs", modules, file)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	for line := range strings.Lines(string(out)) {
		var row map[string]any
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
	return rows
}

// plainRow is a row as the second reader should have it.
func plainRow[R any](table *table[R], row *R, period int64) map[string]any {
	out := map[string]any{}
	for _, c := range table.columns {
		leaves := make([][]parquet.Value, c.leaves)
		c.put(leaves, row, period)
		switch {
		case c.leaves == 1 && leaves[0][0].Kind() == parquet.Boolean:
			out[c.name] = leaves[0][0].Boolean()
		case c.leaves == 1:
			out[c.name] = leaves[0][0].String()
		case strings.HasSuffix(c.name, "sketch"):
			list := []any{}
			for i, v := range leaves[0] {
				if v.DefinitionLevel() > 0 {
					list = append(list, map[string]any{"index": v.String(), "millis": leaves[1][i].String()})
				}
			}
			out[c.name] = list
		default:
			labels := map[string]any{}
			for i, v := range leaves[0] {
				if v.DefinitionLevel() > 0 {
					labels[v.String()] = leaves[1][i].String()
				}
			}
			out[c.name] = labels
		}
	}
	return out
}

func compareBySecond[R any](t *testing.T, modules string, table *table[R], hours []*cost.Hour, rows func(*cost.Hour) []R) {
	t.Helper()
	var out bytes.Buffer
	if err := writeHours(context.Background(), &out, table, nil, hours, rows); err != nil {
		t.Fatal(err)
	}
	var want []map[string]any
	for _, h := range hours {
		for _, row := range table.sorted(rows(h)) {
			want = append(want, plainRow(table, row, h.Start))
		}
	}
	if diff := cmp.Diff(want, readBySecond(t, modules, out.Bytes())); diff != "" {
		t.Errorf("table %s: %s", table.name, diff)
	}
}

// Another implementation reads what was written, every column of every table.
func TestASecondReaderReadsTheSame(t *testing.T) {
	modules := secondReader(t)
	r := rand.New(rand.NewPCG(9, 9))
	var hours []*cost.Hour
	for i := range int64(3) {
		h := randomHour(r, i*hourMillis)
		for k := range h.Workloads {
			h.Workloads[k].Labels = unique(h.Workloads[k].Labels)
		}
		for k := range h.Nodes {
			h.Nodes[k].Labels = unique(h.Nodes[k].Labels)
		}
		for k := range h.Assets {
			h.Assets[k].Labels = unique(h.Assets[k].Labels)
		}
		for k := range h.Shares {
			h.Shares[k].Labels = unique(h.Shares[k].Labels)
		}
		hours = append(hours, h)
	}
	compareBySecond(t, modules, workloadTable(), hours, func(h *cost.Hour) []cost.Workload { return h.Workloads })
	compareBySecond(t, modules, nodeTable(), hours, func(h *cost.Hour) []cost.Node { return h.Nodes })
	compareBySecond(t, modules, assetTable(), hours, func(h *cost.Hour) []cost.Asset { return h.Assets })
	compareBySecond(t, modules, shareTable(), hours, func(h *cost.Hour) []cost.Share { return h.Shares })
	compareBySecond(t, modules, scalingTable("hour"), hours, func(h *cost.Hour) []cost.Scaling { return h.Scalings })
	compareBySecond(t, modules, scalerTable("hour"), hours, func(h *cost.Hour) []cost.Autoscaler { return h.Scalers })
	compareBySecond(t, modules, warningTable("hour"), hours, func(h *cost.Hour) []cost.Warning { return h.Warnings })
}

// unique keeps one label of each name, as real rows have.
func unique(labels cost.Labels) cost.Labels {
	var out cost.Labels
	for _, l := range labels {
		if !slices.ContainsFunc(out, func(o cost.Label) bool { return o.Name == l.Name }) {
			out = append(out, l)
		}
	}
	return out
}

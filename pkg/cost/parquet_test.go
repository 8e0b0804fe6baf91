package cost_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"math"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/varve-io/varve/pkg/cost"
)

// smallFleet is of the small hour, by asset.
func smallFleet(t *testing.T) *cost.Fleet {
	t.Helper()
	l, err := cost.MaxRequestUsage.Ledger(smallHour(), cost.NewNames())
	if err != nil {
		t.Fatal(err)
	}
	b, err := cost.NewFleetBuilder(cost.FleetQuery{From: start, To: start + hour}, bookOf(t, smallBook))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Add(l); err != nil {
		t.Fatal(err)
	}
	return b.Fleet()
}

func write(t *testing.T, a cost.Answer, format string) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := a.Write(&out, format); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// parquetRows are the header and the rows as CSV has them.
func parquetRows(t *testing.T, data []byte) (rows [][]string, about string) {
	t.Helper()
	f, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	about, _ = f.Lookup(cost.ParquetKey)
	rows = [][]string{{}}
	for _, field := range f.Schema().Fields() {
		rows[0] = append(rows[0], field.Name())
	}
	for _, group := range f.RowGroups() {
		r := group.Rows()
		buf := make([]parquet.Row, 1)
		for {
			n, err := r.ReadRows(buf)
			if n == 0 {
				break
			}
			var row []string
			for i, field := range f.Schema().Fields() {
				row = append(row, textOf(t, field, buf[0][i]))
			}
			rows = append(rows, row)
			if err != nil {
				break
			}
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return rows, about
}

func textOf(t *testing.T, field parquet.Field, v parquet.Value) string {
	t.Helper()
	switch {
	case v.IsNull() && field.Optional():
		return ""
	case field.Type().Kind() == parquet.Boolean:
		return strconv.FormatBool(v.Boolean())
	case field.Type().Kind() == parquet.Double:
		return strconv.FormatFloat(v.Double(), 'f', -1, 64)
	}
	switch logical := field.Type().LogicalType().Value.(type) {
	case *format.DecimalType:
		if logical.Precision != 38 {
			t.Errorf("%s is %v", field.Name(), logical)
		}
		unscaled := new(big.Int).SetBytes(v.ByteArray())
		unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(logical.Scale)), nil)
		text := new(big.Rat).SetFrac(unscaled, unit).FloatString(int(logical.Scale))
		if strings.Contains(text, ".") {
			text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
		}
		return text
	case *format.TimestampType:
		return time.UnixMilli(v.Int64()).UTC().Format(time.RFC3339)
	case *format.StringType:
		return string(v.ByteArray())
	}
	t.Fatalf("%s is of no type that is documented", field.Name())
	return ""
}

// Parquet has the rows of CSV, exactly, and tells of the whole answer; the same answer gives the same bytes.
func TestParquet(t *testing.T) {
	for name, a := range map[string]cost.Answer{
		"report":     smallReport(t, cost.Query{By: []string{"namespace", "label:team", "zone", "spot"}}),
		"with steps": smallReport(t, cost.Query{By: []string{"pod"}, Step: cost.StepHour}),
		"of nothing": smallReport(t, cost.Query{}),
		"fleet":      smallFleet(t),
		"scales":     someScales(t),
	} {
		data := write(t, a, "parquet")
		got, about := parquetRows(t, data)
		want, err := csv.NewReader(bytes.NewReader(write(t, a, "csv"))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		if len(want) < 2 || len(got) != len(want) {
			t.Fatalf("%s: %d rows, want %d", name, len(got), len(want))
		}
		for i := range want {
			if g, w := strings.Join(got[i], "|"), strings.Join(want[i], "|"); g != w {
				t.Errorf("%s, row %d:\n%s\nwant\n%s", name, i, g, w)
			}
		}
		var told, all map[string]any
		if err := json.Unmarshal([]byte(about), &told); err != nil || told["total"] != "0.3" && name != "scales" ||
			told["lines"] != nil || told["assets"] != nil || told["workloads"] != nil || told["changes"] != nil {
			t.Errorf("%s: the file tells %s, %v", name, about, err)
		}
		if err := json.Unmarshal(write(t, a, "json"), &all); err != nil || told["hash"] != all["hash"] {
			t.Errorf("%s: the file tells of %v, JSON of %v, %v", name, told["hash"], all["hash"], err)
		}
		if again := write(t, a, "parquet"); !bytes.Equal(again, data) {
			t.Errorf("%s: other bytes when it is written again", name)
		}
	}
}

// rounded is a float's text without what is beyond money's nine decimals.
func rounded(t *testing.T, text string) string {
	t.Helper()
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return strconv.FormatFloat(math.Round(v*1e9)/1e9, 'f', -1, 64)
}

// A reader that shares nothing with the writer reads the same.
func TestASecondReaderReadsParquet(t *testing.T) {
	if testing.Short() {
		t.Skip("needs real parts")
	}
	modules, err := filepath.Abs("../../.parts/npm/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(modules, "hyparquet")); err != nil {
		t.Fatalf("%v; `make parts` installs it", err)
	}
	r := smallReport(t, cost.Query{By: []string{"namespace", "label:team"}, Step: cost.StepHour})
	file := filepath.Join(t.TempDir(), "report.parquet")
	if err := os.WriteFile(file, write(t, r, "parquet"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "node", "cube/testdata/read.mjs", modules, file).Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != len(r.Lines) {
		t.Fatalf("%d rows, want %d", len(lines), len(r.Lines))
	}
	for i, l := range r.Lines {
		var row map[string]string // the script gives all numbers as text
		if err := json.Unmarshal([]byte(lines[i]), &row); err != nil {
			t.Fatal(err)
		}
		if row["kind"] != l.Kind.String() || row["namespace"] != l.Key[0] || row["label:team"] != l.Key[1] || rounded(t, row["cost"]) != l.Cost.String() ||
			row["cpu_core_microseconds_used"] != l.Sum.CPU.Used.String() || row["from"] != strconv.FormatInt(start, 10) {
			t.Errorf("row %d: %v, want %+v", i, row, l)
		}
	}
}

package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/varve-io/varve/pkg/config"
)

var update = flag.Bool("update", false, "write generated pages anew")

// The rows of the lattice, from the bottom: a package imports only from rows below its own.
var rows = [][]string{
	{"pkg/config", "pkg/prefetch", "pkg/cost/money"},
	{"pkg/tenant", "pkg/telemetry", "pkg/cost/quantity", "pkg/cost/price"},
	{"pkg/series", "pkg/cost"},
	{"pkg/ring", "pkg/bucket", "pkg/remote", "pkg/wal", "pkg/block", "pkg/cost/join", "pkg/cost/cube"},
	{"pkg/head", "pkg/catalog", "pkg/rpc"},
	{"distributor", "ingester", "querier", "compactor"},
	{""},
}

const module = "github.com/varve-io/varve"

type listed struct {
	ImportPath, Doc string
	Imports         []string
	GoFiles         []string
}

func packages(t *testing.T) []listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Doc,Imports,GoFiles", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); d.More(); {
		var p listed
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// place is the path of a package of ours without the module; ok is false for others.
func place(importPath string) (string, bool) {
	if importPath == module {
		return "", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

func rowOf(place string) (int, bool) {
	for n, row := range rows {
		if slices.Contains(row, place) {
			return n, true
		}
	}
	return 0, false
}

// outside tells of packages that may import whatever they need: tools, tests, and what only tests import.
func outside(place string) bool {
	return strings.HasPrefix(place, "tools/") || strings.HasPrefix(place, "integration") || strings.HasSuffix(place, "test")
}

func TestImportsOnlyGoDown(t *testing.T) {
	for _, p := range packages(t) {
		from, _ := place(p.ImportPath)
		if outside(from) || len(p.GoFiles) == 0 {
			continue
		}
		row, ok := rowOf(from)
		if !ok {
			t.Errorf("%s has no row in the lattice", p.ImportPath)
			continue
		}
		for _, imported := range p.Imports {
			to, ours := place(imported)
			if !ours {
				continue
			}
			if below, ok := rowOf(to); !ok || below >= row {
				t.Errorf("%s imports %s, which is not below it", p.ImportPath, imported)
			}
		}
	}
}

// Heavy dependencies have one home each.
func TestHomesOfDependencies(t *testing.T) {
	homes := map[string]string{
		"github.com/grafana/dskit/ring":          "pkg/ring",
		"github.com/grafana/dskit/kv":            "pkg/ring",
		"github.com/hashicorp/memberlist":        "pkg/ring",
		"github.com/thanos-io/objstore/provider": "pkg/bucket",
		"google.golang.org/grpc":                 "pkg/rpc",
	}
	for _, p := range packages(t) {
		from, _ := place(p.ImportPath)
		for _, imported := range p.Imports {
			for prefix, home := range homes {
				if strings.HasPrefix(imported, prefix) && from != home && !outside(from) {
					t.Errorf("%s imports %s, whose home is %s", p.ImportPath, imported, home)
				}
			}
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) > 0 && p.Doc == "" {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}

// An option exists only where two healthy installations need different values that the process can't find by itself.
func TestOptionsAreFew(t *testing.T) {
	cfg := Default()
	n, err := config.Count(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	if n > 60 {
		t.Errorf("%d options, at most 60 are allowed", n)
	}
}

func TestConfigurationPageIsFresh(t *testing.T) {
	cfg := Default()
	want, err := config.Reference(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	fresh(t, filepath.Join("docs", "configuration.md"), want, "ConfigurationPage")
}

func TestLayersPictureIsFresh(t *testing.T) {
	fresh(t, filepath.Join("docs", "img", "layers.svg"), layersPicture(), "LayersPicture")
}

// layersPicture draws the rows, the highest first.
func layersPicture() []byte {
	const width, row, gap = 720, 36, 8
	var b bytes.Buffer
	height := gap + row*len(rows)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%[1]d" height="%[2]d" font-family="sans-serif" font-size="12" role="img">`+"\n", width, height)
	b.WriteString("<title>Rows of packages: each imports only from rows below its own</title>\n")
	for n, places := range slices.Backward(rows) {
		y := gap/2 + row*(len(rows)-1-n)
		step := (width - gap/2) / len(places)
		for i, p := range places {
			x := gap/2 + i*step
			fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%d" height="%d" rx="4" fill="#dbe7f3" stroke="#5b6b7b"/>`, x, y, step-gap/2, row-gap)
			fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle" fill="#1b2733">%s</text>`+"\n", x+(step-gap/2)/2, y+row/2, cmp.Or(p, "package main"))
		}
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// fresh holds a generated page to what generates it.
func fresh(t *testing.T, page string, want []byte, test string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(page, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(page); err != nil || string(got) != string(want) {
		t.Errorf("%s is stale (%v): run go test . -run %s -update", page, err, test)
	}
}

func TestDefaultsAreValid(t *testing.T) {
	cfg := Default()
	if _, err := config.Load(&cfg, config.Options{}); err != nil {
		t.Error(err)
	}
}

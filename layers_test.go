package main

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varve-io/varve/pkg/config"
)

var update = flag.Bool("update", false, "write generated pages anew")

// The rows of the lattice, from the bottom: a package imports only from rows below its own.
var rows = [][]string{
	{"pkg/config", "pkg/cost/money"},
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
		for _, p := range row {
			if p == place {
				return n, true
			}
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
	page := filepath.Join("docs", "configuration.md")
	if *update {
		if err := os.WriteFile(page, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(page); err != nil || string(got) != string(want) {
		t.Errorf("docs/configuration.md is stale (%v): run go test . -run ConfigurationPage -update", err)
	}
}

func TestDefaultsAreValid(t *testing.T) {
	cfg := Default()
	if _, err := config.Load(&cfg, config.Options{}); err != nil {
		t.Error(err)
	}
}

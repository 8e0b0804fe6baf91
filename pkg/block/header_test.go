package block

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden files")

// goldenHeader is the header of an index that never was.
func goldenHeader() *header {
	h := &header{
		block: ulid.MustParse("01M7YTWW8NX1MD97C181V03FC8"), indexSize: 10_000,
		toc:        toc{symbols: 5, series: 1000, labelIndices: 5000, labelTable: 8000, postings: 5000, postingsTable: 8000},
		numSymbols: 40, symbols: []symbolGroup{{13, 0xdeadbeef}, {600, 0xcafe}}, symbolsEnd: 900,
		names: []labelName{
			{name: "", last: "", first: 0, n: 1},
			{name: "__name__", last: "up", first: 1, n: 1},
			{name: "pod", last: "pod-39", first: 2, n: 2},
		},
		groups: []entryGroup{
			{"", 8008, 5000, 1}, {"go_info", 8020, 5400, 2}, {"pod-00", 8100, 5600, 3}, {"pod-32", 8600, 6000, 4},
		},
		tableEnd: 9000,
	}
	return h
}

var headerEqual = cmp.AllowUnexported(header{}, toc{}, symbolGroup{}, labelName{}, entryGroup{})

func TestHeaderGolden(t *testing.T) {
	path := filepath.Join("testdata", "header-v1.golden")
	if *rewrite {
		if err := os.WriteFile(path, goldenHeader().encode(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := goldenHeader().encode(); !bytes.Equal(got, want) {
		t.Errorf("header is\n%x, want\n%x", got, want)
	}
	h, err := decodeHeader(want)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(goldenHeader(), h, headerEqual); d != "" {
		t.Error(d)
	}
}

func TestHeaderFind(t *testing.T) {
	h := goldenHeader()
	for value, want := range map[string]int{"pod-00": 2, "pod-31": 2, "pod-32": 3, "pod-39": 3, "pod-4": -1, "a": -1} {
		n, _ := h.name("pod")
		g, ok := h.find(n, value)
		if !ok {
			g = -1
		}
		if g != want {
			t.Errorf("group of pod=%s is %d, want %d", value, g, want)
		}
	}
	if _, ok := h.name("po"); ok {
		t.Error("a label that isn't there was found")
	}
}

func TestHeaderRefusesDisorder(t *testing.T) {
	for i, spoil := range []func(h *header){
		func(h *header) { h.names[1].name = "zzz" },
		func(h *header) { h.names[2].n = 1 },
		func(h *header) { h.groups[3].value = "pod" },
		func(h *header) { h.groups[3].entry = 8100 },
		func(h *header) { h.tableEnd = 9990 },
		func(h *header) { h.symbols[1].off = 12 },
		func(h *header) { h.symbolsEnd = 1001 },
		func(h *header) { h.indexSize = 100 },
		func(h *header) { h.toc.series = 4 },
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			h := goldenHeader()
			spoil(h)
			if _, err := decodeHeader(h.encode()); err == nil {
				t.Error("it was taken")
			}
		})
	}
}

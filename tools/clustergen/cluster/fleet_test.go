package cluster

import (
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
)

// A fleet's series are those of its clusters, in one order.
func TestFleet(t *testing.T) {
	var f Fleet
	want := map[string]int{}
	for i, name := range []string{"b", "a", "c"} {
		from := int64(newYear) + int64(i)*hour
		c := Random(Config{Seed: uint64(i), Name: name, Nodes: 2, Pods: 5, Span: Span{From: from, To: from + hour}})
		f = append(f, c)
		for s := range c.Series(newYear, newYear+3*hour) {
			want[s.Labels.String()] = len(s.Samples(nil, newYear, newYear+3*hour))
		}
	}
	if f.Watched() != (Span{newYear, newYear + 3*hour}) {
		t.Errorf("watched %v", f.Watched())
	}
	last, n := labels.EmptyLabels(), 0
	for s := range f.Series(newYear, newYear+3*hour) {
		if n > 0 && labels.Compare(last, s.Labels) >= 0 {
			t.Fatalf("%s after %s", s.Labels, last)
		}
		if got, ok := want[s.Labels.String()]; !ok || got != len(s.Samples(nil, newYear, newYear+3*hour)) {
			t.Errorf("%s is not a series of a cluster's", s.Labels)
		}
		last, n = s.Labels, n+1
	}
	if n != len(want) || n < 500 {
		t.Errorf("%d series, want %d", n, len(want))
	}
	for range f.Series(newYear, newYear+hour) { // ends early without a fuss
		break
	}
}

// The rest adds series and changes none, in the order of labels.
func TestRest(t *testing.T) {
	cfg := Config{Seed: 4, Name: "c", Nodes: 2, Pods: 20, Span: Span{From: newYear, To: newYear + hour}, NodeExporter: true}
	plain := map[string]bool{}
	for s := range Random(cfg).Series(cfg.From, cfg.To) {
		plain[s.Labels.String()] = true
	}
	cfg.Rest = true
	last, n, moving := labels.EmptyLabels(), 0, 0
	for s := range Random(cfg).Series(cfg.From, cfg.To) {
		if n > 0 && labels.Compare(last, s.Labels) >= 0 {
			t.Fatalf("%s after %s", s.Labels, last)
		}
		last, n = s.Labels, n+1
		samples := s.Samples(nil, cfg.From, cfg.To)
		if !plain[s.Labels.String()] && len(samples) > 1 && samples[0].V != samples[len(samples)-2].V {
			moving++
		}
		if name := s.Labels.Get("__name__"); strings.HasSuffix(name, "_total") {
			for i := 1; i < len(samples); i++ {
				if samples[i].V < samples[i-1].V {
					t.Fatalf("counter %s falls", s.Labels)
				}
			}
		}
		delete(plain, s.Labels.String())
	}
	if len(plain) > 0 || n < 5000 || moving < n/5 {
		t.Errorf("%d series are missing; of %d series %d move", len(plain), n, moving)
	}
}

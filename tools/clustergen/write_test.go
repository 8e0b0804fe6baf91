package main

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/integration"
	"github.com/varve-io/varve/tools/clustergen/cluster"
)

// A real Varve that was written to answers with the cluster's samples, bit by bit.
func TestVarveStoresWhatIsWritten(t *testing.T) {
	t.Chdir("../../integration") // where the parts are looked for from
	n := integration.Varve(t, "all", nil)
	n.Start()
	n.WaitReady()
	now := time.Now().UnixMilli()
	o := &options{url: n.PushURL(), tenant: "sim", senders: 3, window: 7 * time.Minute}
	c := cluster.Random(cluster.Config{Seed: 5, Name: "sim", Nodes: 2, Pods: 10, Span: cluster.Span{From: now - hour/3, To: now}, Faults: true, Life: 120_000})
	if err := write(context.Background(), o, cluster.Fleet{c}); err != nil {
		t.Fatal(err)
	}
	got, err := n.AsTenant("sim").Read(time.UnixMilli(c.From), time.UnixMilli(c.To), integration.Everything())
	if err != nil {
		t.Fatal(err)
	}
	want := integration.Samples{}
	for s := range c.Series(c.From, c.To) {
		for _, x := range s.Samples(nil, c.From, c.To) {
			name := named(s.Labels)
			want[name] = append(want[name], integration.Sample{Time: x.T, Value: fmt.Sprintf("%016x", math.Float64bits(x.V))})
		}
	}
	if want.Count() < 10_000 {
		t.Errorf("only %d samples", want.Count())
	}
	if d := integration.Diff(want, got); d != "" {
		t.Errorf("what was written and what is read differ:\n%s", d)
	}
}

// named spells labels as a read does.
func named(ls labels.Labels) string {
	var pairs []string
	ls.Range(func(l labels.Label) { pairs = append(pairs, fmt.Sprintf("%s=%q", l.Name, l.Value)) })
	return strings.Join(pairs, ", ")
}

// What can't be written says from when on.
func TestWriteStopsAtARefusal(t *testing.T) {
	t.Chdir("../../integration")
	n := integration.Varve(t, "all", nil)
	n.Start()
	n.WaitReady()
	o, c := testOptions("")
	o.url, o.senders, o.window, o.tenant = n.PushURL(), 1, 5*time.Minute, "sim"
	c.From -= 10 * 365 * 24 * hour // far beyond the window into the past
	c.To = c.From + hour/4
	for i := range c.Nodes {
		c.Nodes[i].From = c.From - hour
	}
	err := write(context.Background(), o, cluster.Fleet{c})
	if err == nil || !strings.Contains(err.Error(), "past_window") {
		t.Errorf("got %v, want a refusal that names past_window", err)
	}
}

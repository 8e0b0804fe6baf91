package cost_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/varve-io/varve/pkg/cost"
)

// From 00:20 to 00:40 of an hour: a pod that lived from 00:30 to 00:50, its node that came at 00:10, and half of a volume.
func TestPartsAreProRata(t *testing.T) {
	const minute = int64(60_000)
	at := func(m int64) int64 { return start + m*minute }
	w := cost.Workload{
		Owner: cost.Owner{Pod: "p"}, Container: "c", Node: "n", From: at(30), To: at(50), Alive: 20 * minute,
		CPU: cost.Held{Used: 200, Unused: 31, Unknown: 7, Request: 91, Limit: 400}, CPUKnown: 18 * minute, Network: cost.Network{Received: 3, Sent: 1000},
	}
	n := cost.Node{Name: "n", From: at(10), To: at(60), Up: 50 * minute, CPU: cost.Capacity{Capacity: 500, Allocatable: 400, Used: 250}}
	v := cost.Asset{Kind: cost.VolumeAsset, Name: "v", From: start, To: start + hour, Quantity: 100}
	s := cost.Share{Owner: w.Owner, Kind: cost.VolumeAsset, Asset: "v", From: start, Quantity: 61}
	scalings := []cost.Scaling{{At: at(20) - 1}, {At: at(20)}, {At: at(40)}}
	h := &cost.Hour{Start: start, Workloads: []cost.Workload{w}, Nodes: []cost.Node{n}, Assets: []cost.Asset{v}, Shares: []cost.Share{s}, Scalings: scalings}
	got, err := h.Part(at(20), at(40))
	if err != nil {
		t.Fatal(err)
	}
	w.To, w.Alive, w.CPU, w.CPUKnown = at(40), 10*minute, cost.Held{Used: 100, Unused: 15, Unknown: 3, Request: 45, Limit: 200}, 9*minute
	w.Network = cost.Network{Received: 1, Sent: 500}
	n.From, n.To, n.Up, n.CPU = at(20), at(40), 20*minute, cost.Capacity{Capacity: 200, Allocatable: 160, Used: 100}
	s.From, s.Quantity = at(20), 20               // of 61: 20 until 00:20, 40 until 00:40
	v.From, v.To, v.Quantity = at(20), at(40), 33 // of the 39 that are left: 13 and 26
	want := &cost.Hour{Start: start, From: at(20), To: at(40), Workloads: []cost.Workload{w}, Nodes: []cost.Node{n}, Assets: []cost.Asset{v}, Shares: []cost.Share{s}, Scalings: scalings[1:2]}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	h.Shares[0].Quantity = 101
	if _, err := h.Part(at(20), at(40)); err == nil || !strings.Contains(err.Error(), "more than it is") {
		t.Errorf("shares of more than there is: %v", err)
	}
	h.Nodes[0].CPU.Capacity = -1
	if _, err := h.Part(at(20), at(40)); err == nil || !strings.Contains(err.Error(), "negative") {
		t.Errorf("a negative capacity: %v", err)
	}
}

// hourSums are what the parts of an hour have to have together.
func hourSums(hours ...*cost.Hour) map[string]int64 {
	sums := map[string]int64{}
	for _, h := range hours {
		for _, n := range h.Nodes {
			key := "node " + n.Cluster + n.Name + n.InstanceType + n.Zone
			sums[key+" cpu"] += n.CPU.Capacity
			sums[key+" ram"] += n.RAM.Capacity
			sums[key+" gpu"] += n.GPU.Capacity
		}
		for _, w := range h.Workloads {
			key := w.Cluster + w.Pod + w.Container
			for i, held := range []cost.Held{w.CPU, w.RAM, w.GPU} {
				resource := key + string(rune('0'+i))
				sums[resource+" used"] += held.Used
				sums[resource+" unused"] += held.Unused
				sums[resource+" unknown"] += held.Unknown
				sums[resource+" request"] += held.Request
			}
			sums[key+" traffic"] += w.Network.Received + w.Network.Sent
		}
		for _, a := range h.Assets {
			sums["asset "+string(a.Kind)+a.Cluster+a.Name] += a.Quantity
		}
		for _, s := range h.Shares {
			sums["share "+string(s.Kind)+s.Cluster+s.Asset+s.Pod+s.Labels.Get("team")] += s.Quantity
		}
	}
	return sums
}

// However an hour is cut, its parts add up to it to the unit, each can be divided by the law, and reports of them are their bill.
func TestPartsAddUpToTheHour(t *testing.T) {
	b := bookOf(t, book)
	rapid.Check(t, func(t *rapid.T) {
		h := anyHour(t, 0)
		for i := range h.Nodes {
			h.Nodes[i].From = h.Nodes[i].To - h.Nodes[i].Up
		}
		h.Workloads = slices.DeleteFunc(h.Workloads, func(w cost.Workload) bool { return w.From == w.To }) // as joining makes them
		names := cost.NewNames()
		var parts []*cost.Hour
		var ledgers []*cost.Ledger
		for from := h.Start; from < h.Start+hour; {
			to := min(from+60_000*rapid.Int64Range(5, 60).Draw(t, "minutes"), h.Start+hour)
			p, err := h.Part(from, to)
			if err != nil {
				t.Fatal(err)
			}
			l, err := cost.MaxRequestUsage.Ledger(p, names)
			if err != nil {
				t.Fatal(err)
			}
			if l.From != from || l.To != to {
				t.Fatalf("[%d, %d) is [%d, %d)", from, to, l.From, l.To)
			}
			parts, ledgers, from = append(parts, p), append(ledgers, l), to
		}
		if diff := cmp.Diff(hourSums(h), hourSums(parts...)); diff != "" {
			t.Fatal(diff)
		}
		q := cost.Query{From: h.Start, To: h.Start + hour, By: []string{"namespace", "pod"}, Sharing: anySharing(t)}
		verify(t, report(t, q, b, ledgers...))
	})
}

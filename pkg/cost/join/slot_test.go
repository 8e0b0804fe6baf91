package join

import (
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/tools/clustergen/cluster"
)

// tally is what is summed of an hour or its parts, by what it is of.
type tally map[string]int64

func tallyOf(hours ...*cost.Hour) tally {
	t := tally{}
	for _, h := range hours {
		for _, w := range h.Workloads {
			k := strings.Join([]string{w.Namespace, w.Pod, w.UID, w.Container, w.Node, w.Provider, w.Controller.String(), w.QoS, w.Labels.Get("tier"), string(w.Class)}, "/")
			for name, v := range map[string]int64{
				"alive": w.Alive, "cpu used": w.CPU.Used, "cpu unused": w.CPU.Unused, "cpu request": w.CPU.Request, "cpu unknown": w.CPU.Unknown, "cpu limit": w.CPU.Limit,
				"cpu known": w.CPUKnown, "ram known": w.RAMKnown, "gpu known": w.GPUKnown, "gpu used": w.GPU.Used, "gpu unused": w.GPU.Unused,
				"received": w.Network.Received, "sent": w.Network.Sent,
				"ram used": w.RAM.Used, "ram unused": w.RAM.Unused, "ram unknown": w.RAM.Unknown, "ram request": w.RAM.Request, "ram limit": w.RAM.Limit, "read": w.Disk.Read, "written": w.Disk.Written,
			} {
				t[k+" "+name] += v
			}
			for i, s := range []cost.Sketch{w.CPUSketch, w.RAMSketch} {
				for _, b := range s {
					t[k+" sketch "+strconv.Itoa(i)+" "+strconv.Itoa(int(b.Index))] += b.Millis
				}
			}
			t[k+" peak"] = max(t[k+" peak"], w.CPUPeak)
			t[k+" ram peak"] = max(t[k+" ram peak"], w.RAMPeak)
		}
		for _, n := range h.Nodes {
			k := n.Name + "/" + n.Provider + "/" + n.InstanceType + n.Labels.Get("pool")
			t[k+" up"] += n.Up
			t[k+" blind"] += n.Blind
			for i, c := range []cost.Capacity{n.CPU, n.RAM, n.GPU} {
				for name, v := range map[string]int64{"capacity": c.Capacity, "allocatable": c.Allocatable, "blind": c.Blind, "used": c.Used} {
					t[k+" "+name+" "+strconv.Itoa(i)] += v
				}
			}
		}
		for _, a := range h.Assets {
			t[string(a.Kind)+" "+a.Namespace+" "+a.Name+" in "+a.Zone] += a.Quantity
		}
		for _, s := range h.Shares {
			t[string(s.Kind)+" "+s.Asset+" of "+s.UID+s.Labels.Get("tier")] += s.Quantity
		}
		for _, s := range h.Scalings {
			t["scaling "+s.Controller.String()] += s.After - s.Before
		}
		for _, s := range h.Scalers {
			k := "autoscaler " + s.Namespace + " " + s.Controller.String()
			t[k+" known"], t[k+" at min"], t[k+" at max"] = t[k+" known"]+s.Known, t[k+" at min"]+s.AtMin, t[k+" at max"]+s.AtMax
		}
	}
	maps.DeleteFunc(t, func(_ string, v int64) bool { return v == 0 })
	return t
}

// Random clusters with outages or twins, each cut at random: parts of an hour add up to it, in all they have.
func TestPartsOfAnHour(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 7))
		cfg := cluster.Config{Seed: seed, Faults: seed%3 == 1, Twins: seed%3 == 2, Classes: seed%2 == 0, Nodes: 2, Pods: 10, Life: hourLength, Interval: 60_000}
		cfg.Span = cluster.Span{From: begin - hourLength, To: begin + 2*hourLength}
		g := generate(t, cfg.From, cfg.To, cluster.Random(cfg))
		opts := Options{Tenant: tenant.Anonymous, Start: begin, Labels: []string{"app", "tier"}}
		whole, err := Hour(t.Context(), g, opts)
		if err != nil {
			t.Fatal(err)
		}
		cuts := []int64{opts.Start, opts.Start + 1 + rng.Int64N(20*60_000), opts.Start + 20*60_000 + 1 + rng.Int64N(40*60_000-1), opts.Start + hourLength}
		var parts []*cost.Hour
		for i := range cuts[1:] {
			opts.From, opts.To = cuts[i], cuts[i+1]
			h, err := Hour(t.Context(), g, opts)
			if err != nil {
				t.Fatal(err)
			}
			inside(t, h)
			parts = append(parts, h)
		}
		if d := cmp.Diff(tallyOf(whole), tallyOf(parts...)); d != "" {
			t.Errorf("seed %d: the whole (-) and its parts %d (+):\n%s", seed, cuts, d)
		}
	}
}

// inside checks that nothing of a part is outside of it, and that the law divides it.
func inside(t *testing.T, h *cost.Hour) {
	t.Helper()
	for _, w := range h.Workloads {
		if w.From < h.From || w.To > h.To {
			t.Errorf("%s is in [%d, %d), the part in [%d, %d)", w.Pod, w.From, w.To, h.From, h.To)
		}
	}
	if l, err := cost.MaxRequestUsage.Ledger(h, cost.NewNames()); err != nil || l.From != h.From || l.To != h.To {
		t.Errorf("the ledger of [%d, %d): %v", h.From, h.To, err)
	}
}

func TestNoPartOfTheHour(t *testing.T) {
	w := load(t, n1, agent)
	for _, x := range [][2]int64{{begin - 1, begin + 1}, {begin, begin + hourLength + 1}, {begin + 5, begin + 5}, {begin + 9, 0}} {
		_, err := Hour(t.Context(), w, Options{Start: begin, From: x[0], To: x[1]})
		if err == nil || !strings.Contains(err.Error(), "no part of the hour") {
			t.Errorf("[%d, %d): %v", x[0], x[1], err)
		}
	}
}

// A window of 90 minutes that begins and ends within hours.
func TestLedgersOfAWindowThatCutsHours(t *testing.T) {
	w := load(t, n1, agent)
	q := cost.Query{From: begin + 20*60_000, To: begin + 110*60_000}
	var got [][2]int64
	for l, err := range Ledgers(t.Context(), w, Options{Tenant: tenant.Anonymous}, q) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, [2]int64{l.From, l.To})
	}
	if d := cmp.Diff([][2]int64{{q.From, begin + hourLength}, {begin + hourLength, q.To}}, got); d != "" {
		t.Error(d)
	}
}

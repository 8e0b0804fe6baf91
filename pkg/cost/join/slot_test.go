package join

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/tools/clustergen/cluster"
)

// tally is what is summed of an hour or its parts, by what it is of; exact has what no rounding touches.
type tally struct{ exact, rounded map[string]int64 }

func tallyOf(hours ...*cost.Hour) tally {
	t := tally{map[string]int64{}, map[string]int64{}}
	for _, h := range hours {
		for _, w := range h.Workloads {
			k := strings.Join([]string{w.Namespace, w.Pod, w.UID, w.Container, w.Node, w.Provider, w.Controller.String(), w.QoS, string(w.Class)}, "/")
			for name, v := range map[string]int64{
				"alive": w.Alive, "cpu used": w.CPU.Used, "cpu unused": w.CPU.Unused, "cpu request": w.CPU.Request, "cpu unknown": w.CPU.Unknown, "cpu limit": w.CPU.Limit,
				"cpu known": w.CPUKnown, "ram known": w.RAMKnown, "gpu known": w.GPUKnown, "gpu used": w.GPU.Used, "gpu unused": w.GPU.Unused,
				"received": w.Network.Received, "sent": w.Network.Sent, "read": w.Disk.Read, "written": w.Disk.Written,
			} {
				t.exact[k+" "+name] += v
			}
			for i, s := range []cost.Sketch{w.CPUSketch, w.RAMSketch} {
				for _, b := range s {
					t.exact[k+" sketch "+strconv.Itoa(i)+" "+strconv.Itoa(int(b.Index))] += b.Millis
				}
			}
			t.exact[k+" peak"] = max(t.exact[k+" peak"], w.CPUPeak)
			t.exact[k+" ram peak"] = max(t.exact[k+" ram peak"], w.RAMPeak)
			for name, v := range map[string]int64{"ram used": w.RAM.Used, "ram unused": w.RAM.Unused,
				"ram unknown": w.RAM.Unknown, "ram request": w.RAM.Request} {
				t.rounded[k+" "+name] += v
			}
		}
		for _, n := range h.Nodes {
			k := n.Name + "/" + n.Provider + "/" + n.InstanceType
			for name, v := range map[string]int64{"up": n.Up, "blind": n.Blind, "cpu": n.CPU.Capacity, "cpu allocatable": n.CPU.Allocatable, "gpu": n.GPU.Capacity} {
				t.exact[k+" "+name] += v
			}
			for name, v := range map[string]int64{"ram": n.RAM.Capacity, "ram allocatable": n.RAM.Allocatable, "ram blind": n.RAM.Blind} {
				t.rounded[k+" "+name] += v
			}
		}
		for _, a := range h.Assets {
			t.rounded[string(a.Kind)+" "+a.Namespace+" "+a.Name] += a.Quantity
		}
		for _, s := range h.Shares {
			t.rounded[string(s.Kind)+" "+s.Asset+" of "+s.UID] += s.Quantity
		}
		for _, s := range h.Scalings {
			t.exact["scaling "+s.Controller.String()] += s.After - s.Before
		}
	}
	return t
}

// Random clusters, cut at random: parts of an hour add up to it, but for one unit of each row and part where docs/cost.md says so.
func TestPartsOfAnHour(t *testing.T) {
	for seed := range uint64(3) {
		rng := rand.New(rand.NewPCG(seed, 7))
		cfg := cluster.Config{Seed: seed, Faults: seed == 1, Twins: seed == 2, Classes: true, Nodes: 3, Pods: 25, Life: hourLength, Interval: 30_000}
		cfg.Span = cluster.Span{From: begin - 2*hourLength, To: begin + 4*hourLength}
		g := generate(t, cfg.From, cfg.To, cluster.Random(cfg))
		for range 2 {
			opts := Options{Tenant: tenant.Anonymous, Start: begin + rng.Int64N(2)*hourLength}
			whole, err := Hour(t.Context(), g, opts)
			if err != nil {
				t.Fatal(err)
			}
			cuts := []int64{opts.Start, opts.Start + 20*60_000, opts.Start + 20*60_000 + 1 + rng.Int64N(40*60_000-1), opts.Start + hourLength}
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
			compareTallies(t, tallyOf(whole), tallyOf(parts...), rowsOf(append(parts, whole)...))
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

// rowsOf is how often something of one key may have been rounded.
func rowsOf(hours ...*cost.Hour) int64 {
	rows, most := map[string]int64{}, int64(0)
	for _, h := range hours {
		for _, w := range h.Workloads {
			rows[w.UID+" "+w.Container]++
			most = max(most, rows[w.UID+" "+w.Container])
		}
		for _, n := range h.Nodes {
			rows[n.Provider]++
			most = max(most, rows[n.Provider])
		}
	}
	return most
}

func compareTallies(t *testing.T, want, got tally, bound int64) {
	t.Helper()
	for _, m := range []map[string]int64{want.exact, got.exact, want.rounded, got.rounded} {
		maps.DeleteFunc(m, func(_ string, v int64) bool { return v == 0 })
	}
	if d := cmp.Diff(want.exact, got.exact); d != "" {
		t.Errorf("the whole (-) and its parts (+):\n%s", d)
	}
	keys := slices.Concat(slices.Collect(maps.Keys(want.rounded)), slices.Collect(maps.Keys(got.rounded)))
	for _, k := range keys {
		if off := got.rounded[k] - want.rounded[k]; max(off, -off) > bound {
			t.Errorf("%s is %d in the hour, its parts are %d", k, want.rounded[k], got.rounded[k])
		}
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

package join

import (
	"slices"
	"testing"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/price"
	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/tools/clustergen/cluster"
)

// What is found of generated clusters can be divided and priced: lines are the bill, and a roll-up is its hours.
func TestGeneratedClustersHaveABill(t *testing.T) {
	for seed := range uint64(3) {
		c := cluster.Random(cluster.Config{
			Seed: seed, Span: cluster.Span{From: begin - 2*hourLength, To: begin + 4*hourLength}, Nodes: 3, Pods: 25, Life: hourLength, Interval: 30_000, Classes: true,
		})
		g := generate(t, begin-2*hourLength, begin+4*hourLength, c)
		names := cost.NewNames()
		var ledgers []*cost.Ledger
		for n := range int64(2) {
			h, err := Hour(t.Context(), g, Options{Tenant: tenant.Anonymous, Start: begin + n*hourLength})
			if err != nil {
				t.Fatal(err)
			}
			l, err := cost.MaxRequestUsage.Ledger(h, names)
			if err != nil {
				t.Fatal(err)
			}
			ledgers = append(ledgers, l)
		}
		sum, err := cost.RollUp(begin, begin+2*hourLength, ledgers...)
		if err != nil {
			t.Fatal(err)
		}
		hours, rolled := bill(t, ledgers...), bill(t, sum)
		if !slices.ContainsFunc(hours.Lines, func(l *cost.Line) bool { return !l.Network.IsZero() }) {
			t.Errorf("seed %d: nothing is paid for traffic", seed)
		}
		if hours.Residual != "0" || hours.Total.IsZero() || rolled.Hash != hours.Hash {
			t.Errorf("seed %d: total %v, residual %s; hash %s of hours, %s of the roll-up", seed, hours.Total, hours.Residual, hours.Hash, rolled.Hash)
		}
	}
}

func bill(t *testing.T, ledgers ...*cost.Ledger) *cost.Report {
	t.Helper()
	book, err := price.Parse([]byte(classesBook))
	if err != nil {
		t.Fatal(err)
	}
	b, err := cost.NewBuilder(cost.Query{From: begin, To: begin + 2*hourLength, By: []string{"namespace", "controller", "zone"}}, book)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range ledgers {
		if err := b.Add(l); err != nil {
			t.Fatal(err)
		}
	}
	r, err := b.Report()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

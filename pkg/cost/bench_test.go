package cost_test

import (
	"fmt"
	"testing"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/money"
)

// year is 365 daily roll-ups of 10,000 workloads in 100 namespaces, on nodes of 20 classes.
func year() []*cost.Ledger {
	names := cost.NewNames()
	var subjects, places [10_000]uint32
	for i := range subjects {
		subjects[i] = names.Subject(cost.Subject{Owner: cost.Owner{
			Cluster: "c", Namespace: fmt.Sprint("ns", i%100), Controller: cost.Controller{Kind: "Deployment", Name: fmt.Sprint("app", i)},
		}})
		places[i] = names.Place(cost.Place{Class: cost.Class{Kind: cost.NodeClass, Cluster: "c", Type: fmt.Sprint("type", i%20), Size: cost.Size{CPU: 4000, RAM: 16 << 30}}})
	}
	all := make([]*cost.Ledger, 365)
	items := make([]cost.Item, len(subjects))
	assets := make([]cost.AssetItem, 20)
	for i := range items {
		q := money.Units(int64(i+1) * 1_000_003)
		parts := cost.Parts{Used: q, Unused: q, Unknown: q, Request: q.Plus(q)}
		items[i] = cost.Item{Subject: subjects[i], Place: places[i], CPU: parts, RAM: parts, Alive: 86_400_000}
		a := &assets[i%20]
		a.Place, a.Subject = places[i%20], subjects[0]
		a.CPU.Capacity = a.CPU.Capacity.Plus(q).Plus(q).Plus(q)
		a.RAM.Capacity = a.CPU.Capacity
	}
	for d := range all {
		from := int64(start + d*24*hour)
		all[d] = &cost.Ledger{From: from, To: from + 24*hour, Method: cost.MaxRequestUsage, Names: names, Items: items, Assets: assets}
	}
	return all
}

func BenchmarkYear(b *testing.B) {
	ledgers := year()
	prices := bookOf(b, "currency: USD\nprices: [{from: 2025-01-01, nodes: [{match: {instance_type: type1}, node_hour: 0.2}, {cpu_core_hour: 0.03, ram_gib_hour: 0.004}]}]")
	for _, c := range []struct {
		name string
		q    cost.Query
	}{
		{"namespace and day", cost.Query{By: []string{"namespace"}, Step: cost.StepDay}},
		{"controller", cost.Query{By: []string{"namespace", "controller"}}},
		{"controller and month", cost.Query{By: []string{"namespace", "controller"}, Step: cost.StepMonth}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			c.q.From, c.q.To = ledgers[0].From, ledgers[364].To
			for b.Loop() {
				r := report(b, c.q, prices, ledgers...)
				if r.Residual != "0" {
					b.Fatal(r.Residual)
				}
			}
		})
	}
	b.Run("scale events", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			e := scales(b, cost.Query{From: ledgers[0].From, To: ledgers[364].To}, prices, ledgers...)
			if len(e.Creep.Workloads) != 10_000 {
				b.Fatal(len(e.Creep.Workloads))
			}
		}
	})
}

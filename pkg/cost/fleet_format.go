package cost

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/varve-io/varve/pkg/cost/money"
)

type fleetJSON struct {
	Currency string          `json:"currency"`
	Window   Window          `json:"window"`
	Step     Step            `json:"step"`
	Total    money.Nanos     `json:"total"`
	Hash     string          `json:"hash"`
	Assets   []fleetLineJSON `json:"assets"`
	Next     string          `json:"next,omitempty"`
	Warnings []Warning       `json:"warnings"`
}

type fleetLineJSON struct {
	Kind         ClassKind           `json:"kind"`
	From         *Time               `json:"from,omitempty"`
	Cluster      string              `json:"cluster"`
	Name         string              `json:"name,omitempty"`
	ProviderID   string              `json:"provider_id,omitempty"`
	Type         string              `json:"type,omitempty"`
	Region       string              `json:"region,omitempty"`
	Zone         string              `json:"zone,omitempty"`
	Spot         bool                `json:"spot,omitempty"`
	Labels       map[string]string   `json:"labels,omitempty"`
	Namespace    string              `json:"namespace,omitempty"`
	Claim        string              `json:"claim,omitempty"`
	Cost         money.Nanos         `json:"cost"`
	Overhead     money.Nanos         `json:"overhead"`
	CPU          *Utilization        `json:"cpu,omitempty"`
	RAM          *Utilization        `json:"ram,omitempty"`
	GPU          *Utilization        `json:"gpu,omitempty"`
	Milliseconds int64               `json:"up_milliseconds,omitempty"`
	Blind        int64               `json:"blind_milliseconds,omitempty"`
	Quantities   map[string]quantity `json:"quantities,omitempty"`
}

// Utilization is how much of the capacity of nodes was what: parts of 1, of four decimals. Held is what was billed to workloads; Used is
// by their own meters, NodeUsed by the node's.
type Utilization struct {
	Allocatable float64 `json:"allocatable"`
	Requested   float64 `json:"requested"`
	Held        float64 `json:"held"`
	Used        float64 `json:"used"`
	NodeUsed    float64 `json:"node_used"`
	Blind       float64 `json:"blind"`
}

// Utilization is that of CPU, RAM and GPU; nil of a resource without capacity.
func (l *FleetLine) Utilization() [3]*Utilization {
	var all [3]*Utilization
	for i, s := range l.supplies() {
		if s.Capacity.IsZero() {
			continue
		}
		whole, held := s.Capacity.Float(), &l.Held[i]
		of := func(q money.Quantity) float64 { return ratio(q.Float(), whole) }
		all[i] = &Utilization{
			Allocatable: of(s.Allocatable), Requested: of(held.Request), Held: of(held.sum()), Used: of(held.Used),
			NodeUsed: of(s.Used), Blind: of(s.Blind),
		}
	}
	return all
}

func (l *FleetLine) supplies() [3]*Supply { return [3]*Supply{&l.Sum.CPU, &l.Sum.RAM, &l.Sum.GPU} }

// quantities are what is paid for and how much of it was what.
func (l *FleetLine) quantities() []namedQuantity {
	all := make([]namedQuantity, 0, 22)
	for i, s := range l.supplies() {
		unit := [3]string{"cpu_core_microseconds_", "ram_byte_seconds_", "gpu_microseconds_"}[i]
		all = append(all,
			namedQuantity{unit + "capacity", s.Capacity}, namedQuantity{unit + "allocatable", s.Allocatable},
			namedQuantity{unit + "requested", l.Held[i].Request}, namedQuantity{unit + "held", l.Held[i].sum()},
			namedQuantity{unit + "used", l.Held[i].Used}, namedQuantity{unit + "overcommit", l.Held[i].Over},
			namedQuantity{unit + "node_used", s.Used})
	}
	amount := "milliseconds"
	if l.Place.Kind == VolumeClass {
		amount = "byte_seconds"
	}
	return append(all, namedQuantity{amount, l.Sum.Amount})
}

// MarshalJSON is the format of docs/cost.md.
func (f *Fleet) MarshalJSON() ([]byte, error) {
	j := f.json()
	j.Assets = make([]fleetLineJSON, len(f.Lines))
	for i, l := range f.Lines {
		j.Assets[i] = l.json(f.Step)
	}
	return json.Marshal(j)
}

// json is all but the lines.
func (f *Fleet) json() *fleetJSON {
	j := &fleetJSON{
		Currency: f.Currency, Window: f.Window, Step: f.Step, Total: f.Total, Hash: f.Hash,
		Next: f.Next, Warnings: f.Warnings,
	}
	if j.Warnings == nil {
		j.Warnings = []Warning{}
	}
	return j
}

func (l *FleetLine) json(step Step) fleetLineJSON {
	p, u := &l.Place, l.Utilization()
	j := fleetLineJSON{
		Kind: p.Kind, Cluster: p.Cluster, Name: p.Name, ProviderID: p.Provider, Type: p.Type, Region: p.Region, Zone: p.Zone, Spot: p.Spot,
		Namespace: l.Namespace, Claim: l.Claim, Cost: l.Cost, Overhead: l.Overhead, CPU: u[0], RAM: u[1], GPU: u[2],
		Milliseconds: l.Sum.Up, Blind: l.Sum.Blind, Quantities: map[string]quantity{},
	}
	if step != StepNone {
		j.From = &l.From
	}
	if len(p.Labels) > 0 {
		j.Labels = map[string]string{}
	}
	for _, label := range p.Labels {
		j.Labels[label.Name] = label.Value
	}
	for _, q := range l.quantities() {
		if !q.value.IsZero() {
			j.Quantities[q.name] = quantity(q.value)
		}
	}
	return j
}

// WriteTable writes the lines for people.
func (f *Fleet) WriteTable(w io.Writer) error {
	var t grid
	text := []string{"KIND"}
	if f.Step != StepNone {
		text = append(text, "FROM")
	}
	text = append(text, "CLUSTER", "NAME", "CLASS")
	t.columns(false, text...)
	t.columns(true, "COST", "CPU·H", "REQ", "USED", "RAM·GiBH", "REQ", "USED")
	places := decimals(f.Total)
	for _, l := range f.Lines {
		t.rows = append(t.rows, l.row(f.Step, places))
	}
	total := make([]string, len(t.header))
	total[0], total[len(text)] = "total", fixed(f.Total, places)
	t.rows = append(t.rows, total)
	if err := t.write(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s to %s, %s\n", f.Window.From, f.Window.To, f.Currency)
	if err == nil {
		err = f.Part.write(w)
	}
	for _, warning := range f.Warnings {
		if err == nil {
			_, err = fmt.Fprintln(w, "warning:", warning)
		}
	}
	return err
}

func (l *FleetLine) row(step Step, places int) []string {
	p := &l.Place
	row := []string{string(p.Kind)}
	if step != StepNone {
		row = append(row, l.From.String()[:len("2006-01-02T15:04")])
	}
	class := p.Type
	if p.Kind == NodeClass && p.Size != (Size{}) { // it has none if the line is of a cluster
		class = p.Class.String()
	}
	for _, s := range []string{p.Cluster, p.Name, class} {
		row = append(row, word(s))
	}
	row = append(row, fixed(l.Cost, places))
	u := l.Utilization()
	for i, unit := range [2]float64{3.6e9, 3600 << 30} {
		if u[i] == nil {
			row = append(row, "", "", "")
			continue
		}
		row = append(row, human(l.supplies()[i].Capacity.Float()/unit), fmt.Sprintf("%.0f%%", 100*u[i].Requested), fmt.Sprintf("%.0f%%", 100*u[i].Used))
	}
	return row
}

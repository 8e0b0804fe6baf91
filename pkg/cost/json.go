package cost

import (
	"bytes"
	"encoding/json"
	"math"

	"github.com/varve-io/varve/pkg/cost/money"
)

// lineJSON is a line as scripts read it. Its key is an object of the report's dimensions.
type lineJSON struct {
	Kind         string              `json:"kind"`
	From         *Time               `json:"from,omitempty"`
	Key          keyJSON             `json:"key"`
	Cost         money.Nanos         `json:"cost"`
	Used         *money.Nanos        `json:"used,omitempty"`
	Unused       *money.Nanos        `json:"unused,omitempty"`
	UsageUnknown *money.Nanos        `json:"usage_unknown,omitempty"`
	Shared       *money.Nanos        `json:"shared,omitempty"`
	CPU          money.Nanos         `json:"cpu"`
	RAM          money.Nanos         `json:"ram"`
	GPU          money.Nanos         `json:"gpu"`
	Storage      money.Nanos         `json:"storage"`
	Network      money.Nanos         `json:"network"`
	LB           money.Nanos         `json:"lb"`
	Other        *money.Nanos        `json:"other,omitempty"`
	Efficiency   map[string]float64  `json:"efficiency,omitempty"`
	Coverage     map[string]float64  `json:"coverage,omitempty"`
	Quantities   map[string]quantity `json:"quantities,omitempty"`
}

// quantity is a decimal string: numbers of JSON are exact to 2^53 only.
type quantity money.Quantity

func (q quantity) MarshalText() ([]byte, error) { return []byte(money.Quantity(q).String()), nil }

type keyJSON struct{ by, values []string }

// MarshalJSON keeps the order of dimensions.
func (k keyJSON) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, by := range k.by {
		if i > 0 {
			b.WriteByte(',')
		}
		for j, s := range []string{by, k.values[i]} {
			text, err := json.Marshal(s)
			if err != nil {
				return nil, err
			}
			b.Write(text)
			if j == 0 {
				b.WriteByte(':')
			}
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// MarshalJSON is the format of docs/cost.md.
func (r *Report) MarshalJSON() ([]byte, error) {
	type plain Report
	lines := make([]lineJSON, len(r.Lines))
	for i, l := range r.Lines {
		lines[i] = l.json(r.By, r.Step)
	}
	return json.Marshal(struct {
		*plain
		Lines []lineJSON `json:"lines"`
	}{(*plain)(r), lines})
}

func (l *Line) json(by []string, step Step) lineJSON {
	j := lineJSON{
		Kind: l.Kind.String(), Key: keyJSON{by, l.Key}, Cost: l.Cost,
		CPU: l.CPU, RAM: l.RAM, GPU: l.GPU, Storage: l.Storage, Network: l.Network, LB: l.LB,
		Quantities: map[string]quantity{},
	}
	if step != StepNone {
		j.From = &l.From
	}
	if !l.Other.IsZero() {
		j.Other = &l.Other
	}
	if l.Kind == Workloads {
		j.Used, j.Unused, j.UsageUnknown = &l.Used, &l.Unused, &l.UsageUnknown
		if !l.Shared.IsZero() {
			j.Shared = &l.Shared
		}
		j.Efficiency, j.Coverage = l.Efficiency(), l.Coverage()
	}
	for _, q := range l.quantities() {
		if !q.value.IsZero() {
			j.Quantities[q.name] = quantity(q.value)
		}
	}
	return j
}

type namedQuantity struct {
	name  string
	value money.Quantity
}

// quantityNames are those of a resource's used, unused, usage_unknown, requested and overcommit.
var quantityNames = [3][5]string{
	{"cpu_core_microseconds_used", "cpu_core_microseconds_unused", "cpu_core_microseconds_usage_unknown", "cpu_core_microseconds_requested", "cpu_core_microseconds_overcommit"},
	{"ram_byte_seconds_used", "ram_byte_seconds_unused", "ram_byte_seconds_usage_unknown", "ram_byte_seconds_requested", "ram_byte_seconds_overcommit"},
	{"gpu_microseconds_used", "gpu_microseconds_unused", "gpu_microseconds_usage_unknown", "gpu_microseconds_requested", "gpu_microseconds_overcommit"},
}

// quantities are what the line's money is for, and what is no money.
func (l *Line) quantities() []namedQuantity {
	all := make([]namedQuantity, 0, 24)
	for i, p := range l.Sum.parts() {
		for j, q := range [5]money.Quantity{p.Used, p.Unused, p.Unknown, p.Request, p.Over} {
			all = append(all, namedQuantity{quantityNames[i][j], q})
		}
	}
	t := &l.Sum.Traffic
	return append(all,
		namedQuantity{"storage_byte_seconds", l.Assets.Storage}, namedQuantity{"lb_milliseconds", l.Assets.LB}, namedQuantity{"milliseconds", l.Assets.Time},
		namedQuantity{"network_received_bytes", t.Received}, namedQuantity{"network_sent_bytes", t.Sent},
		namedQuantity{"disk_read_bytes", t.Read}, namedQuantity{"disk_written_bytes", t.Written},
		namedQuantity{"container_milliseconds", money.Units(l.Sum.Alive)})
}

// Efficiency is the part of what was held, while usage is known, that was used: by life and not by window. cost is of the money.
func (l *Line) Efficiency() map[string]float64 {
	e := map[string]float64{}
	for i, p := range l.Sum.parts() {
		if held := p.Used.Plus(p.Unused); !held.IsZero() {
			e[[3]string{"cpu", "ram", "gpu"}[i]] = ratio(p.Used.Float(), held.Float())
		}
	}
	if known := l.used.Plus(l.unused); !known.IsZero() {
		e["cost"] = ratio(l.used.Float(), known.Float())
	}
	return e
}

// Coverage is the part of its life in which usage is known.
func (l *Line) Coverage() map[string]float64 {
	c := map[string]float64{}
	if l.Sum.Alive > 0 {
		c["cpu"] = ratio(float64(l.Sum.CPUKnown), float64(l.Sum.Alive))
		c["ram"] = ratio(float64(l.Sum.RAMKnown), float64(l.Sum.Alive))
		if !l.Sum.GPU.sum().IsZero() {
			c["gpu"] = ratio(float64(l.Sum.GPUKnown), float64(l.Sum.Alive))
		}
	}
	return c
}

func (p *Parts) sum() money.Quantity { return p.Used.Plus(p.Unused).Plus(p.Unknown) }

// ratio has four decimals.
func ratio(part, whole float64) float64 { return math.Round(part/whole*10_000) / 10_000 }

package cost

import (
	"encoding/csv"
	"io"
	"strconv"
)

// WriteCSV writes the lines: kind, from if the report has steps, the dimensions, cost, its parts and pools, and all quantities.
func (r *Report) WriteCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	header := []string{"kind"}
	if r.Step != StepNone {
		header = append(header, "from")
	}
	header = append(header, r.By...)
	header = append(header, "cost", "used", "unused", "usage_unknown", "shared", "cpu", "ram", "gpu", "storage", "network", "lb", "other")
	for _, q := range (&Line{}).quantities() {
		header = append(header, q.name)
	}
	if err := c.Write(header); err != nil {
		return err
	}
	for _, l := range r.Lines {
		if err := c.Write(l.csv(r.Step)); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

func (l *Line) csv(step Step) []string {
	row := []string{l.Kind.String()}
	if step != StepNone {
		row = append(row, l.From.String())
	}
	for _, v := range l.Key {
		row = append(row, harmless(v))
	}
	row = append(row, l.Cost.String(), l.Used.String(), l.Unused.String(), l.UsageUnknown.String(), l.Shared.String(),
		l.CPU.String(), l.RAM.String(), l.GPU.String(), l.Storage.String(), l.Network.String(), l.LB.String(), l.Other.String())
	for _, q := range l.quantities() {
		row = append(row, q.value.String())
	}
	return row
}

// harmless keeps a spreadsheet from taking a label's value for a formula.
func harmless(s string) string {
	if s == "" {
		return s
	}
	switch s[0] {
	case '=', '+', '@', '\t', '\r':
		return "'" + s
	case '-':
		if _, err := strconv.ParseFloat(s, 64); err != nil {
			return "'" + s
		}
	}
	return s
}

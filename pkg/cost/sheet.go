package cost

import (
	"encoding/csv"
	"io"
	"math"
	"strconv"

	"github.com/varve-io/varve/pkg/cost/money"
)

// sheet is the lines of an answer as rows of typed cells: CSV and Parquet have the same columns.
type sheet struct {
	columns []sheetColumn
	rows    int
	// row appends the cells of a row, one for each column.
	row func(i int, cells []sheetCell) []sheetCell
	// about is what is told of the whole answer, as JSON, where the format has a place for it.
	about any
}

type sheetColumn struct {
	name     string
	of       cellType
	optional bool // cells may be empty
}

type cellType uint8

const (
	textCell cellType = iota
	timeCell
	flagCell
	moneyCell
	quantityCell
	floatCell
)

// sheetCell is a text, or a number: of milliseconds, billionths of the currency, or anything; 1 for true; the bits of a float.
type sheetCell struct {
	text   string
	number money.Quantity
	empty  bool // in an optional column
}

func moneyCells(to []sheetCell, all ...money.Nanos) []sheetCell {
	for _, n := range all {
		to = append(to, sheetCell{number: money.Quantity(n)})
	}
	return to
}

func (s *sheet) add(of cellType, names ...string) {
	for _, n := range names {
		s.columns = append(s.columns, sheetColumn{name: n, of: of})
	}
}

func (s *sheet) writeCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	words := make([]string, len(s.columns))
	for i := range s.columns {
		words[i] = s.columns[i].name
	}
	if err := c.Write(words); err != nil {
		return err
	}
	var cells []sheetCell
	for row := range s.rows {
		cells = s.row(row, cells[:0])
		for i := range cells {
			words[i] = cells[i].csv(s.columns[i].of)
		}
		if err := c.Write(words); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

func (c *sheetCell) csv(of cellType) string {
	if c.empty {
		return ""
	}
	switch of {
	case textCell:
		return harmless(c.text)
	case timeCell:
		return Time(c.number.Lo).String()
	case flagCell:
		return strconv.FormatBool(!c.number.IsZero())
	case moneyCell:
		return money.Nanos(c.number).String()
	case floatCell:
		return strconv.FormatFloat(math.Float64frombits(c.number.Lo), 'f', -1, 64)
	}
	return c.number.String()
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

// sheet has kind, from if the report has steps, the dimensions, cost, its parts and pools, and all quantities.
func (r *Report) sheet() *sheet {
	s := &sheet{rows: len(r.Lines)}
	s.add(textCell, "kind")
	if r.Step != StepNone {
		s.add(timeCell, "from")
	}
	s.add(textCell, r.By...)
	s.add(moneyCell, "cost", "used", "unused", "usage_unknown", "shared", "cpu", "ram", "gpu", "storage", "network", "lb", "other")
	for _, q := range (&Line{}).quantities() {
		s.add(quantityCell, q.name)
	}
	s.row = func(i int, cells []sheetCell) []sheetCell { return r.Lines[i].cells(r.Step, cells) }
	type plain Report
	s.about = struct {
		*plain
		Lines *int `json:"lines,omitempty"` // in place of those of the report
	}{plain: (*plain)(r)}
	return s
}

// WriteCSV writes the lines.
func (r *Report) WriteCSV(w io.Writer) error { return r.sheet().writeCSV(w) }

// WriteParquet writes the lines, and all else that JSON has of the report as its metadata.
func (r *Report) WriteParquet(w io.Writer) error { return r.sheet().writeParquet(w) }

func (l *Line) cells(step Step, cells []sheetCell) []sheetCell {
	cells = append(cells, sheetCell{text: l.Kind.String()})
	if step != StepNone {
		cells = append(cells, sheetCell{number: money.Units(int64(l.From))})
	}
	for _, v := range l.Key {
		cells = append(cells, sheetCell{text: v})
	}
	cells = moneyCells(cells, l.Cost, l.Used, l.Unused, l.UsageUnknown, l.Shared, l.CPU, l.RAM, l.GPU, l.Storage, l.Network, l.LB, l.Other)
	for _, q := range l.quantities() {
		cells = append(cells, sheetCell{number: q.value})
	}
	return cells
}

// sheet has what a line is of, costs, and all quantities. amount is of byte-seconds of volumes, else of milliseconds.
func (f *Fleet) sheet() *sheet {
	s := &sheet{rows: len(f.Lines)}
	s.add(textCell, "kind")
	s.add(timeCell, "from")
	s.add(textCell, "cluster", "name", "provider_id", "type", "region", "zone")
	s.add(flagCell, "spot")
	s.add(textCell, "namespace", "claim")
	s.add(moneyCell, "cost", "overhead")
	s.add(quantityCell, "up_milliseconds", "blind_milliseconds")
	for _, q := range (&FleetLine{}).quantities() {
		s.add(quantityCell, q.name)
	}
	s.columns[len(s.columns)-1].name = "amount"
	s.row = func(i int, cells []sheetCell) []sheetCell { return f.Lines[i].cells(cells) }
	s.about = struct {
		*fleetJSON
		Assets *int `json:"assets,omitempty"` // in place of those of the fleet
	}{fleetJSON: f.json()}
	return s
}

// WriteCSV writes the lines.
func (f *Fleet) WriteCSV(w io.Writer) error { return f.sheet().writeCSV(w) }

// WriteParquet writes the lines, and all else that JSON has of the fleet as its metadata.
func (f *Fleet) WriteParquet(w io.Writer) error { return f.sheet().writeParquet(w) }

func (l *FleetLine) cells(cells []sheetCell) []sheetCell {
	p := &l.Place
	cells = append(cells, sheetCell{text: string(p.Kind)}, sheetCell{number: money.Units(int64(l.From))})
	for _, s := range []string{p.Cluster, p.Name, p.Provider, p.Type, p.Region, p.Zone} {
		cells = append(cells, sheetCell{text: s})
	}
	spot := sheetCell{}
	if p.Spot {
		spot.number.Lo = 1
	}
	cells = append(cells, spot, sheetCell{text: l.Namespace}, sheetCell{text: l.Claim})
	cells = moneyCells(cells, l.Cost, l.Overhead)
	cells = append(cells, sheetCell{number: money.Units(l.Sum.Up)}, sheetCell{number: money.Units(l.Sum.Blind)})
	for _, q := range l.quantities() {
		cells = append(cells, sheetCell{number: q.value})
	}
	return cells
}

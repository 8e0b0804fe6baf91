package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// figures are what one run has measured.
type figures map[string]float64

// column is a figure as a table shows it.
type column struct {
	title  string
	figure string
	digits int
}

// row is what was measured, and the figures of each run.
type row struct {
	Name string    `json:"name"`
	Runs []figures `json:"runs"`
}

// table has the figures of a suite.
type table struct {
	Title string `json:"title"`
	Note  string `json:"note"`
	Rows  []*row `json:"rows"`

	columns []column
}

// add keeps one run's figures in the row of that name, which it makes if need be.
func (t *table) add(name string, f figures) {
	for _, r := range t.Rows {
		if r.Name == name {
			r.Runs = append(r.Runs, f)
			return
		}
	}
	t.Rows = append(t.Rows, &row{name, []figures{f}})
}

// markdown shows medians, with the least and the greatest where they differ.
func (t *table) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s\n\n", t.Title)
	titles := []string{"", "Runs"}
	for _, c := range t.columns {
		titles = append(titles, c.title)
	}
	fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(titles, " | "), strings.Repeat("---|", len(titles)))
	for _, r := range t.Rows {
		fmt.Fprintf(&b, "| %s | %d |", r.Name, len(r.Runs))
		for _, c := range t.columns {
			fmt.Fprintf(&b, " %s |", r.cell(c))
		}
		b.WriteByte('\n')
	}
	if t.Note != "" {
		fmt.Fprintf(&b, "\n%s\n", t.Note)
	}
	return b.String()
}

// cell is a figure's median and spread over a row's runs, or empty where it was not measured.
func (r *row) cell(c column) string {
	var values []float64
	for _, f := range r.Runs {
		if v, ok := f[c.figure]; ok {
			values = append(values, v)
		}
	}
	if len(values) == 0 {
		return "–"
	}
	show := func(v float64) string { return fmt.Sprintf("%.*f", c.digits, v) }
	low, high := show(slices.Min(values)), show(slices.Max(values))
	if low == high {
		return low
	}
	return fmt.Sprintf("%s (%s–%s)", show(median(values)), low, high)
}

// median of one value or more.
func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// ratio compares the medians of one figure in two rows; NaN if one has none.
func (t *table) ratio(figure, of, to string) float64 {
	return t.median(figure, of) / t.median(figure, to)
}

func (t *table) median(figure, name string) float64 {
	var values []float64
	for _, r := range t.Rows {
		for _, f := range r.Runs {
			if v, ok := f[figure]; ok && r.Name == name {
				values = append(values, v)
			}
		}
	}
	if len(values) == 0 {
		return math.NaN()
	}
	return median(values)
}

// merge puts other figures over f.
func (f figures) merge(other figures) figures {
	maps.Copy(f, other)
	return f
}

// summary is one run in one line.
func (t *table) summary(f figures) string {
	var parts []string
	for _, c := range t.columns {
		if v, ok := f[c.figure]; ok {
			parts = append(parts, fmt.Sprintf("%s %.*f", c.title, c.digits, v))
		}
	}
	return strings.Join(parts, ", ")
}

// loadTitle adds a load's size to a title.
func loadTitle(title string, s spec) string {
	return fmt.Sprintf("%s: %s series × %s samples", title, thousands(s.series), thousands(s.steps))
}

func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}

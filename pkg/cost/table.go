package cost

import (
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/varve-io/varve/pkg/cost/money"
)

// grid is rows of words, with numbers to the right.
type grid struct {
	header []string
	number []bool
	rows   [][]string
}

// WriteTable writes the report for people: columns aligned, money to the cent or as small as it must be, quantities in core-hours and
// GiB-hours, and below the lines what they add up to.
func (r *Report) WriteTable(w io.Writer) error {
	var t grid
	text := []string{"KIND"}
	if r.Step != StepNone {
		text = append(text, "FROM")
	}
	for _, by := range r.By {
		text = append(text, strings.ToUpper(by))
	}
	t.columns(false, text...)
	t.columns(true, "COST", "USED", "UNUSED", "UNKNOWN", "CPU·H", "EFF", "RAM·GiBH", "EFF")
	resources := 2
	for _, l := range r.all() {
		if !l.Sum.GPU.sum().IsZero() {
			resources = 3
		}
	}
	if resources == 3 {
		t.columns(true, "GPU·H", "EFF")
	}
	places := decimals(r.Total)
	for _, l := range r.Lines {
		t.rows = append(t.rows, l.row(r.Step, places, resources))
	}
	t.rows = append(t.rows, r.totals(len(text), len(t.header), places))
	if err := t.write(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s to %s, %s, %s; residual %s\n", r.Window.From, r.Window.To, r.Currency, r.Method, r.Residual)
	if err == nil {
		err = r.Part.write(w)
	}
	for _, warning := range r.Warnings {
		if err == nil {
			_, err = fmt.Fprintln(w, "warning:", warning)
		}
	}
	return err
}

// all are the lines of all pages.
func (r *Report) all() []*Line {
	if r.whole != nil {
		return r.whole.Lines
	}
	return r.Lines
}

// totals is the last row: what all lines cost, and workloads by use.
func (r *Report) totals(at, columns, places int) []string {
	row := make([]string, columns)
	var used, unused, unknown money.Nanos
	for _, l := range r.all() {
		used, unused, unknown = used.Plus(l.Used), unused.Plus(l.Unused), unknown.Plus(l.UsageUnknown)
	}
	row[0] = "total"
	for i, n := range []money.Nanos{r.Total, used, unused, unknown} {
		row[at+i] = fixed(n, places)
	}
	return row
}

// String is the warning for people.
func (w Warning) String() string {
	s := fmt.Sprintf("%s (%d", w.Name, w.Count)
	if w.Cluster != "" {
		s += ", cluster " + w.Cluster
	}
	if w.Example != "" {
		s += ", as " + w.Example
	}
	return s + ")"
}

// decimals is how many of them show three digits of the total at least.
func decimals(sum money.Nanos) int {
	total := money.Quantity(sum).Float() / 1e9
	places := 2
	for ; places < 9 && total > 0 && total*math.Pow10(places) < 100; places++ {
	}
	return places
}

func (l *Line) row(step Step, places, resources int) []string {
	row := []string{l.Kind.String()}
	if step != StepNone {
		row = append(row, l.From.String()[:len("2006-01-02T15:04")])
	}
	for _, v := range l.Key {
		row = append(row, word(v))
	}
	parts := []string{"", "", ""}
	if l.Kind == Workloads {
		parts = []string{fixed(l.Used, places), fixed(l.Unused, places), fixed(l.UsageUnknown, places)}
	}
	row = append(append(row, fixed(l.Cost, places)), parts...)
	efficiency := map[string]float64{}
	if l.Kind == Workloads {
		efficiency = l.Efficiency()
	}
	for i, name := range []string{"cpu", "ram", "gpu"}[:resources] {
		unit := [3]float64{3.6e9, 3600 << 30, 3.6e9}[i]
		row = append(row, human(l.Sum.parts()[i].sum().Float()/unit), percentOf(efficiency, name))
	}
	return row
}

// word is never empty, so that columns can be cut at spaces.
func word(s string) string {
	if s == "" {
		return "-"
	}
	return printable(s)
}

// printable has no control characters, which would move a terminal's cursor.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return '?'
		}
		return r
	}, s)
}

// fixed is money with a number of decimals, half up, and groups of three digits.
func fixed(n money.Nanos, places int) string {
	s := n.Fixed(places)
	whole, part, _ := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	return whole + "." + part
}

func human(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v < 0.01:
		return "<0.01"
	case v < 100:
		return fmt.Sprintf("%.2f", v)
	default:
		return fmt.Sprintf("%.0f", v)
	}
}

func percentOf(of map[string]float64, name string) string {
	v, ok := of[name]
	if !ok {
		return "-"
	}
	return fmt.Sprintf("%.0f%%", v*100)
}

func (t *grid) columns(number bool, names ...string) {
	for _, n := range names {
		t.header, t.number = append(t.header, n), append(t.number, number)
	}
}

func (t *grid) write(w io.Writer) error {
	widths := make([]int, len(t.header))
	all := append([][]string{t.header}, t.rows...)
	for _, row := range all {
		for i, s := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(s))
		}
	}
	t.fit(widths)
	for _, row := range all {
		var line strings.Builder
		for i, s := range row {
			if i > 0 {
				line.WriteString("  ")
			}
			s = shortened(s, widths[i])
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(s))
			if t.number[i] {
				line.WriteString(pad + s)
			} else {
				line.WriteString(s + pad)
			}
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(line.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}

const (
	// tableWidth is how wide tables should be: longer names are shortened for it, but not below shortNames.
	tableWidth = 100
	shortNames = 24
)

// fit narrows the widest columns of names until the table isn't too wide. CSV and JSON have whole names.
func (t *grid) fit(widths []int) {
	over := 2*(len(widths)-1) - tableWidth
	for _, w := range widths {
		over += w
	}
	for ; over > 0; over-- {
		widest := -1
		for i, w := range widths {
			if !t.number[i] && w > shortNames && (widest < 0 || w > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		widths[widest]--
	}
}

// shortened has … in place of what is too much of its middle: names differ at their ends.
func shortened(s string, width int) string {
	runes := []rune(s)
	if len(runes) <= width {
		return s
	}
	end := width / 2
	return string(runes[:width-end-1]) + "…" + string(runes[len(runes)-end:])
}

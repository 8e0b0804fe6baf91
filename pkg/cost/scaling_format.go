package cost

import (
	"fmt"
	"io"
	"slices"
	"strconv"
)

// tableRows is how many lines of a kind a table has: those that matter most. CSV and JSON have all.
const tableRows = 20

// WriteTable writes four tables for people: workloads, nodes, who came and left last, and what grew most.
func (e *ScaleEvents) WriteTable(w io.Writer) error {
	places := decimals(e.Idle.Plus(e.Unused))
	for _, part := range []func(io.Writer, int) error{e.writeWorkloads, e.writeNodes, e.writeChanges, e.writeCreep} {
		if err := part(w, places); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "%s to %s, %s; headroom: idle %s + unused %s = %s\n", e.Window.From, e.Window.To, e.Currency,
		fixed(e.Idle, places), fixed(e.Unused, places), fixed(e.Idle.Plus(e.Unused), places))
	if err == nil {
		err = e.Part.write(w)
	}
	for _, warning := range e.Warnings {
		if err == nil {
			_, err = fmt.Fprintln(w, "warning:", warning)
		}
	}
	return err
}

// short is the time without seconds and zone.
func (t Time) short() string { return t.String()[:len("2006-01-02T15:04")] }

// stepped are columns that begin with the step, where there are steps.
func (e *ScaleEvents) stepped(t *grid, text ...string) {
	if e.Step != StepNone {
		t.columns(false, "FROM")
	}
	t.columns(false, text...)
}

func (e *ScaleEvents) steppedRow(t *grid, from Time, text, numbers []string) {
	var row []string
	if e.Step != StepNone {
		row = append(row, from.short())
	}
	for _, s := range text {
		row = append(row, word(s))
	}
	t.rows = append(t.rows, append(row, numbers...))
}

func (e *ScaleEvents) writeWorkloads(w io.Writer, places int) error {
	var t grid
	e.stepped(&t, "CLUSTER", "NAMESPACE", "CONTROLLER")
	t.columns(true, "UPS", "DOWNS", "ADDED", "REMOVED", "LEAST", "MOST", "UNUSED")
	bounds := slices.ContainsFunc(e.Workloads, func(l ScaleLine) bool { return l.Autoscaled != nil })
	if bounds {
		t.columns(true, "MIN", "MAX", "AT MIN", "AT MAX", "KEPT")
	}
	dear, others := e.dear()
	for i := range e.Workloads {
		l := &e.Workloads[i]
		if l.Ups+l.Downs == 0 && !dear[l] {
			continue
		}
		numbers := make([]string, 6, 12)
		if l.Ups+l.Downs > 0 {
			for i, n := range []int64{l.Ups, l.Downs, l.Added, l.Removed, l.Least, l.Most} {
				numbers[i] = strconv.FormatInt(n, 10)
			}
		}
		numbers = append(numbers, fixed(l.Unused, places))
		if bounds {
			numbers = append(numbers, l.Autoscaled.cells(places)...)
		}
		e.steppedRow(&t, l.From, []string{l.Cluster, l.Namespace, l.Controller}, numbers)
	}
	title := "Workloads: changes of replicas, what was asked for and not used, and what of it their autoscaler's minimum kept"
	if others > 0 {
		title += fmt.Sprintf("; %d more left less unused", others)
	}
	return t.section(w, title)
}

// dear are, of the lines without changes, those that left most unused, and how many others there are.
func (e *ScaleEvents) dear() (dear map[*ScaleLine]bool, others int) {
	var still []*ScaleLine
	for i := range e.Workloads {
		if l := &e.Workloads[i]; l.Ups+l.Downs == 0 {
			still = append(still, l)
		}
	}
	slices.SortStableFunc(still, func(a, b *ScaleLine) int { return b.unused.Cmp(a.unused) })
	dear = map[*ScaleLine]bool{}
	for _, l := range still[:min(tableRows, len(still))] {
		dear[l] = true
	}
	return dear, len(still) - len(dear)
}

func (a *Autoscaled) cells(places int) []string {
	if a == nil {
		return make([]string, 5)
	}
	of := func(part int64) string { return fmt.Sprintf("%.0f%%", 100*float64(part)/float64(a.Known)) }
	return []string{strconv.FormatInt(a.Min, 10), strconv.FormatInt(a.Max, 10), of(a.AtMin), of(a.AtMax), fixed(a.Kept, places)}
}

func (e *ScaleEvents) writeNodes(w io.Writer, places int) error {
	var t grid
	e.stepped(&t, "CLUSTER", "CLASS")
	t.columns(true, "CAME", "LEFT", "MOST", "IDLE")
	add := func(n *NodeEvents, class string) {
		e.steppedRow(&t, n.From, []string{n.Cluster, class},
			[]string{strconv.FormatInt(n.Came, 10), strconv.FormatInt(n.Left, 10), strconv.FormatInt(n.Most, 10), fixed(n.Idle, places)})
	}
	classes := e.Classes
	for i := range e.Nodes {
		n := &e.Nodes[i]
		add(n, "all")
		for len(classes) > 0 && classes[0].From == n.From && classes[0].Cluster == n.Cluster {
			add(&classes[0], classes[0].Class)
			classes = classes[1:]
		}
	}
	return t.section(w, "Nodes: who came and left, and what was nobody's")
}

func (e *ScaleEvents) writeChanges(w io.Writer, _ int) error {
	var t grid
	t.columns(false, "CAME", "LEFT", "CLUSTER", "NODE", "CLASS")
	last := e.Changes[max(0, len(e.Changes)-tableRows):]
	for _, c := range last {
		row := []string{"-", "-", word(c.Cluster), word(c.Node), word(c.Class)}
		for i, at := range []*Time{c.Came, c.Left} {
			if at != nil {
				row[i] = at.short()
			}
		}
		t.rows = append(t.rows, row)
	}
	return t.section(w, shown("Nodes that came or left", "the last", len(last), len(e.Changes)))
}

func (e *ScaleEvents) writeCreep(w io.Writer, places int) error {
	var t grid
	t.columns(false, "CLUSTER", "NAMESPACE", "CONTROLLER")
	t.columns(true, "CORES REQ", "/30D", "USED", "/30D", "RATIO", "GiB REQ", "/30D", "USED", "/30D", "RATIO", "WIDENING")
	first := e.Creep.Workloads[:min(tableRows, len(e.Creep.Workloads))]
	for i := range first {
		l := &first[i]
		row := []string{word(l.Cluster), word(l.Namespace), word(l.Controller)}
		row = append(append(row, l.CPU.cells(1)...), l.RAM.cells(1<<30)...)
		t.rows = append(t.rows, append(row, strconv.FormatFloat(float64(l.Widening), 'f', places, 64)))
	}
	title := fmt.Sprintf("Requests against usage by %s, first to last, and the growth in 30 days; widening is what the gap costs more in 30 days", e.Creep.Step)
	title = shown(title, "the widest", len(first), len(e.Creep.Workloads))
	if e.Creep.LeftOut > 0 {
		title += fmt.Sprintf("; %d are left out that are known of less than %d whole steps", e.Creep.LeftOut, MinCreepSteps)
	}
	return t.section(w, title)
}

// cells are those of a table, in so many units.
func (g *CreepGrowth) cells(unit float64) []string {
	if g == nil {
		return []string{"", "", "", "", ""}
	}
	var cells []string
	for _, growth := range []*Growth{&g.Request, &g.Usage} {
		cells = append(cells, fmt.Sprintf("%.2f→%.2f", growth.First/unit, growth.Last/unit), fmt.Sprintf("%+.2f", growth.Per30Days/unit))
	}
	return append(cells, fmt.Sprintf("%.1f→%.1f", g.Ratio.First, g.Ratio.Last))
}

// shown is a title that says how many of all rows are shown.
func shown(title, which string, n, all int) string {
	if n == all {
		return title
	}
	return fmt.Sprintf("%s; %s %d of %d", title, which, n, all)
}

// section writes a title and the rows, unless there are none.
func (t *grid) section(w io.Writer, title string) error {
	if len(t.rows) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(w, title); err != nil {
		return err
	}
	if err := t.write(w); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w)
	return err
}

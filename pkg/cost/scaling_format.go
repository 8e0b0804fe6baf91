package cost

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
)

// scaleColumns are what is counted, of workloads and of nodes.
var scaleColumns = []string{"ups", "downs", "added", "removed", "least", "most"}

func (l *ScaleLine) counts() []int64 {
	return []int64{l.Ups, l.Downs, l.Added, l.Removed, l.Least, l.Most}
}

// cells are the rows of workloads and then of nodes; nodes came in "added" and left in "removed".
func (e *ScaleEvents) cells() (rows [][]string) {
	for i := range e.Workloads {
		l := &e.Workloads[i]
		row := []string{"workload", l.From.String(), l.Cluster, l.Namespace, l.Controller}
		for _, n := range l.counts() {
			row = append(row, strconv.FormatInt(n, 10))
		}
		rows = append(rows, row)
	}
	for _, n := range e.Nodes {
		rows = append(rows, []string{
			"nodes", n.From.String(), n.Cluster, "", "", "", "",
			strconv.FormatInt(n.Came, 10), strconv.FormatInt(n.Left, 10), "", strconv.FormatInt(n.Most, 10),
		})
	}
	return rows
}

// WriteCSV writes a row for each workload, and for the nodes of each cluster, in a step.
func (e *ScaleEvents) WriteCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	if err := c.Write(append([]string{"kind", "from", "cluster", "namespace", "controller"}, scaleColumns...)); err != nil {
		return err
	}
	for _, row := range e.cells() {
		for i, s := range row {
			row[i] = harmless(s)
		}
		if err := c.Write(row); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

// WriteTable writes the same for people.
func (e *ScaleEvents) WriteTable(w io.Writer) error {
	var t grid
	t.columns(false, "KIND", "FROM", "CLUSTER", "NAMESPACE", "CONTROLLER")
	t.columns(true, "UPS", "DOWNS", "ADDED", "REMOVED", "LEAST", "MOST")
	for _, row := range e.cells() {
		for i := range 5 {
			row[i] = word(row[i])
		}
		t.rows = append(t.rows, row)
	}
	if err := t.write(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s to %s\n", e.Window.From, e.Window.To)
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

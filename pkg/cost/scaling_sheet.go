package cost

import (
	"io"
	"math"

	"github.com/varve-io/varve/pkg/cost/money"
)

// scaleRow is a row by column; columns that it doesn't have are empty.
type scaleRow map[string]sheetCell

// sheet has a row for each line: workloads, nodes of clusters, classes of nodes, nodes that came or left, and creep. Nodes came in "added" and left in "removed".
func (e *ScaleEvents) sheet() *sheet {
	s := &sheet{rows: e.lines()}
	s.add(textCell, "kind")
	s.add(timeCell, "from")
	s.add(textCell, "cluster", "namespace", "controller", "node", "provider_id", "class")
	s.add(timeCell, "came_at", "left_at")
	s.add(quantityCell, "ups", "downs", "added", "removed", "least", "most")
	s.add(moneyCell, "unused", "idle")
	s.add(floatCell, "widening")
	s.add(quantityCell, "autoscaler_min", "autoscaler_max", "known_milliseconds", "at_min_milliseconds", "at_max_milliseconds")
	s.add(moneyCell, "kept")
	for _, resource := range []string{"cpu_", "ram_"} {
		for _, name := range creepColumns() {
			s.add(floatCell, resource+name)
		}
	}
	for i := range s.columns {
		s.columns[i].optional = s.columns[i].of != textCell
	}
	s.row = func(i int, cells []sheetCell) []sheetCell {
		row := e.row(i)
		for _, c := range s.columns {
			cell, ok := row[c.name]
			cell.empty = !ok && c.optional
			cells = append(cells, cell)
		}
		return cells
	}
	s.about = e.about()
	return s
}

// about is all but the lines.
func (e *ScaleEvents) about() any {
	type plain ScaleEvents
	type creep struct {
		Step    Step  `json:"step"`
		LeftOut int64 `json:"left_out"`
	}
	return struct {
		*plain
		Workloads *int  `json:"workloads,omitempty"` // in place of the lines
		Nodes     *int  `json:"nodes,omitempty"`
		Classes   *int  `json:"classes,omitempty"`
		Changes   *int  `json:"changes,omitempty"`
		Creep     creep `json:"creep"`
	}{plain: (*plain)(e), Creep: creep{e.Creep.Step, e.Creep.LeftOut}}
}

// row is the i-th line of all.
func (e *ScaleEvents) row(i int) scaleRow {
	if i < len(e.Workloads) {
		return e.Workloads[i].row()
	}
	if i -= len(e.Workloads); i < len(e.Nodes) {
		return e.Nodes[i].row("nodes")
	}
	if i -= len(e.Nodes); i < len(e.Classes) {
		return e.Classes[i].row("class")
	}
	if i -= len(e.Classes); i < len(e.Changes) {
		return e.Changes[i].row()
	}
	return e.Creep.Workloads[i-len(e.Changes)].row()
}

func (r scaleRow) texts(of ...string) scaleRow {
	for i := 0; i < len(of); i += 2 {
		r[of[i]] = sheetCell{text: of[i+1]}
	}
	return r
}

func (r scaleRow) count(column string, n int64) { r[column] = sheetCell{number: money.Units(n)} }

func (r scaleRow) money(column string, n money.Nanos) {
	r[column] = sheetCell{number: money.Quantity(n)}
}

func (r scaleRow) float(column string, v float64) {
	r[column] = sheetCell{number: money.Quantity{Lo: math.Float64bits(v)}}
}

func (l *ScaleLine) row() scaleRow {
	row := scaleRow{}.texts("kind", "workload", "cluster", l.Cluster, "namespace", l.Namespace, "controller", l.Controller)
	for i, n := range []int64{int64(l.From), l.Ups, l.Downs, l.Added, l.Removed, l.Least, l.Most} {
		row.count([]string{"from", "ups", "downs", "added", "removed", "least", "most"}[i], n)
	}
	row.money("unused", l.Unused)
	if a := l.Autoscaled; a != nil {
		for i, n := range []int64{a.Min, a.Max, a.Known, a.AtMin, a.AtMax} {
			row.count([]string{"autoscaler_min", "autoscaler_max", "known_milliseconds", "at_min_milliseconds", "at_max_milliseconds"}[i], n)
		}
		row.money("kept", a.Kept)
	}
	return row
}

func (n *NodeEvents) row(kind string) scaleRow {
	row := scaleRow{}.texts("kind", kind, "cluster", n.Cluster, "class", n.Class)
	for i, count := range []int64{int64(n.From), n.Came, n.Left, n.Most} {
		row.count([]string{"from", "added", "removed", "most"}[i], count)
	}
	row.money("idle", n.Idle)
	return row
}

func (c *NodeChange) row() scaleRow {
	row := scaleRow{}.texts("kind", "node", "cluster", c.Cluster, "node", c.Node, "provider_id", c.ProviderID, "class", c.Class)
	if c.Came != nil {
		row.count("came_at", int64(*c.Came))
	}
	if c.Left != nil {
		row.count("left_at", int64(*c.Left))
	}
	return row
}

func creepColumns() []string {
	return []string{
		"steps", "request_first", "request_last", "request_per_30_days", "usage_first", "usage_last", "usage_per_30_days",
		"ratio_first", "ratio_last", "coverage_first", "coverage_last",
	}
}

func (g *CreepGrowth) values() []float64 {
	return []float64{
		float64(g.Steps), g.Request.First, g.Request.Last, g.Request.Per30Days, g.Usage.First, g.Usage.Last, g.Usage.Per30Days,
		g.Ratio.First, g.Ratio.Last, g.Coverage.First, g.Coverage.Last,
	}
}

func (l *CreepLine) row() scaleRow {
	row := scaleRow{}.texts("kind", "creep", "cluster", l.Cluster, "namespace", l.Namespace, "controller", l.Controller)
	row.float("widening", float64(l.Widening))
	for resource, g := range map[string]*CreepGrowth{"cpu_": l.CPU, "ram_": l.RAM} {
		if g == nil {
			continue
		}
		values := g.values()
		for i, name := range creepColumns() {
			row.float(resource+name, values[i])
		}
	}
	return row
}

// WriteCSV writes a row for each line of any kind.
func (e *ScaleEvents) WriteCSV(w io.Writer) error { return e.sheet().writeCSV(w) }

// WriteParquet writes the lines, and all else that JSON has as its metadata.
func (e *ScaleEvents) WriteParquet(w io.Writer) error { return e.sheet().writeParquet(w) }

package cube

import (
	"slices"
	"strings"

	"github.com/varve-io/varve/pkg/cost"
)

// advice are the columns for advice on requests only.
func advice() []string {
	return []string{"cpu_limit_core_us", "ram_limit_byte_s", "gpu_limit_gpu_us", "cpu_peak_mcore", "ram_peak_bytes", "cpu_sketch", "ram_sketch"}
}

// ReportColumns are the columns that a report has to read that knows these dimensions (of cost.Query): by which its lines are, and the
// namespace if some are shared. Replicas' changes are not among them.
func ReportColumns(level Level, by []string) Columns {
	drop, labels := slices.Concat(advice(), namesWithout(by)), labelsOf(by)
	if level == HourLevel {
		return Columns{
			Workloads: append(without(workloadTable(), drop), labels...), Shares: append(without(shareTable(), drop), labels...),
			Nodes: nil, Assets: nil, Warnings: nil,
		}
	}
	return Columns{Items: append(without(itemTable(), drop), labels...), Bill: append(without(billTable(), drop), labels...), Warnings: nil}
}

// RollUpColumns are the columns of hours that a roll-up is made of: all but those of single pods, and for advice.
func RollUpColumns() Columns {
	drop := append(advice(), "pod", "pod_uid")
	return Columns{
		Workloads: without(workloadTable(), drop), Shares: without(shareTable(), drop), Nodes: nil, Assets: nil, Scalings: nil, Scalers: nil, Warnings: nil,
	}
}

// ScaleColumns are the columns that scale events have to read.
func ScaleColumns(level Level) Columns {
	c := ReportColumns(level, []string{"cluster", "namespace", "controller"})
	c[Scalings], c[Scalers] = nil, nil
	if level == HourLevel {
		delete(c, Shares)
		delete(c, Assets)
	} else {
		delete(c, Bill)
		c[Lives] = nil
	}
	return c
}

// namesWithout are the columns of owners' names that no dimension asks for, and labels, of which some names may be asked for.
func namesWithout(by []string) (drop []string) {
	asked := func(dimension string) bool { return slices.Contains(by, dimension) }
	for column, dimension := range map[string]string{
		"namespace": "namespace", "controller_kind": "controller", "controller": "controller", "pod": "pod", "pod_uid": "uid", "container": "container", "qos": "qos", "priority": "priority",
	} {
		if !asked(dimension) {
			drop = append(drop, column)
		}
	}
	return append(drop, "labels")
}

// labelsOf are the parts of the column labels that dimensions ask for.
func labelsOf(by []string) (parts []string) {
	for _, dimension := range by {
		if name, ok := strings.CutPrefix(dimension, "label:"); ok {
			for _, form := range cost.LabelForms(name) {
				parts = append(parts, "labels:"+form)
			}
		}
	}
	return parts
}

// without are the table's columns but those.
func without[R any](t *table[R], drop []string) (names []string) {
	for _, c := range t.columns {
		if c.read != nil && !slices.Contains(drop, c.name) {
			names = append(names, c.name)
		}
	}
	return names
}

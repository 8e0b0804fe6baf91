package cube

import (
	"slices"
	"strings"
)

// advice are the columns for advice on requests only.
func advice() []string {
	return []string{"cpu_limit_core_us", "ram_limit_byte_s", "gpu_limit_gpu_us", "cpu_peak_mcore", "ram_peak_bytes", "cpu_sketch", "ram_sketch"}
}

// ReportColumns are the columns that a report by these dimensions (of cost.Query) has to read. Replicas' changes are not among them.
func ReportColumns(level Level, by []string) Columns {
	drop := slices.Concat(advice(), namesWithout(by))
	if level == HourLevel {
		return Columns{
			Workloads: without(workloadTable(), drop), Shares: without(shareTable(), drop), Nodes: nil, Assets: nil, Warnings: nil,
		}
	}
	return Columns{Items: without(itemTable(), drop), Bill: without(billTable(), drop), Warnings: nil}
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

// namesWithout are the columns of owners' names that no dimension asks for.
func namesWithout(by []string) (drop []string) {
	asked := func(dimension string) bool { return slices.Contains(by, dimension) }
	for column, dimension := range map[string]string{
		"controller_kind": "controller", "controller": "controller", "pod": "pod", "pod_uid": "uid", "container": "container", "qos": "qos", "priority": "priority",
	} {
		if !asked(dimension) {
			drop = append(drop, column)
		}
	}
	if !slices.ContainsFunc(by, func(d string) bool { return strings.HasPrefix(d, "label:") }) {
		drop = append(drop, "labels")
	}
	return drop
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

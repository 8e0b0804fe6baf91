package cost

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// ParseQuery reads a query as HTTP and command lines ask it, by parameter; "" where there is none.
//
//	window  FROM,TO in RFC 3339 or as dates: whole UTC hours, TO is not in it
//	step    none, hour, day, week or month
//	by      dimensions, by comma
//	method  max-request-usage, request-only or usage-only
//	share   see ParseSharing
func ParseQuery(get func(parameter string) string) (q Query, err error) {
	from, to, ok := strings.Cut(get("window"), ",")
	if !ok {
		return q, fmt.Errorf("window: %q is not FROM,TO", get("window"))
	}
	if q.From, err = parseTime(from); err == nil {
		q.To, err = parseTime(to)
	}
	if err != nil {
		return q, fmt.Errorf("window: %w", err)
	}
	q.Step = Step(get("step"))
	q.By = SplitList(get("by"))
	if q.Method, err = ParseMethod(get("method")); err != nil {
		return q, err
	}
	if q.Sharing, err = ParseSharing(get("share")); err != nil {
		return q, err
	}
	return q, q.Validate()
}

// parseTime reads a time, or a date for its beginning, UTC.
func parseTime(s string) (int64, error) {
	s = strings.TrimSpace(s)
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		if t, err = time.Parse(time.DateOnly, s); err != nil {
			return 0, fmt.Errorf("%q is neither a time in RFC 3339 nor a date", s)
		}
	}
	return t.UnixMilli(), nil
}

// ParseSharing reads how costs are shared: words by comma, idle=MODE, system=MODE, overhead=MODE, namespace:NAME=MODE, and
// scope=cluster or scope=node. The mode of all namespaces is the same.
func ParseSharing(s string) (sh Sharing, err error) {
	for _, word := range SplitList(s) {
		name, value, ok := strings.Cut(word, "=")
		if !ok {
			return sh, fmt.Errorf("share: %q is not NAME=MODE", word)
		}
		mode := Mode(value)
		namespace, isNamespace := strings.CutPrefix(name, "namespace:")
		switch {
		case name == "idle":
			sh.Idle = mode
		case name == "system":
			sh.System = mode
		case name == "overhead":
			sh.Overhead = mode
		case name == "scope" && (value == "node" || value == "cluster"):
			sh.ByNode = value == "node"
		case isNamespace && (sh.Namespace == "" || sh.Namespace == mode):
			sh.Namespace = mode
			sh.Namespaces = append(sh.Namespaces, namespace)
		default:
			return sh, fmt.Errorf("share: %q is not idle, system, overhead or namespace:NAME with none, even or weighted, nor scope=node or scope=cluster; namespaces have one mode", word)
		}
	}
	return sh, sh.validate()
}

// SplitList is a list by comma, without what is empty.
func SplitList(s string) (all []string) {
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	return all
}

// LabelNames are the Kubernetes labels that the query's dimensions name.
func (q *Query) LabelNames() (names []string) {
	for _, by := range q.By {
		if name, ok := strings.CutPrefix(by, "label:"); ok {
			names = append(names, name)
		}
	}
	return names
}

// Write writes the report in a format: json, csv or table.
func (r *Report) Write(w io.Writer, format string) error {
	switch format {
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	case "csv":
		return r.WriteCSV(w)
	case "table":
		return r.WriteTable(w)
	}
	return fmt.Errorf("format: there is no %q, but json, csv and table", format)
}

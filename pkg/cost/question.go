package cost

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/varve-io/varve/pkg/cost/price"
)

// Verb is what can be asked.
type Verb string

// Verbs.
const (
	AskReport      Verb = "report"       // what a window cost, and whose that was
	AskAssets      Verb = "assets"       // what was paid for
	AskUtilization Verb = "utilization"  // how much of nodes was requested, held and used
	AskScaleEvents Verb = "scale-events" // how often workloads and nodes came and went, and what headroom cost
)

// Question is asked over HTTP and on command lines, with the same parameters.
type Question struct {
	Verb  Verb
	Query Query // its By is that of reports
	Page  Page  // not heeded by Answer
	by    FleetBy
}

// Answer is what was asked for.
type Answer interface {
	// Write writes it in a format: json, csv, table or parquet.
	Write(w io.Writer, format string) error
	// Name is of its lines: those of two answers with the same name are the same.
	Name() string
	// Page is it with some lines only, and the cursor of the next page; "" after the last.
	Page(p Page) (page Answer, next string, err error)
	// Bytes is about how much memory it takes.
	Bytes() int64
}

// Parameters are the names of those that ParseQuestion reads.
func Parameters() []string {
	return []string{"window", "timezone", "step", "by", "method", "share", "limit", "cursor"}
}

// ParseQuestion reads a question by parameter; "" where there is none.
//
//	window    FROM,TO in RFC 3339 or as dates: whole minutes, TO is not in it
//	timezone  of dates, and of days, weeks and months of step: a name such as Europe/Berlin; UTC without one
//	step      none, hour, day, week or month
//	by        dimensions, by comma; of assets and utilization one of asset, class, cluster
//	method    max-request-usage, request-only or usage-only
//	share     see ParseSharing
//	limit     how many lines a page has at most; without one the page has all
//	cursor    the next of the page before
func ParseQuestion(v Verb, get func(parameter string) string) (*Question, error) {
	from, to, ok := strings.Cut(get("window"), ",")
	if !ok {
		return nil, fmt.Errorf("window: %q is not FROM,TO, such as 2026-01-01,2026-02-01", get("window"))
	}
	q := &Question{Verb: v, Query: Query{Step: Step(get("step"))}}
	var err error
	if q.Query.Zone, err = ParseZone(get("timezone")); err != nil {
		return nil, err
	}
	if q.Query.From, err = parseTime(from, q.Query.zone()); err == nil {
		q.Query.To, err = parseTime(to, q.Query.zone())
	}
	if err != nil {
		return nil, fmt.Errorf("window: %w", err)
	}
	if q.Query.Method, err = ParseMethod(get("method")); err != nil {
		return nil, err
	}
	if q.Query.Sharing, err = ParseSharing(get("share")); err != nil {
		return nil, err
	}
	if q.Page, err = parsePage(get); err != nil {
		return nil, err
	}
	if err = q.parseBy(get("by")); err != nil {
		return nil, err
	}
	if v != AskReport && get("share") != "" {
		return nil, fmt.Errorf("share: nothing is shared in %s, but in report", v)
	}
	if err = q.Query.Validate(); err == nil && v == AskScaleEvents {
		err = checkScales(q.Query)
	}
	return q, err
}

func (q *Question) parseBy(by string) error {
	switch q.Verb {
	case AskReport:
		q.Query.By = SplitList(by)
		return nil
	case AskAssets:
		q.by = cmp.Or(FleetBy(by), ByAsset)
		return q.by.validate()
	case AskUtilization:
		q.by = cmp.Or(FleetBy(by), ByCluster)
		return q.by.validate()
	case AskScaleEvents:
		if by != "" {
			return errors.New("by: scale-events are always by cluster, namespace and controller")
		}
		return nil
	}
	return fmt.Errorf("there is no %q, but report, assets, utilization and scale-events", q.Verb)
}

// Answer is the whole answer out of the ledgers of the window, in the order of time.
func (q *Question) Answer(book *price.Book, ledgers iter.Seq2[*Ledger, error]) (Answer, error) {
	switch q.Verb {
	case AskReport:
		b, err := NewBuilder(q.Query, book)
		if err != nil {
			return nil, err
		}
		if err := each(ledgers, b.Add); err != nil {
			return nil, err
		}
		return b.Report()
	case AskScaleEvents:
		b, err := NewScaleBuilder(q.Query, book)
		if err != nil {
			return nil, err
		}
		if err := each(ledgers, b.Add); err != nil {
			return nil, err
		}
		return b.Events()
	}
	b, err := NewFleetBuilder(q.fleet(), book)
	if err != nil {
		return nil, err
	}
	if err := each(ledgers, b.Add); err != nil {
		return nil, err
	}
	f := b.Fleet()
	if q.Verb == AskUtilization {
		f.keep(NodeClass)
	}
	return f, nil
}

// RollsUp tells whether a roll-up of [from, to) gives the answer that its hours give.
func (q *Question) RollsUp(book *price.Book, from, to int64) bool {
	switch q.Verb {
	case AskReport:
		return q.Query.RollsUp(book, from, to)
	case AskScaleEvents:
		return ScalesRollUp(q.Query, book, from, to)
	}
	f := q.fleet()
	return f.RollsUp(book, from, to)
}

func (q *Question) fleet() FleetQuery {
	return FleetQuery{From: q.Query.From, To: q.Query.To, Step: q.Query.Step, Zone: q.Query.Zone, By: q.by, Method: q.Query.Method}
}

func each(ledgers iter.Seq2[*Ledger, error], add func(*Ledger) error) error {
	for l, err := range ledgers {
		if err == nil {
			err = add(l)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// parseTime reads a time, or a date for its beginning in the zone.
func parseTime(s string, zone *time.Location) (int64, error) {
	s = strings.TrimSpace(s)
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t.UnixMilli(), nil
	}
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return 0, fmt.Errorf("%q is neither a time in RFC 3339 nor a date", s)
	}
	return dayStart(t.Year(), t.Month(), t.Day(), zone), nil
}

// ParseSharing reads how costs are shared: words by comma, idle=MODE, system=MODE, overhead=MODE, namespace:NAME=MODE, and
// scope=cluster or scope=node. A mode is none, even, weighted, quantity:NAME or metric:EXPRESSION. The mode of all namespaces is the same.
func ParseSharing(s string) (sh Sharing, err error) {
	for _, word := range splitSharing(s) {
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
			return sh, fmt.Errorf("share: %q is not idle, system, overhead or namespace:NAME with none, even, weighted, quantity:NAME or metric:EXPRESSION, nor scope=node or scope=cluster; namespaces have one mode", word)
		}
	}
	return sh, sh.validate()
}

// splitSharing is SplitList but for commas within brackets and quotes, which are an expression's.
func splitSharing(s string) (all []string) {
	depth, begin, quote := 0, 0, byte(0)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quote != 0 && c == '\\' && quote != '`':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case strings.IndexByte("\"'`", c) >= 0:
			quote = c
		case strings.IndexByte("([{", c) >= 0:
			depth++
		case strings.IndexByte(")]}", c) >= 0:
			depth--
		case c == ',' && depth == 0:
			all = append(all, s[begin:i])
			begin = i + 1
		}
	}
	all = append(all, s[begin:])
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	return slices.DeleteFunc(all, func(word string) bool { return word == "" })
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

// format writes in one of the formats that there are.
func format(w io.Writer, name string, v any, csv, table func(io.Writer) error) error {
	switch name {
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(v)
	case "csv":
		return csv(w)
	case "table":
		return table(w)
	}
	return fmt.Errorf("format: there is no %q", name)
}

// CheckFormat is an error if there is no such format.
func CheckFormat(name string) error {
	switch name {
	case "json", "csv", "table", "parquet":
		return nil
	}
	return fmt.Errorf("format: there is no %q, but json, csv, table and parquet", name)
}

// Write implements Answer.
func (r *Report) Write(w io.Writer, name string) error {
	switch name {
	case "json":
		return r.WriteJSON(w)
	case "parquet":
		return r.WriteParquet(w)
	}
	return format(w, name, r, r.WriteCSV, r.WriteTable)
}

// Write implements Answer.
func (f *Fleet) Write(w io.Writer, name string) error {
	if name == "parquet" {
		return f.WriteParquet(w)
	}
	return format(w, name, f, f.WriteCSV, f.WriteTable)
}

// Write implements Answer.
func (e *ScaleEvents) Write(w io.Writer, name string) error {
	if name == "parquet" {
		return e.WriteParquet(w)
	}
	return format(w, name, e, e.WriteCSV, e.WriteTable)
}

package cost

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/varve-io/varve/pkg/cost/price"
)

// Query is what a report is asked for.
type Query struct {
	From, To int64 // milliseconds, whole minutes
	Step     Step
	Zone     *time.Location // of days, weeks and months; nil is UTC
	By       []string       // names of dimensions
	Method   Method
	Sharing  Sharing
	Weights  Weights // of the metrics by which is shared, before a report is made
}

// ofSubject and ofPlace are the dimensions by which lines are told apart, beside label:NAME.
func ofSubject(by string) func(*Subject) string {
	switch by {
	case "cluster":
		return func(s *Subject) string { return s.Cluster }
	case "namespace":
		return func(s *Subject) string { return s.Namespace }
	case "controller":
		return func(s *Subject) string { return s.Controller.String() }
	case "pod":
		return func(s *Subject) string { return s.Pod }
	case "uid":
		return func(s *Subject) string { return s.UID }
	case "container":
		return func(s *Subject) string { return s.Container }
	case "qos":
		return func(s *Subject) string { return s.QoS }
	case "priority":
		return func(s *Subject) string { return s.Priority }
	}
	if name, ok := strings.CutPrefix(by, "label:"); ok && name != "" {
		return func(s *Subject) string { return s.Labels.find(name) }
	}
	return nil
}

func ofPlace(by string) func(*Place) string {
	node := func(get func(*Place) string) func(*Place) string {
		return func(p *Place) string {
			if p.Kind != NodeClass {
				return ""
			}
			return get(p)
		}
	}
	switch by {
	case "node":
		return node(func(p *Place) string { return p.Name })
	case "node_class":
		return node(func(p *Place) string { return p.Class.String() })
	case "instance_type":
		return node(func(p *Place) string { return p.Type })
	case "region":
		return func(p *Place) string { return p.Region }
	case "zone":
		return func(p *Place) string { return p.Zone }
	case "spot":
		return node(func(p *Place) string { return strconv.FormatBool(p.Spot) })
	}
	return nil
}

// Validate says what is wrong with the query.
func (q *Query) Validate() error {
	const minute = 60_000
	if q.From%minute != 0 || q.To%minute != 0 || q.From < 0 || q.To <= q.From {
		return fmt.Errorf("window: [%d, %d) is not a time of whole minutes", q.From, q.To)
	}
	for i, by := range q.By {
		if ofSubject(by) == nil && ofPlace(by) == nil {
			return fmt.Errorf("by: there is no %q, but cluster, namespace, controller, pod, uid, container, node, node_class, instance_type, region, zone, spot, qos, priority and label:NAME", by)
		}
		if slices.Contains(q.By[:i], by) {
			return fmt.Errorf("by: %q is there twice", by)
		}
	}
	if _, err := ParseMethod(string(q.Method)); err != nil {
		return err
	}
	steps, err := q.steps()
	if err != nil {
		return err
	}
	if len(q.Sharing.Metrics()) > 0 && len(steps) > MaxWeighings {
		return fmt.Errorf("share: by a metric a report has at most %d steps; ask for longer ones", MaxWeighings)
	}
	return q.Sharing.validate()
}

// RollsUp tells whether a roll-up of [from, to) gives what its hours give: it is of one step and one list of prices, nobody
// asks for pods or nodes, and nothing is shared by node.
func (q *Query) RollsUp(book *price.Book, from, to int64) bool {
	method, _ := ParseMethod(string(q.Method))
	if from < q.From || to > q.To || q.border(from) < to || !book.Constant(from, to) || q.Sharing.ByNode || method != MaxRequestUsage {
		return false
	}
	for _, by := range q.By {
		if by == "pod" || by == "uid" || by == "node" {
			return false
		}
	}
	return true
}

// takes says why a ledger can't be added.
func (q *Query) takes(l *Ledger, m Method, steps []int64, book *price.Book) error {
	if of, err := ParseMethod(string(l.Method)); err != nil || of != m {
		return fmt.Errorf("a ledger is of the method %s, not %s", l.Method, m)
	}
	if l.From < q.From || l.To > q.To || l.From >= l.To {
		return fmt.Errorf("a ledger of [%d, %d) is not of the window", l.From, l.To)
	}
	if stepOf(steps, l.From) != stepOf(steps, l.To-1) || !book.Constant(l.From, l.To) {
		return fmt.Errorf("a ledger of [%d, %d) is of more than one step or list of prices", l.From, l.To)
	}
	return nil
}

// stepOf is the index of the step in which t is.
func stepOf(steps []int64, t int64) uint32 {
	i, ok := slices.BinarySearch(steps, t)
	if !ok {
		i--
	}
	return uint32(i)
}

// String is Kind/Name.
func (c Controller) String() string {
	if c.Kind == "" && c.Name == "" {
		return ""
	}
	return c.Kind + "/" + c.Name
}

// String is what a person calls the class: instance type, zone, spot. Without a type it is the size.
func (c *Class) String() string {
	words := []string{c.Type}
	if c.Type == "" {
		words[0] = fmt.Sprintf("%gcpu-%.0fGiB", float64(c.Size.CPU)/1000, float64(c.Size.RAM)/(1<<30))
	}
	if c.Zone != "" {
		words = append(words, c.Zone)
	} else if c.Region != "" {
		words = append(words, c.Region)
	}
	if c.Spot {
		words = append(words, "spot")
	}
	return strings.Join(words, "/")
}

// LabelForms are the names under which a label may be found: its own, and as kube-state-metrics writes it, with and without label_.
func LabelForms(name string) [3]string {
	plain := price.Label(name)
	return [3]string{name, plain, "label_" + plain}
}

// find is the value of a label in the first of its forms that has one.
func (l Labels) find(name string) string {
	if v := l.Get(name); v != "" || len(l) == 0 {
		return v
	}
	for _, form := range LabelForms(name) {
		if v := l.Get(form); v != "" {
			return v
		}
	}
	return ""
}

// Attribute is what rules of a price book match.
func (c *Class) Attribute(name string) string {
	switch name {
	case "cluster":
		return c.Cluster
	case "region":
		return c.Region
	case "zone":
		return c.Zone
	case "spot":
		return strconv.FormatBool(c.Spot)
	case "instance_type":
		if c.Kind == NodeClass {
			return c.Type
		}
		return ""
	case "class":
		if c.Kind == VolumeClass {
			return c.Type
		}
		return ""
	}
	return c.Labels.find(strings.TrimPrefix(name, "label:"))
}

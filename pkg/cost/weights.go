package cost

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/varve-io/varve/pkg/cost/money"
)

// Weight is one series of what an expression gave.
type Weight struct {
	Labels Labels
	Value  float64
}

// Weights are what the expressions of a Sharing gave, by expression, at each of the query's StepEnds.
type Weights map[string][][]Weight

// MaxWeighings is how many steps a report may have that is shared by a metric: an expression is evaluated for each of them.
const MaxWeighings = 1000

// ErrWeights is wrapped by errors about metrics that costs can't be shared by.
var ErrWeights = errors.New("share")

const byMetric = "metric:"

// metric is the expression of the mode; "" if it is by none.
func (m Mode) metric() string {
	expression, ok := strings.CutPrefix(string(m), byMetric)
	if !ok {
		return ""
	}
	return expression
}

func (s *Sharing) modes() [4]Mode { return [...]Mode{s.Idle, s.System, s.Overhead, s.Namespace} }

// Metrics are the expressions by which costs are shared, sorted.
func (s *Sharing) Metrics() (all []string) {
	for _, m := range s.modes() {
		if expression := m.metric(); expression != "" {
			all = append(all, expression)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// StepEnds are when the steps of the window end.
func (q *Query) StepEnds() ([]int64, error) {
	steps, err := q.steps()
	if err != nil {
		return nil, err
	}
	return append(steps[1:], q.To), nil
}

// weighing is what a metric tells about lines: in each step weights, by the values of those dimensions that any of its series has.
type weighing struct {
	cluster    bool // series tell clusters, which all lines have
	dimensions []int
	steps      []map[string]money.Amount
}

// newWeighing reads the weights of an expression. A series with a negative weight, or with one that is no number, is an error, and so is a metric
// that tells no lines apart.
func newWeighing(q *Query, expression string, steps int) (*weighing, error) {
	all := q.Weights[expression]
	if len(all) != steps {
		return nil, fmt.Errorf("%w: metric:%s has no values; only a running server evaluates metrics", ErrWeights, expression)
	}
	w, some, tells := &weighing{}, false, false
	told := make([]bool, len(q.By))
	for _, series := range all {
		for _, s := range series {
			if !(s.Value >= 0) || math.IsInf(s.Value, 0) {
				return nil, fmt.Errorf("%w: metric:%s: the series %s is %v, which is no weight", ErrWeights, expression, s.Labels, s.Value)
			}
			some = true
			w.cluster = w.cluster || s.Labels.Get("cluster") != ""
			for i, by := range q.By {
				told[i] = told[i] || s.Labels.dimension(by) != ""
			}
		}
	}
	for i, by := range q.By {
		if told[i] {
			w.dimensions = append(w.dimensions, i)
			tells = tells || by != "cluster" // within which costs are shared
		}
	}
	if some && !tells {
		return nil, fmt.Errorf("%w: metric:%s: no series has a label that is in by, beside cluster", ErrWeights, expression)
	}
	for _, series := range all {
		w.steps = append(w.steps, w.sums(q, series))
	}
	return w, nil
}

// dimension is the value of a label that is called as a dimension is.
func (l Labels) dimension(by string) string {
	if name, ok := strings.CutPrefix(by, "label:"); ok {
		return l.find(name)
	}
	return l.Get(by)
}

// String is as PromQL writes it.
func (l Labels) String() string {
	var all []string
	for _, x := range l {
		all = append(all, x.Name+"="+strconv.Quote(x.Value))
	}
	return "{" + strings.Join(all, ", ") + "}"
}

// sums are the weights of a step. Series that differ in other labels only are added.
func (w *weighing) sums(q *Query, series []Weight) map[string]money.Amount {
	largest := 0.0
	for _, s := range series {
		largest = max(largest, s.Value)
	}
	sums := map[string]money.Amount{}
	for _, s := range series {
		key := w.key(s.Labels.Get("cluster"), func(i int) string { return s.Labels.dimension(q.By[i]) })
		sum := sums[key]
		sum.Add(weightOf(s.Value, largest))
		sums[key] = sum
	}
	return sums
}

func (w *weighing) key(cluster string, value func(dimension int) string) string {
	var values []string
	if w.cluster {
		values = append(values, cluster)
	}
	for _, i := range w.dimensions {
		values = append(values, value(i))
	}
	return string(appendStrings(nil, values...))
}

// weightOf is v as an integer. It is exact for what is at least 2^-67 of the largest; of less it is what is above 2^-120 of it.
func weightOf(v, largest float64) (a money.Amount) {
	if v == 0 {
		return a
	}
	const digits, room = 53, 67
	fraction, exponent := math.Frexp(v)
	_, top := math.Frexp(largest)
	mantissa, shift := uint64(math.Ldexp(fraction, digits)), room-(top-exponent)
	switch word, bit := shift/64, uint(shift%64); {
	case shift <= -digits:
	case shift < 0:
		a[0] = mantissa >> -shift
	default:
		a[word], a[word+1] = mantissa<<bit, mantissa>>(64-bit)
	}
	return a
}

// weighed is whose weight the entry has a part in, and that weight.
func (b *Builder) weighed(m Mode, e *entry) (group string, weight money.Amount) {
	w := b.weighings[m]
	group = w.key(b.clusters.values[e.cluster][0], func(i int) string { return b.value(e.line, i) })
	return group, w.steps[e.line.step][group]
}

// text is all weights in their order.
func (w Weights) text(expressions []string) []byte {
	var text []byte
	for _, x := range expressions {
		text = appendStrings(text, x)
		for i, series := range w[x] {
			lines := make([]string, len(series))
			for j, s := range series {
				lines[j] = fmt.Sprintf("%d %s %x", i, s.Labels, math.Float64bits(s.Value))
			}
			slices.Sort(lines)
			text = appendStrings(text, lines...)
		}
	}
	return text
}

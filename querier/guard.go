package querier

import (
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/varve-io/varve/pkg/tenant"
)

// maxSubqueryFactor is how many times max_query_steps a subquery may be evaluated: a month at every minute passes.
const maxSubqueryFactor = 100

// checkText refuses what would cost too much to parse: it looks at each byte once.
func checkText(l *tenant.Limits, text string) error {
	if n := int64(len(text)); n > int64(l.MaxQueryLength) {
		return &tenant.LimitError{
			Limit: tenant.MaxQueryLength, Max: l.MaxQueryLength,
			Subject: fmt.Sprintf("the query has %d bytes", n),
		}
	}
	if d := depth(text); d > l.MaxQueryDepth {
		return &tenant.LimitError{
			Limit: tenant.MaxQueryDepth, Max: l.MaxQueryDepth,
			Subject: fmt.Sprintf("the query is nested %d deep, chains of operators counted", d),
		}
	}
	return nil
}

// depth is an upper bound of how deep the syntax tree of a PromQL text is: at each place, the brackets that are
// open and the operators before it within them. Operators chain into a tree of their number's depth, so they count.
func depth(text string) int {
	var (
		open   []int // operators within each open bracket
		now    = 0   // operators within all open brackets, and the brackets
		here   = 0   // operators within the innermost
		most   = 0
		i, end = 0, len(text)
	)
	for i < end {
		switch c := text[i]; {
		case c == '"' || c == '\'' || c == '`':
			i = skipString(text, i)
			continue
		case c == '#':
			i = skipLine(text, i)
			continue
		case strings.IndexByte("([{", c) >= 0:
			open = append(open, here)
			here = 0
			now++
		case strings.IndexByte(")]}", c) >= 0 && len(open) > 0:
			now -= here + 1
			here, open = open[len(open)-1], open[:len(open)-1]
		case c == ',':
			now, here = now-here, 0
		case strings.IndexByte("+-*/%^=<>!@", c) >= 0:
			now, here = now+1, here+1
		case isWordByte(c):
			word := wordAt(text, i)
			if isOperator(word) {
				now, here = now+1, here+1
			}
			i += len(word)
			most = max(most, now)
			continue
		}
		most = max(most, now)
		i++
	}
	return most
}

// skipString returns the place after the string that begins at i.
func skipString(text string, i int) int {
	quote := text[i]
	for i++; i < len(text); i++ {
		switch {
		case text[i] == '\\' && quote != '`':
			i++
		case text[i] == quote:
			return i + 1
		}
	}
	return len(text)
}

func skipLine(text string, i int) int {
	if n := strings.IndexByte(text[i:], '\n'); n >= 0 {
		return i + n
	}
	return len(text)
}

func isWordByte(c byte) bool {
	return c == '_' || c == ':' || c == '.' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

func wordAt(text string, i int) string {
	end := i
	for end < len(text) && isWordByte(text[end]) {
		end++
	}
	return text[i:end]
}

func isOperator(word string) bool {
	switch strings.ToLower(word) {
	case "and", "or", "unless", "atan2", "offset":
		return true
	}
	return false
}

// evaluation is when an expression is evaluated.
type evaluation struct {
	start, end time.Time
	step       time.Duration // 0 for an instant query
}

// checkEvaluation refuses what would be evaluated at too many points, before it is.
func checkEvaluation(l *tenant.Limits, p parser.Parser, text string, at evaluation) error {
	if err := checkText(l, text); err != nil {
		return err
	}
	length := at.end.UnixMilli() - at.start.UnixMilli()
	if err := checkRange(l, length); err != nil {
		return err
	}
	if at.step > 0 {
		if err := checkSteps(l, "the query", length, at.step, 1); err != nil {
			return err
		}
	}
	expr, err := p.ParseExpr(text)
	if err != nil {
		return err
	}
	if expr, err = promql.PreprocessExpr(expr, at.start, at.end, at.step); err != nil {
		return err
	}
	return checkSubqueries(l, expr, length)
}

// checkRange compares a range in milliseconds with the limit.
func checkRange(l *tenant.Limits, length int64) error {
	if most := time.Duration(l.MaxQueryRange); most > 0 && length > most.Milliseconds() {
		return &tenant.LimitError{
			Limit: tenant.MaxQueryRange, Max: l.MaxQueryRange,
			Subject: fmt.Sprintf("the query's range is %d seconds", length/1000),
		}
	}
	return nil
}

// checkSubqueries walks down; each subquery lengthens the range, in milliseconds, for what is below it.
func checkSubqueries(l *tenant.Limits, node parser.Node, outer int64) error {
	if sub, ok := node.(*parser.SubqueryExpr); ok {
		step := sub.Step
		if step <= 0 {
			step = defaultSubqueryStep
		}
		outer += sub.Range.Milliseconds()
		if err := checkSteps(l, "the subquery", outer, step, maxSubqueryFactor); err != nil {
			return err
		}
	}
	for child := range parser.ChildrenIter(node) {
		if err := checkSubqueries(l, child, outer); err != nil {
			return err
		}
	}
	return nil
}

func checkSteps(l *tenant.Limits, what string, length int64, step time.Duration, factor int) error {
	n := length / max(step.Milliseconds(), 1)
	if most := int64(l.MaxQuerySteps) * int64(factor); n > most {
		return &tenant.LimitError{
			Limit: tenant.MaxQuerySteps, Max: most,
			Subject: fmt.Sprintf("%s is evaluated at %d points per series", what, n),
		}
	}
	return nil
}

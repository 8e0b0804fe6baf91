package querier

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"

	"github.com/varve-io/varve/pkg/tenant"
)

// TestHostileQueries: what ends other servers is refused by name before it costs anything.
func TestHostileQueries(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	instant := evaluation{start: at, end: at}
	day := evaluation{start: at, end: at.Add(24 * time.Hour), step: time.Minute}
	tests := []struct {
		name, text string
		at         evaluation
		want       tenant.LimitName
	}{
		{"plain", `sum by (job) (rate(up{job=~"a|b"}[5m])) / 2 > 1`, instant, ""},
		{"hundred terms", strings.Repeat("up + ", 100) + "up", day, ""},
		{"brackets in strings and comments", `up{a="((((",b='[[['} # ((((` + "\n", instant, ""},
		{"20k nesting", strings.Repeat("(", 20_000) + "1" + strings.Repeat(")", 20_000), instant, tenant.MaxQueryLength},
		{"nesting", strings.Repeat("(", 2000) + "1" + strings.Repeat(")", 2000), instant, tenant.MaxQueryDepth},
		{"1M unary minus", strings.Repeat("-", 1_000_000) + "1", instant, tenant.MaxQueryLength},
		{"unary minus", strings.Repeat("-", 5000) + "1", instant, tenant.MaxQueryDepth},
		{"sum of many", strings.Repeat("1+", 5000) + "1", instant, tenant.MaxQueryDepth},
		{"or of many", strings.Repeat("a or ", 3000) + "a", instant, tenant.MaxQueryDepth},
		{"subquery bomb", `max_over_time(vector(1)[1000d:1ms])`, instant, tenant.MaxQuerySteps},
		{"nested subqueries", `max_over_time(max_over_time(vector(1)[1d:1m])[200y:1d])`, instant, tenant.MaxQuerySteps},
		{"a month at every minute", `max_over_time(vector(1)[30d:1m])`, day, ""},
		{"ten years at 1 s", `up`, evaluation{start: at, end: at.AddDate(10, 0, 0), step: time.Second}, tenant.MaxQuerySteps},
		{"beyond what a duration holds", `up`, evaluation{start: time.Unix(-1e14, 0), end: time.Unix(1e14, 0), step: 8760 * time.Hour}, tenant.MaxQuerySteps},
	}
	limits := tenant.DefaultLimits(tenant.Machine{})
	p := parser.NewParser(ParserOptions())
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			begun := time.Now()
			err := checkEvaluation(&limits, p, tt.text, tt.at)
			if took := time.Since(begun); took > time.Second {
				t.Errorf("took %s", took)
			}
			var limit *tenant.LimitError
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (!errors.As(err, &limit) || limit.Limit != tt.want):
				t.Errorf("error %v, want limit %s", err, tt.want)
			}
		})
	}
}

// treeDepth is the depth of a syntax tree.
func treeDepth(n parser.Node) int {
	deepest := 0
	for c := range parser.ChildrenIter(n) {
		deepest = max(deepest, treeDepth(c))
	}
	return deepest + 1
}

// FuzzDepth: the estimate is never far below the tree that the parser builds.
func FuzzDepth(f *testing.F) {
	exprs, err := promqltest.GetBuiltInExprs()
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range exprs {
		f.Add(e)
	}
	f.Add("---1")
	f.Add("a offset 5m or b @ 3")
	p := parser.NewParser(ParserOptions())
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 {
			return
		}
		d := depth(text)
		expr, err := p.ParseExpr(text)
		if err != nil {
			return
		}
		// A bracket can open three nodes at once: a call, its list of arguments, a matrix selector around a vector's.
		if tree := treeDepth(expr); tree > 3*d+3 {
			t.Errorf("%q: tree of depth %d, estimated %d", text, tree, d)
		}
	})
}

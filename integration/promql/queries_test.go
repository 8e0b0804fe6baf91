package promql_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// one is any of several.
func one[T any](rng *rand.Rand, of ...T) T { return of[rng.IntN(len(of))] }

// randomRange is a stretch of the world; it may begin before it and end after it.
func randomRange(rng *rand.Rand) (from, to int64) {
	from = worldBegin - 600_000 + rng.Int64N(worldEnd-worldBegin)
	return from, from + rng.Int64N(one(rng, int64(1), 60_000, 3600_000, 4*3600_000))
}

// randomEvaluation asks for one time, or for up to 120 steps.
func randomEvaluation(rng *rand.Rand) evaluation {
	from, to := randomRange(rng)
	e := evaluation{expr: vector(rng, 3), start: time.UnixMilli(from)}
	if rng.IntN(4) == 0 {
		return e
	}
	e.end = time.UnixMilli(to)
	e.step = max(time.Duration(to-from)*time.Millisecond/time.Duration(1+rng.IntN(120)), time.Millisecond)
	return e
}

func randomMatchers(rng *rand.Rand) []*labels.Matcher {
	ms := []*labels.Matcher{labels.MustNewMatcher(labels.MatchRegexp, labels.MetricName, one(rng, ".+", "native.*", "mixed|custom", "requests_total", "temperature"))}
	switch rng.IntN(4) {
	case 0:
		ms = append(ms, labels.MustNewMatcher(labels.MatchEqual, "job", one(rng, "api", "db", "")))
	case 1:
		ms = append(ms, labels.MustNewMatcher(labels.MatchNotRegexp, "instance", one(rng, "1|2", ".*3", "")))
	case 2:
		ms = append(ms, labels.MustNewMatcher(labels.MatchNotEqual, "le", one(rng, "", "1")))
	}
	return ms
}

var (
	metricNames  = []string{"requests_total", "temperature", "native", "native_float", "native_gauge", "custom", "mixed", "classic_bucket"}
	durations    = []string{"15s", "1m", "2m30s", "5m", "20m", "1h"}
	selectors    = []string{``, `{job="api"}`, `{job!="api"}`, `{instance=~"[012]"}`, `{instance!~"1|3"}`, `{job="api",instance="0"}`, `{le=""}`}
	modifiers    = []string{``, ``, ``, ``, ` offset 7m`, ` offset -3m`, ` @ 9000`, ` @ start()`, ` @ end() offset 1m`}
	rangeModes   = []string{``, ``, ``, ` anchored`, ` smoothed`}
	aggregations = []string{"sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"}
	groupings    = []string{``, ` by (job)`, ` by (job, instance)`, ` without (instance)`, ` by (le)`}
	overRange    = []string{
		"rate", "increase", "irate", "idelta", "delta", "resets", "changes", "deriv", "avg_over_time", "sum_over_time", "min_over_time",
		"max_over_time", "count_over_time", "stddev_over_time", "stdvar_over_time", "last_over_time", "first_over_time",
		"present_over_time", "absent_over_time", "mad_over_time", "ts_of_max_over_time", "ts_of_last_over_time",
	}
	perSample  = []string{"abs", "ceil", "floor", "sqrt", "exp", "sgn", "timestamp", "absent", "sort", "deg", "ln", "round", "-", "histogram_count", "histogram_sum", "histogram_avg", "histogram_stddev"}
	arithmetic = []string{"+", "-", "*", "/", "%", "^", "==", "!=", ">", "<", ">=", "> bool", "== bool", "and", "or", "unless", "atan2"}
)

// vector is a random expression whose value is a vector.
func vector(rng *rand.Rand, depth int) string {
	if depth == 0 {
		return selector(rng)
	}
	inner := func() string { return vector(rng, depth-1) }
	switch rng.IntN(14) {
	case 0, 1, 2:
		return selector(rng)
	case 3, 4, 5:
		return onRange(rng)
	case 6, 7:
		return fmt.Sprintf("%s%s (%s)", one(rng, aggregations...), one(rng, groupings...), inner())
	case 8:
		return fmt.Sprintf("%s(%s)", one(rng, perSample...), inner())
	case 9:
		return fmt.Sprintf("(%s) %s%s (%s)", inner(), one(rng, arithmetic[:13]...), one(rng, "", " on (job, instance)", " ignoring (le, __name__)"), inner())
	case 10:
		return fmt.Sprintf("(%s) %s %s", inner(), one(rng, arithmetic[:13]...), one(rng, "2", "-0.5", "0"))
	case 11:
		return special(rng, inner)
	case 12:
		return fmt.Sprintf("%s((%s)[%s:%s]%s)", one(rng, overRange[:19]...), inner(), one(rng, durations[2:]...), one(rng, "", "1m", "37s"), one(rng, modifiers...))
	default:
		return fmt.Sprintf("(%s) %s (%s)", inner(), one(rng, arithmetic[13:16]...), inner())
	}
}

func selector(rng *rand.Rand) string {
	if rng.IntN(12) == 0 {
		return `{__name__=~"` + one(rng, "native.*", "mixed|custom", ".*_total|temp.*") + `"}`
	}
	return one(rng, metricNames...) + one(rng, selectors...) + one(rng, modifiers...)
}

// onRange is a function of a range.
func onRange(rng *rand.Rand) string {
	name, duration, mod := one(rng, metricNames...)+one(rng, selectors...), one(rng, durations...), one(rng, modifiers...)
	over := fmt.Sprintf("%s[%s]%s", name, duration, mod)
	switch rng.IntN(8) {
	case 0:
		return fmt.Sprintf("quantile_over_time(%s, %s)", one(rng, "0.5", "0.9", "-1"), over)
	case 1:
		return fmt.Sprintf("predict_linear(%s, 600)", over)
	case 2:
		return fmt.Sprintf("double_exponential_smoothing(%s, 0.5, 0.1)", over)
	case 3:
		return fmt.Sprintf("%s(%s[%s]%s%s)", one(rng, "rate", "increase", "delta"), name, duration, one(rng, rangeModes...), mod)
	}
	return fmt.Sprintf("%s(%s)", one(rng, overRange...), over)
}

// special is a function with a form of its own.
func special(rng *rand.Rand, inner func() string) string {
	switch rng.IntN(8) {
	case 0:
		return fmt.Sprintf("histogram_quantile(%s, sum by (le, job) (rate(%s[5m])))", one(rng, "0.5", "0.99", "NaN"), one(rng, "classic_bucket", "native", "custom", "native_float"))
	case 1:
		return fmt.Sprintf("histogram_fraction(0.1, %s, %s)", one(rng, "1", "+Inf"), inner())
	case 2:
		return fmt.Sprintf("%s%s (%d, %s)", one(rng, "topk", "bottomk", "limitk"), one(rng, groupings...), 1+rng.IntN(4), inner())
	case 3:
		return fmt.Sprintf("quantile%s (0.7, %s)", one(rng, groupings...), inner())
	case 4:
		return fmt.Sprintf(`label_replace(%s, "copy", "$1-x", "instance", "(.*)")`, inner())
	case 5:
		return fmt.Sprintf(`count_values%s ("value", %s)`, one(rng, groupings...), inner())
	case 6:
		return fmt.Sprintf("clamp(%s, -1, 100)", inner())
	}
	return strings.ReplaceAll("scalar(M) + time() + vector(hour())", "M", inner())
}

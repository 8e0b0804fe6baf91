package cost_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/varve-io/varve/pkg/cost"
)

// series is labels by pairs, sorted, and a value.
func series(v float64, pairs ...string) cost.Weight {
	w := cost.Weight{Value: v}
	for i := 0; i < len(pairs); i += 2 {
		w.Labels = append(w.Labels, cost.Label{Name: pairs[i], Value: pairs[i+1]})
	}
	return w
}

// Overheads are 0.1. Of the two lines jobs costs 0.03 and shop 0.059, and both are in the cluster prod.
func TestSharingByMetric(t *testing.T) {
	const m = "metric:x"
	for name, tt := range map[string]struct {
		series     []cost.Weight
		jobs, shop string
		says       string // an error
	}{
		"by namespace":         {[]cost.Weight{series(1, "namespace", "jobs"), series(3, "namespace", "shop")}, "0.025", "0.075", ""},
		"series add up":        {[]cost.Weight{series(1, "namespace", "jobs"), series(1, "namespace", "shop", "path", "/a"), series(2, "namespace", "shop", "path", "/b")}, "0.025", "0.075", ""},
		"of another namespace": {[]cost.Weight{series(1, "namespace", "jobs"), series(3, "namespace", "web")}, "0.1", "0", ""},
		"who has nothing":      {[]cost.Weight{series(0, "namespace", "jobs"), series(1e-300, "namespace", "shop")}, "0", "0.1", ""},
		"nobody has":           {[]cost.Weight{series(0, "namespace", "jobs")}, "0", "0", ""},
		"no series":            {nil, "0", "0", ""},
		"of another cluster":   {[]cost.Weight{series(1, "cluster", "elsewhere", "namespace", "jobs"), series(9, "cluster", "prod", "namespace", "shop")}, "0", "0.1", ""},
		"thirds":               {[]cost.Weight{series(0.1, "namespace", "jobs"), series(0.2, "namespace", "shop")}, "0.033333333", "0.066666667", ""},
		"very small":           {[]cost.Weight{series(math.SmallestNonzeroFloat64, "namespace", "jobs"), series(math.MaxFloat64, "namespace", "shop")}, "0", "0.1", ""},
		"both small":           {[]cost.Weight{series(math.SmallestNonzeroFloat64, "namespace", "jobs"), series(3*math.SmallestNonzeroFloat64, "namespace", "shop")}, "0.025", "0.075", ""},
		"tells only clusters":  {[]cost.Weight{series(1, "cluster", "prod")}, "", "", "no series has a label that is in by, beside cluster"},
		"negative":             {[]cost.Weight{series(-1, "namespace", "jobs")}, "", "", `the series {namespace="jobs"} is -1, which is no weight`},
		"not a number":         {[]cost.Weight{series(math.NaN(), "namespace", "jobs")}, "", "", "is NaN, which is no weight"},
		"infinite":             {[]cost.Weight{series(math.Inf(1), "namespace", "jobs")}, "", "", "is +Inf, which is no weight"},
		"tells nothing":        {[]cost.Weight{series(1, "job", "x")}, "", "", "no series has a label that is in by, beside cluster"},
	} {
		t.Run(name, func(t *testing.T) {
			q := cost.Query{By: []string{"namespace"}, Sharing: cost.Sharing{Overhead: m}, Weights: cost.Weights{"x": {tt.series}}}
			if tt.says != "" {
				_, err := trySmallReport(t, q)
				if !errors.Is(err, cost.ErrWeights) || !strings.Contains(err.Error(), "share: metric:x: "+tt.says) && !strings.Contains(err.Error(), tt.says) {
					t.Errorf("%v, want %s", err, tt.says)
				}
				return
			}
			r := smallReport(t, q)
			if jobs, shop := r.Lines[0].Shared.String(), r.Lines[1].Shared.String(); jobs != tt.jobs || shop != tt.shop || r.Total.String() != "0.3" || r.Residual != "0" {
				t.Errorf("jobs %s, shop %s of %s, residual %s", jobs, shop, r.Total, r.Residual)
			}
		})
	}
	if _, err := trySmallReport(t, cost.Query{Sharing: cost.Sharing{Overhead: m}}); err == nil || !strings.Contains(err.Error(), "share: metric:x has no values; only a running server evaluates metrics") {
		t.Errorf("without values: %v", err)
	}
}

// Lines that a metric doesn't tell apart have its weight together, in proportion to what they cost: shop on its node 0.056, its volume 0.003.
func TestLinesShareAWeight(t *testing.T) {
	weights := cost.Weights{"x": {{series(1, "namespace", "jobs"), series(3, "namespace", "shop")}}}
	r := smallReport(t, cost.Query{By: []string{"namespace", "node"}, Sharing: cost.Sharing{Overhead: "metric:x"}, Weights: weights})
	var got []string
	for _, l := range r.Lines {
		if l.Kind == cost.Workloads {
			got = append(got, strings.Join(append(l.Key, l.Shared.String()), " "))
		}
	}
	if diff := cmp.Diff([]string{"jobs n1 0.025", "shop  0.003813559", "shop n1 0.071186441"}, got); diff != "" || r.Residual != "0" {
		t.Error(diff)
	}
}

func trySmallReport(t *testing.T, q cost.Query) (*cost.Builder, error) {
	q.From, q.To = start, start+hour
	return cost.NewBuilder(q, bookOf(t, smallBook))
}

// The hash is of the weights, in whatever order they come.
func TestWeightsAreInTheHash(t *testing.T) {
	hash := func(all ...cost.Weight) string {
		return smallReport(t, cost.Query{By: []string{"namespace"}, Sharing: cost.Sharing{Overhead: "metric:x"}, Weights: cost.Weights{"x": {all}}}).Hash
	}
	a, b, twice := series(1, "namespace", "jobs"), series(3, "namespace", "shop"), series(6, "namespace", "shop")
	if hash(a, b) != hash(b, a) || hash(a, b) == hash(series(2, "namespace", "jobs"), twice) {
		t.Error("the hash depends on the order, or not on the weights")
	}
}

// Commas and equal signs of an expression are its own.
func TestParseSharingByMetric(t *testing.T) {
	const expr = `sum by (namespace, pod) (increase(x{a="b,}\",c", d!='"'}[1h]))`
	got, err := cost.ParseSharing("idle=even, overhead=metric:" + expr + " ,namespace:web=metric:y,namespace:kube=metric:y,scope=node")
	want := cost.Sharing{Idle: "even", Overhead: "metric:" + expr, ByNode: true, Namespaces: []string{"web", "kube"}, Namespace: "metric:y"}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if diff := cmp.Diff([]string{expr, "y"}, got.Metrics()); diff != "" {
		t.Error(diff)
	}
	if _, err := cost.ParseSharing("idle=metric:"); err == nil {
		t.Error("by no expression")
	}
	q := cost.Query{From: start, To: start + 1001*hour, Step: cost.StepHour, Sharing: want}
	if err := q.Validate(); err == nil || !strings.Contains(err.Error(), "at most 1000 steps") {
		t.Errorf("1001 steps: %v", err)
	}
}

// Whatever the weights, lines are the bill.
func TestSharingByMetricConserves(t *testing.T) {
	b := bookOf(t, book)
	rapid.Check(t, func(t *rapid.T) {
		ledgers := anyLedgers(t)
		q := cost.Query{From: ledgers[0].From, To: ledgers[len(ledgers)-1].To, Step: rapid.SampledFrom([]cost.Step{cost.StepNone, cost.StepHour}).Draw(t, "step")}
		q.By = rapid.SampledFrom([][]string{{"namespace"}, {"namespace", "pod"}, {"pod", "label:team"}}).Draw(t, "by")
		mode := rapid.SampledFrom([]cost.Mode{"", "metric:x", "metric:y", cost.ShareEven})
		q.Sharing = cost.Sharing{
			Idle: mode.Draw(t, "idle"), System: mode.Draw(t, "system"), Overhead: mode.Draw(t, "overhead"), Namespace: mode.Draw(t, "shared"),
			ByNode: rapid.Bool().Draw(t, "by node"), Namespaces: rapid.SliceOfN(rapid.Just("kube-system"), 0, 1).Draw(t, "namespaces"),
		}
		total := report(t, cost.Query{From: q.From, To: q.To}, b, ledgers...).Total
		ends, err := q.StepEnds()
		if err != nil {
			t.Fatal(err)
		}
		value := rapid.OneOf(rapid.Float64Range(0, 10), rapid.SampledFrom([]float64{0, 1e-320, 1e300}))
		pick := func(of ...string) string { return rapid.SampledFrom(of).Draw(t, "value") }
		q.Weights = cost.Weights{}
		for _, x := range []string{"x", "y"} {
			for range ends {
				var all []cost.Weight
				for range rapid.IntRange(0, 5).Draw(t, "series") {
					all = append(all, series(value.Draw(t, "weight"), "cluster", pick("c0", "c1"), "label_team", pick("", "red"), "namespace", pick("gone", "app"), "pod", pick("gone", "web-1", "db-0")))
				}
				q.Weights[x] = append(q.Weights[x], all)
			}
		}
		r := report(t, q, b, ledgers...)
		verify(t, r)
		if r.Total != total {
			t.Fatalf("total is %v, unshared %v", r.Total, total)
		}
	})
}

package querier_test

import (
	"encoding/json"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/cube"
)

// sharedBy is what each namespace has of shared costs in each step, and the report's text without its hash.
func (s *costSite) sharedBy(question, share string) (shared map[string]map[string]float64, lines string) {
	s.t.Helper()
	code, body := s.send("GET", "/api/v1/cost/report?by=namespace&"+question+"&share="+url.QueryEscape(share), "", "")
	var r struct {
		Residual string
		Lines    []struct {
			Kind, From, Shared string
			Key                map[string]string
		}
	}
	if err := json.Unmarshal([]byte(body), &r); err != nil || code != http.StatusOK || r.Residual != "0" {
		s.t.Fatalf("%s: %d %v %.300s", share, code, err, body)
	}
	shared = map[string]map[string]float64{}
	for _, l := range r.Lines {
		if l.Kind == "workload" {
			v, err := strconv.ParseFloat(l.Shared, 64)
			if err != nil {
				s.t.Fatal(err)
			}
			if shared[l.From] == nil {
				shared[l.From] = map[string]float64{}
			}
			shared[l.From][l.Key["namespace"]] = v
		}
	}
	_, lines, _ = strings.Cut(body, `"lines"`)
	return shared, lines
}

// Costs are shared in proportion to what an expression gives at the end of each step, by its labels.
func TestCostsSharedByMetric(t *testing.T) {
	s := newCostSite(t)
	const expr = `sum by (namespace) (increase(container_cpu_usage_seconds_total{container!="",container!="POD"}[3h]))`
	begin := costBegin + day - 3*hour
	shared, _ := s.sharedBy("step=day&"+window(begin, begin+6*hour), "idle=metric:"+expr+",system=none")
	for from, end := range map[int64]int64{begin: costBegin + day, costBegin + day: begin + 6*hour} {
		weights, sum, got, total := map[string]float64{}, 0.0, shared[cost.Time(from).String()], 0.0
		for _, x := range s.query(expr, end) {
			weights[x.Metric.Get("namespace")], sum = x.F, sum+x.F
		}
		for _, v := range got {
			total += v
		}
		if len(got) < 2 || len(weights) < 2 || total == 0 {
			t.Fatalf("%v by %v", got, weights)
		}
		for namespace, v := range got {
			if math.Abs(v-total*weights[namespace]/sum) > 2e-9 {
				t.Errorf("%s has %v of %v, its weight is %v of %v", namespace, v, total, weights[namespace], sum)
			}
		}
	}
	if len(shared) != 2 {
		t.Errorf("%d steps", len(shared))
	}
}

// By the same weight for each namespace is as evenly. What a metric says is looked at anew each time, even if all hours are out of cubes.
func TestCostsSharedByMetricOutOfCubes(t *testing.T) {
	with := newCubes()
	s := newCostSiteWith(t, with)
	with.count(t, s, costBegin, 24, cube.Settings{ClusterLabel: "cluster"})
	question := window(costBegin, costBegin+day)
	_, even := s.sharedBy(question, "idle=even,overhead=even")
	const same = `metric:group by (namespace, cluster) (last_over_time(kube_pod_info[24h]))`
	before := s.samples.selects.Load()
	if _, got := s.sharedBy(question, "idle="+same+",overhead="+same); got != even {
		t.Errorf("by the same weights: %s", difference(got, even))
	}
	first := s.samples.selects.Load() - before
	s.sharedBy(question, "idle="+same+",overhead="+same)
	if second := s.samples.selects.Load() - before - first; first == 0 || second != first {
		t.Errorf("the expression read samples %d times, then %d times", first, second)
	}
}

func TestMetricsThatCostsAreNotSharedBy(t *testing.T) {
	s := newCostSite(t)
	for expr, says := range map[string]string{
		"sum by (namespace": "share: metric:sum by (namespace: ",
		"1":                 "it gives a scalar, not a vector",
		"kube_pod_info[5m]": "it gives a matrix, not a vector",
		"-1 * sum by (namespace) (last_over_time(kube_pod_info[3h]))": "which is no weight",
		"last_over_time(node_load1[3h]) or last_over_time(up[3h])":    "no series has a label that is in by, beside cluster",
	} {
		code, body := s.send("GET", "/api/v1/cost/report?by=namespace&"+window(costBegin, costBegin+2*hour)+"&share="+url.QueryEscape("idle=metric:"+expr), "", "")
		if code != http.StatusBadRequest || !strings.Contains(body, says) {
			t.Errorf("%s: %d %.300s", expr, code, body)
		}
	}
}

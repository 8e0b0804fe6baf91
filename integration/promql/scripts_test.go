package promql_test

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-io/varve/querier"
)

// places are where a script's samples are when it asks for them.
var places = map[string]placement{
	"all in the head":   {protocols: [2]protocol{writeV2, writeV2}, inIngester: true},
	"all in the bucket": {protocols: [2]protocol{writeV2, writeV2}, inBucket: true},
	"split across both": {protocols: [2]protocol{writeV1, writeV2}, inIngester: true, inBucket: true},
}

// exceptions are the scripts that can't pass as a whole: for each, the lines whose evaluations differ from what
// Prometheus answers, and why.
var exceptions = map[string]struct {
	why   string
	lines []int
}{
	"testdata/start_timestamps.test": {
		why: "start timestamps, which a sender of remote write 2.0 may add to samples, are not stored",
		lines: []int{
			8, 13, 18, 24, 42, 66, 74, 82, 144, 169, 189, 207, 210, 213, 217, 234, 240, 246, 259, 276, 284, 289, 305,
		},
	},
}

// TestScripts runs Prometheus' own scripts through the whole write and read path.
func TestScripts(t *testing.T) {
	for name, place := range places {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := start(t)
			run := scripts{t, func(t testing.TB) storage.Storage {
				return &tenantStorage{installation: i, id: i.newTenant(t), place: place}
			}, map[string]bool{}}
			promqltest.RunBuiltinTestsWithStorage(run, testEngine(t), run.open)
			for name := range exceptions {
				if !run.seen[name] {
					t.Errorf("there is no script %s", name)
				}
			}
		})
	}
}

// scripts runs each script as a subtest. Those with exceptions are run evaluation by evaluation.
type scripts struct {
	*testing.T
	open func(testing.TB) storage.Storage
	seen map[string]bool
}

func (s scripts) Run(name string, whole func(*testing.T)) bool {
	s.seen[name] = true
	e, ok := exceptions[name]
	if !ok {
		return s.T.Run(name, whole)
	}
	return s.T.Run(name, func(t *testing.T) { runWithExceptions(t, name, e.lines, s.open) })
}

// testEngine is an engine as the scripts expect it.
func testEngine(t testing.TB) *promql.Engine {
	return promqltest.NewTestEngineWithOpts(t, promql.EngineOpts{
		MaxSamples:               promqltest.DefaultMaxSamplesPerQuery,
		Timeout:                  100 * time.Second,
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
		EnableAtModifier:         true,
		EnableNegativeOffset:     true,
		EnableDelayedNameRemoval: true,
		UseStartTimestamps:       true,
		Parser:                   parser.NewParser(querier.ParserOptions()),
	})
}

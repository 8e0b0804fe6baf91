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

// ways are the places in which a script's samples are when it asks for them.
var ways = map[string]placement{
	"all in the head":                     {protocols: [2]protocol{writeV2, writeV2}, inIngester: true},
	"all in the bucket":                   {protocols: [2]protocol{writeV2, writeV2}, inBucket: true},
	"split across both":                   {protocols: [2]protocol{writeV2, writeV2}, inIngester: true, inBucket: true},
	"split across both, remote write 1.0": {protocols: [2]protocol{writeV1, writeV1}, inIngester: true, inBucket: true},
}

// TestScripts runs Prometheus' own scripts through the whole write and read path.
func TestScripts(t *testing.T) {
	for name, place := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := start(t)
			promqltest.RunBuiltinTestsWithStorage(scripts{t}, testEngine(t), func(t testing.TB) storage.Storage {
				return &tenantStorage{installation: i, id: i.newTenant(t), place: place}
			})
		})
	}
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

// scripts leaves those with exceptions to TestScriptsWithExceptions.
type scripts struct{ *testing.T }

func (s scripts) Run(name string, f func(*testing.T)) bool {
	return s.T.Run(name, f)
}

package querier

import (
	"context"
	"net/http"
	"time"

	"github.com/grafana/regexp"
	"github.com/prometheus/common/route"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/util/stats"
	apiv1 "github.com/prometheus/prometheus/web/api/v1"

	"github.com/varve-io/varve/pkg/series"
)

// Bounds of remote read that are the same for everybody.
const (
	remoteReadFrameBytes = 1 << 20
	remoteReadSamples    = 50_000_000
)

// prometheusAPI is Prometheus' own API over the querier's series. Only the routes that http.go names reach it, so
// what it would need for the others is left out.
func (q *Querier) prometheusAPI() http.Handler {
	none := func(context.Context) apiv1.RulesRetriever { return noRules{} }
	ready := func(h http.HandlerFunc) http.HandlerFunc { return h }
	router := route.New()
	apiv1.NewAPI(
		q.engine, q.store, nil, nil, q.store, nil, nil, nil,
		func() config.Config { return config.Config{} }, nil, apiv1.GlobalURLOptions{}, ready,
		nil, "", false, false, 0, q.logger, none,
		remoteReadSamples, q.config.MaxConcurrent, remoteReadFrameBytes,
		false, regexp.MustCompile("^$"), nil, nil, nil, nil, nil, nil, renderStats,
		false, nil, false, false, false, false, lookbackDelta, false, false,
		overrideStatus, nil, apiv1.OpenAPIOptions{}, q.engine.parser,
	).Register(router)
	return router
}

// noRules answers that there are no rules: Varve evaluates none.
type noRules struct{}

func (noRules) RuleGroups() []*rules.Group           { return nil }
func (noRules) AlertingRules() []*rules.AlertingRule { return nil }

// readStats is what a read cost, added to Prometheus' own statistics where a request asks for them.
type readStats struct {
	stats.BuiltinStats
	Storage storageStats `json:"storage"`
}

type storageStats struct {
	Series     int64 `json:"series"`
	Chunks     int64 `json:"chunks"`
	ChunkBytes int64 `json:"chunkBytes"`
	Blocks     int64 `json:"blocks"`
	Gets       int64 `json:"gets"`
	GetBytes   int64 `json:"getBytes"`
}

// Builtin implements stats.QueryStats.
func (s readStats) Builtin() stats.BuiltinStats { return s.BuiltinStats }

func renderStats(ctx context.Context, s *stats.Statistics, param string) stats.QueryStats {
	if param == "" {
		return nil
	}
	b, sources := budgetFrom(ctx), series.StatsFrom(ctx).Load()
	return readStats{
		BuiltinStats: stats.NewQueryStats(s).Builtin(),
		Storage: storageStats{
			Series: b.series.Load(), Chunks: b.chunks.Load(), ChunkBytes: b.bytes.Load(),
			Blocks: sources.Blocks, Gets: sources.Gets, GetBytes: sources.GetBytes,
		},
	}
}

// BuildInfo is what status/buildinfo says of this binary.
type BuildInfo struct {
	Version, Revision, Branch, GoVersion string
	BuildDate                            time.Time
}

package querier

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-io/varve/pkg/tenant"
)

const (
	defaultSubqueryStep = time.Minute
	lookbackDelta       = 5 * time.Minute
)

// ParserOptions is the PromQL that is understood: all of it, Prometheus' experimental functions included.
func ParserOptions() parser.Options {
	return parser.Options{
		EnableExperimentalFunctions:  true,
		ExperimentalDurationExpr:     true,
		EnableExtendedRangeSelectors: true,
		EnableBinopFillModifiers:     true,
	}
}

// engineOptions is how Prometheus' engine runs here.
func engineOptions(timeout time.Duration, maxSamples int, logger *slog.Logger) promql.EngineOpts {
	return promql.EngineOpts{
		Logger:                   logger,
		MaxSamples:               maxSamples,
		Timeout:                  timeout,
		LookbackDelta:            lookbackDelta,
		NoStepSubqueryIntervalFn: func(int64) int64 { return defaultSubqueryStep.Milliseconds() },
		EnableAtModifier:         true,
		EnableNegativeOffset:     true,
		Parser:                   parser.NewParser(ParserOptions()),
	}
}

// engine is Prometheus' engine behind the bounds of the tenant who asks.
type engine struct {
	timeout time.Duration
	logger  *slog.Logger
	parser  parser.Parser

	mu      sync.Mutex
	engines map[int]*promql.Engine // by the samples that a query may hold; as many as the limits' file has values
}

func newEngine(timeout time.Duration, logger *slog.Logger) *engine {
	return &engine{
		timeout: timeout, logger: logger,
		parser:  parser.NewParser(ParserOptions()),
		engines: map[int]*promql.Engine{},
	}
}

// bounded is the engine for a tenant's limits.
func (e *engine) bounded(l *tenant.Limits) *promql.Engine {
	e.mu.Lock()
	defer e.mu.Unlock()
	bounded, ok := e.engines[l.MaxQuerySamples]
	if !ok {
		bounded = promql.NewEngine(engineOptions(e.timeout, l.MaxQuerySamples, e.logger))
		e.engines[l.MaxQuerySamples] = bounded
	}
	return bounded
}

// NewInstantQuery implements promql.QueryEngine.
func (e *engine) NewInstantQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, text string, at time.Time) (promql.Query, error) {
	l := &budgetFrom(ctx).limits
	if err := checkEvaluation(l, e.parser, text, evaluation{start: at, end: at}); err != nil {
		return nil, budgetFrom(ctx).failed(err)
	}
	return e.watch(ctx, l)(e.bounded(l).NewInstantQuery(ctx, q, opts, text, at))
}

// NewRangeQuery implements promql.QueryEngine.
func (e *engine) NewRangeQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, text string, start, end time.Time, step time.Duration) (promql.Query, error) {
	l := &budgetFrom(ctx).limits
	if err := checkEvaluation(l, e.parser, text, evaluation{start: start, end: end, step: step}); err != nil {
		return nil, budgetFrom(ctx).failed(err)
	}
	return e.watch(ctx, l)(e.bounded(l).NewRangeQuery(ctx, q, opts, text, start, end, step))
}

// watch makes a query name the limit that ended it.
func (e *engine) watch(ctx context.Context, l *tenant.Limits) func(promql.Query, error) (promql.Query, error) {
	return func(q promql.Query, err error) (promql.Query, error) {
		if err != nil {
			return nil, err
		}
		return watchedQuery{Query: q, budget: budgetFrom(ctx), limits: l}, nil
	}
}

type watchedQuery struct {
	promql.Query
	budget *budget
	limits *tenant.Limits
}

// Exec implements promql.Query.
func (q watchedQuery) Exec(ctx context.Context) *promql.Result {
	res := q.Query.Exec(ctx)
	if many, ok := errors.AsType[promql.ErrTooManySamples](res.Err); ok {
		res.Err = &tenant.LimitError{Limit: tenant.MaxQuerySamples, Max: q.limits.MaxQuerySamples, Subject: many.Error()}
	}
	res.Err = q.budget.failed(res.Err)
	return res
}

package querier

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"golang.org/x/sync/semaphore"

	"github.com/varve-io/varve/pkg/cost/cube"
	"github.com/varve-io/varve/pkg/tenant"
)

// Dependencies is what a querier works with.
type Dependencies struct {
	Recent Recent
	Older  Older
	Limits Limits
	// Prices keep the price books; nil for the built-in prices only.
	Prices Prices
	// Cubes have hours of costs; nil to compute them all.
	Cubes      Cubes
	Build      BuildInfo
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	// Now is the clock; nil for time.Now.
	Now func() time.Time
}

// Querier answers reads. It is safe for concurrent use.
type Querier struct {
	config  Config
	limits  Limits
	prices  Prices
	build   BuildInfo
	logger  *slog.Logger
	metrics *metrics
	now     func() time.Time

	store      store
	costReader costReader
	answers    *cache[costAnswerKey, *costAnswer]
	pages      *cache[costPagesKey, *wholeCosts]
	engine     *engine
	gate       chan struct{}
	handler    func() http.Handler // made for the first request: Prometheus' API takes a while to describe itself
}

// New makes a querier. It starts nothing.
func New(c Config, d Dependencies) (*Querier, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("configure querier: %w", err)
	}
	if d.Recent == nil || d.Older == nil || d.Limits == nil {
		return nil, errors.New("make querier: recent, older and limits are needed")
	}
	q := &Querier{
		config: c, limits: d.Limits, prices: d.Prices, build: d.Build, logger: d.Logger, now: d.Now,
		metrics: newMetrics(d.Registerer, c.MaxConcurrent),
		gate:    make(chan struct{}, c.MaxConcurrent),
	}
	if q.logger == nil {
		q.logger = slog.New(slog.DiscardHandler)
	}
	if q.prices == nil {
		q.prices = builtIn{}
	}
	if q.now == nil {
		q.now = time.Now
	}
	if d.Cubes == nil {
		d.Cubes = noCubes{}
	}
	written := sources{recent: d.Recent, older: d.Older}
	q.store = store{sources: written, now: q.now}
	q.answers = newCache[costAnswerKey, *costAnswer](costAnswerBytes, q.now)
	q.pages = newCache[costPagesKey, *wholeCosts](costPagesBytes, q.now)
	q.costReader = costReader{
		sources: written, cubes: d.Cubes, limits: d.Limits, manifests: newCache[tenant.ID, *cube.Manifest](manifestBytes, q.now),
		ahead: semaphore.NewWeighted(aheadBytes),
	}
	q.store.sources.costs = &costSeries{
		reader: q.costReader, prices: q.prices, limits: d.Limits, now: q.now, hours: newCache[costKey, *costHour](costCacheBytes, q.now),
	}
	q.engine = newEngine(time.Duration(c.Timeout), q.logger)
	q.handler = sync.OnceValue(q.routes)
	return q, nil
}

// ServeHTTP answers everything that Register registers.
func (q *Querier) ServeHTTP(w http.ResponseWriter, r *http.Request) { q.handler().ServeHTTP(w, r) }

// Register adds the querier's paths to mux. More specific patterns of others, such as those of writes, go first.
func (q *Querier) Register(mux *http.ServeMux) {
	for _, p := range []string{"/prometheus/", "/api/v1/", "/federate", "/config/v1/rules", "/config/v1/rules/", "/rules", "/rules/"} {
		mux.Handle(p, q)
	}
}

// Queryable is the series of the tenants that the context of each call names (WithTenants).
func (q *Querier) Queryable() storage.SampleAndChunkQueryable { return q.store }

// Engine evaluates PromQL within the default limits, or those of the request that the context belongs to.
func (q *Querier) Engine() promql.QueryEngine { return q.engine }

package querier

import (
	"context"
	"crypto/sha256"
	"errors"
	"math"
	"slices"
	"time"
	"unique"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/join"
	"github.com/varve-io/varve/pkg/cost/price"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// CostPerHour is the metric of what each workload costs per hour, with the labels currency, cluster, namespace, controller and
// kind. Nobody writes it: it is computed for those who ask for it by its name.
const CostPerHour = "varve_cost_per_hour"

const (
	hourMillis = int64(60 * 60_000)
	// costInterval is from point to point, in milliseconds.
	costInterval = int64(60_000)
	// settleTime is how long after its end an hour is taken for whole.
	settleTime = 5 * time.Minute
	// How long priced hours are kept: while senders may still add to them, and after.
	keepOpenHour, keepClosedHour = 5 * time.Minute, time.Hour
	// costCacheBytes bounds the priced hours that are kept.
	costCacheBytes = 64 << 20
	// costListing is the part of a range, at its end, whose hours are looked into for names and labels.
	costListing = 24 * hourMillis
)

// costSeries answers for CostPerHour: in each hour a line of a report has the value of what it cost in that hour. The hour that isn't over
// has the values of the last one that is.
type costSeries struct {
	reader costReader
	prices Prices
	limits Limits
	now    func() time.Time
	hours  *cache[costKey, *costHour]
}

// costKey is what a priced hour depends on, beside samples.
type costKey struct {
	tenant tenant.ID
	start  int64
	book   [sha256.Size]byte
}

// costHour is a priced hour.
type costHour struct {
	lines   []costLine
	partial annotations.Annotations // what could not be reached
}

type costLine struct {
	labels  unique.Handle[labels.Labels] // hours have mostly the same
	perHour float64
}

type noCostsKey struct{}

// withoutCosts is for reads of what was written only.
func withoutCosts(ctx context.Context) context.Context {
	return context.WithValue(ctx, noCostsKey{}, true)
}

// wanted tells whether the matchers ask for costs, by name.
func (c *costSeries) wanted(ctx context.Context, ms []*labels.Matcher) bool {
	return c != nil && slices.ContainsFunc(ms, func(m *labels.Matcher) bool {
		return m.Type == labels.MatchEqual && m.Name == labels.MetricName && m.Value == CostPerHour
	}) && ctx.Value(noCostsKey{}) == nil
}

// query selects one tenant's costs.
func (c *costSeries) query(ctx context.Context, q series.Query) (series.Set, annotations.Annotations, error) {
	book, err := c.prices.Book(ctx, q.Tenant)
	if err != nil {
		return nil, nil, err
	}
	now, b := c.now(), budgetFrom(ctx)
	set := &costPoints{from: max(q.MinTime, 0), to: min(q.MaxTime, now.UnixMilli()), onlyLabels: q.SkipChunks}
	if q.SkipChunks {
		set.from = max(set.from, set.to-costListing)
	}
	settled := hourOf(now.Add(-settleTime).UnixMilli()) // the end of the last hour that is whole
	key := costKey{tenant: q.Tenant, book: sha256.Sum256(book.Text())}
	lines := map[unique.Handle[labels.Labels]]*pricedLine{}
	var warns annotations.Annotations
	var points int64
	for start := hourOf(set.from); start <= set.to; start += hourMillis {
		key.start = min(start, settled-hourMillis)
		hour, err := c.hour(ctx, key, book)
		if err != nil {
			return nil, nil, err
		}
		warns.Merge(hour.partial)
		points += int64(len(hour.lines))
		if err := b.check(int64(len(lines)), points*chunkBytesOfHour); err != nil {
			return nil, nil, err
		}
		addCosts(lines, hour, start, q.Matchers)
	}
	set.sort(lines)
	return series.Limited(set, q.Limit), warns, nil
}

// chunkBytesOfHour is about how long the chunk of an hour is.
const chunkBytesOfHour = 40

// hourOf is the beginning of the hour that t is in.
func hourOf(t int64) int64 { return t - t%hourMillis }

// addCosts adds an hour to the lines that match; those that don't are nil.
func addCosts(lines map[unique.Handle[labels.Labels]]*pricedLine, h *costHour, start int64, ms []*labels.Matcher) {
	for _, l := range h.lines {
		p, ok := lines[l.labels]
		if !ok {
			ls := l.labels.Value()
			if !slices.ContainsFunc(ms, func(m *labels.Matcher) bool { return !m.Matches(ls.Get(m.Name)) }) {
				p = &pricedLine{labels: ls}
			}
			lines[l.labels] = p
		}
		if p != nil {
			p.hours = append(p.hours, pricedHour{start, l.perHour})
		}
	}
}

// names lists the costs' label names, or the values of one label if name is not empty.
func (c *costSeries) names(ctx context.Context, name string, q series.Query) ([]string, annotations.Annotations, error) {
	q.SkipChunks = true
	limit := q.Limit
	q.Limit = 0
	set, warns, err := c.query(ctx, q)
	if err != nil {
		return nil, nil, err
	}
	found := map[string]bool{}
	for set.Next() {
		set.At().Labels.Range(func(l labels.Label) {
			if name == "" {
				found[l.Name] = true
			} else if l.Name == name {
				found[l.Value] = true
			}
		})
	}
	all := make([]string, 0, len(found))
	for v := range found {
		all = append(all, v)
	}
	slices.Sort(all)
	if limit > 0 {
		all = all[:min(len(all), limit)]
	}
	return all, warns, errors.Join(set.Err(), set.Close())
}

// hour prices one hour, or takes it from the cache.
func (c *costSeries) hour(ctx context.Context, key costKey, book *price.Book) (*costHour, error) {
	return c.hours.get(ctx, key, func() (m made[*costHour], err error) {
		if m.value, err = c.price(ctx, key, book); err != nil {
			return m, err
		}
		for _, l := range m.value.lines {
			m.bytes += 16 + int64(l.labels.Value().ByteSize())
		}
		closed := time.UnixMilli(key.start + hourMillis + join.Margin).Add(time.Duration(c.limits.For(key.tenant).PastWindow))
		switch {
		case len(m.value.partial) > 0:
		case c.now().After(closed):
			m.keep = keepClosedHour
		default:
			m.keep = keepOpenHour
		}
		m.bytes += 256 // the entry itself
		return m, nil
	})
}

// price computes one hour. What it reads is within the limits of a read of its own.
func (c *costSeries) price(ctx context.Context, key costKey, book *price.Book) (*costHour, error) {
	ctx = withBudget(ctx, &budget{limits: budgetFrom(ctx).limits})
	q := &cost.Question{Verb: cost.AskReport, Query: cost.Query{
		From: key.start, To: key.start + hourMillis, By: []string{"cluster", "namespace", "controller"}, Method: cost.MaxRequestUsage,
	}}
	b, err := cost.NewBuilder(q.Query, book)
	if err != nil {
		return nil, err
	}
	plan, err := c.reader.plan(ctx, key.tenant, q, book)
	if err != nil {
		return nil, err
	}
	for l, err := range plan.ledgers(ctx) {
		if err == nil {
			err = b.Add(l)
		}
		if err != nil {
			return nil, err
		}
	}
	report, err := b.Report()
	if err != nil {
		return nil, err
	}
	h := &costHour{lines: make([]costLine, len(report.Lines))}
	for i, l := range report.Lines {
		h.lines[i] = costLine{unique.Make(costLabels(report, l)), l.Amount().Float()}
	}
	for _, w := range report.Warnings {
		if w.Name == partialAnswer {
			h.partial.Add(errors.New(w.Example))
		}
	}
	return h, nil
}

func costLabels(r *cost.Report, l *cost.Line) labels.Labels {
	b := labels.NewScratchBuilder(len(r.By) + 3)
	add := func(name, v string) {
		if v != "" {
			b.Add(name, v)
		}
	}
	add(labels.MetricName, CostPerHour)
	add("currency", r.Currency)
	add("kind", l.Kind.String())
	for i, name := range r.By {
		add(name, l.Key[i])
	}
	b.Sort()
	return b.Labels()
}

// pricedLine is a series: the hours in which there is such a line, in order.
type pricedLine struct {
	labels labels.Labels
	hours  []pricedHour
}

type pricedHour struct {
	start   int64
	perHour float64
}

// costPoints is a set of priced lines, whose points are made as they are read.
type costPoints struct {
	from, to   int64
	onlyLabels bool
	lines      []*pricedLine
	at         series.Chunked
	err        error
}

func (s *costPoints) sort(lines map[unique.Handle[labels.Labels]]*pricedLine) {
	for _, l := range lines {
		if l != nil {
			s.lines = append(s.lines, l)
		}
	}
	slices.SortFunc(s.lines, func(a, b *pricedLine) int { return labels.Compare(a.labels, b.labels) })
}

// Next implements series.Set.
func (s *costPoints) Next() bool {
	for len(s.lines) > 0 && s.err == nil {
		l := s.lines[0]
		s.lines = s.lines[1:]
		s.at = series.Chunked{Labels: l.labels}
		if s.onlyLabels {
			return true
		}
		for i, h := range l.hours {
			ends := i+1 == len(l.hours) || l.hours[i+1].start > h.start+hourMillis
			if s.err = s.add(h, ends); s.err != nil {
				return false
			}
		}
		if len(s.at.Chunks) > 0 {
			return true
		}
	}
	return false
}

// add adds the points of an hour within the range. If the line isn't in the next one, it ends with a marker.
func (s *costPoints) add(h pricedHour, ends bool) error {
	c := chunkenc.NewXORChunk()
	app, err := c.Appender()
	if err != nil {
		return err
	}
	m := chunks.Meta{Chunk: c}
	for t := h.start; t <= min(h.start+hourMillis, s.to); t += costInterval {
		v := h.perHour
		if t == h.start+hourMillis {
			v = math.Float64frombits(value.StaleNaN)
		}
		if t < s.from || value.IsStaleNaN(v) && !ends {
			continue
		}
		if c.NumSamples() == 0 {
			m.MinTime = t
		}
		m.MaxTime = t
		app.Append(0, t, v)
	}
	if c.NumSamples() > 0 {
		s.at.Chunks = append(s.at.Chunks, m)
	}
	return nil
}

// At implements series.Set.
func (s *costPoints) At() series.Chunked { return s.at }

// Err implements series.Set.
func (s *costPoints) Err() error { return s.err }

// Close implements series.Set.
func (s *costPoints) Close() error { return nil }

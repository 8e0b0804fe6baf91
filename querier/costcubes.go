package querier

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/cube"
	"github.com/varve-io/varve/pkg/cost/join"
	"github.com/varve-io/varve/pkg/cost/price"
	"github.com/varve-io/varve/pkg/tenant"
)

// Cubes have the hours of costs that were counted already. They are safe for concurrent use.
type Cubes interface {
	// Manifest is a tenant's; one without a cube has an empty one.
	Manifest(ctx context.Context, id tenant.ID) (*cube.Manifest, error)
	// Open is an object of a cube; nothing is read yet.
	Open(name string, size int64) CubeFile
}

// CubeFile is an object of a cube.
type CubeFile interface {
	cube.Source
	Close() error
}

// noCubes are none: all hours are computed from samples.
type noCubes struct{}

func (noCubes) Manifest(_ context.Context, id tenant.ID) (*cube.Manifest, error) {
	return &cube.Manifest{Tenant: id}, nil
}

func (noCubes) Open(string, int64) CubeFile { return nil }

// costReader gives the ledgers of a window: closed hours out of cubes, all others from samples.
type costReader struct {
	sources   sources
	cubes     Cubes
	limits    Limits
	manifests *cache[tenant.ID, *cube.Manifest]
	ahead     *semaphore.Weighted // bytes of files that are fetched before their turn
}

const (
	// keepManifest is how long a manifest is used for: what it names is not deleted for much longer.
	keepManifest = 10 * time.Second
	// manifestBytes bounds those that are kept.
	manifestBytes = 64 << 20
)

func (r costReader) manifest(ctx context.Context, id tenant.ID) (*cube.Manifest, error) {
	return r.manifests.get(ctx, id, func() (made[*cube.Manifest], error) {
		m, err := r.cubes.Manifest(ctx, id)
		if err != nil {
			return made[*cube.Manifest]{}, err
		}
		bytes := 256 + 256*int64(len(m.Objects)+len(m.Days))
		for i := range m.Days {
			bytes += 32 * int64(len(m.Days[i].Sources))
		}
		return made[*cube.Manifest]{m, bytes, keepManifest}, nil
	})
}

// stretch is a part of a window that is read at once: from one file of a cube, or from samples if it has no level.
type stretch struct {
	level    cube.Level
	from, to int64
}

// costPlan says where the hours of a question come from.
type costPlan struct {
	reader    costReader
	tenant    tenant.ID
	question  *cost.Question
	manifest  *cube.Manifest
	stretches []stretch
	cut       []int64 // hours that are taken pro rata
}

func (r costReader) plan(ctx context.Context, id tenant.ID, q *cost.Question, book *price.Book) (*costPlan, error) {
	m, err := r.manifest(ctx, id)
	if err != nil {
		return nil, err
	}
	all, cut := stretches(m, q, book)
	return &costPlan{r, id, q, m, all, cut}, nil
}

// needsSamples tells whether hours are computed: then the answer may be another one at any time.
func (p *costPlan) needsSamples() bool {
	return slices.ContainsFunc(p.stretches, func(s stretch) bool { return s.level == "" })
}

// ledgers are those of the question's window, in the order of time. They share their names; their rows are valid until the next one.
func (p *costPlan) ledgers(ctx context.Context) iter.Seq2[*cost.Ledger, error] {
	return func(yield func(*cost.Ledger, error) bool) {
		names, ahead := cost.NewNames(), p.lookAhead(ctx)
		defer ahead.stop()
		for i := range p.stretches {
			for l, err := range p.part(ahead, i, names) {
				if context.Cause(ahead.ctx) != nil {
					l, err = nil, context.Cause(ahead.ctx)
				}
				if !yield(l, err) || err != nil {
					return
				}
			}
		}
	}
}

// part are the ledgers of a stretch.
func (p *costPlan) part(ahead *costAhead, stretch int, names *cost.Names) iter.Seq2[*cost.Ledger, error] {
	s := p.stretches[stretch]
	if s.level == "" {
		return p.reader.fromSamples(ahead.ctx, p.tenant, &p.question.Query, s, names)
	}
	return func(yield func(*cost.Ledger, error) bool) {
		files, done, err := ahead.files(stretch)
		defer done()
		if err != nil {
			yield(nil, err)
			return
		}
		from := fromRollUps
		if s.level == cube.HourLevel {
			from = fromHours
		}
		from(ahead.ctx, files, p.question, s, names)(yield)
	}
}

// stretches divide the window: months and days where their roll-ups may be used, hours that are closed, and what is left. Hours that are cut are
// computed from samples while there are some.
func stretches(m *cube.Manifest, q *cost.Question, book *price.Book) (all []stretch, cut []int64) {
	labels := q.Query.LabelNames()
	for at := q.Query.From; at < q.Query.To; {
		next := stretch{"", at, q.Query.SlotEnd(at)}
		isHour := next.to-at == hourMillis
		month, monthEnd := cube.MonthOf(at)
		day := at - at%dayMillis
		switch {
		case month == at && m.Has(cube.MonthLevel, at) && q.RollsUp(book, at, monthEnd) && knowsLabels(m, at, monthEnd, labels):
			next = stretch{cube.MonthLevel, at, monthEnd}
		case day == at && m.Has(cube.DayLevel, at) && q.RollsUp(book, at, at+dayMillis) && knowsLabels(m, at, at+dayMillis, labels):
			next = stretch{cube.DayLevel, at, at + dayMillis}
		case !isHour && isFrozen(m, at):
			next.level = cube.HourLevel
			if hour := hourOf(at); len(cut) == 0 || cut[len(cut)-1] != hour {
				cut = append(cut, hour)
			}
		case isHour && m.Has(cube.HourLevel, at) && knowsLabels(m, at, at+hourMillis, labels):
			next.level = cube.HourLevel
		}
		at = next.to
		if n := len(all); n > 0 && all[n-1].level == next.level && fileStart(next.level, all[n-1].from) == fileStart(next.level, next.from) {
			all[n-1].to = next.to
			continue
		}
		all = append(all, next)
	}
	return all, cut
}

// isFrozen tells whether samples of the hour of t are deleted, or will be soon.
func isFrozen(m *cube.Manifest, t int64) bool {
	d := m.Day(t)
	return d != nil && d.Has(d.Frozen, hourOf(t))
}

const dayMillis = 24 * hourMillis

// fileStart tells files of a level apart; samples are in none.
func fileStart(level cube.Level, at int64) int64 {
	switch level {
	case cube.HourLevel:
		return at - at%dayMillis
	case cube.DayLevel:
		start, _ := cube.MonthOf(at)
		return start
	case cube.MonthLevel:
		return int64(time.UnixMilli(at).UTC().Year())
	}
	return 0
}

// knowsLabels tells whether hours were counted with the labels. Frozen ones will never be: they are taken as they are.
func knowsLabels(m *cube.Manifest, from, to int64, names []string) bool {
	if len(names) == 0 {
		return true
	}
	for hour := from; hour < to; hour += hourMillis {
		s, _ := m.SettingsOf(hour)
		unknown := func(name string) bool { return !slices.Contains(s.Labels, name) }
		if slices.ContainsFunc(names, unknown) && !isFrozen(m, hour) {
			return false
		}
	}
	return true
}

// fromSamples computes hours, and parts of hours. Each may take what a read may.
func (r costReader) fromSamples(ctx context.Context, id tenant.ID, q *cost.Query, s stretch, names *cost.Names) iter.Seq2[*cost.Ledger, error] {
	return func(yield func(*cost.Ledger, error) bool) {
		l := r.limits.For(id)
		all := slices.Concat(l.CostLabels, q.LabelNames()) // as the cube has them, so that rows are the same
		slices.Sort(all)
		o := join.Options{Tenant: id, ClusterLabel: l.CostClusterLabel, Labels: slices.Compact(all), Names: names}
		for slot := *q; s.from < s.to; s.from = slot.To {
			slot.From, slot.To = s.from, q.SlotEnd(s.from)
			source := &costSource{sources: r.sources, budget: budgetFrom(ctx)}
			for l, err := range join.Ledgers(ctx, source, o, slot) {
				if err == nil {
					l.Warnings = append(l.Warnings, source.partial()...)
				}
				if !yield(l, err) || err != nil {
					return
				}
			}
		}
	}
}

// fromHours reads hours of a day and divides them.
func fromHours(ctx context.Context, files cube.Files, q *cost.Question, s stretch, names *cost.Names) iter.Seq2[*cost.Ledger, error] {
	return func(yield func(*cost.Ledger, error) bool) {
		next := s.from
		for h, err := range cube.Hours(ctx, files, columnsOf(q, s.level)) {
			switch {
			case err != nil:
				yield(nil, err)
				return
			case h.Start+hourMillis <= s.from || h.Start >= s.to:
				continue
			}
			for l, err := range divided(h, &q.Query, s, names) {
				if err == nil {
					err = follows(s, next, l)
				}
				if !yield(l, err) || err != nil {
					return
				}
				next = l.To
			}
			if next == s.to {
				return
			}
		}
		yield(nil, missing(s, next))
	}
}

// fromRollUps reads days of a month, or months of a year.
func fromRollUps(ctx context.Context, files cube.Files, q *cost.Question, s stretch, names *cost.Names) iter.Seq2[*cost.Ledger, error] {
	return func(yield func(*cost.Ledger, error) bool) {
		next := s.from
		for l, err := range cube.RollUps(ctx, files, columnsOf(q, s.level), names) {
			switch {
			case err != nil:
				yield(nil, err)
				return
			case l.From < s.from || l.From >= s.to:
				continue
			}
			if err = follows(s, next, l); !yield(l, err) || err != nil || l.To == s.to {
				return
			}
			next = l.To
		}
		yield(nil, missing(s, next))
	}
}

// follows is an error if the file passes over a part of the stretch that its manifest has.
func follows(s stretch, next int64, l *cost.Ledger) error {
	if l.From != next {
		return missing(s, next)
	}
	return nil
}

func missing(s stretch, at int64) error {
	return fmt.Errorf("cost cube: the manifest has the %s of %s, the files don't: %w", s.level, cost.Time(at), cube.ErrDamaged)
}

// files are those that a stretch is in, to be closed by done.
func (r costReader) files(m *cube.Manifest, s stretch) (files cube.Files, done func()) {
	var open []CubeFile
	files = m.Files(s.level, s.from, func(name string, size int64) cube.Source {
		f := r.cubes.Open(name, size)
		open = append(open, f)
		return f
	})
	return files, func() {
		for _, f := range open {
			_ = f.Close() // it was only read
		}
	}
}

// columnsOf are the columns that a question needs.
func columnsOf(q *cost.Question, level cube.Level) cube.Columns {
	if q.Verb == cost.AskScaleEvents {
		return cube.ScaleColumns(level)
	}
	by := q.Query.By
	if q.Verb != cost.AskReport || len(q.Query.Sharing.Namespaces) > 0 {
		by = append(slices.Clip(by), "namespace")
	}
	return cube.ReportColumns(level, by)
}

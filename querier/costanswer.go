package querier

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"iter"
	"time"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/cube"
	"github.com/varve-io/varve/pkg/cost/price"
	"github.com/varve-io/varve/pkg/tenant"
)

// costAnswer is an answer as it is sent.
type costAnswer struct {
	body  []byte
	next  string // the cursor of the next page
	hours costHours
}

// wholeCosts is an answer with all its lines.
type wholeCosts struct {
	cost.Answer
	hours costHours
}

// costHours is how many hours came from where, parts of hours included.
type costHours struct{ rollups, cubes, samples int64 }

// String is for the header HoursHeader: a dictionary of RFC 8941.
func (h costHours) String() string {
	return fmt.Sprintf("rollups=%d, cubes=%d, samples=%d", h.rollups, h.cubes, h.samples)
}

func (p *costPlan) hours() (h costHours) {
	for _, s := range p.stretches {
		switch n := (hourOf(s.to-1)-hourOf(s.from))/hourMillis + 1; s.level {
		case "":
			h.samples += n
		case cube.HourLevel:
			h.cubes += n
		default:
			h.rollups += n
		}
	}
	return h
}

// costAnswerKey is all that an answer depends on, if nothing of it is computed from samples.
type costAnswerKey struct {
	tenant     tenant.ID
	question   string
	format     string
	book       [sha256.Size]byte
	generation uint64 // of the cube's manifest
}

// costPagesKey is of a whole answer that somebody turns the pages of.
type costPagesKey struct {
	tenant   tenant.ID
	question string // without the page
	name     string
}

const (
	// keepAnswer is how long an answer is kept, and costAnswerBytes how much of them.
	keepAnswer      = time.Hour
	costAnswerBytes = 64 << 20
	// keepPages is how long a whole answer is kept for the next of its pages, and costPagesBytes how much of them.
	keepPages      = 5 * time.Minute
	costPagesBytes = 128 << 20
)

// costRequest is a question that is being answered.
type costRequest struct {
	*Querier
	tenant   tenant.ID
	question *cost.Question
	format   string
	book     *price.Book
	plan     *costPlan
	progress *costProgress
}

func (q *Querier) answerCost(
	ctx context.Context, id tenant.ID, question *cost.Question, format string, progress *costProgress,
) (*costAnswer, error) {
	book, err := q.prices.Book(ctx, id)
	if err != nil {
		return nil, err
	}
	plan, err := q.costReader.plan(ctx, id, question, book)
	if err != nil {
		return nil, err
	}
	r := &costRequest{q, id, question, format, book, plan, progress}
	if plan.needsSamples() || question.Page.Cursor != "" || len(question.Query.Sharing.Metrics()) > 0 {
		return r.write(ctx)
	}
	key := costAnswerKey{id, fmt.Sprintf("%+v", *question), format, sha256.Sum256(book.Text()), plan.manifest.Generation}
	return q.answers.get(ctx, key, func() (made[*costAnswer], error) {
		a, err := r.write(ctx)
		if err != nil {
			return made[*costAnswer]{}, err
		}
		return made[*costAnswer]{a, int64(len(a.body)) + 512, keepAnswer}, nil
	})
}

// write writes the page that is wanted.
func (r *costRequest) write(ctx context.Context) (*costAnswer, error) {
	whole, err := r.whole(ctx)
	if err != nil {
		return nil, err
	}
	page, next, err := whole.Answer.Page(r.question.Page)
	if err != nil {
		return nil, err
	}
	if next != "" { // it is there for the next page, even if samples come meanwhile
		if _, err := r.pages.get(ctx, r.pagesKey(whole.Name()), func() (made[*wholeCosts], error) { return whole.made(), nil }); err != nil {
			return nil, err
		}
	}
	var body bytes.Buffer
	if err := page.Write(&body, r.format); err != nil {
		return nil, err
	}
	kept := body.Bytes()
	if body.Available() > len(kept)/8 {
		kept = bytes.Clone(kept)
	}
	return &costAnswer{kept, next, whole.hours}, nil
}

// whole is the answer with all lines: that to which the cursor belongs, if it is there.
func (r *costRequest) whole(ctx context.Context) (*wholeCosts, error) {
	of := r.question.Page.Of()
	if of == "" {
		return r.compute(ctx)
	}
	return r.pages.get(ctx, r.pagesKey(of), func() (made[*wholeCosts], error) {
		whole, err := r.compute(ctx)
		if err == nil && whole.Name() != of {
			err = fmt.Errorf("cursor: %w", cost.ErrChanged)
		}
		if err != nil {
			return made[*wholeCosts]{}, err
		}
		return whole.made(), nil
	})
}

func (w *wholeCosts) made() made[*wholeCosts] { return made[*wholeCosts]{w, w.Bytes(), keepPages} }

func (r *costRequest) compute(ctx context.Context) (*wholeCosts, error) {
	r.metrics.costsRunning.Inc()
	defer r.metrics.costsRunning.Dec()
	question := *r.question
	weights, warnings, err := r.weights(ctx)
	if err != nil {
		return nil, err
	}
	question.Query.Weights = weights
	a, err := question.Answer(r.book, r.ledgers(ctx, append(warnings, proRata(r.plan.cut)...)))
	if err != nil {
		return nil, err
	}
	h := r.plan.hours()
	r.metrics.costHours.WithLabelValues("rollups").Add(float64(h.rollups))
	r.metrics.costHours.WithLabelValues("cubes").Add(float64(h.cubes))
	r.metrics.costHours.WithLabelValues("samples").Add(float64(h.samples))
	return &wholeCosts{a, h}, nil
}

// tellEvery is how often the log tells how far an answer is.
const tellEvery = 10 * time.Second

// ledgers are the plan's; the first one has the warnings, too. They end when nobody waits for the answer any more, and the log tells of long ones.
func (r *costRequest) ledgers(ctx context.Context, warnings []cost.Warning) iter.Seq2[*cost.Ledger, error] {
	return func(yield func(*cost.Ledger, error) bool) {
		begun := r.now()
		last, window := begun, r.question.Query
		r.progress.set(window.From, window.From, window.To)
		for l, err := range r.plan.ledgers(ctx) {
			if err == nil {
				err = ctx.Err()
				l.Warnings = append(l.Warnings, warnings...)
				warnings = nil
			}
			if !yield(l, err) || err != nil {
				return
			}
			r.progress.set(window.From, l.To, window.To)
			if now := r.now(); now.Sub(last) >= tellEvery {
				last = now
				r.logger.Info("counting costs", "tenant", r.tenant, "asked", r.question.Verb, "hours_done", r.progress.done.Load(),
					"hours", r.progress.hours.Load(), "sources", r.plan.hours(), "elapsed", now.Sub(begun).Round(time.Second))
			}
		}
	}
}

func (r *costRequest) pagesKey(name string) costPagesKey {
	whole := *r.question
	whole.Page = cost.Page{}
	return costPagesKey{r.tenant, fmt.Sprintf("%+v", whole), name}
}

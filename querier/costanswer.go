package querier

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/price"
	"github.com/varve-io/varve/pkg/tenant"
)

// costAnswer is an answer as it is sent.
type costAnswer struct {
	body []byte
	next string // the cursor of the next page
}

// costAnswerKey is all that an answer depends on, if none of its hours is computed from samples.
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
}

func (q *Querier) answerCost(ctx context.Context, id tenant.ID, question *cost.Question, format string) (*costAnswer, error) {
	book, err := q.prices.Book(ctx, id)
	if err != nil {
		return nil, err
	}
	plan, err := q.costReader.plan(ctx, id, question, book)
	if err != nil {
		return nil, err
	}
	r := &costRequest{q, id, question, format, book, plan}
	if plan.needsSamples() || question.Page.Cursor != "" {
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
	page, next, err := whole.Page(r.question.Page)
	if err != nil {
		return nil, err
	}
	if next != "" { // it is there for the next page, even if samples come meanwhile
		if _, err := r.pages.get(ctx, r.pagesKey(whole.Name()), func() (made[cost.Answer], error) { return keptWhole(whole), nil }); err != nil {
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
	return &costAnswer{kept, next}, nil
}

// whole is the answer with all lines: that to which the cursor belongs, if it is there.
func (r *costRequest) whole(ctx context.Context) (cost.Answer, error) {
	of := r.question.Page.Of()
	if of == "" {
		return r.question.Answer(r.book, r.plan.ledgers(ctx))
	}
	return r.pages.get(ctx, r.pagesKey(of), func() (made[cost.Answer], error) {
		a, err := r.question.Answer(r.book, r.plan.ledgers(ctx))
		if err == nil && a.Name() != of {
			err = fmt.Errorf("cursor: %w", cost.ErrChanged)
		}
		if err != nil {
			return made[cost.Answer]{}, err
		}
		return keptWhole(a), nil
	})
}

func keptWhole(a cost.Answer) made[cost.Answer] { return made[cost.Answer]{a, a.Bytes(), keepPages} }

func (r *costRequest) pagesKey(name string) costPagesKey {
	whole := *r.question
	whole.Page = cost.Page{}
	return costPagesKey{r.tenant, fmt.Sprintf("%+v", whole), name}
}

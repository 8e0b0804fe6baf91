package querier

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/price"
	"github.com/varve-io/varve/pkg/tenant"
)

// CostPaths are the paths, below /api/v1, that ask what things cost. A PUT changes what they cost.
var CostPaths = []string{"/cost/report", "/cost/assets", "/cost/utilization", "/cost/scale-events", "/cost/pricebook"}

// Prices keep tenants' price books. They are safe for concurrent use.
type Prices interface {
	// Book is the tenant's, or the built-in one if it has none.
	Book(ctx context.Context, id tenant.ID) (*price.Book, error)
	Put(ctx context.Context, id tenant.ID, b *price.Book) error
}

// builtIn has the built-in prices only.
type builtIn struct{}

func (builtIn) Book(context.Context, tenant.ID) (*price.Book, error) { return price.Default(), nil }

func (builtIn) Put(context.Context, tenant.ID, *price.Book) error {
	return &UnavailableError{Reason: "no price books are kept here"}
}

// costs answers what a window cost.
func (q *Querier) costs(verb cost.Verb) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		question, err := cost.ParseQuestion(verb, r.Form.Get)
		format := "json"
		if f := r.Form.Get("format"); f != "" {
			format = f
		}
		kind := map[string]string{"json": "application/json", "csv": "text/csv; charset=utf-8", "table": "text/plain; charset=utf-8"}[format]
		if err == nil && kind == "" {
			err = fmt.Errorf("format: there is no %q, but json, csv and table", format)
		}
		if err == nil {
			err = checkRange(&budgetFrom(r.Context()).limits, question.Query.To-question.Query.From)
		}
		id, oneErr := oneTenant(r.Context())
		if err = errors.Join(err, oneErr); err != nil {
			writeError(w, http.StatusBadRequest, "bad_data", err)
			return
		}
		body, err := q.answerCost(r.Context(), id, question, format)
		if err != nil {
			writeFailure(w, budgetFrom(r.Context()).failed(err))
			return
		}
		w.Header().Set("Content-Type", kind)
		_, _ = w.Write(body) // the client is gone if this fails
	})
}

// costAnswer is all that an answer depends on, if none of its hours is computed from samples.
type costAnswer struct {
	tenant     tenant.ID
	question   string
	format     string
	book       [sha256.Size]byte
	generation uint64 // of the cube's manifest
}

const (
	// keepAnswer is how long an answer is kept, and costAnswerBytes how much of them.
	keepAnswer      = time.Hour
	costAnswerBytes = 64 << 20
)

func (q *Querier) answerCost(ctx context.Context, id tenant.ID, question *cost.Question, format string) ([]byte, error) {
	book, err := q.prices.Book(ctx, id)
	if err != nil {
		return nil, err
	}
	plan, err := q.costReader.plan(ctx, id, question, book)
	if err != nil {
		return nil, err
	}
	write := func() (m made[[]byte], err error) {
		answer, err := question.Answer(book, plan.ledgers(ctx))
		if err != nil {
			return m, err
		}
		var body bytes.Buffer
		err = answer.Write(&body, format)
		return made[[]byte]{bytes.Clone(body.Bytes()), int64(body.Len()) + 512, keepAnswer}, err
	}
	if plan.needsSamples() {
		m, err := write()
		return m.value, err
	}
	key := costAnswer{id, fmt.Sprintf("%+v", *question), format, sha256.Sum256(book.Text()), plan.manifest.Generation}
	return q.answers.get(ctx, key, write)
}

// oneTenant is the tenant of a request that can't be federated.
func oneTenant(ctx context.Context) (tenant.ID, error) {
	ids := tenantsOf(ctx)
	if len(ids) != 1 {
		return tenant.ID{}, fmt.Errorf("header %s: costs are those of one tenant, and %d are named", TenantHeader, len(ids))
	}
	return ids[0], nil
}

// maxBookBytes is how long a price book may be.
const maxBookBytes = 1 << 20

// pricebook answers with the tenant's price book, or takes another one.
func (q *Querier) pricebook(w http.ResponseWriter, r *http.Request) {
	id, err := oneTenant(r.Context())
	if err != nil {
		writeError(w, http.StatusBadRequest, "bad_data", err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), time.Duration(q.config.Timeout))
	defer cancel()
	if r.Method == http.MethodPut {
		q.putPricebook(w, r.WithContext(ctx), id)
		return
	}
	book, err := q.prices.Book(ctx, id)
	if err != nil {
		writeFailure(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(book.Text())
}

func (q *Querier) putPricebook(w http.ResponseWriter, r *http.Request, id tenant.ID) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBookBytes))
	if err != nil {
		writeError(w, http.StatusRequestEntityTooLarge, "bad_data", fmt.Errorf("price book: %w", err))
		return
	}
	book, err := price.Parse(text)
	if err != nil {
		writeError(w, http.StatusBadRequest, "bad_data", err)
		return
	}
	if err := q.prices.Put(r.Context(), id, book); err != nil {
		writeFailure(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

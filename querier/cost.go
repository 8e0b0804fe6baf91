package querier

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
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
		question, format, err := parseCosts(verb, r.Form)
		if err == nil {
			err = checkRange(&budgetFrom(r.Context()).limits, question.Query.To-question.Query.From)
		}
		id, oneErr := oneTenant(r.Context())
		if err = errors.Join(err, oneErr); err != nil {
			writeError(w, http.StatusBadRequest, "bad_data", err)
			return
		}
		progress := &costProgress{}
		answer, err := func() (*costAnswer, error) {
			defer progress.tell(w, r)()
			return q.answerCost(r.Context(), id, question, format, progress)
		}()
		if err != nil {
			writeCostFailure(w, budgetFrom(r.Context()).failed(err))
			return
		}
		w.Header().Set("Content-Type", costFormats[format])
		if answer.next != "" {
			w.Header().Set(NextHeader, answer.next)
		}
		w.Header().Set(HoursHeader, answer.hours.String())
		_, _ = w.Write(answer.body) // the client is gone if this fails
	})
}

// Headers of answers about costs, in all formats.
const (
	NextHeader  = "Varve-Cost-Next"  // the cursor of the next page
	HoursHeader = "Varve-Cost-Hours" // how many hours came from where: rollups=720, cubes=23, samples=1
)

// costFormats are the formats of answers, and their media types.
var costFormats = map[string]string{
	"json": "application/json", "csv": "text/csv; charset=utf-8", "table": "text/plain; charset=utf-8",
	"parquet": "application/vnd.apache.parquet",
}

// parseCosts reads a question and the format of its answer. A parameter that isn't known would be heeded by nobody, so it is refused.
func parseCosts(verb cost.Verb, form url.Values) (*cost.Question, string, error) {
	for name, values := range form {
		if name != "format" && !slices.Contains(cost.Parameters(), name) {
			return nil, "", fmt.Errorf("%s: there is no such parameter, but %s and format", name, strings.Join(cost.Parameters(), ", "))
		}
		if len(values) > 1 {
			return nil, "", fmt.Errorf("%s: it is there %d times; lists are by comma", name, len(values))
		}
	}
	format := cmp.Or(form.Get("format"), "json")
	if err := cost.CheckFormat(format); err != nil {
		return nil, "", err
	}
	question, err := cost.ParseQuestion(verb, form.Get)
	return question, format, err
}

func writeCostFailure(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, cost.ErrChanged):
		writeError(w, http.StatusGone, "bad_data", err)
	case errors.Is(err, cost.ErrPage):
		writeError(w, http.StatusBadRequest, "bad_data", err)
	case errors.Is(err, cost.ErrWeights):
		if _, ok := statusOf(err); ok {
			writeFailure(w, err)
			return
		}
		writeError(w, http.StatusBadRequest, "bad_data", err)
	case errors.Is(err, cost.ErrTooLong):
		writeError(w, http.StatusUnprocessableEntity, "execution", err)
	default:
		writeFailure(w, err)
	}
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

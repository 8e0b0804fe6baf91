package querier

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// Limits answers what holds for a tenant now. It is safe for concurrent use.
type Limits interface {
	For(id tenant.ID) *tenant.Limits
}

// bytesPerSample bounds the chunks of a read by its samples' limit: no float takes more, and most take a tenth.
const bytesPerSample = 32

// strictest combines the limits of all tenants of a federated read.
func strictest(l Limits, ids []tenant.ID) tenant.Limits {
	s := *l.For(ids[0])
	for _, id := range ids[1:] {
		o := l.For(id)
		s.MaxQueryLength = min(s.MaxQueryLength, o.MaxQueryLength)
		s.MaxQueryDepth = min(s.MaxQueryDepth, o.MaxQueryDepth)
		s.MaxQuerySteps = min(s.MaxQuerySteps, o.MaxQuerySteps)
		s.MaxQueryRange = shorter(s.MaxQueryRange, o.MaxQueryRange)
		s.MaxQueryLookback = shorter(s.MaxQueryLookback, o.MaxQueryLookback)
		s.MaxQuerySeries = min(s.MaxQuerySeries, o.MaxQuerySeries)
		s.MaxQuerySamples = min(s.MaxQuerySamples, o.MaxQuerySamples)
		s.QueryTimeout = min(s.QueryTimeout, o.QueryTimeout)
		s.PartialResponse = s.PartialResponse && o.PartialResponse
	}
	return s
}

// shorter is the smaller of two limits of which 0 means none.
func shorter[T ~int64](a, b T) T {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// budget is what one request may still take. It is shared by all selections of the request.
type budget struct {
	limits                         tenant.Limits
	series, chunks, bytes, samples atomic.Int64
	failure                        atomic.Pointer[error]
}

type budgetKey struct{}

func withBudget(ctx context.Context, b *budget) context.Context {
	return context.WithValue(ctx, budgetKey{}, b)
}

// budgetFrom is the request's budget, or a fresh one with default limits for callers that came in through no edge.
func budgetFrom(ctx context.Context) *budget {
	if b, ok := ctx.Value(budgetKey{}).(*budget); ok {
		return b
	}
	return &budget{limits: tenant.DefaultLimits(tenant.Machine{})}
}

// failed remembers the first error of a request, for edges that hear of it only as text, and returns err.
func (b *budget) failed(err error) error {
	if err != nil {
		b.failure.CompareAndSwap(nil, &err)
	}
	return err
}

// firstFailure is the error that failed remembered, or nil.
func (b *budget) firstFailure() error {
	if err := b.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// take counts one series and its chunks.
func (b *budget) take(s series.Chunked) error {
	b.chunks.Add(int64(len(s.Chunks)))
	return b.check(b.series.Add(1), b.bytes.Add(chunkBytes(s)))
}

// check compares counts of series and chunk bytes with the limits.
func (b *budget) check(series, bytes int64) error {
	if series > int64(b.limits.MaxQuerySeries) {
		return &tenant.LimitError{
			Limit: tenant.MaxQuerySeries, Max: b.limits.MaxQuerySeries,
			Subject: "the read selects too many series",
		}
	}
	if most := int64(b.limits.MaxQuerySamples) * bytesPerSample; bytes > most {
		return &tenant.LimitError{
			Limit: tenant.MaxQuerySamples, Max: b.limits.MaxQuerySamples,
			Subject: fmt.Sprintf("the read selects chunks of more than %d bytes", most),
		}
	}
	return nil
}

func chunkBytes(s series.Chunked) (n int64) {
	for _, c := range s.Chunks {
		n += int64(len(c.Chunk.Bytes()))
	}
	return n
}

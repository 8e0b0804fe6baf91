package series

import (
	"context"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/varve-io/varve/pkg/tenant"
)

// Query asks one source for a tenant's series. Times are Unix milliseconds, both ends included.
type Query struct {
	Tenant           tenant.ID
	MinTime, MaxTime int64
	// Matchers must all match; none means every series.
	Matchers []*labels.Matcher
	// Limit is the most series or names to answer with, 0 for all that the source's own bounds allow.
	Limit int
	// SkipChunks asks for labels only: Chunked.Chunks stays empty.
	SkipChunks bool
}

// Chunked is one series and its chunks within the query's range, ordered by MinTime. Chunks may overlap and may
// reach beyond the range: NewIterator merges the former, the reader cuts off the latter. Each chunk holds its data
// (Meta.Chunk is set). Both are read-only and stay valid after the set moves on.
type Chunked struct {
	Labels labels.Labels
	Chunks []chunks.Meta
}

// Set is a stream of series in label order (labels.Compare), no label set twice. It is used by one goroutine.
type Set interface {
	// Next moves to the next series; false at the end or on an error.
	Next() bool
	// At is the current series.
	At() Chunked
	// Err is the error that ended the set, if one did.
	Err() error
	// Close frees what the set holds; it may be called at any time, and must be called once.
	Close() error
}

// Source is one place that can answer for a tenant's series: the head and local blocks of an ingester, or a
// block in the bucket. All methods are safe for concurrent use.
type Source interface {
	Select(ctx context.Context, q Query) (Set, error)
	// LabelNames is sorted and without repetition.
	LabelNames(ctx context.Context, q Query) ([]string, error)
	// LabelValues is sorted and without repetition.
	LabelValues(ctx context.Context, name string, q Query) ([]string, error)
}

// Exemplars is a series' exemplars, ordered by time.
type Exemplars struct {
	Labels    labels.Labels
	Exemplars []exemplar.Exemplar
}

// Metadata is what senders said of one metric family.
type Metadata struct {
	Family string
	metadata.Metadata
}

// Stats counts what a selection cost; sources add to the Stats that StatsFrom finds in the context.
type Stats struct {
	Series, Chunks, ChunkBytes, Samples int64
	Blocks, Gets, GetBytes              int64
}

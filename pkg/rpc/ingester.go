package rpc

import (
	"context"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// Ingester is what a server stands in front of.
type Ingester interface {
	// Ready is nil while batches are taken. No link is opened to an ingester that is not ready.
	Ready() error
	// Push takes the next batch of a stream and fixes its place; the receipt says when it is synced. It keeps nothing of the
	// bytes.
	Push(batch []byte) (series.Receipt, error)
	// Standing is how far a reader may rely on it.
	Standing() series.Standing
	Reads
}

// Reads are the reads that an owner answers, each with its standing. They are safe for concurrent use.
type Reads interface {
	Select(ctx context.Context, q series.Query) (series.Set, series.Standing, error)
	LabelNames(ctx context.Context, q series.Query) ([]string, series.Standing, error)
	LabelValues(ctx context.Context, name string, q series.Query) ([]string, series.Standing, error)
	Exemplars(ctx context.Context, q series.Query, matchers [][]*labels.Matcher) ([]series.Exemplars, series.Standing, error)
	Metadata(ctx context.Context, id tenant.ID) ([]series.Metadata, series.Standing, error)
}

// Link is an open way for the batches of one stream to one owner. It breaks as a whole.
type Link interface {
	// Push hands over the next batch, in order, and doesn't wait for the owner. The batch is read-only from here on.
	// An error means that this batch was not sent; where the link broke, Broken says so too. free is called, once, when the
	// link looks at the bytes no more, whatever became of the batch; for some that were sent, never.
	Push(batch []byte, free func()) (series.Receipt, error)
	// Broken is closed when nothing more goes through.
	Broken() <-chan struct{}
	// Close breaks the link and returns when nothing of it is left.
	Close()
}

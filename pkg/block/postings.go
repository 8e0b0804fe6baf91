package block

import (
	"context"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/index"
)

// Postings gives the series that have the label with any of the values.
func (r *reader) Postings(_ context.Context, name string, values ...string) (index.Postings, error) {
	if len(values) > 1 {
		values = slices.Compact(slices.Sorted(slices.Values(values)))
	}
	spans, err := r.lookUp(name, values)
	if err != nil {
		return nil, err
	}
	return r.lists(spans)
}

// PostingsForLabelMatching gives the series whose value of the label matches.
func (r *reader) PostingsForLabelMatching(_ context.Context, name string, match func(string) bool) index.Postings {
	var spans []span
	err := r.walk(name, func(value []byte, list span) error {
		if match == nil || match(string(value)) {
			spans = append(spans, list)
		}
		return nil
	})
	if err != nil {
		return index.ErrPostings(err)
	}
	p, err := r.lists(spans)
	if err != nil {
		return index.ErrPostings(err)
	}
	return p
}

// PostingsForAllLabelValues gives the series that have the label.
func (r *reader) PostingsForAllLabelValues(ctx context.Context, name string) index.Postings {
	return r.PostingsForLabelMatching(ctx, name, nil)
}

// SortedPostings gives p: in a block, the order of references is that of labels.
func (r *reader) SortedPostings(p index.Postings) index.Postings { return p }

// match gives the references of the series that match, in label order.
func (r *reader) match(ms []*labels.Matcher) ([]uint32, error) {
	if len(ms) == 0 {
		ms = []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "", "")}
	}
	// PostingsForMatchers sorts the slice in place.
	p, err := tsdb.PostingsForMatchers(r.ctx, r, slices.Clone(ms)...)
	if err != nil {
		return nil, err
	}
	return r.expand(p)
}

// expand reads all references of p; they are there until the next call.
func (r *reader) expand(p index.Postings) ([]uint32, error) {
	refs := r.refs[:0]
	for p.Next() {
		if len(refs)%1024 == 0 && r.ctx.Err() != nil {
			return nil, r.ctx.Err()
		}
		ref := uint64(p.At())
		if ref > math.MaxUint32 {
			return nil, r.b.corrupt(IndexName, math.MaxInt64, "series reference %d", ref)
		}
		refs = append(refs, uint32(ref))
	}
	r.refs = refs
	return refs, p.Err()
}

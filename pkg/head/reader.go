package head

import (
	"context"
	"fmt"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/index"
	"github.com/prometheus/prometheus/tsdb/tombstones"

	"github.com/varve-io/varve/pkg/series"
)

// Reader is the head's content of one range, for a block writer: series in label order, the chunks of each without
// overlap. Chunks may reach over the range's ends: tsdb's writers and queriers trim them. Seal the head before a
// cut, or the block may lack what came in meanwhile. The readers that it opens keep the head's data until they
// are closed; opening fails with ErrFreed on a freed head.
func (h *Head) Reader(r Range) tsdb.BlockReader { return &blockReader{head: h, r: r} }

type blockReader struct {
	head *Head
	r    Range
}

func (b *blockReader) Index() (tsdb.IndexReader, error) {
	if err := b.head.acquire(); err != nil {
		return nil, err
	}
	return &indexReader{head: b.head, r: b.r, close: b.head.release}, nil
}

func (b *blockReader) Chunks() (tsdb.ChunkReader, error) { return chunkReader{}, nil }

func (b *blockReader) Tombstones() (tombstones.Reader, error) {
	return tombstones.NewMemTombstones(), nil
}

func (b *blockReader) Meta() tsdb.BlockMeta {
	return tsdb.BlockMeta{
		MinTime: b.r.Min, MaxTime: b.r.Max,
		Stats: tsdb.BlockStats{NumSeries: uint64(b.head.NumSeries())},
	}
}

func (b *blockReader) Size() int64 { return b.head.Stats().Bytes }

// chunkReader gives the chunks that the index reader put into the metas.
type chunkReader struct{}

func (chunkReader) ChunkOrIterable(m chunks.Meta) (chunkenc.Chunk, chunkenc.Iterable, error) {
	if m.Chunk == nil {
		return nil, nil, fmt.Errorf("chunk %d of head: %w", m.Ref, storage.ErrNotFound)
	}
	return m.Chunk, nil, nil
}

func (chunkReader) Close() error { return nil }

// indexReader is tsdb.IndexReader over a head.
type indexReader struct {
	head  *Head
	r     Range
	close func()
	buf   []chunks.Meta
}

func (x *indexReader) Close() error {
	if x.close != nil {
		x.close()
		x.close = nil
	}
	return nil
}

func (x *indexReader) Symbols() index.StringIter {
	return index.NewStringListIter(x.head.index.symbols())
}

func (x *indexReader) query(hints *storage.LabelHints, matchers []*labels.Matcher) series.Query {
	q := series.Query{MinTime: x.r.Min, MaxTime: x.r.Max - 1, Matchers: matchers}
	if hints != nil {
		q.Limit = hints.Limit
	}
	return q
}

func (x *indexReader) SortedLabelValues(ctx context.Context, name string, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, error) {
	return x.head.LabelValues(ctx, name, x.query(hints, matchers))
}

func (x *indexReader) LabelValues(ctx context.Context, name string, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, error) {
	return x.SortedLabelValues(ctx, name, hints, matchers...)
}

func (x *indexReader) LabelNames(ctx context.Context, matchers ...*labels.Matcher) ([]string, error) {
	return x.head.LabelNames(ctx, x.query(nil, matchers))
}

func (x *indexReader) LabelNamesFor(ctx context.Context, p index.Postings) ([]string, error) {
	all, err := resolve(ctx, p, x.head.index.all())
	if err != nil {
		return nil, err
	}
	seen, pairs := map[string]struct{}{}, x.head.index.allPairs()
	for _, s := range all {
		pairs.namesOf(s, seen)
	}
	return sortedKeys(seen, 0), nil
}

func (x *indexReader) Postings(ctx context.Context, name string, values ...string) (index.Postings, error) {
	if n, v := index.AllPostingsKey(); name == n && slices.Contains(values, v) {
		return &refRange{last: uint64Ref(x.head.NumSeries())}, nil
	}
	return x.head.index.union(ctx, x.head.index.withValues(name, values)), nil
}

func (x *indexReader) PostingsForLabelMatching(ctx context.Context, name string, match func(string) bool) index.Postings {
	var matching pairs
	for i, l := range x.head.index.ofName(name) {
		if i%checkEvery == 0 && ctx.Err() != nil {
			return index.ErrPostings(ctx.Err())
		}
		if match(l.Value) {
			matching = append(matching, l)
		}
	}
	return x.head.index.union(ctx, matching)
}

func (x *indexReader) PostingsForAllLabelValues(ctx context.Context, name string) index.Postings {
	return x.head.index.union(ctx, x.head.index.ofName(name))
}

func (x *indexReader) SortedPostings(p index.Postings) index.Postings {
	all, err := resolve(context.Background(), p, x.head.index.all())
	if err != nil {
		return index.ErrPostings(err)
	}
	slices.SortFunc(all, x.head.index.allPairs().compare)
	refs := make([]storage.SeriesRef, len(all))
	for i, s := range all {
		refs[i] = storage.SeriesRef(s.ref)
	}
	return index.NewListPostings(refs)
}

func (x *indexReader) ShardedPostings(p index.Postings, shard, count uint64) index.Postings {
	all, err := resolve(context.Background(), p, x.head.index.all())
	if err != nil {
		return index.ErrPostings(err)
	}
	var refs []storage.SeriesRef
	pairs := x.head.index.allPairs()
	for _, s := range all {
		if labels.StableHash(pairs.labels(s))%count == shard {
			refs = append(refs, storage.SeriesRef(s.ref))
		}
	}
	return index.NewListPostings(refs)
}

func (x *indexReader) Series(ref storage.SeriesRef, builder *labels.ScratchBuilder, chks *[]chunks.Meta) error {
	all := x.head.index.all()
	if ref == 0 || ref > uint64Ref(all.n) {
		return fmt.Errorf("series %d of head: %w", ref, storage.ErrNotFound)
	}
	s := all.At(int(ref - 1))
	builder.Reset()
	x.head.index.allPairs().add(s, builder)
	if chks == nil {
		return nil
	}
	x.buf = s.metas(x.r.Min, x.r.Max-1, x.buf[:0])
	flat, err := series.Compact(x.buf)
	if err != nil {
		return fmt.Errorf("chunks of head series %s: %w", s.Labels(), err)
	}
	*chks = append((*chks)[:0], flat...)
	for i := range *chks {
		(*chks)[i].Ref = chunks.ChunkRef(i)
	}
	return nil
}

func uint64Ref(n int) storage.SeriesRef { return storage.SeriesRef(n) }

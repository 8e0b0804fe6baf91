package block

import (
	"context"
	"errors"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/index"
	"github.com/prometheus/prometheus/tsdb/tombstones"
)

// TSDB gives the block to Prometheus' own queriers and compactors. Reading happens with ctx; each chunk and each
// series is a read of its own, so Select is the faster way.
func (b *Block) TSDB(ctx context.Context) tsdb.BlockReader { return tsdbBlock{b, ctx} }

type tsdbBlock struct {
	b   *Block
	ctx context.Context
}

var (
	_ tsdb.BlockReader = tsdbBlock{}
	_ tsdb.IndexReader = (*reader)(nil)
	_ tsdb.ChunkReader = chunkReader{}
)

func (t tsdbBlock) Index() (tsdb.IndexReader, error) { return t.b.reader(t.ctx), nil }
func (t tsdbBlock) Chunks() (tsdb.ChunkReader, error) {
	return chunkReader{t.b.reader(t.ctx)}, nil
}
func (t tsdbBlock) Tombstones() (tombstones.Reader, error) { return tombstones.NewMemTombstones(), nil }
func (t tsdbBlock) Meta() tsdb.BlockMeta                   { return t.b.meta.BlockMeta }
func (t tsdbBlock) Size() int64                            { return t.b.index.Size() }

type chunkReader struct{ r *reader }

// ChunkOrIterable reads one chunk.
func (c chunkReader) ChunkOrIterable(m chunks.Meta) (chunkenc.Chunk, chunkenc.Iterable, error) {
	ms := []chunks.Meta{m}
	if err := c.r.load([]chunkSpan{spanOf(m.Ref, 0, 0)}, ms, &room{}); err != nil {
		return nil, nil, err
	}
	return ms[0].Chunk, nil, nil
}

func (chunkReader) Close() error { return nil }

// Close frees nothing: the block stays open.
func (r *reader) Close() error { return nil }

// Symbols streams all symbols.
func (r *reader) Symbols() index.StringIter {
	h := r.b.header
	t, err := openTable(r.ctx, r.b.index, h.toc.symbols, uint64(h.indexSize))
	return &symbolIter{r: r, t: t, err: err}
}

type symbolIter struct {
	r   *reader
	t   *table
	cur string
	err error
}

func (s *symbolIter) At() string { return s.cur }
func (s *symbolIter) Err() error { return s.err }

func (s *symbolIter) Next() bool {
	if s.err != nil || s.t == nil {
		return false
	}
	off := int64(s.r.b.header.toc.symbols)
	if s.t.left == 0 {
		ok, err := s.t.close()
		if s.err = err; err == nil && !ok {
			s.err = s.r.b.corrupt(IndexName, off, "bad checksum of the symbols")
		}
		s.t = nil
		return false
	}
	var text []byte
	if _, err := s.t.next(func(c *cursor) { text = c.str() }); err != nil {
		s.err = s.r.b.readError(IndexName, err)
		return false
	}
	s.cur = string(text)
	return true
}

// SortedLabelValues gives the label's values among the series that match.
func (r *reader) SortedLabelValues(_ context.Context, name string, hints *storage.LabelHints, ms ...*labels.Matcher) ([]string, error) {
	limit := 0
	if hints != nil {
		limit = hints.Limit
	}
	values, err := r.labelValues(name, limit, ms)
	return limited(values, limit), err
}

// LabelValues is SortedLabelValues.
func (r *reader) LabelValues(ctx context.Context, name string, hints *storage.LabelHints, ms ...*labels.Matcher) ([]string, error) {
	return r.SortedLabelValues(ctx, name, hints, ms...)
}

// LabelNames gives the label names of the series that match.
func (r *reader) LabelNames(_ context.Context, ms ...*labels.Matcher) ([]string, error) {
	return r.labelNames(ms)
}

// LabelNamesFor gives the label names of the series in p.
func (r *reader) LabelNamesFor(_ context.Context, p index.Postings) ([]string, error) {
	refs, err := r.expand(p)
	if err != nil {
		return nil, err
	}
	return r.namesOf(refs)
}

// Series reads one series.
func (r *reader) Series(ref storage.SeriesRef, builder *labels.ScratchBuilder, chks *[]chunks.Meta) error {
	es, err := r.entries(nil, []uint32{uint32(ref)}, allTime)
	if err != nil {
		return err
	}
	ls, err := r.resolve(es)
	if err != nil {
		return err
	}
	builder.Assign(ls[0])
	if chks != nil {
		*chks = append((*chks)[:0], es[0].chunks...)
	}
	return nil
}

// errNoShards: no caller of ours shards by labels within a block.
var errNoShards = errors.New("a block is not read in shards")

// ShardedPostings is not supported.
func (r *reader) ShardedPostings(index.Postings, uint64, uint64) index.Postings {
	return index.ErrPostings(errNoShards)
}

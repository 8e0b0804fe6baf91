package block

import (
	"context"
	"slices"

	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/varve-io/varve/pkg/series"
)

const (
	// firstBatch is how many series are read first, unless a limit asks for fewer; each batch is twice the one before,
	// up to lastBatch.
	firstBatch = 2048
	lastBatch  = 8192
	// chunkBatch is about how many bytes of chunks are held at once.
	chunkBatch = 4 << 20
	// Of rooms that are used again there are several.
	recycledBatch  = 512 << 10
	recycledSeries = 512
)

// Select implements series.Source. The set holds a batch of series with at most some MiB of chunks, unless one series
// alone has more.
func (b *Block) Select(ctx context.Context, q series.Query) (series.Set, error) {
	return b.SelectInto(ctx, q, nil)
}

// SelectInto is Select. What it gives is valid only until its room is freed, if there is a recycler.
func (b *Block) SelectInto(ctx context.Context, q series.Query, rec *series.Recycler) (series.Set, error) {
	if !b.meta.Overlaps(q.MinTime, q.MaxTime) {
		return &set{}, nil
	}
	r := b.reader(ctx)
	refs, wanted, err := r.matchMost(q.Matchers)
	if err != nil {
		return nil, err
	}
	size := firstBatch
	if q.Limit > 0 {
		size = min(size, q.Limit)
	}
	stats := series.StatsFrom(ctx)
	stats.Add(series.Stats{Blocks: 1})
	return &set{
		r: r, buf: r.batch, refs: refs, wanted: wanted, stats: stats, size: size, left: q.Limit, unlimited: q.Limit <= 0,
		time: timeRange{q.MinTime, q.MaxTime}, skipChunks: q.SkipChunks, recycler: rec,
	}, nil
}

// set streams the selected series of one block.
type set struct {
	r          *reader
	stats      *series.Stats
	time       timeRange
	skipChunks bool
	recycler   *series.Recycler // nil: what was given stays valid

	refs      []uint32 // series that were not read yet
	wanted    []string // labels that series must have to be selected
	size      int      // of the next batch
	left      int      // how many series may still be given, unless unlimited
	unlimited bool

	buf    []entry          // that batch is a part of
	batch  []entry          // read, and their chunks in range not yet
	places []uint32         // of the texts of the batch's symbols
	room   *room            // of those that are ready
	ready  []series.Chunked // what Next gives, from at on
	at     int
	err    error
}

// Next implements series.Set.
func (s *set) Next() bool {
	if s.at++; s.at < len(s.ready) {
		return true
	}
	if s.err != nil || s.r == nil {
		return false
	}
	s.at, s.ready = 0, nil
	if s.room != nil && s.recycler != nil {
		s.recycler.Retire(s.room)
	}
	s.room = nil
	s.err = s.fill()
	return s.err == nil && len(s.ready) > 0
}

// At implements series.Set.
func (s *set) At() series.Chunked { return s.ready[s.at] }

// Err implements series.Set.
func (s *set) Err() error { return s.err }

// Close implements series.Set.
func (s *set) Close() error {
	if s.r != nil {
		s.r.batch = s.buf[:0]
		s.r.release()
	}
	*s = set{err: s.err}
	return nil
}

// fill makes the next series ready, none at the end.
func (s *set) fill() error {
	for len(s.batch) == 0 {
		if len(s.refs) == 0 || s.left == 0 && !s.unlimited {
			return nil
		}
		if err := s.readBatch(); err != nil {
			return err
		}
	}
	n := s.affordable()
	part := s.batch[:n]
	s.batch = s.batch[n:]
	s.label(part)
	s.left -= n
	s.stats.Add(series.Stats{Series: int64(n)})
	if s.skipChunks {
		return nil
	}
	return s.loadChunks(part)
}

// label makes the next entries of the batch ready, without chunks.
func (s *set) label(es []entry) {
	s.room = roomOf(s.recycler, len(es))
	for i, e := range es {
		builder := s.room.builder(i, &s.r.builder)
		s.places = s.r.labelsOf(e, s.places, builder)
		s.room.label(i, builder)
	}
	s.ready = s.room.series
}

// readBatch reads the next series, with their symbols, and keeps those that have chunks in the range, and the wanted labels. Few of them are
// looked up at once where much room is needed, but symbols of one metric lie all over the index: many are to be read at once.
func (s *set) readBatch() error {
	n := min(s.size, len(s.refs))
	s.size = min(s.size*2, lastBatch)
	es, err := s.r.entries(s.buf[:0], s.refs[:n], s.time)
	if err != nil {
		return err
	}
	s.refs, s.buf = s.refs[n:], es
	es = slices.DeleteFunc(es, func(e entry) bool { return len(e.chunks) == 0 })
	if s.batch, err = s.r.having(es, s.wanted); err != nil {
		return err
	}
	err = s.r.learn(s.batch)
	s.places = s.r.places
	return err
}

// affordable is how many series of the batch may be worked on at once.
func (s *set) affordable() int {
	most, room := len(s.batch), int64(chunkBatch)
	if !s.unlimited {
		most = min(most, s.left)
	}
	if s.recycler != nil {
		most, room = min(most, recycledSeries), recycledBatch
	}
	if s.skipChunks {
		return most
	}
	bytes := int64(0)
	for i, e := range s.batch[:most] {
		if bytes += e.chunkBytes(); bytes > room && i > 0 {
			return i
		}
	}
	return most
}

// chunkBytes is about how many bytes the entry's chunks take.
func (e *entry) chunkBytes() int64 {
	n := int64(0)
	for i := range e.chunks {
		s := spanOf(e.chunks[i].Ref, e.next(i), 0)
		n += s.end - s.off
	}
	return n
}

// next is the reference of the chunk behind the i-th, 0 if that isn't known.
func (e *entry) next(i int) chunks.ChunkRef {
	if i+1 < len(e.chunks) {
		return e.chunks[i+1].Ref
	}
	return e.after
}

// loadChunks reads the chunks of the entries, which belong to the ready series in the same order.
func (s *set) loadChunks(es []entry) error {
	total := 0
	for _, e := range es {
		total += len(e.chunks)
	}
	metas := slices.Grow(s.room.metas, total)
	spans := slices.Grow(s.r.chunks[:0], total)
	for i, e := range es {
		from := len(metas)
		for j, m := range e.chunks {
			spans = append(spans, spanOf(m.Ref, e.next(j), len(metas)))
			metas = append(metas, m)
		}
		s.ready[i].Chunks = metas[from:len(metas):len(metas)]
	}
	s.room.metas, s.r.chunks = metas, spans
	if err := s.r.load(spans, metas, s.room); err != nil {
		s.ready = nil
		return err
	}
	d := series.Stats{Chunks: int64(total)}
	for _, m := range metas {
		d.ChunkBytes += int64(len(m.Chunk.Bytes()))
		d.Samples += int64(m.Chunk.NumSamples())
	}
	s.stats.Add(d)
	return nil
}

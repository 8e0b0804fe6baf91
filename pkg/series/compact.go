package series

import (
	"fmt"
	"slices"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// MaxChunkSamples is the most samples in a chunk that Compact makes.
const MaxChunkSamples = 120

// smallSamples: neighbours that have no more samples than this together become one chunk.
const smallSamples = MaxChunkSamples / 2

// Compact says the same as chks in chunks that don't overlap, ordered by time. Chunks that overlap, and neighbours
// that are very small, are encoded anew, with what NewIterator makes of them, in chunks of at most MaxChunkSamples;
// the others are taken over as they are. The chunks that it makes have no Ref.
func Compact(chks []chunks.Meta) ([]chunks.Meta, error) {
	if !slices.IsSortedFunc(chks, compareTimes) {
		chks = slices.Clone(chks)
		slices.SortFunc(chks, compareTimes)
	}
	var (
		out []chunks.Meta
		it  chunkenc.Iterator
	)
	for len(chks) > 0 {
		n := group(chks)
		if n == 1 {
			out = append(out, chks[0])
		} else {
			it = NewIterator(chks[:n], it)
			e := encoder{out: out, keepST: slices.ContainsFunc(chks[:n], hasST)}
			if err := e.encode(it); err != nil {
				return nil, fmt.Errorf("encode overlapping chunks anew: %w", err)
			}
			out = e.out
		}
		chks = chks[n:]
	}
	return out, nil
}

// group is how many of the first chunks belong in one encoding.
func group(chks []chunks.Meta) int {
	maxt, samples := chks[0].MaxTime, chks[0].Chunk.NumSamples()
	for i, c := range chks[1:] {
		samples += c.Chunk.NumSamples()
		if c.MinTime > maxt && (samples > smallSamples || !joins(chks[i], c)) {
			return i + 1
		}
		maxt = max(maxt, c.MaxTime)
	}
	return len(chks)
}

// joins tells whether b's samples may follow a's in one chunk. An explicit counter reset must stay at the beginning
// of a chunk.
func joins(a, b chunks.Meta) bool {
	if a.Chunk.Encoding() != b.Chunk.Encoding() {
		return false
	}
	h, ok := b.Chunk.(interface {
		GetCounterResetHeader() chunkenc.CounterResetHeader
	})
	return !ok || h.GetCounterResetHeader() != chunkenc.CounterReset
}

func hasST(m chunks.Meta) bool {
	switch m.Chunk.Encoding() {
	case chunkenc.EncXOR2, chunkenc.EncHistogramST, chunkenc.EncFloatHistogramST:
		return true
	}
	return false
}

// encoder makes chunks of the samples of an iterator.
type encoder struct {
	out    []chunks.Meta
	keepST bool // choose encodings that have room for start timestamps

	kind chunkenc.ValueType // of the open chunk, ValNone if there is none
	open chunks.Meta
	app  chunkenc.Appender
	n    int // samples in the open chunk
}

func (e *encoder) encode(it chunkenc.Iterator) error {
	h, fh := &histogram.Histogram{}, &histogram.FloatHistogram{}
	for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
		prev, err := e.begin(kind)
		if err != nil {
			return err
		}
		t, st := it.AtT(), it.AtST()
		var (
			c       chunkenc.Chunk
			recoded bool
		)
		switch kind {
		case chunkenc.ValFloat:
			_, v := it.At()
			e.app.Append(st, t, v)
		case chunkenc.ValHistogram:
			_, h = it.AtHistogram(h)
			c, recoded, e.app, err = e.app.AppendHistogram(prev, st, t, h, false)
		case chunkenc.ValFloatHistogram:
			_, fh = it.AtFloatHistogram(fh)
			c, recoded, e.app, err = e.app.AppendFloatHistogram(prev, st, t, fh, false)
		}
		if err != nil {
			return err
		}
		e.appended(t, c, recoded)
	}
	e.cut()
	return it.Err()
}

// begin makes room for a sample of kind. If that needs a new chunk, prev is the appender of the one before.
func (e *encoder) begin(kind chunkenc.ValueType) (prev chunkenc.Appender, err error) {
	if e.kind == kind && !e.full() {
		return nil, nil
	}
	if e.kind == kind {
		prev = e.app
	}
	e.cut()
	c, err := kind.NewChunk(e.keepST, e.keepST)
	if err != nil {
		return nil, err
	}
	e.kind, e.open = kind, chunks.Meta{Chunk: c}
	e.app, err = c.Appender()
	return prev, err
}

func (e *encoder) full() bool {
	return e.n >= MaxChunkSamples || e.kind != chunkenc.ValFloat &&
		e.n >= chunkenc.MinSamplesPerHistogramChunk && len(e.open.Chunk.Bytes()) >= chunkenc.TargetBytesPerHistogramChunk
}

// appended notes that a sample is in the open chunk, or in c, which then takes the open chunk's place or follows it.
func (e *encoder) appended(t int64, c chunkenc.Chunk, recoded bool) {
	if c != nil && !recoded {
		kind := e.kind
		e.cut()
		e.kind = kind
	}
	if c != nil {
		e.open.Chunk = c
	}
	if e.n == 0 {
		e.open.MinTime = t
	}
	e.open.MaxTime = t
	e.n++
}

func (e *encoder) cut() {
	if e.n > 0 {
		e.open.Chunk.Compact()
		e.out = append(e.out, e.open)
	}
	e.kind, e.open, e.n = chunkenc.ValNone, chunks.Meta{}, 0
}

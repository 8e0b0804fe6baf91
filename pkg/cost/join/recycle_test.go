package join

import (
	"context"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/varve-io/varve/pkg/series"
)

// SelectInto implements Recycling: each series has room of its own, which is spoiled once it is free. So all tests see what is used for too long.
func (w *world) SelectInto(ctx context.Context, q series.Query, rec *series.Recycler) (series.Set, error) {
	set, err := w.Select(ctx, q)
	return &spoiling{Set: set, world: w, rec: rec}, err
}

type spoiling struct {
	series.Set
	*world
	rec  *series.Recycler
	room *spoiled
}

type spoiled struct {
	builder labels.ScratchBuilder
	series.Chunked
	bytes [][]byte
}

func (s *spoiling) Next() bool {
	s.spoil()
	if s.room != nil {
		s.rec.Retire(s.room)
	}
	s.room = nil
	if !s.Set.Next() {
		return false
	}
	c, room := s.Set.At(), &spoiled{}
	c.Labels.Range(func(l labels.Label) { room.builder.Add(l.Name, l.Value) })
	room.builder.Overwrite(&room.Labels)
	room.Chunks = slices.Clone(c.Chunks)
	for i, m := range c.Chunks {
		b := slices.Clone(m.Chunk.Bytes())
		x, err := chunkenc.FromData(m.Chunk.Encoding(), b)
		if err != nil {
			s.t.Fatal(err)
		}
		room.Chunks[i].Chunk, room.bytes = x, append(room.bytes, b)
	}
	s.room = room
	return true
}

func (s *spoiling) At() series.Chunked { return s.room.Chunked }

// spoil overwrites whatever is free.
func (s *spoiling) spoil() {
	for {
		m, ok := s.rec.Take().(*spoiled)
		if !ok {
			return
		}
		size := m.Labels.ByteSize()
		m.builder.Reset()
		m.builder.Add("?", strings.Repeat("?", int(max(size-8, 0))))
		m.builder.Overwrite(&m.Labels)
		for _, b := range m.bytes {
			clear(b)
		}
		clear(m.Chunks)
	}
}

func (s *spoiling) Close() error {
	s.spoil()
	return s.Set.Close()
}

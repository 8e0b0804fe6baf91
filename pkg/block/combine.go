package block

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/varve-io/varve/pkg/series"
)

// combiner makes the chunks of one series in one range of those that several blocks have.
type combiner struct {
	t          timeRange
	duplicates int64
}

// combine gives chunks that don't overlap, within the range. It counts their samples by a way of its own and refuses
// to lose or to invent one.
func (c *combiner) combine(chks []chunks.Meta) ([]chunks.Meta, error) {
	chks, err := c.clipAll(chks)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(chks, compareChunks)
	in := countSamples(chks)
	chks = slices.CompactFunc(chks, func(a, b chunks.Meta) bool { return compareChunks(a, b) == 0 })
	want, err := countTimes(chks)
	if err != nil {
		return nil, err
	}
	out, err := series.Compact(chks)
	if err != nil {
		return nil, err
	}
	if got := countSamples(out); got != want {
		return nil, fmt.Errorf("merging made %d samples of %d", got, want)
	}
	c.duplicates += in - want
	return out, nil
}

// compareChunks orders by time; it is 0 only for chunks with the same bytes.
func compareChunks(a, b chunks.Meta) int {
	if c := cmp.Or(cmp.Compare(a.MinTime, b.MinTime), cmp.Compare(a.MaxTime, b.MaxTime),
		cmp.Compare(a.Chunk.Encoding(), b.Chunk.Encoding())); c != 0 {
		return c
	}
	return bytes.Compare(a.Chunk.Bytes(), b.Chunk.Bytes())
}

func countSamples(chks []chunks.Meta) int64 {
	n := int64(0)
	for _, c := range chks {
		n += int64(c.Chunk.NumSamples())
	}
	return n
}

// countTimes counts the distinct times of all samples. Chunks must be ordered by MinTime.
func countTimes(chks []chunks.Meta) (int64, error) {
	total := int64(0)
	for len(chks) > 0 {
		n, maxt := 1, chks[0].MaxTime
		for n < len(chks) && chks[n].MinTime <= maxt {
			maxt = max(maxt, chks[n].MaxTime)
			n++
		}
		if n == 1 {
			total += int64(chks[0].Chunk.NumSamples())
		} else {
			k, err := distinctTimes(chks[:n])
			if err != nil {
				return 0, err
			}
			total += k
		}
		chks = chks[n:]
	}
	return total, nil
}

func distinctTimes(chks []chunks.Meta) (int64, error) {
	times := make([]int64, 0, countSamples(chks))
	var it chunkenc.Iterator
	for _, c := range chks {
		it = c.Chunk.Iterator(it)
		for it.Next() != chunkenc.ValNone {
			times = append(times, it.AtT())
		}
		if err := it.Err(); err != nil {
			return 0, fmt.Errorf("decode chunk: %w", err)
		}
	}
	slices.Sort(times)
	return int64(len(slices.Compact(times))), nil
}

// clipAll encodes chunks that reach beyond the range anew, without what is outside.
func (c *combiner) clipAll(chks []chunks.Meta) ([]chunks.Meta, error) {
	out := chks[:0:0]
	for _, m := range chks {
		if m.MinTime >= c.t.min && m.MaxTime <= c.t.max {
			out = append(out, m)
			continue
		}
		part, err := clip(m, c.t)
		if err != nil {
			return nil, err
		}
		out = append(out, part...)
	}
	return out, nil
}

// clip gives the samples of a chunk that are in the range.
func clip(m chunks.Meta, t timeRange) ([]chunks.Meta, error) {
	s := storage.NewSeriesToChunkEncoder(&storage.SeriesEntry{
		Lset: labels.EmptyLabels(),
		SampleIteratorFn: func(chunkenc.Iterator) chunkenc.Iterator {
			return &clipped{Iterator: m.Chunk.Iterator(nil), t: t}
		},
	})
	var out []chunks.Meta
	it := s.Iterator(nil)
	for it.Next() {
		out = append(out, it.At())
	}
	if err := it.Err(); err != nil {
		return nil, fmt.Errorf("cut chunk at the end of the range: %w", err)
	}
	return out, nil
}

// clipped gives only the samples in a range.
type clipped struct {
	chunkenc.Iterator
	t timeRange
}

func (c *clipped) Next() chunkenc.ValueType {
	for {
		v := c.Iterator.Next()
		if v == chunkenc.ValNone || c.AtT() > c.t.max {
			return chunkenc.ValNone
		}
		if c.AtT() >= c.t.min {
			return v
		}
	}
}

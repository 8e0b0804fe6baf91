package block

import (
	"context"
	"math"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/varve-io/varve/pkg/series"
)

// Samples calls fn for every sample of the block, series by series in label order, each in the order of time. The
// iterator stands on the sample, whose kind is given; fn must not move it. An error of fn ends the walk.
func (b *Block) Samples(ctx context.Context, fn func(ls labels.Labels, it chunkenc.Iterator, kind chunkenc.ValueType) error) error {
	set, err := b.Select(ctx, series.Query{MinTime: math.MinInt64, MaxTime: math.MaxInt64})
	if err != nil {
		return err
	}
	defer set.Close()
	var it chunkenc.Iterator
	for set.Next() {
		s := set.At()
		it = series.NewIterator(s.Chunks, it)
		for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
			if err := fn(s.Labels, it, kind); err != nil {
				return err
			}
		}
		if err := it.Err(); err != nil {
			return b.corrupt(chunksName, 0, "decode samples of %s: %v", s.Labels, err)
		}
	}
	return set.Err()
}

package block

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/index"
)

// writer writes a block's index and chunks: all symbols first, then series in label order.
type writer struct {
	index  *index.Writer
	chunks *chunks.Writer
	stats  tsdb.BlockStats
}

func newWriter(ctx context.Context, dir string) (*writer, error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	cw, err := chunks.NewWriter(filepath.Join(dir, chunksName), chunks.WithSegmentSize(segmentBytes))
	if err != nil {
		return nil, err
	}
	iw, err := index.NewWriter(ctx, filepath.Join(dir, IndexName))
	if err != nil {
		return nil, errors.Join(err, cw.Close())
	}
	return &writer{index: iw, chunks: cw}, nil
}

// add writes one series; none if it has no chunks.
func (w *writer) add(ls labels.Labels, chks []chunks.Meta) error {
	if len(chks) == 0 {
		return nil
	}
	if err := w.chunks.WriteChunks(chks...); err != nil {
		return err
	}
	if err := w.index.AddSeries(storage.SeriesRef(w.stats.NumSeries), ls, chks...); err != nil {
		return err
	}
	w.stats.NumSeries++
	for _, c := range chks {
		addChunk(&w.stats, c.Chunk)
	}
	return nil
}

// addChunk counts a chunk and its samples.
func addChunk(s *tsdb.BlockStats, c chunkenc.Chunk) {
	n := uint64(c.NumSamples())
	s.NumChunks++
	s.NumSamples += n
	switch c.Encoding() {
	case chunkenc.EncXOR, chunkenc.EncXOR2:
		s.NumFloatSamples += n
	default:
		s.NumHistogramSamples += n
	}
}

func (w *writer) close() error { return errors.Join(w.index.Close(), w.chunks.Close()) }

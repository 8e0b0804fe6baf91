package catalog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/varve-io/varve/pkg/block"
	"github.com/varve-io/varve/pkg/bucket"
	"github.com/varve-io/varve/pkg/tenant"
)

// Block is what the catalog keeps of a block: enough to choose it and to open it without reading meta.json.
type Block struct {
	ID ulid.ULID `json:"id"`
	// MinTime and MaxTime are Unix milliseconds; as in Prometheus the samples are in [MinTime, MaxTime).
	MinTime int64 `json:"min_time"`
	MaxTime int64 `json:"max_time"`

	Series  uint64 `json:"series"`
	Samples uint64 `json:"samples"`
	Chunks  uint64 `json:"chunks"`
	Bytes   int64  `json:"bytes"` // of all files but meta.json

	Level   int         `json:"level"`
	Sources []ulid.ULID `json:"sources,omitempty"`

	// Partition is -1 for a block of several partitions, or of another system.
	Partition int    `json:"partition"`
	Replica   string `json:"replica,omitempty"`
	Epoch     int64  `json:"epoch,omitempty"`

	// ExternalLabels are what Thanos, Cortex or Mimir keep outside of the series.
	ExternalLabels map[string]string `json:"external_labels,omitempty"`

	// Files are all files but meta.json. A CRC32C of 0 is not known: other systems don't record it.
	Files []block.FileSum `json:"files"`

	// Quarantined says why the block must not be compacted; empty for a sound one. The catalog sets it.
	Quarantined string `json:"-"`
}

// newBlock is the catalog's view of a meta.json with its files.
func newBlock(m block.Meta, files []block.FileSum, external map[string]string) Block {
	b := Block{
		ID: m.ULID, MinTime: m.MinTime, MaxTime: m.MaxTime,
		Series: m.Stats.NumSeries, Samples: m.Stats.NumSamples, Chunks: m.Stats.NumChunks,
		Level: m.Compaction.Level, Sources: m.Compaction.Sources,
		Partition: -1, ExternalLabels: external, Files: files,
	}
	if m.Varve != nil {
		b.Partition, b.Replica, b.Epoch = m.Varve.Partition, m.Varve.Replica, m.Varve.Epoch
	}
	for _, f := range files {
		b.Bytes += f.Size
	}
	return b
}

// Meta is the block's meta.json as far as the catalog keeps it: what block.Open needs.
func (b Block) Meta() block.Meta {
	return block.Meta{
		BlockMeta: tsdb.BlockMeta{
			ULID: b.ID, MinTime: b.MinTime, MaxTime: b.MaxTime, Version: 1,
			Stats:      tsdb.BlockStats{NumSeries: b.Series, NumSamples: b.Samples, NumChunks: b.Chunks},
			Compaction: tsdb.BlockMetaCompaction{Level: b.Level, Sources: b.Sources},
		},
		Varve: &block.Varve{
			Version: block.VarveVersion, Partition: b.Partition, Replica: b.Replica, Epoch: b.Epoch, Files: b.Files,
		},
	}
}

// Overlaps tells whether the block may hold samples in [mint, maxt], both included.
func (b Block) Overlaps(mint, maxt int64) bool { return b.MinTime <= maxt && mint < b.MaxTime }

// check refuses what no block can be.
func (b Block) check() error {
	switch {
	case b.ID.IsZero():
		return errors.New("a block has no ID")
	case b.MinTime > b.MaxTime:
		return fmt.Errorf("block %s: min time %d is after max time %d", b.ID, b.MinTime, b.MaxTime)
	case len(b.Files) == 0:
		return fmt.Errorf("block %s has no files", b.ID)
	}
	for _, f := range b.Files {
		if f.Size < 0 || !fileName(f.Name) {
			return fmt.Errorf("block %s: file %q of %d bytes is not one of a block", b.ID, f.Name, f.Size)
		}
	}
	return nil
}

// fileName tells whether a block may have a file of that name: "name" or "chunks/name".
func fileName(name string) bool {
	name = strings.TrimPrefix(name, "chunks/")
	return name != "" && name != "." && name != ".." && name != block.MetaName && len(name) < 200 && !strings.ContainsAny(name, "/\\\x00")
}

// OpenFiles gives the block's files through a reader of the bucket that holds it.
func (b Block) OpenFiles(r *bucket.Reader, id tenant.ID) block.Files {
	return blockFiles{reader: r, prefix: blockDir(id, b.ID), files: b.Files}
}

type blockFiles struct {
	reader *bucket.Reader
	prefix string
	files  []block.FileSum
}

// Open implements block.Files; it reads nothing.
func (f blockFiles) Open(_ context.Context, name string) (block.File, error) {
	for _, file := range f.files {
		if file.Name == name {
			return f.reader.File(f.prefix+name, file.Size), nil
		}
	}
	return nil, fmt.Errorf("open %s%s: %w", f.prefix, name, fs.ErrNotExist)
}

// Places in the bucket. Directories end in a slash.

func tenantDir(id tenant.ID) string                { return id.String() + "/" }
func blockDir(id tenant.ID, b ulid.ULID) string    { return tenantDir(id) + b.String() + "/" }
func metaName(id tenant.ID, b ulid.ULID) string    { return blockDir(id, b) + block.MetaName }
func catalogName(id tenant.ID) string              { return tenantDir(id) + "varve/catalog.json.zst" }
func factsDir(id tenant.ID) string                 { return tenantDir(id) + "varve/facts/" }
func factName(id tenant.ID, fact ulid.ULID) string { return factsDir(id) + fact.String() + ".json" }

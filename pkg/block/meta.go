package block

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/prometheus/prometheus/tsdb"
)

// Meta is a block's meta.json: what Prometheus keeps there and a section of ours. As in Prometheus, the block's
// samples are in [MinTime, MaxTime), Unix milliseconds.
type Meta struct {
	tsdb.BlockMeta
	// Varve is nil in blocks that others wrote.
	Varve *Varve `json:"varve,omitempty"`
}

// Varve says where a block of ours came from and what belongs to it.
type Varve struct {
	// Version of this section, VarveVersion.
	Version int `json:"version"`
	// Partition whose samples these are; -1 if the block is merged from several.
	Partition int `json:"partition"`
	// Replica is the ingester that wrote the block, empty once blocks of several were merged.
	Replica string `json:"replica,omitempty"`
	// Epoch is the number of the head the block was cut from.
	Epoch int64 `json:"epoch,omitempty"`
	// Files are all files of the block but meta.json, by name.
	Files []FileSum `json:"files,omitempty"`
}

// VarveVersion is the version of the section that is written.
const VarveVersion = 1

// FileSum is what a complete copy of a file must match.
type FileSum struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	CRC32C uint32 `json:"crc32c"`
}

// maxMetaBytes bounds the meta.json that is read: sources and parents of a long-merged block fit many times.
const maxMetaBytes = 16 << 20

// ParseMeta reads a meta.json.
func ParseMeta(b []byte) (Meta, error) {
	if len(b) > maxMetaBytes {
		return Meta{}, fmt.Errorf("read meta.json: %d bytes, at most %d are allowed", len(b), maxMetaBytes)
	}
	var m Meta
	if err := json.Unmarshal(b, &m); err != nil {
		return Meta{}, fmt.Errorf("read meta.json: %w", err)
	}
	switch {
	case m.Version != 1:
		return Meta{}, fmt.Errorf("read meta.json: version %d, 1 is supported", m.Version)
	case m.Varve != nil && m.Varve.Version != VarveVersion:
		return Meta{}, fmt.Errorf("read meta.json: varve version %d, %d is supported", m.Varve.Version, VarveVersion)
	case m.MinTime > m.MaxTime:
		return Meta{}, errors.New("read meta.json: minTime is after maxTime")
	}
	return m, nil
}

// ReadMeta reads the meta.json of a block's directory.
func ReadMeta(dir string) (Meta, error) {
	b, err := os.ReadFile(filepath.Join(dir, MetaName))
	if err != nil {
		return Meta{}, err
	}
	m, err := ParseMeta(b)
	if err != nil {
		return Meta{}, fmt.Errorf("%s: %w", dir, err)
	}
	return m, nil
}

// Encode is the block's meta.json.
func (m Meta) Encode() ([]byte, error) {
	m.Version = 1
	b, err := json.MarshalIndent(m, "", "\t")
	if err != nil {
		return nil, fmt.Errorf("encode meta.json: %w", err)
	}
	return append(b, '\n'), nil
}

// Overlaps tells whether the block may hold samples in [mint, maxt], both included.
func (m Meta) Overlaps(mint, maxt int64) bool { return m.MinTime <= maxt && mint < m.MaxTime }

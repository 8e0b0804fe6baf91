package catalog

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/oklog/ulid/v2"

	"github.com/varve-io/varve/pkg/tenant"
)

const (
	formatVersion = 1
	// maxCatalogBytes bounds a catalog's JSON: some 400,000 blocks.
	maxCatalogBytes = 256 << 20
	// maxFactBytes bounds a fact's JSON.
	maxFactBytes = 16 << 20
)

// ErrCorrupt is wrapped by errors about a catalog, fact or file whose content can't be what was written.
var ErrCorrupt = errors.New("corrupt")

// errVersion is not corruption: a newer Varve wrote it, and it must stay as it is.
var errVersion = errors.New("written by a newer version")

// catalogJSON is the object's content, zstd-compressed with a checksum.
type catalogJSON struct {
	Version     int                   `json:"version"`
	Tenant      string                `json:"tenant"`
	Generation  uint64                `json:"generation"`
	Updated     int64                 `json:"updated"`
	Blocks      []Block               `json:"blocks"`
	Removed     map[ulid.ULID]Removal `json:"removed,omitempty"`
	Quarantined map[ulid.ULID]string  `json:"quarantined,omitempty"`
	Facts       []ulid.ULID           `json:"facts,omitempty"`
}

type factJSON struct {
	Version int `json:"version"`
	Fact
}

// codec compresses; both halves are safe for concurrent use.
type codec struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

func newCodec() (codec, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true), zstd.WithWindowSize(1<<20))
	if err != nil {
		return codec{}, err
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(maxCatalogBytes))
	return codec{enc, dec}, err
}

func (c codec) encode(cat *Catalog) ([]byte, error) {
	raw, err := json.Marshal(catalogJSON{
		Version: formatVersion, Tenant: cat.Tenant.String(), Generation: cat.Generation, Updated: cat.Updated.UnixMilli(),
		Blocks: cat.Blocks, Removed: cat.Removed, Quarantined: cat.quarantined, Facts: cat.facts,
	})
	if err != nil {
		return nil, err
	}
	if len(raw) > maxCatalogBytes {
		return nil, fmt.Errorf("%d bytes, at most %d are allowed", len(raw), maxCatalogBytes)
	}
	return c.enc.EncodeAll(raw, nil), nil
}

// decode reads a tenant's catalog; errors wrap ErrCorrupt or errVersion.
func (c codec) decode(id tenant.ID, data []byte) (*Catalog, error) {
	raw, err := c.dec.DecodeAll(data, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	var j catalogJSON
	if err := json.Unmarshal(raw, &j); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	switch {
	case j.Version > formatVersion:
		return nil, fmt.Errorf("%w: format %d, %d is supported", errVersion, j.Version, formatVersion)
	case j.Version < 1:
		return nil, fmt.Errorf("%w: format %d", ErrCorrupt, j.Version)
	case j.Tenant != id.String():
		return nil, fmt.Errorf("%w: it is the catalog of tenant %q", ErrCorrupt, j.Tenant)
	}
	if err := (Fact{Add: j.Blocks}).check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return Fold(&Catalog{
		Tenant: id, Generation: j.Generation, Updated: time.UnixMilli(j.Updated),
		Blocks: j.Blocks, Removed: j.Removed, quarantined: j.Quarantined, facts: j.Facts,
	}), nil
}

func encodeFact(f Fact) ([]byte, error) {
	raw, err := json.MarshalIndent(factJSON{formatVersion, f}, "", " ")
	if err == nil && len(raw) > maxFactBytes {
		err = fmt.Errorf("%d bytes, at most %d are allowed", len(raw), maxFactBytes)
	}
	return raw, err
}

// decodeFact reads the fact of that ID; errors wrap ErrCorrupt or errVersion.
func decodeFact(id ulid.ULID, raw []byte) (Fact, error) {
	var j factJSON
	if err := json.Unmarshal(raw, &j); err != nil {
		return Fact{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	switch {
	case j.Version > formatVersion:
		return Fact{}, fmt.Errorf("%w: format %d, %d is supported", errVersion, j.Version, formatVersion)
	case j.Version < 1, j.ID != id:
		return Fact{}, fmt.Errorf("%w: format %d, ID %s", ErrCorrupt, j.Version, j.ID)
	}
	if err := j.check(); err != nil {
		return Fact{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return j.Fact, nil
}

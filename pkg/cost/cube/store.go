package cube

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/thanos-io/objstore"

	"github.com/varve-io/varve/pkg/tenant"
)

const (
	manifestVersion = 2
	// maxManifest bounds a manifest, before and after compression.
	maxManifest = 256 << 20
)

// ErrOvertaken is that somebody else wrote the manifest after it was loaded.
var ErrOvertaken = errors.New("the manifest of the cost cube was written by another")

// manifestJSON is the object's content, zstd-compressed with a checksum.
type manifestJSON struct {
	Version    int       `json:"version"`
	Tenant     string    `json:"tenant"`
	Generation uint64    `json:"generation"`
	Updated    int64     `json:"updated"`
	Objects    []Object  `json:"objects"`
	Days       []Day     `json:"days"`
	Months     []int64   `json:"months,omitempty"`
	Removed    []Removed `json:"removed,omitempty"`
}

func manifestName(id tenant.ID) string { return directory(id) + "/manifest.json.zst" }

// Load reads a tenant's manifest with one request. A tenant without one has an empty manifest. Errors about its content wrap ErrDamaged or
// ErrVersion.
func Load(ctx context.Context, bkt objstore.BucketReader, id tenant.ID) (*Manifest, error) {
	body, err := bkt.Get(ctx, manifestName(id))
	if err == nil {
		var data []byte
		data, err = io.ReadAll(io.LimitReader(body, maxManifest))
		if err = errors.Join(err, body.Close()); err == nil {
			m, err := decodeManifest(id, data)
			if err != nil {
				return nil, fmt.Errorf("manifest of the cost cube: %w", err)
			}
			return m, nil
		}
	}
	if bkt.IsObjNotFoundErr(err) {
		return &Manifest{Tenant: id}, nil
	}
	return nil, fmt.Errorf("load manifest of the cost cube: %w", err)
}

// Save writes a manifest that was loaded and then changed, and gives it the next generation. It looks first whether it is still the one in the
// bucket, else the error is ErrOvertaken. Object stores have no conditional writes: of two that write at the same instant the last stays.
func Save(ctx context.Context, bkt objstore.Bucket, m *Manifest, now time.Time) error {
	current, err := Load(ctx, bkt, m.Tenant)
	if err != nil {
		return err
	}
	if current.Generation != m.Generation {
		return ErrOvertaken
	}
	next := *m
	next.Generation++
	next.Updated = now
	data, err := next.encode()
	if err == nil {
		err = bkt.Upload(ctx, manifestName(m.Tenant), bytes.NewReader(data))
	}
	if err != nil {
		return fmt.Errorf("save manifest of the cost cube: %w", err)
	}
	*m = next
	return nil
}

func (m *Manifest) encode() ([]byte, error) {
	raw, err := json.Marshal(manifestJSON{manifestVersion, m.Tenant.String(), m.Generation, m.Updated.UnixMilli(), m.Objects, m.Days, m.Months, m.Removed})
	if err != nil {
		return nil, err
	}
	if len(raw) > maxManifest {
		return nil, fmt.Errorf("%d bytes, at most %d are allowed", len(raw), maxManifest)
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true))
	if err != nil {
		return nil, err
	}
	return enc.EncodeAll(raw, nil), enc.Close()
}

func decodeManifest(id tenant.ID, data []byte) (*Manifest, error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxManifest))
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	raw, err := dec.DecodeAll(data, nil)
	if err != nil {
		return nil, damaged("%w", err)
	}
	var j manifestJSON
	if err := json.Unmarshal(raw, &j); err != nil {
		return nil, damaged("%w", err)
	}
	switch {
	case j.Version < 1:
		return nil, damaged("format %d", j.Version)
	case j.Version != manifestVersion:
		return nil, fmt.Errorf("%w: format %d, %d is supported", ErrVersion, j.Version, manifestVersion)
	case j.Tenant != id.String():
		return nil, damaged("it is that of tenant %q", j.Tenant)
	}
	m := &Manifest{id, j.Generation, time.UnixMilli(j.Updated), j.Objects, j.Days, j.Months, j.Removed}
	return m, m.check()
}

// check refuses what a reader could trip over.
func (m *Manifest) check() error {
	last := int64(-1 << 62)
	for _, d := range m.Days {
		if d.Start != dayOf(d.Start) || d.Start <= last {
			return damaged("its days are not midnights in order")
		}
		if d.Closed&^allHours != 0 || (d.Dirty|d.Frozen)&^d.Closed != 0 || d.Dirty&d.Frozen != 0 || d.RolledUp && (d.Closed != allHours || d.Dirty != 0) {
			return damaged("the hours of day %d contradict each other", d.Start)
		}
		last = d.Start
	}
	if !slices.IsSorted(m.Months) {
		return damaged("its months are not in order")
	}
	for _, o := range m.Objects {
		if !below(o.Name) || o.Size <= 0 {
			return damaged("object %q of %d bytes", o.Name, o.Size)
		}
	}
	for _, r := range m.Removed {
		if !below(r.Name) {
			return damaged("removed object %q", r.Name)
		}
	}
	return nil
}

// below tells whether a name is one of a file below the cube's directory.
func below(name string) bool {
	return strings.HasSuffix(name, ".parquet") && !strings.Contains(name, "..") && !strings.HasPrefix(name, "/")
}

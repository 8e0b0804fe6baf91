package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/oklog/ulid/v2"

	"github.com/varve-io/varve/pkg/block"
	"github.com/varve-io/varve/pkg/bucket"
	"github.com/varve-io/varve/pkg/catalog"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/querier"
)

// openBlocks is how many blocks are kept open while hours are read, one after the other.
const openBlocks = 64

// samples are a tenant's blocks as one source. Close closes them.
type samples struct{ *querier.Blocks }

// Select implements join.Source.
func (s samples) Select(ctx context.Context, q series.Query) (series.Set, error) {
	return s.Blocks.Select(ctx, q, querier.RecentMeta{})
}

// samples reads the bucket's catalog; or the blocks in a directory if one is named.
func (s *session) samples(ctx context.Context, dir string) (*samples, error) {
	if dir != "" {
		d, err := readDir(dir)
		if err != nil {
			return nil, err
		}
		return &samples{querier.NewBlocks(d, d, openBlocks)}, nil
	}
	if err := s.needTenant(); err != nil {
		return nil, err
	}
	cat, err := s.store.Load(ctx, s.tenant)
	if err != nil {
		return nil, err
	}
	reader, err := s.reader()
	if err != nil {
		return nil, err
	}
	c := catalogued{cat, reader}
	return &samples{querier.NewBlocks(c, c, openBlocks)}, nil
}

// catalogued is what a catalog lists. It is looked at once: blocks that are replaced meanwhile can be read for hours.
type catalogued struct {
	catalog *catalog.Catalog
	reader  *bucket.Reader
}

// Blocks implements querier.Catalog.
func (c catalogued) Blocks(context.Context, tenant.ID, bool) (all []querier.BlockInfo, known func(ulid.ULID) bool, err error) {
	for _, b := range c.catalog.Blocks {
		all = append(all, querier.BlockInfo{ID: b.ID, MinTime: b.MinTime, MaxTime: b.MaxTime})
	}
	return all, c.catalog.Knows, nil
}

// OpenBlock implements querier.Opener.
func (c catalogued) OpenBlock(ctx context.Context, id tenant.ID, b ulid.ULID) (querier.Block, error) {
	entry, ok := c.catalog.Block(b)
	if !ok {
		return nil, fmt.Errorf("block %s: %w", b, fs.ErrNotExist)
	}
	return block.Open(ctx, entry.OpenFiles(c.reader, id), entry.Meta())
}

// blockDir is a directory of blocks, by ID.
type blockDir struct {
	path  string
	metas map[ulid.ULID]block.Meta
}

func readDir(path string) (*blockDir, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("read directory of blocks: %w", err)
	}
	d := &blockDir{path, map[ulid.ULID]block.Meta{}}
	for _, e := range entries {
		id, err := ulid.ParseStrict(e.Name())
		if err != nil {
			continue
		}
		meta, err := block.ReadMeta(filepath.Join(path, e.Name()))
		if err != nil {
			return nil, err
		}
		d.metas[id] = meta
	}
	if len(d.metas) == 0 {
		return nil, errors.New(path + " has no blocks")
	}
	return d, nil
}

// Blocks implements querier.Catalog.
func (d *blockDir) Blocks(context.Context, tenant.ID, bool) (all []querier.BlockInfo, known func(ulid.ULID) bool, err error) {
	for id, m := range d.metas {
		all = append(all, querier.BlockInfo{ID: id, MinTime: m.MinTime, MaxTime: m.MaxTime})
	}
	return all, func(ulid.ULID) bool { return true }, nil
}

// OpenBlock implements querier.Opener.
func (d *blockDir) OpenBlock(ctx context.Context, _ tenant.ID, b ulid.ULID) (querier.Block, error) {
	return block.Open(ctx, block.Dir(filepath.Join(d.path, b.String())), d.metas[b])
}

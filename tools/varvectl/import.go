package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/oklog/ulid/v2"

	"github.com/varve-io/varve/pkg/block"
	"github.com/varve-io/varve/pkg/catalog"
)

const twoHours = int64(2 * 3600_000)

// importer brings blocks into the bucket and keeps a list of what became of each.
type importer struct {
	*session
	scratch  string
	cat      *catalog.Catalog
	results  *table
	samples  uint64
	imported int
	failed   int
	progress *progress
}

// importData backfills what the argument names. Blocks keep their IDs, so that a repeated import skips those that are
// there or have been. What comes from a write-ahead log, from text, or from a block with deletions makes new blocks each
// time: a repeated import adds the same samples again, which queries see once and the compactor merges.
func (p *program) importData(ctx context.Context, args []string) error {
	o := defaults()
	a := o.asked()
	a.begins = true
	return p.session(ctx, a, args, func(ctx context.Context, s *session) error { return importData(ctx, s, o.Scratch) })
}

func importData(ctx context.Context, s *session, scratch string) (err error) {
	if err := s.needTenant(); err != nil {
		return err
	}
	if len(s.args) != 1 {
		return errors.New("name one data directory, block or file to import")
	}
	info, err := os.Stat(s.args[0])
	if err != nil {
		return err
	}
	im := &importer{session: s, results: newTable("BLOCK", "FROM", "TO", ">LENGTH", ">SERIES", ">SAMPLES", ">SIZE", "RESULT"), progress: newProgress(s.notice)}
	if im.cat, err = s.store.Sync(ctx, s.tenant); err != nil {
		return err
	}
	if im.scratch, err = os.MkdirTemp(scratch, "varvectl-import-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(im.scratch)) }()
	switch {
	case !info.IsDir():
		err = im.text(ctx, s.args[0])
	case isBlock(s.args[0]):
		err = im.block(ctx, s.args[0])
	default:
		err = im.dataDir(ctx, s.args[0])
	}
	im.results.print(s.out)
	fmt.Fprintf(s.out, "%d blocks with %s samples imported for tenant %s\n", im.imported, number(im.samples), s.tenant)
	if err == nil && im.failed > 0 {
		err = errFound
	}
	return err
}

func isBlock(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, block.MetaName))
	return err == nil
}

// dataDir imports the blocks of a Prometheus data directory, and what its write-ahead log has.
func (im *importer) dataDir(ctx context.Context, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	blocks, hasLog := 0, false
	for _, e := range entries {
		if e.Name() == "wal" {
			hasLog = true
		}
		path := filepath.Join(dir, e.Name())
		if _, err := ulid.ParseStrict(e.Name()); err != nil || !isBlock(path) {
			continue
		}
		blocks++
		if err := im.block(ctx, path); err != nil {
			return err
		}
	}
	if blocks == 0 && !hasLog {
		return fmt.Errorf("%s is no data directory of Prometheus: it has neither blocks nor a wal directory", dir)
	}
	if !hasLog {
		return nil
	}
	return im.log(ctx, dir)
}

// block imports a block as it is. One that is damaged is told of and left out.
func (im *importer) block(ctx context.Context, dir string) error {
	m, err := block.ReadMeta(dir)
	if err != nil {
		im.refuse(filepath.Base(dir), err.Error())
		return nil
	}
	if im.cat.Knows(m.ULID) {
		im.tell(m, 0, "there already: skipped")
		return nil
	}
	if m.Stats.NumTombstones > 0 {
		return im.withDeletions(ctx, dir, m)
	}
	staged := filepath.Join(im.scratch, m.ULID.String())
	if err := stage(dir, staged); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(staged) }() // the scratch directory goes anyway
	report, err := block.Verify(ctx, block.Dir(staged))
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		im.refuse(m.ULID.String(), err.Error())
		return nil
	case len(report.Problems) > 0:
		im.refuse(m.ULID.String(), report.Problems[0].Error())
		return nil
	}
	if err := addHeader(ctx, staged, m); err != nil {
		return err
	}
	return im.upload(ctx, staged, m)
}

// stage makes a copy of a block, without what is not a block's, by links if the file system has them.
func stage(dir, dest string) error {
	if err := os.MkdirAll(filepath.Join(dest, "chunks"), 0o750); err != nil {
		return err
	}
	segments, err := os.ReadDir(filepath.Join(dir, "chunks"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	names := []string{block.MetaName, block.IndexName}
	for _, e := range segments {
		names = append(names, filepath.Join("chunks", e.Name()))
	}
	if _, err := os.Stat(filepath.Join(dir, block.HeaderName)); err == nil {
		names = append(names, block.HeaderName)
	}
	for _, name := range names {
		from, to := filepath.Join(dir, name), filepath.Join(dest, name)
		if os.Link(from, to) == nil {
			continue
		}
		if err := copyFile(from, to); err != nil && !errors.Is(err, fs.ErrNotExist) { // verifying tells of what is missing
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// addHeader gives a block that others wrote the sparse header that saves every reader a pass over its index.
func addHeader(ctx context.Context, dir string, m block.Meta) error {
	b, err := block.Open(ctx, block.Dir(dir), m)
	if err != nil {
		return err
	}
	raw, isBuilt := b.Header()
	if err := b.Close(); err != nil || !isBuilt || m.Varve != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, block.HeaderName), raw, 0o640)
}

// upload brings a block into the bucket and the catalog.
func (im *importer) upload(ctx context.Context, dir string, m block.Meta) error {
	b, err := catalog.Upload(ctx, im.bkt, im.tenant, dir)
	if err != nil {
		return err
	}
	if im.cat, err = im.store.Commit(ctx, im.tenant, catalog.Fact{Add: []catalog.Block{b}}); err != nil {
		return err
	}
	im.tell(m, b.Bytes, "imported")
	im.imported++
	im.samples += m.Stats.NumSamples
	im.progress.say("%d blocks, %s samples imported", im.imported, number(im.samples))
	return nil
}

func (im *importer) tell(m block.Meta, bytes int64, result string) {
	im.results.row(m.ULID.String(), moment(m.MinTime), moment(m.MaxTime), span(m.MaxTime-m.MinTime),
		number(m.Stats.NumSeries), number(m.Stats.NumSamples), size(bytes), result)
}

func (im *importer) refuse(name, reason string) {
	im.failed++
	im.results.row(name, "", "", "", "", "", "", "NOT IMPORTED: "+reason)
}

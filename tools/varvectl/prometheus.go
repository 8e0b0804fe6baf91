package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/prometheus/prometheus/tsdb"

	"github.com/varve-io/varve/pkg/block"
)

// withDeletions imports a block from which samples were deleted that are still in it: it is written anew without them.
func (im *importer) withDeletions(ctx context.Context, dir string, m block.Meta) error {
	b, err := tsdb.OpenBlock(im.logger, dir, nil, nil)
	if err != nil {
		im.refuse(m.ULID.String(), err.Error())
		return nil
	}
	written, err := block.Write(ctx, im.scratch, b, block.Spec{MinTime: m.MinTime, MaxTime: m.MaxTime, Origin: block.Varve{Partition: -1}})
	if err := errors.Join(err, b.Close()); err != nil {
		return err
	}
	if written.Stats.NumSamples == 0 {
		im.tell(m, 0, "all samples are deleted: skipped")
		return nil
	}
	return im.upload(ctx, filepath.Join(im.scratch, written.ULID.String()), written)
}

// log imports what the write-ahead log of a data directory has, in blocks of two hours. It works on a copy: Prometheus
// may be running, and what it writes meanwhile may or may not be in it.
func (im *importer) log(ctx context.Context, dir string) error {
	work := filepath.Join(im.scratch, "data")
	for _, name := range []string{"wal", "wbl", "chunks_head"} {
		err := os.CopyFS(filepath.Join(work, name), os.DirFS(filepath.Join(dir, name)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("copy %s: %w", name, err)
		}
	}
	im.progress.say("reading the write-ahead log")
	flushed := filepath.Join(im.scratch, "flushed")
	if err := im.flush(work, flushed); err != nil {
		return fmt.Errorf("read write-ahead log: %w", err)
	}
	entries, err := os.ReadDir(flushed)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if path := filepath.Join(flushed, e.Name()); isBlock(path) {
			if err := im.align(ctx, path); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush writes what the log in the directory has as one block.
func (im *importer) flush(work, dest string) error {
	if err := os.MkdirAll(dest, 0o750); err != nil {
		return err
	}
	db, err := tsdb.OpenDBReadOnly(work, im.scratch, im.logger)
	if err != nil {
		return err
	}
	return errors.Join(db.FlushWAL(dest), db.Close())
}

// align imports a block in pieces of two hours.
func (im *importer) align(ctx context.Context, dir string) error {
	m, err := block.ReadMeta(dir)
	if err != nil || m.Stats.NumSamples == 0 {
		return err
	}
	var spec block.MergeSpec
	spec.Origin.Partition = -1
	for at := floor(m.MinTime, twoHours); at < m.MaxTime; at += twoHours {
		spec.Ranges = append(spec.Ranges, block.TimeRange{MinTime: at, MaxTime: at + twoHours})
	}
	dest := filepath.Join(im.scratch, "aligned")
	res, err := block.Merge(ctx, dest, []string{dir}, spec)
	if err != nil {
		return err
	}
	for _, m := range res.Blocks {
		if err := im.upload(ctx, filepath.Join(dest, m.ULID.String()), m); err != nil {
			return err
		}
	}
	return nil
}

// floor is the start of the aligned range of that width in which t is.
func floor(t, width int64) int64 {
	n := t / width
	if t%width < 0 {
		n--
	}
	return n * width
}

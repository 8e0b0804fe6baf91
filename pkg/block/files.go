package block

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// Names of a block's files, relative to the block.
const (
	IndexName  = "index"
	MetaName   = "meta.json"
	HeaderName = "sparse.varve"
	chunksName = "chunks"
	// tombstonesName is Prometheus' list of deletions. It always writes one; without deletions nobody needs it.
	tombstonesName = "tombstones"
)

// SegmentName is the name of the i-th chunk segment, counted from 0.
func SegmentName(i int) string { return fmt.Sprintf("%s/%06d", chunksName, i+1) }

// Files gives the files of one block. It is safe for concurrent use.
type Files interface {
	// Open opens a file by its name relative to the block, with slashes. The error of a missing one wraps
	// fs.ErrNotExist.
	Open(ctx context.Context, name string) (File, error)
}

// Range is a range of bytes of a file.
type Range = struct{ Off, Len int64 }

// File is one immutable file, read by ranges. It is safe for concurrent use. The bytes that it gives are read-only
// and never change.
type File interface {
	// Size is the file's length in bytes.
	Size() int64
	// Range gives exactly the n bytes at off, or an error.
	Range(ctx context.Context, off, n int64) ([]byte, error)
	// Ranges gives the bytes of each range; they are in ascending order. It may read what lies between them.
	Ranges(ctx context.Context, ranges []Range) ([][]byte, error)
	// Close frees the file; bytes it gave stay valid.
	Close() error
}

// Local is a File that may be one of this machine: then reading many ranges at once saves nothing.
type Local interface {
	IsLocal() bool
	// ReadAt fills p from an offset, or fails.
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)
}

// Dropper is a File with a cache, which may be damaged: Drop forgets a range. A block asks for that, and reads once
// more, before it says that something is corrupt.
type Dropper interface {
	Drop(off, n int64)
}

// Dir gives the files of a block in a directory of the local disk.
type Dir string

// Open implements Files.
func (d Dir) Open(_ context.Context, name string) (File, error) {
	f, err := os.Open(filepath.Join(string(d), filepath.FromSlash(name)))
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &diskFile{f: f, size: st.Size()}, nil
}

type diskFile struct {
	f    *os.File
	size int64
}

func (f *diskFile) Size() int64 { return f.size }

func (f *diskFile) Range(ctx context.Context, off, n int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if off < 0 || n < 0 || off > f.size-n {
		return nil, fmt.Errorf("range %d+%d is outside of %s with %d bytes", off, n, f.f.Name(), f.size)
	}
	b := make([]byte, n)
	if _, err := f.ReadAt(ctx, b, off); err != nil {
		return nil, err
	}
	return b, nil
}

// IsLocal implements Local.
func (f *diskFile) IsLocal() bool { return true }

// ReadAt implements Local.
func (f *diskFile) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return f.f.ReadAt(p, off)
}

func (f *diskFile) Ranges(ctx context.Context, ranges []Range) ([][]byte, error) {
	out := make([][]byte, len(ranges))
	for i, r := range ranges {
		var err error
		if out[i], err = f.Range(ctx, r.Off, r.Len); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (f *diskFile) Close() error { return f.f.Close() }

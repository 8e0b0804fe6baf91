package block

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/tsdb"
)

const (
	// unfinished begins the names of directories in which blocks are being written.
	unfinished = "unfinished-"
	// segmentBytes is where a chunk segment ends. Prometheus allocates a segment on disk before it fills it, so it is
	// far less than the 512 MiB that readers allow.
	segmentBytes = 64 << 20
)

// Spec says what a written block is to hold.
type Spec struct {
	// MinTime and MaxTime are the block's range in Unix milliseconds, MaxTime excluded. Samples outside are left out.
	MinTime, MaxTime int64
	// Origin is the section of ours in meta.json; Version and Files are filled in.
	Origin Varve
}

// Write writes the samples of r in the spec's range as a block into the directory dest, and gives its meta.json.
// When it returns, the block and its name are on disk; until then nothing is visible under a block's name. A range
// without samples gives no block: Stats.NumSamples is 0.
func Write(ctx context.Context, dest string, r tsdb.BlockReader, spec Spec) (Meta, error) {
	m, err := inScratch(dest, func(tmp string) ([]Meta, error) {
		c, err := tsdb.NewLeveledCompactorWithOptions(ctx, nil, nil, []int64{spec.MaxTime - spec.MinTime}, nil,
			tsdb.LeveledCompactorOptions{MaxBlockChunkSegmentSize: segmentBytes, EnableOverlappingCompaction: true})
		if err != nil {
			return nil, err
		}
		ids, err := c.Write(tmp, r, spec.MinTime, spec.MaxTime, nil)
		if err != nil || len(ids) == 0 {
			return nil, err
		}
		dir := filepath.Join(tmp, ids[0].String())
		m, err := ReadMeta(dir)
		if err != nil {
			return nil, err
		}
		m, err = finish(ctx, dir, m, spec.Origin)
		return []Meta{m}, err
	})
	switch {
	case err != nil:
		return Meta{}, fmt.Errorf("write block [%d, %d): %w", spec.MinTime, spec.MaxTime, err)
	case len(m) == 0:
		return Meta{BlockMeta: tsdb.BlockMeta{MinTime: spec.MinTime, MaxTime: spec.MaxTime}}, nil
	}
	return m[0], nil
}

// inScratch lets write put blocks into a directory of their own in dest, and moves those it names to dest.
func inScratch(dest string, write func(tmp string) ([]Meta, error)) (_ []Meta, err error) {
	if err := os.MkdirAll(dest, 0o755); err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp(dest, unfinished)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	metas, err := write(tmp)
	if err != nil {
		return nil, err
	}
	for _, m := range metas {
		id := m.ULID.String()
		if err := os.Rename(filepath.Join(tmp, id), filepath.Join(dest, id)); err != nil {
			return nil, err
		}
	}
	return metas, syncPath(dest)
}

// RemoveUnfinished removes what Write and Merge left in dest when the process died. Nothing may be writing there.
func RemoveUnfinished(dest string) error {
	entries, err := os.ReadDir(dest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), unfinished) {
			errs = append(errs, os.RemoveAll(filepath.Join(dest, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// finish gives a block that has an index and chunks its sparse header and its meta.json, and syncs all.
func finish(ctx context.Context, dir string, m Meta, origin Varve) (Meta, error) {
	if err := os.Remove(filepath.Join(dir, tombstonesName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Meta{}, err
	}
	if err := writeHeader(ctx, dir, m.ULID); err != nil {
		return Meta{}, err
	}
	var err error
	origin.Version = VarveVersion
	if origin.Files, err = sumFiles(dir); err != nil {
		return Meta{}, err
	}
	m.Version = 1
	m.Varve = &origin
	raw, err := m.Encode()
	if err != nil {
		return Meta{}, err
	}
	if err := os.WriteFile(filepath.Join(dir, MetaName), raw, 0o644); err != nil {
		return Meta{}, err
	}
	return m, syncTree(dir)
}

func writeHeader(ctx context.Context, dir string, id ulid.ULID) error {
	f, err := Dir(dir).Open(ctx, IndexName)
	if err != nil {
		return err
	}
	defer f.Close()
	h, err := buildHeader(ctx, id, f)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, HeaderName), h.encode(), 0o644)
}

// sumFiles gives the sums of all files of a block but meta.json, sorted by name.
func sumFiles(dir string) ([]FileSum, error) {
	var sums []FileSum
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == MetaName {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		sum, err := sumFile(path)
		sum.Name = filepath.ToSlash(name)
		sums = append(sums, sum)
		return err
	})
	slices.SortFunc(sums, func(a, b FileSum) int { return strings.Compare(a.Name, b.Name) })
	return sums, err
}

func sumFile(path string) (FileSum, error) {
	f, err := os.Open(path)
	if err != nil {
		return FileSum{}, err
	}
	defer f.Close()
	h := crc32.New(castagnoli())
	n, err := io.Copy(h, f)
	return FileSum{Size: n, CRC32C: h.Sum32()}, err
}

// syncTree syncs every file and directory below dir, and dir.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return syncPath(path)
	})
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

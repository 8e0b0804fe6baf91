package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/oklog/ulid/v2"
	"github.com/thanos-io/objstore"
	"golang.org/x/sync/errgroup"

	"github.com/varve-io/varve/pkg/block"
	"github.com/varve-io/varve/pkg/bucket"
	"github.com/varve-io/varve/pkg/tenant"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// transfers is how many files of a block move at once.
const transfers = 4

// Upload copies the block in the directory dir to the bucket, meta.json last, and checks that every object has its
// size. The result is what to commit. It may be repeated after an error. Nothing of dir changes; a file that differs
// from what meta.json records is an error that wraps ErrCorrupt.
func Upload(ctx context.Context, bkt bucket.Bucket, id tenant.ID, dir string) (Block, error) {
	b, err := upload(ctx, bkt, id, dir)
	if err != nil {
		return Block{}, fmt.Errorf("upload block %s of %s: %w", filepath.Base(dir), id, err)
	}
	return b, nil
}

func upload(ctx context.Context, bkt bucket.Bucket, id tenant.ID, dir string) (Block, error) {
	raw, err := os.ReadFile(filepath.Join(dir, block.MetaName))
	if err != nil {
		return Block{}, err
	}
	meta, external, err := parseMeta(raw)
	if err != nil {
		return Block{}, err
	}
	files, err := sums(dir)
	if err != nil {
		return Block{}, err
	}
	if meta.Varve != nil && len(meta.Varve.Files) > 0 {
		if files, err = recorded(meta.Varve.Files, files); err != nil {
			return Block{}, err
		}
	} else if raw, err = record(raw, &meta, files); err != nil {
		return Block{}, err
	}
	b := newBlock(meta, files, external)
	if err := b.check(); err != nil {
		return Block{}, err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(transfers)
	for _, f := range files {
		g.Go(func() error {
			return uploadFile(gctx, bkt, filepath.Join(dir, filepath.FromSlash(f.Name)), blockDir(id, b.ID)+f.Name, f.Size)
		})
	}
	if err := g.Wait(); err != nil {
		return Block{}, err
	}
	if err := bkt.Upload(ctx, metaName(id, b.ID), bytes.NewReader(raw)); err != nil {
		return Block{}, err
	}
	return b, checkSize(ctx, bkt, metaName(id, b.ID), int64(len(raw)))
}

// sums are the sizes and checksums of a block's files, ordered by name; deletions and meta.json are left out.
func sums(dir string) ([]block.FileSum, error) {
	var out []block.FileSum
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, file)
		name := filepath.ToSlash(rel)
		if err != nil || name == block.MetaName || name == "tombstones" {
			return err
		}
		if !d.Type().IsRegular() || !fileName(name) {
			return fmt.Errorf("%s is no file of a block", name)
		}
		sum := crc32.New(castagnoli)
		n, err := copyFile(sum, file)
		out = append(out, block.FileSum{Name: name, Size: n, CRC32C: sum.Sum32()})
		return err
	})
	return out, err
}

func copyFile(w io.Writer, file string) (int64, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(w, f)
	return n, errors.Join(err, f.Close())
}

// recorded are the files that meta.json lists; each must be there as it is recorded.
func recorded(want, have []block.FileSum) ([]block.FileSum, error) {
	for _, w := range want {
		if !slices.Contains(have, w) {
			return nil, fmt.Errorf("%w: %s differs from what %s records", ErrCorrupt, w.Name, block.MetaName)
		}
	}
	return want, nil
}

// record writes the files into our section of a meta.json and leaves the other sections as they are.
func record(raw []byte, meta *block.Meta, files []block.FileSum) ([]byte, error) {
	own := block.Varve{Version: block.VarveVersion, Partition: -1}
	if meta.Varve != nil {
		own = *meta.Varve
	}
	own.Files = files
	meta.Varve = &own
	var sections map[string]json.RawMessage
	if err := json.Unmarshal(raw, &sections); err != nil {
		return nil, err
	}
	section, err := json.Marshal(own)
	if err != nil {
		return nil, err
	}
	sections["varve"] = section
	return json.MarshalIndent(sections, "", "\t")
}

func uploadFile(ctx context.Context, bkt bucket.Bucket, file, name string, size int64) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	err = bkt.Upload(ctx, name, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return checkSize(ctx, bkt, name, size)
}

func checkSize(ctx context.Context, bkt bucket.Bucket, name string, size int64) error {
	attrs, err := bkt.Attributes(ctx, name)
	if err != nil {
		return err
	}
	if attrs.Size != size {
		return fmt.Errorf("verify %s: it has %d bytes in the bucket, %d were uploaded", name, attrs.Size, size)
	}
	return nil
}

// Download copies a block of the bucket to dir/<ID>, which appears whole and synced or not at all. A file whose size
// or checksum is not the recorded one is an error that wraps ErrCorrupt.
func Download(ctx context.Context, bkt bucket.Bucket, id tenant.ID, b Block, dir string) error {
	if err := download(ctx, bkt, id, b, dir); err != nil {
		return fmt.Errorf("download block %s of %s: %w", b.ID, id, err)
	}
	return nil
}

func download(ctx context.Context, bkt bucket.Bucket, id tenant.ID, b Block, dir string) (err error) {
	if err := b.check(); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(dir, "unfinished-download-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }() // nothing is there after the rename
	chunks := filepath.Join(tmp, "chunks")
	if err := os.Mkdir(chunks, 0o750); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(transfers)
	for _, f := range append([]block.FileSum{{Name: block.MetaName, Size: -1}}, b.Files...) {
		g.Go(func() error {
			return downloadFile(gctx, bkt, blockDir(id, b.ID)+f.Name, filepath.Join(tmp, filepath.FromSlash(f.Name)), f)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := errors.Join(syncDir(chunks), syncDir(tmp)); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(dir, b.ID.String())); err != nil {
		return err
	}
	return syncDir(dir)
}

func downloadFile(ctx context.Context, bkt bucket.Bucket, name, file string, want block.FileSum) error {
	body, err := bkt.Get(ctx, name)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return errors.Join(err, body.Close())
	}
	sum := crc32.New(castagnoli)
	n, err := io.Copy(io.MultiWriter(f, sum), body)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close(), body.Close()); err != nil {
		return fmt.Errorf("copy %s: %w", name, err)
	}
	if want.Size >= 0 && n != want.Size || want.CRC32C != 0 && sum.Sum32() != want.CRC32C {
		return fmt.Errorf("%w: %s has %d bytes with checksum %08x, recorded are %d with %08x",
			ErrCorrupt, name, n, sum.Sum32(), want.Size, want.CRC32C)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Delete deletes a block's objects, meta.json first, so that a block half deleted is none. What is gone already is no
// error; commit Fact.Deleted afterwards.
func Delete(ctx context.Context, bkt bucket.Bucket, id tenant.ID, b ulid.ULID) error {
	names := []string{metaName(id, b)}
	err := bkt.Iter(ctx, blockDir(id, b), func(name string) error {
		if name != names[0] {
			names = append(names, name)
		}
		return nil
	}, objstore.WithRecursiveIter())
	if err != nil {
		return fmt.Errorf("delete block %s of %s: %w", b, id, err)
	}
	for _, name := range names {
		if err := bkt.Delete(ctx, name); err != nil && !bkt.IsObjNotFoundErr(err) {
			return fmt.Errorf("delete block %s of %s: %w", b, id, err)
		}
	}
	return nil
}

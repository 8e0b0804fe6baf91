package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/thanos-io/objstore"
)

// temporaryDir holds uploads that are under way, at the root of a local bucket.
const temporaryDir = ".varve-tmp"

// temporaryAge spares temporary files that another process has only just created and not locked yet.
const temporaryAge = time.Minute

// local is a bucket in a directory. An object is a file of the same name. It becomes visible by a rename after
// its content is synced, and Upload and Delete return when the directories are synced too. Several processes may
// use one directory at once.
type local struct {
	root *os.Root
	dir  string
	seq  atomic.Uint64
}

var _ objstore.Bucket = (*local)(nil)

// openLocal makes the directory if needed and removes what earlier processes left half uploaded.
func openLocal(dir string) (*local, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("create local bucket: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open local bucket: %w", err)
	}
	b := &local{root: root, dir: dir}
	if err := b.makeDirs(temporaryDir); err != nil {
		return nil, errors.Join(fmt.Errorf("open local bucket: %w", err), root.Close())
	}
	if err := b.clean(); err != nil {
		return nil, errors.Join(fmt.Errorf("clean temporary files of local bucket: %w", err), root.Close())
	}
	return b, nil
}

// clean removes temporary files that no living process holds locked.
func (b *local) clean() error {
	entries, err := fs.ReadDir(b.root.FS(), temporaryDir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || time.Since(info.ModTime()) < temporaryAge {
			continue
		}
		name := path.Join(temporaryDir, e.Name())
		f, err := b.root.Open(name)
		if err != nil {
			continue
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			err = b.root.Remove(name)
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (b *local) Upload(ctx context.Context, name string, r io.Reader, _ ...objstore.ObjectUploadOption) error {
	if err := checkName(name); err != nil {
		return err
	}
	tmp := path.Join(temporaryDir, strconv.Itoa(os.Getpid())+"-"+strconv.FormatUint(b.seq.Add(1), 10)+
		"-"+strconv.FormatInt(time.Now().UnixNano(), 36))
	f, err := b.root.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("upload %s: %w", name, err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
	if err == nil {
		_, err = io.Copy(f, contextReader{ctx, r})
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = b.publish(tmp, name)
	}
	err = errors.Join(err, f.Close())
	if err != nil {
		_ = b.root.Remove(tmp) // gone already if it was renamed
		return fmt.Errorf("upload %s: %w", name, err)
	}
	return nil
}

// publish renames tmp to name, making the directories on the way. A Delete at the same time may take a directory
// away again while it is empty, so it tries more than once.
func (b *local) publish(tmp, name string) error {
	dir := path.Dir(name)
	for try := 0; ; try++ {
		err := b.makeDirs(dir)
		if err == nil {
			err = b.root.Rename(tmp, name)
		}
		if err == nil {
			err = b.syncDir(dir)
		}
		if !errors.Is(err, fs.ErrNotExist) || try == 10 {
			return err
		}
	}
}

// makeDirs is MkdirAll that syncs the parent of each directory it makes.
func (b *local) makeDirs(dir string) error {
	if dir == "." {
		return nil
	}
	if info, err := b.root.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	parent := path.Dir(dir)
	if err := b.makeDirs(parent); err != nil {
		return err
	}
	if err := b.root.Mkdir(dir, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return b.syncDir(parent)
}

func (b *local) syncDir(dir string) error {
	d, err := b.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (b *local) Delete(_ context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if _, err := b.stat(name); err != nil {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	if err := b.root.Remove(name); err != nil {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	dir := path.Dir(name)
	for dir != "." && b.root.Remove(dir) == nil { // fails as soon as a directory holds anything
		dir = path.Dir(dir)
	}
	if err := b.syncDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	return nil
}

// stat is the file of an object; a directory is no object.
func (b *local) stat(name string) (fs.FileInfo, error) {
	info, err := b.root.Stat(name)
	if err == nil && info.IsDir() {
		return nil, fs.ErrNotExist
	}
	return info, err
}

// openFile is the file of an object, for reading at offsets without copies of pages.
func (b *local) openFile(name string) (*os.File, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	f, err := b.root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("get %s: %w", name, err), f.Close())
	}
	return f, nil
}

func (b *local) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	return b.GetRange(ctx, name, 0, -1)
}

func (b *local) GetRange(ctx context.Context, name string, off, length int64) (io.ReadCloser, error) {
	if off < 0 || length == 0 || length < -1 {
		return nil, fmt.Errorf("get %s: invalid range of %d bytes from %d", name, length, off)
	}
	f, err := b.openFile(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("get %s: %w", name, err), f.Close())
	}
	size := max(info.Size()-off, 0)
	if length != -1 {
		size = min(size, length)
	}
	body := contextReader{ctx, io.NewSectionReader(f, off, size)}
	return objstore.ObjectSizerReadCloser{
		ReadCloser: readCloser{body, f},
		Size:       func() (int64, error) { return size, nil },
	}, nil
}

func (b *local) Exists(_ context.Context, name string) (bool, error) {
	if err := checkName(name); err != nil {
		return false, err
	}
	_, err := b.stat(name)
	if b.IsObjNotFoundErr(err) {
		return false, nil
	}
	return err == nil, err
}

func (b *local) Attributes(_ context.Context, name string) (objstore.ObjectAttributes, error) {
	if err := checkName(name); err != nil {
		return objstore.ObjectAttributes{}, err
	}
	info, err := b.stat(name)
	if err != nil {
		return objstore.ObjectAttributes{}, fmt.Errorf("attributes of %s: %w", name, err)
	}
	return objstore.ObjectAttributes{Size: info.Size(), LastModified: info.ModTime()}, nil
}

func (b *local) Iter(ctx context.Context, dir string, f func(string) error, opts ...objstore.IterOption) error {
	return b.IterWithAttributes(ctx, dir, func(a objstore.IterObjectAttributes) error { return f(a.Name) }, opts...)
}

func (b *local) IterWithAttributes(
	ctx context.Context, dir string, f func(objstore.IterObjectAttributes) error, opts ...objstore.IterOption,
) error {
	if err := objstore.ValidateIterOptions(b.SupportedIterOptions(), opts...); err != nil {
		return err
	}
	if err := checkDir(dir); err != nil {
		return err
	}
	return b.iter(ctx, strings.TrimSuffix(dir, "/"), objstore.ApplyIterOptions(opts...), f)
}

// iter lists one directory, and those below it if asked to, in the order of the full names. Directories that
// vanish meanwhile are empty ones.
func (b *local) iter(ctx context.Context, dir string, p objstore.IterParams, f func(objstore.IterObjectAttributes) error) error {
	entries, err := fs.ReadDir(b.root.FS(), path.Join(".", dir))
	if err != nil && !b.IsObjNotFoundErr(err) {
		return fmt.Errorf("list %s: %w", dir, err)
	}
	slices.SortFunc(entries, func(x, y fs.DirEntry) int { return strings.Compare(listed(x), listed(y)) })
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		name := path.Join(dir, e.Name())
		if name == temporaryDir {
			continue
		}
		if e.IsDir() && p.Recursive {
			err = b.iter(ctx, name, p, f)
		} else {
			err = b.listEntry(name, e, p, f)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// listed is an entry as a listing shows it.
func listed(e fs.DirEntry) string {
	if e.IsDir() {
		return e.Name() + "/"
	}
	return e.Name()
}

func (b *local) listEntry(name string, e fs.DirEntry, p objstore.IterParams, f func(objstore.IterObjectAttributes) error) error {
	attrs := objstore.IterObjectAttributes{Name: name}
	if e.IsDir() {
		attrs.Name += "/"
	} else if p.LastModified {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("list %s: %w", name, err)
		}
		attrs.SetLastModified(info.ModTime())
	}
	return f(attrs)
}

func (b *local) SupportedIterOptions() []objstore.IterOptionType {
	return []objstore.IterOptionType{objstore.Recursive, objstore.UpdatedAt}
}

// IsObjNotFoundErr also knows a name that leads through a file as if it were a directory.
func (b *local) IsObjNotFoundErr(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

func (b *local) IsAccessDeniedErr(err error) bool { return errors.Is(err, fs.ErrPermission) }

func (b *local) Provider() objstore.ObjProvider { return objstore.FILESYSTEM }

func (b *local) Name() string { return b.dir }

func (b *local) Close() error { return b.root.Close() }

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

type readCloser struct {
	io.Reader
	io.Closer
}

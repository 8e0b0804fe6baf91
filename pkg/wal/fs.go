package wal

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// FS is what the log needs of a file system. The operating system's is the default; tests inject faults with others.
// Paths are those of package path/filepath below Options.Dir.
type FS interface {
	// MkdirAll makes a directory and its parents; one that exists is no error.
	MkdirAll(dir string) error
	// List returns the names in a directory, in any order.
	List(dir string) ([]string, error)
	// Create makes a file that must not exist yet, for reading and appending.
	Create(path string) (File, error)
	// Open opens a file for reading and syncing.
	Open(path string) (File, error)
	Rename(from, to string) error
	// RemoveAll removes a file or directory with all it holds; a missing one is no error.
	RemoveAll(path string) error
	// SyncDir makes a directory's entries durable.
	SyncDir(dir string) error
	// Free returns the bytes that an unprivileged process may still write below dir.
	Free(dir string) (int64, error)
	// Lock takes the lock file at path for this process, or fails at once with ErrLocked.
	Lock(path string) (io.Closer, error)
}

// File is an open file of an FS.
type File interface {
	io.Writer
	io.ReaderAt
	io.Closer
	// Sync makes the content durable, and the length as far as reading needs it.
	Sync() error
	Size() (int64, error)
	// Allocate reserves blocks for n bytes from off on, and does not change the file's size.
	Allocate(off, n int64) error
}

// OS is the operating system's file system, the default. Tests of faults embed it.
type OS struct{}

// MkdirAll implements [FS].
func (OS) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o750) }

// Rename implements [FS].
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// RemoveAll implements [FS].
func (OS) RemoveAll(path string) error { return os.RemoveAll(path) }

// List implements [FS].
func (OS) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

// Create implements [FS].
func (OS) Create(path string) (File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Open implements [FS].
func (OS) Open(path string) (File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// SyncDir implements [FS].
func (OS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Free implements [FS].
func (OS) Free(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("statfs %s: %w", dir, err)
	}
	return int64(s.Bavail) * int64(s.Bsize), nil
}

// Lock implements [FS].
func (OS) Lock(path string) (io.Closer, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrLocked
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

type osFile struct{ *os.File }

func (f osFile) Sync() error { return dataSync(f.File) }

func (f osFile) Allocate(off, n int64) error { return allocate(f.File, off, n) }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

package compactor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

const jobPrefix = "job-"

// errNoSpace: the scratch disk has no room for a job.
var errNoSpace = errors.New("not enough space for scratch")

// scratch gives jobs directories to work in, and room.
type scratch struct {
	dir  string
	free func(dir string) (int64, error)

	mu       sync.Mutex
	reserved int64 // by the jobs under way
}

func newScratch(dir string) *scratch { return &scratch{dir: dir, free: freeBytes} }

// clean makes the directory and removes what jobs left in it when the process died.
func (s *scratch) clean() error {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return fmt.Errorf("make scratch directory: %w", err)
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("clean scratch directory: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), jobPrefix) {
			errs = append(errs, os.RemoveAll(filepath.Join(s.dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// begin gives a directory for a job that may take so many bytes; done gives back both. The error wraps errNoSpace if
// the disk has less than that and a reserve, counting what the other jobs may still take.
func (s *scratch) begin(bytes int64) (dir string, done func() error, err error) {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return "", nil, fmt.Errorf("make scratch directory: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	free, err := s.free(s.dir)
	if err != nil {
		return "", nil, fmt.Errorf("look at free space: %w", err)
	}
	if need := s.reserved + bytes + spaceReserve; free < need {
		return "", nil, fmt.Errorf("%w: %d bytes free in %s, %d needed", errNoSpace, free, s.dir, need)
	}
	if dir, err = os.MkdirTemp(s.dir, jobPrefix); err != nil {
		return "", nil, err
	}
	s.reserved += bytes
	return dir, func() error {
		err := os.RemoveAll(dir)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.reserved -= bytes
		return err
	}, nil
}

// freeBytes is what an ordinary user may still write to the file system of dir.
func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}

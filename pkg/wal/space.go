package wal

import (
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

func noSpace(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}

// checkSpace makes Append refuse records while the file system has less than the low-water mark left, and takes them
// again when it has more. Once the reserve was given up, there must be room for it as well.
func (l *Log) checkSpace() {
	if l.o.LowWater < 0 && l.o.ReserveBytes < 0 {
		return
	}
	free, err := l.o.FS.Free(l.o.Dir)
	if err != nil {
		l.o.Events.Warning(fmt.Errorf("look at free space: %w", err))
		return
	}
	need := max(l.o.LowWater, 0)
	if !l.w.reserve {
		need += max(l.o.ReserveBytes, 0)
	}
	full := free < need
	if !full && !l.w.reserve {
		full = !l.makeReserve()
	}
	l.setFull(full, free, need)
}

func (l *Log) setFull(full bool, free, need int64) {
	if full == l.w.full {
		return
	}
	l.w.full = full
	var err error
	if full {
		err = fmt.Errorf("%w: %d bytes free in %s, %d needed", ErrDiskFull, free, l.o.Dir, need)
	}
	l.mu.Lock()
	l.full = err
	l.mu.Unlock()
	l.o.Events.Space(full, free)
}

// openReserve begins with a reserve of the configured size, whatever the last process left.
func (l *Log) openReserve() {
	l.releaseReserve()
	l.w.reserve = false
	l.checkSpace()
}

// makeReserve reserves space, and tells whether it could.
func (l *Log) makeReserve() bool {
	if l.o.ReserveBytes <= 0 {
		l.w.reserve = true
		return true
	}
	if err := l.writeReserve(); err != nil {
		l.o.Events.Warning(fmt.Errorf("make reserve of %d bytes: %w", l.o.ReserveBytes, err))
		l.removeReserve()
		return false
	}
	l.w.reserve = true
	return true
}

func (l *Log) writeReserve() error {
	f, err := l.o.FS.Create(filepath.Join(l.o.Dir, reserveName))
	if err != nil {
		return err
	}
	defer f.Close()
	err = f.Allocate(0, l.o.ReserveBytes)
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, unix.EOPNOTSUPP) {
		err = fill(f, l.o.ReserveBytes)
	}
	if err != nil {
		return err
	}
	return f.Sync()
}

// fill writes n zeros, where blocks can't be reserved otherwise.
func fill(f File, n int64) error {
	zeros := make([]byte, 1<<20)
	for ; n > 0; n -= int64(len(zeros)) {
		if _, err := f.Write(zeros[:min(n, int64(len(zeros)))]); err != nil {
			return err
		}
	}
	return nil
}

// releaseReserve gives the reserve up, so that cutting and uploading blocks, which frees space, can go on.
func (l *Log) releaseReserve() {
	if l.o.ReserveBytes > 0 {
		l.w.reserve = false
	}
	l.removeReserve()
}

func (l *Log) removeReserve() {
	if err := l.o.FS.RemoveAll(filepath.Join(l.o.Dir, reserveName)); err != nil {
		l.o.Events.Warning(fmt.Errorf("remove reserve: %w", err))
	}
}

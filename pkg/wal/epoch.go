package wal

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
)

// NextEpoch ends the epoch: records appended before belong to old, all later ones to the next. Nothing waits for the
// disk; the new epoch's directory is made by Run, and until then old can't be dropped.
func (l *Log) NextEpoch() (old uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.Is(l.refuse, ErrClosed) {
		return 0, ErrClosed
	}
	old = l.term.Epoch
	l.term.Epoch++
	if n := len(l.queue); n > 0 {
		l.queue[n-1].sealed = true
	}
	l.collectingLocked()
	return old, nil
}

// DropEpoch deletes an epoch before the current one with all its segments: after a crash either all of it is there or
// none. A missing epoch is no error; one that Run may still write into is ErrEpochInUse.
func (l *Log) DropEpoch(epoch uint64) error {
	l.dropMu.Lock()
	defer l.dropMu.Unlock()
	l.mu.Lock()
	_, exists := l.disk[epoch]
	inUse := epoch >= l.onDisk
	l.mu.Unlock()
	if inUse {
		return fmt.Errorf("drop epoch %d: %w", epoch, ErrEpochInUse)
	}
	if !exists {
		return nil
	}
	path := filepath.Join(l.o.Dir, epochName(epoch))
	if err := l.o.FS.Rename(path, path+deletingSuffix); err != nil {
		return fmt.Errorf("drop epoch %d: %w", epoch, err)
	}
	l.mu.Lock()
	delete(l.disk, epoch)
	l.mu.Unlock()
	if err := l.o.FS.SyncDir(l.o.Dir); err != nil {
		return fmt.Errorf("drop epoch %d: %w", epoch, err)
	}
	if err := l.o.FS.RemoveAll(path + deletingSuffix); err != nil {
		return fmt.Errorf("drop epoch %d: %w", epoch, err)
	}
	return nil
}

// EpochDir is the directory of an epoch. What others put there goes with the epoch; names that end in .wal are the log's.
func (l *Log) EpochDir(epoch uint64) string { return filepath.Join(l.o.Dir, epochName(epoch)) }

// Epochs returns the epochs that have a directory, ascending.
func (l *Log) Epochs() []uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.disk))
}

// Size returns the bytes of all segments of all epochs.
func (l *Log) Size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	var sum int64
	for _, n := range l.disk {
		sum += n
	}
	return sum
}

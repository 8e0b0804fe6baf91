package wal

import (
	"bytes"
	"encoding/binary"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// memFS is a file system in memory that can lose power: it knows what was synced, and crash returns what a disk could
// hold if everything else may or may not have reached it.
type memFS struct {
	mu     sync.Mutex
	root   *memNode
	locked map[string]bool
	space  int64 // bytes that files may hold; 0 is no bound
	ops    int
	// fault is asked before each operation that changes something; op is write, sync, syncdir, create, mkdir, rename,
	// remove. It is called with the lock held.
	fault func(op, path string) error
}

type memNode struct {
	children map[string]*memNode // of a directory
	durable  map[string]*memNode // of a directory, as of its last sync

	data      []byte // of a file
	synced    []byte
	pending   []memWrite
	allocated int64
}

type memWrite struct {
	off  int
	data []byte
}

func newMemFS() *memFS { return &memFS{root: newMemDir(), locked: map[string]bool{}} }

func newMemDir() *memNode {
	return &memNode{children: map[string]*memNode{}, durable: map[string]*memNode{}}
}

// crash returns the file system as it may be after a power loss now. The caller holds the lock or the only reference.
func (m *memFS) crash(rng *rand.Rand) *memFS {
	return &memFS{root: m.root.crash(rng), locked: map[string]bool{}, space: m.space}
}

// kill returns the file system as it is after the process was killed: nothing is lost.
func (m *memFS) kill() *memFS {
	return &memFS{root: m.root.copy(), locked: map[string]bool{}, space: m.space}
}

func (n *memNode) copy() *memNode {
	if n.children == nil {
		return &memNode{
			data: bytes.Clone(n.data), synced: bytes.Clone(n.synced), pending: slices.Clone(n.pending), allocated: n.allocated,
		}
	}
	c, done := newMemDir(), map[*memNode]*memNode{}
	for _, pair := range [][2]map[string]*memNode{{n.children, c.children}, {n.durable, c.durable}} {
		for name, child := range pair[0] {
			if done[child] == nil {
				done[child] = child.copy()
			}
			pair[1][name] = done[child]
		}
	}
	return c
}

func (n *memNode) crash(rng *rand.Rand) *memNode {
	if n.children == nil {
		return n.crashFile(rng)
	}
	kept := maps.Clone(n.durable)
	names := slices.Sorted(maps.Keys(n.children))
	for _, name := range slices.Sorted(maps.Keys(n.durable)) {
		if n.children[name] == nil && rng.IntN(2) == 0 {
			delete(kept, name)
		}
	}
	for _, name := range names {
		if kept[name] == nil && rng.IntN(2) == 0 {
			kept[name] = n.children[name]
		}
	}
	c := newMemDir()
	for _, name := range slices.Sorted(maps.Keys(kept)) {
		c.children[name] = kept[name].crash(rng)
		c.durable[name] = c.children[name]
	}
	return c
}

// crashFile keeps any subset of the sectors of the writes that were not synced.
func (n *memNode) crashFile(rng *rand.Rand) *memNode {
	const sector = 64
	data := bytes.Clone(n.synced)
	odds := rng.IntN(4)
	for _, w := range n.pending {
		for i := 0; i < len(w.data); i += sector {
			if rng.IntN(3) < odds {
				data = writeAt(data, w.off+i, w.data[i:min(i+sector, len(w.data))])
			}
		}
	}
	return &memNode{data: data, synced: bytes.Clone(data)}
}

func writeAt(b []byte, off int, data []byte) []byte {
	if need := off + len(data) - len(b); need > 0 {
		b = append(b, make([]byte, need)...)
	}
	copy(b[off:], data)
	return b
}

func (m *memFS) op(op, path string) error {
	m.ops++
	if m.fault == nil {
		return nil
	}
	return m.fault(op, path)
}

func split(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == filepath.Separator })
}

// parent returns the directory that holds path, and path's last name.
func (m *memFS) parent(path string) (*memNode, string) {
	parts := split(path)
	n := m.root
	for _, p := range parts[:len(parts)-1] {
		if n = n.children[p]; n == nil {
			return nil, ""
		}
	}
	return n, parts[len(parts)-1]
}

func (m *memFS) node(path string) *memNode {
	if len(split(path)) == 0 {
		return m.root
	}
	dir, name := m.parent(path)
	if dir == nil {
		return nil
	}
	return dir.children[name]
}

func (m *memFS) exists(path string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.node(path) != nil
}

func (m *memFS) MkdirAll(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.root
	for _, p := range split(path) {
		if n.children[p] == nil {
			if err := m.op("mkdir", path); err != nil {
				return err
			}
			n.children[p] = newMemDir()
		}
		n = n.children[p]
	}
	return nil
}

func (m *memFS) List(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.node(dir)
	if n == nil {
		return nil, fs.ErrNotExist
	}
	return slices.Collect(maps.Keys(n.children)), nil
}

func (m *memFS) Create(path string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.op("create", path); err != nil {
		return nil, err
	}
	dir, name := m.parent(path)
	if dir == nil {
		return nil, fs.ErrNotExist
	}
	if dir.children[name] != nil {
		return nil, fs.ErrExist
	}
	n := &memNode{}
	dir.children[name] = n
	return &memFile{m, n, path}, nil
}

func (m *memFS) Open(path string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.node(path)
	if n == nil {
		return nil, fs.ErrNotExist
	}
	return &memFile{m, n, path}, nil
}

func (m *memFS) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.op("rename", from); err != nil {
		return err
	}
	a, an := m.parent(from)
	b, bn := m.parent(to)
	if a == nil || b == nil || a.children[an] == nil {
		return fs.ErrNotExist
	}
	b.children[bn] = a.children[an]
	delete(a.children, an)
	return nil
}

func (m *memFS) RemoveAll(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, name := m.parent(path)
	if dir == nil || dir.children[name] == nil {
		return nil
	}
	if err := m.op("remove", path); err != nil {
		return err
	}
	delete(dir.children, name)
	return nil
}

func (m *memFS) SyncDir(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.op("syncdir", path); err != nil {
		return err
	}
	n := m.node(path)
	if n == nil {
		return fs.ErrNotExist
	}
	n.durable = maps.Clone(n.children)
	return nil
}

func (n *memNode) used() int64 {
	sum := max(int64(len(n.data)), n.allocated)
	for _, c := range n.children {
		sum += c.used()
	}
	return sum
}

func (m *memFS) Free(string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.freeLocked(), nil
}

func (m *memFS) freeLocked() int64 {
	if m.space == 0 {
		return 1 << 60
	}
	return max(0, m.space-m.root.used())
}

func (m *memFS) Lock(path string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locked[path] {
		return nil, ErrLocked
	}
	m.locked[path] = true
	return memLock{m, path}, nil
}

type memLock struct {
	m    *memFS
	path string
}

func (l memLock) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	delete(l.m.locked, l.path)
	return nil
}

type memFile struct {
	m    *memFS
	n    *memNode
	path string
}

func (f *memFile) Close() error { return nil }

func (f *memFile) Write(b []byte) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.op("write", f.path); err != nil {
		f.append(b[:len(b)/2])
		return len(b) / 2, err
	}
	if inside := max(0, f.n.allocated-int64(len(f.n.data))); f.m.freeLocked()+inside < int64(len(b)) {
		n := f.m.freeLocked() + inside
		f.append(b[:n])
		return int(n), unix.ENOSPC
	}
	f.append(b)
	return len(b), nil
}

func (f *memFile) append(b []byte) {
	w := memWrite{len(f.n.data), bytes.Clone(b)}
	f.n.data = append(f.n.data, b...)
	f.n.pending = append(f.n.pending, w)
}

// Sync forgets the pending writes when it fails, as Linux does: a later sync succeeds without them.
func (f *memFile) Sync() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	err := f.m.op("sync", f.path)
	if err == nil {
		for _, w := range f.n.pending {
			f.n.synced = writeAt(f.n.synced, w.off, w.data)
		}
	}
	f.n.pending = nil
	return err
}

func (f *memFile) ReadAt(b []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if off > int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.n.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return int64(len(f.n.data)), nil
}

func (f *memFile) Allocate(off, n int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.m.freeLocked() < off+n-max(f.n.allocated, int64(len(f.n.data))) {
		return unix.ENOSPC
	}
	f.n.allocated = max(f.n.allocated, off+n)
	return nil
}

func le32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
func le64(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

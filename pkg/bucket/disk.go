package bucket

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// The disk cache is one file, pages.cache, of slots that hold a page each:
//
//	header  64 bytes  magic "varvepg1", number of slots (uint64), zeros
//	table   64 bytes for each slot: SHA-256 of the object's name (32 bytes), page number (uint64),
//	        length (uint32, 0 for an empty slot), CRC-32C of those 44 bytes and the data (uint32), zeros
//	data    64 KiB for each slot
//
// Numbers are little-endian. Nothing is synced: the checksum finds what a crash tore.
const (
	diskMagic     = "varvepg1"
	diskEntrySize = 64
	diskKeyed     = sha256.Size + 8 + 4 // bytes of an entry that its checksum covers
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type diskKey struct {
	name [sha256.Size]byte
	page int64
}

// diskCache keeps pages in slots; when all are taken, the next one that was not used lately is reused.
type diskCache struct {
	file   *os.File
	slots  int
	logger *slog.Logger

	mu      sync.Mutex
	index   map[diskKey]int
	keys    []diskKey
	full    []bool
	used    []bool // since the hand last passed
	hand    int
	writing []bool
	failing bool // the last write failed: said once
}

// openDiskCache takes up the cache that dir holds if it has the same size, else starts an empty one.
func openDiskCache(dir string, maxBytes int64, logger *slog.Logger) (*diskCache, error) {
	slots := int((maxBytes - diskEntrySize) / (PageSize + diskEntrySize))
	if slots < 1 {
		return nil, fmt.Errorf("%d bytes do not hold one page of %d", maxBytes, PageSize)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(dir, "pages.cache"), os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, err
	}
	c := &diskCache{
		file: file, slots: slots, logger: logger,
		index: map[diskKey]int{}, keys: make([]diskKey, slots),
		full: make([]bool, slots), used: make([]bool, slots), writing: make([]bool, slots),
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("another process uses %s: %w", file.Name(), err), file.Close())
	}
	if !c.takeUp() {
		if err := c.begin(); err != nil {
			return nil, errors.Join(err, file.Close())
		}
	}
	return c, nil
}

func (c *diskCache) header() []byte {
	h := make([]byte, diskEntrySize)
	copy(h, diskMagic)
	binary.LittleEndian.PutUint64(h[len(diskMagic):], uint64(c.slots))
	return h
}

// begin makes the file an empty cache.
func (c *diskCache) begin() error {
	if err := c.file.Truncate(0); err != nil {
		return err
	}
	if err := c.file.Truncate(int64(diskEntrySize) * int64(c.slots+1)); err != nil {
		return err
	}
	_, err := c.file.WriteAt(c.header(), 0)
	return err
}

// takeUp reads the table of an existing cache; false if the file is none of this size.
func (c *diskCache) takeUp() bool {
	table := make([]byte, diskEntrySize*(c.slots+1))
	if _, err := c.file.ReadAt(table, 0); err != nil || string(table[:diskEntrySize]) != string(c.header()) {
		return false
	}
	for slot := range c.slots {
		e := table[diskEntrySize*(slot+1):]
		if binary.LittleEndian.Uint32(e[sha256.Size+8:]) == 0 {
			continue
		}
		var key diskKey
		copy(key.name[:], e)
		key.page = int64(binary.LittleEndian.Uint64(e[sha256.Size:]))
		if _, twice := c.index[key]; !twice {
			c.index[key], c.keys[slot], c.full[slot] = slot, key, true
		}
	}
	return true
}

func (c *diskCache) entryOff(slot int) int64 { return diskEntrySize * int64(slot+1) }

func (c *diskCache) dataOff(slot int) int64 {
	return diskEntrySize*int64(c.slots+1) + PageSize*int64(slot)
}

// get is nil for a page that is not there, or is damaged: the checksum covers key and data.
func (c *diskCache) get(k pageKey) []byte {
	key := diskKey{sha256.Sum256([]byte(k.name)), k.page}
	c.mu.Lock()
	slot, ok := c.index[key]
	ok = ok && !c.writing[slot]
	if ok {
		c.used[slot] = true
	}
	c.mu.Unlock()
	if !ok {
		return nil
	}
	data := c.read(slot, key)
	if data == nil {
		c.forget(key, slot)
	}
	return data
}

func (c *diskCache) read(slot int, key diskKey) []byte {
	var e [diskEntrySize]byte
	if _, err := c.file.ReadAt(e[:], c.entryOff(slot)); err != nil {
		return nil
	}
	length := binary.LittleEndian.Uint32(e[sha256.Size+8:])
	if length == 0 || length > PageSize {
		return nil
	}
	data := make([]byte, length)
	if _, err := c.file.ReadAt(data, c.dataOff(slot)); err != nil && !errors.Is(err, io.EOF) {
		return nil
	}
	if diskEntry(key, data) != e {
		return nil
	}
	return data
}

func diskEntry(key diskKey, data []byte) (e [diskEntrySize]byte) {
	copy(e[:], key.name[:])
	binary.LittleEndian.PutUint64(e[sha256.Size:], uint64(key.page))
	binary.LittleEndian.PutUint32(e[sha256.Size+8:], uint32(len(data)))
	sum := crc32.Update(crc32.Checksum(e[:diskKeyed], castagnoli), castagnoli, data)
	binary.LittleEndian.PutUint32(e[diskKeyed:], sum)
	return e
}

// put writes a page; a disk that is full or failing costs the cache, not the caller.
func (c *diskCache) put(k pageKey, data []byte) {
	key := diskKey{sha256.Sum256([]byte(k.name)), k.page}
	slot, ok := c.claim(key)
	if !ok {
		return
	}
	e := diskEntry(key, data)
	_, err := c.file.WriteAt(data, c.dataOff(slot))
	if err == nil {
		_, err = c.file.WriteAt(e[:], c.entryOff(slot))
	}
	c.mu.Lock()
	c.writing[slot] = false
	said := c.failing
	c.failing = err != nil
	c.mu.Unlock()
	if err != nil {
		c.forget(key, slot)
		if !said {
			c.logger.Warn("page cache cannot write, pages are not kept on disk", "file", c.file.Name(), "err", err)
		}
	}
}

// claim takes a slot for a page; false if the page has one, or every slot is being written.
func (c *diskCache) claim(key diskKey) (int, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.index[key]; ok {
		return 0, false
	}
	for range 2 * c.slots {
		slot := c.hand
		c.hand = (c.hand + 1) % c.slots
		if c.writing[slot] || c.used[slot] {
			c.used[slot] = false
			continue
		}
		if c.full[slot] {
			delete(c.index, c.keys[slot])
		}
		c.index[key], c.keys[slot], c.full[slot], c.writing[slot] = slot, key, true, true
		return slot, true
	}
	return 0, false
}

func (c *diskCache) drop(k pageKey) {
	key := diskKey{sha256.Sum256([]byte(k.name)), k.page}
	c.mu.Lock()
	slot, ok := c.index[key]
	c.mu.Unlock()
	if ok {
		c.forget(key, slot)
	}
}

// forget frees the slot, also on disk, if it is still that page's.
func (c *diskCache) forget(key diskKey, slot int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.index[key] == slot && c.full[slot] && c.keys[slot] == key && !c.writing[slot] {
		delete(c.index, key)
		c.full[slot] = false
		_, _ = c.file.WriteAt(make([]byte, diskEntrySize), c.entryOff(slot)) // at worst it is found damaged again
	}
}

func (c *diskCache) close() error { return c.file.Close() }

package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	segmentMagic   = "VARVEWAL"
	segmentVersion = 1
	headerCopy     = 4096           // two copies of the header, so that no lost sector takes both
	headerBytes    = 2 * headerCopy // frames begin here
	headerFields   = 88             // bytes under the header's checksum

	segmentSuffix  = ".wal"
	deletingSuffix = ".deleting"
)

var errBadSegment = errors.New("bad segment header")

// segmentID names a segment. Numbers rise over all epochs and are never used again; 0 is none.
type segmentID struct {
	epoch, number uint64
}

func (id segmentID) String() string { return epochName(id.epoch) + "/" + segmentName(id.number) }

func (id segmentID) path(dir string) string {
	return filepath.Join(dir, epochName(id.epoch), segmentName(id.number))
}

func epochName(epoch uint64) string    { return fmt.Sprintf("%08d", epoch) }
func segmentName(number uint64) string { return fmt.Sprintf("%08d%s", number, segmentSuffix) }

// segmentHeader opens a segment. The fields about the predecessor make the log one chain: a reader takes no byte of the
// predecessor at or after prevLength, and expects its epoch's records up to prevEnd.
type segmentHeader struct {
	id         segmentID
	marker     marker
	first      uint64    // number in its epoch of the segment's first record
	prev       segmentID // the segment that was written before, or number 0
	prevLength int64     // its length up to the last group that was synced
	prevEnd    uint64    // number after the last record in there
	created    int64     // Unix milliseconds
}

func (h segmentHeader) encode() []byte {
	b := make([]byte, headerBytes)
	copy(b, segmentMagic)
	binary.LittleEndian.PutUint32(b[8:], segmentVersion)
	copy(b[16:], h.marker[:])
	for i, v := range []uint64{
		h.id.epoch, h.id.number, h.first, h.prev.epoch, h.prev.number, uint64(h.prevLength), h.prevEnd, uint64(h.created),
	} {
		binary.LittleEndian.PutUint64(b[24+8*i:], v)
	}
	binary.LittleEndian.PutUint32(b[headerFields:], crc32.Checksum(b[:headerFields], castagnoli))
	copy(b[headerCopy:], b[:headerCopy])
	return b
}

// parseSegmentHeader reads one of the copies; b holds at least headerCopy bytes.
func parseSegmentHeader(b []byte) (segmentHeader, error) {
	if string(b[:8]) != segmentMagic || crc32.Checksum(b[:headerFields], castagnoli) != binary.LittleEndian.Uint32(b[headerFields:]) {
		return segmentHeader{}, errBadSegment
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != segmentVersion {
		return segmentHeader{}, fmt.Errorf("segment version %d is not known, only %d", v, segmentVersion)
	}
	u := func(i int) uint64 { return binary.LittleEndian.Uint64(b[24+8*i:]) }
	h := segmentHeader{
		id: segmentID{u(0), u(1)}, marker: marker(b[16:24]), first: u(2),
		prev: segmentID{u(3), u(4)}, prevLength: int64(u(5)), prevEnd: u(6), created: int64(u(7)),
	}
	if h.prevLength < 0 {
		return segmentHeader{}, errBadSegment
	}
	return h, nil
}

// segmentFile is a segment as it was found on disk.
type segmentFile struct {
	id     segmentID
	path   string
	size   int64
	header segmentHeader
	err    error // why the header can't be used
}

// unborn tells that the segment was being created when the process ended: its header was never synced, so no record in
// it was ever acked.
func (s segmentFile) unborn() bool { return s.err != nil && s.size <= headerBytes }

// listEpochs returns the epochs on disk, ascending, and the leftovers of deletions.
func listEpochs(fs FS, dir string) (epochs []uint64, leftovers []string, err error) {
	names, err := fs.List(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		if strings.HasSuffix(name, deletingSuffix) {
			leftovers = append(leftovers, filepath.Join(dir, name))
		} else if n, err := strconv.ParseUint(name, 10, 64); err == nil && name == epochName(n) {
			epochs = append(epochs, n)
		}
	}
	slices.Sort(epochs)
	return epochs, leftovers, nil
}

// listSegments returns the segments of an epoch, ascending, with their headers.
func listSegments(fs FS, dir string, epoch uint64) ([]segmentFile, error) {
	names, err := fs.List(filepath.Join(dir, epochName(epoch)))
	if err != nil {
		return nil, err
	}
	var found []segmentFile
	for _, name := range names {
		n, err := strconv.ParseUint(strings.TrimSuffix(name, segmentSuffix), 10, 64)
		if err != nil || name != segmentName(n) {
			continue
		}
		id := segmentID{epoch, n}
		found = append(found, inspectSegment(fs, id, id.path(dir)))
	}
	slices.SortFunc(found, func(a, b segmentFile) int {
		if a.id.number < b.id.number {
			return -1
		}
		return 1
	})
	return found, nil
}

func inspectSegment(fs FS, id segmentID, path string) segmentFile {
	s := segmentFile{id: id, path: path}
	f, err := fs.Open(path)
	if err != nil {
		s.err, s.size = err, headerBytes+1
		return s
	}
	defer f.Close()
	if s.size, err = f.Size(); err != nil {
		s.err, s.size = err, headerBytes+1
		return s
	}
	s.err = errBadSegment
	for off := int64(0); off < headerBytes && s.err != nil; off += headerCopy {
		b := make([]byte, headerFields+4)
		if _, err := f.ReadAt(b, off); err != nil {
			continue
		}
		s.header, s.err = parseSegmentHeader(b)
		if s.err == nil && s.header.id != id {
			s.err = errBadSegment
		}
	}
	return s
}

// segment is the segment that is being written.
type segment struct {
	header    segmentHeader
	file      File
	written   int64 // bytes written
	allocated int64 // bytes for which blocks were reserved
	marked    bool  // no group was synced since the last mark, or there was none yet
}

const allocateStep = 16 << 20

// write appends b, and reserves blocks ahead of it, which makes a sync about a fifth faster on ext4.
func (s *segment) write(b []byte) error {
	if end := s.written + int64(len(b)); end > s.allocated {
		n := max(int64(allocateStep), end-s.allocated)
		_ = s.file.Allocate(s.allocated, n) // only an optimisation: the write below tells of a full disk
		s.allocated += n
	}
	n, err := s.file.Write(b)
	s.written += int64(n)
	if err == nil && n < len(b) {
		err = fmt.Errorf("wrote %d of %d bytes", n, len(b))
	}
	return err
}

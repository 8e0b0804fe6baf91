package block

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/oklog/ulid/v2"
)

// ErrCorrupt is wrapped by every error that says that a block's bytes are not what was written.
var ErrCorrupt = errors.New("corrupt block")

// CorruptError says where a block is damaged. It wraps ErrCorrupt.
type CorruptError struct {
	Block  ulid.ULID
	File   string // relative to the block
	Offset int64
	Reason string
}

// Error names block, file, offset and reason.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("%v %s: file %s at %d: %s", ErrCorrupt, e.Block, e.File, e.Offset, e.Reason)
}

// Unwrap is ErrCorrupt.
func (e *CorruptError) Unwrap() error { return ErrCorrupt }

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli()) }

// castagnoli gives the standard library's own table; it is made once there.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// cursor takes values off the front of a slice. Once the slice was too short or a value malformed, bad is set and
// everything after is zero.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) fail() {
	c.b, c.bad = nil, true
}

func (c *cursor) uvarint() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.fail()
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) varint() int64 {
	v, n := binary.Varint(c.b)
	if n <= 0 {
		c.fail()
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) uvarint32() uint32 {
	v := c.uvarint()
	if v > 1<<32-1 {
		c.fail()
		return 0
	}
	return uint32(v)
}

// bytes takes the next n bytes.
func (c *cursor) bytes(n uint64) []byte {
	if n > uint64(len(c.b)) {
		c.fail()
		return nil
	}
	b := c.b[:n:n]
	c.b = c.b[n:]
	return b
}

// str takes a length and that many bytes.
func (c *cursor) str() []byte { return c.bytes(c.uvarint()) }

func (c *cursor) be32() uint32 {
	if b := c.bytes(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (c *cursor) be64() uint64 {
	if b := c.bytes(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

package remote

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"
)

// The wire types of protobuf, https://protobuf.dev/programming-guides/encoding.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

// fields walks over the fields of one protobuf message.
type fields struct {
	p []byte

	// The current field: data for wireBytes, num for the other types.
	id   uint64
	wire uint8
	data []byte
	num  uint64

	bad bool
}

// next moves to the next field; false at the end or where the message is malformed.
func (f *fields) next() bool {
	if p := f.p; len(p) > 2 && p[0]&0x87 == wireBytes && p[0] > 7 { // bytes, fewer than 2^14 of them: nearly all fields
		n, at := int(p[1]), 2
		if n >= 0x80 {
			n, at = n&0x7f|int(p[2])<<7, 3
		}
		if n < 1<<14 && n <= len(p)-at {
			f.id, f.wire = uint64(p[0]>>3), wireBytes
			f.data, f.p = p[at:at+n], p[at+n:]
			return true
		}
	}
	if len(f.p) == 0 {
		return false
	}
	tag, ok := f.varint()
	if !ok {
		return false
	}
	if f.id, f.wire = tag>>3, uint8(tag&7); f.id == 0 {
		return f.fail()
	}
	switch f.wire {
	case wireVarint:
		f.num, ok = f.varint()
		return ok
	case wireFixed64:
		return f.fixed(8)
	case wireFixed32:
		return f.fixed(4)
	case wireBytes:
		n, ok := f.varint()
		if !ok || n > uint64(len(f.p)) {
			return f.fail()
		}
		f.data, f.p = f.p[:n], f.p[n:]
		return true
	}
	return f.fail()
}

func (f *fields) fixed(n int) bool {
	if len(f.p) < n {
		return f.fail()
	}
	if n == 8 {
		f.num = binary.LittleEndian.Uint64(f.p)
	} else {
		f.num = uint64(binary.LittleEndian.Uint32(f.p))
	}
	f.p = f.p[n:]
	return true
}

func (f *fields) varint() (uint64, bool) {
	if len(f.p) > 0 && f.p[0] < 0x80 {
		v := uint64(f.p[0])
		f.p = f.p[1:]
		return v, true
	}
	v, n := binary.Uvarint(f.p)
	if n <= 0 {
		return 0, f.fail()
	}
	f.p = f.p[n:]
	return v, true
}

func (f *fields) fail() bool {
	f.bad, f.p = true, nil
	return false
}

// err says where a walk ended badly.
func (f *fields) err(message string) error {
	if f.bad {
		return fmt.Errorf("%w: protobuf message %s is cut off, or holds a field that can't be", ErrMalformed, message)
	}
	return nil
}

// is tells whether the current field is the one of that number and wire type.
func (f *fields) is(id uint64, wire uint8) bool { return f.id == id && f.wire == wire }

func (f *fields) float() float64 { return math.Float64frombits(f.num) }

// view is the bytes as a string without a copy: they must not change while it is used.
func view(p []byte) string { return unsafe.String(unsafe.SliceData(p), len(p)) }

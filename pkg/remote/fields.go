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

// fields walks over the fields of one protobuf message. It moves on by a number and not by slicing: while garbage is collected, storing
// a pointer costs more than the rest of a step.
type fields struct {
	p  []byte
	at int // at most len(p)

	// The current field: num, or what data gives for wireBytes.
	id   uint64
	wire uint8
	num  uint64
	in   span

	bad bool
}

// span is a part of some bytes.
type span struct{ from, to int }

// data is what a field of wireBytes holds.
func (f *fields) data() []byte { return f.p[f.in.from:f.in.to] }

// next moves to the next field; false at the end or where the message is malformed.
func (f *fields) next() bool {
	if p := f.p[f.at:]; len(p) > 2 && p[0]&0x87 == wireBytes && p[0] > 7 { // bytes, fewer than 2^14 of them: nearly all fields
		n, at := int(p[1]), 2
		if n >= 0x80 {
			n, at = n&0x7f|int(p[2])<<7, 3
		}
		if n < 1<<14 && n <= len(p)-at {
			f.id, f.wire = uint64(p[0]>>3), wireBytes
			f.take(f.at+at, n)
			return true
		}
	}
	if f.at == len(f.p) {
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
		if !ok || n > uint64(len(f.p)-f.at) {
			return f.fail()
		}
		f.take(f.at, int(n))
		return true
	}
	return f.fail()
}

// take makes n bytes the current field's.
func (f *fields) take(from, n int) {
	f.in = span{from, from + n}
	f.at = from + n
}

func (f *fields) fixed(n int) bool {
	p := f.p[f.at:]
	if len(p) < n {
		return f.fail()
	}
	if n == 8 {
		f.num = binary.LittleEndian.Uint64(p)
	} else {
		f.num = uint64(binary.LittleEndian.Uint32(p))
	}
	f.at += n
	return true
}

func (f *fields) varint() (uint64, bool) {
	p := f.p[f.at:]
	if len(p) > 0 && p[0] < 0x80 {
		f.at++
		return uint64(p[0]), true
	}
	v, n := binary.Uvarint(p)
	if n <= 0 {
		return 0, f.fail()
	}
	f.at += n
	return v, true
}

func (f *fields) fail() bool {
	f.bad, f.at = true, len(f.p)
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

package series

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// Numbers are varints as in encoding/binary. Those of up to four bytes, which nearly all are, are read and written in one piece:
// their lengths come in no order that a processor could guess.

// shortVarint is how many bytes a varint has at most that is read and written in one piece.
const shortVarint = 4

// short is the uvarint that four bytes begin with, and its length; that is more than shortVarint if they don't hold all of it.
func short(x uint32) (v uint64, n int) {
	end := ^x & 0x80808080 // the lowest is the one of the last byte
	n = bits.TrailingZeros32(end)/8 + 1
	x &= (end ^ (end - 1)) & 0x7f7f7f7f
	x = x&0x007f007f | x>>1&0x3f803f80
	return uint64(x&0x3fff | x>>2&^0x3fff), n
}

// tail is the length of a uvarint, and its bits that say that another byte follows.
type tail struct {
	more uint32
	n    int32
}

// tails are those of numbers of so many bits.
var tails = makeTails()

func makeTails() (all [7*shortVarint + 1]tail) {
	for bits := range all {
		n := max(1, (bits+6)/7)
		all[bits] = tail{0x80808080 & (1<<(8*(n-1)) - 1), int32(n)}
	}
	return all
}

// appendSteps appends how much greater each number is than the one before, as varints, and gives the last.
func appendSteps(dst []byte, last int64, xs []int64) ([]byte, int64) {
	dst = slices.Grow(dst, len(xs)*binary.MaxVarintLen64)
	n, p := len(dst), dst[:cap(dst)]
	for _, x := range xs {
		z := zigzag(x - last)
		last = x
		if z < 1<<7 {
			p[n] = byte(z)
			n++
		} else if size := bits.Len64(z); size < len(tails) {
			v, t := uint32(z), tails[size]
			v = v&0x7f | v<<1&0x7f00 | v<<2&0x7f0000 | v<<3&0x7f000000
			binary.LittleEndian.PutUint32(p[n:], v|t.more)
			n += int(t.n)
		} else {
			n += binary.PutUvarint(p[n:], z)
		}
	}
	return dst[:n], last
}

// appendDelta is a varint with a short cut for 0 and ±63, which nearly all are.
func appendDelta(dst []byte, x int64) []byte {
	if z := zigzag(x); z < 1<<7 {
		return append(dst, byte(z))
	}
	return binary.AppendVarint(dst, x)
}

func zigzag(x int64) uint64   { return uint64(x)<<1 ^ uint64(x>>63) }
func unzigzag(z uint64) int64 { return int64(z>>1) ^ -int64(z&1) }

package head

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// xor is an open chunk of floats, encoded as the XOR chunks of Prometheus: tsdb/docs/format/chunks.md in
// github.com/prometheus/prometheus. Of each sample it writes how the time's step differs from the step before, and the
// XOR with the value before, as strings of bits.
//
// Bits gather in a word and go to buf when it is full. So most samples touch nothing but the struct's first 40 bytes.
type xor struct {
	t        int64   // the last sample's time
	v        float64 // and value
	step     uint64  // between the last two times
	word     uint64  // the newest bits, from the top
	n        uint16  // samples
	used     uint8   // bits in word, less than 64
	leading  uint8   // zeros before and after the bits of the last XOR that was written with its own window
	trailing uint8
	buf      []byte // whole words, without the header
}

const (
	xorHeader   = 2    // bytes: the number of samples
	noWindow    = 0xff // leading before there is a window
	maxLeading  = 31   // what 5 bits can say
	firstBuffer = 64   // bytes
	bufferStep  = 32   // bytes
)

// reset makes x an empty chunk, in the same buffer. The time stays.
func (x *xor) reset() { *x = xor{t: x.t, leading: noWindow, buf: x.buf[:0]} }

// append adds a sample. There must be less than 65535.
func (x *xor) append(t int64, v float64) {
	step := uint64(t - x.t)
	switch x.n {
	case 0:
		step = 0
		x.putBytes(binary.AppendVarint(make([]byte, 0, binary.MaxVarintLen64), t))
		x.put(math.Float64bits(v), 64)
	case 1:
		x.putBytes(binary.AppendUvarint(make([]byte, 0, binary.MaxVarintLen64), step))
		x.putValue(0, 0, v)
	default:
		code, n := x.timeCode(int64(step - x.step))
		x.putValue(code, n, v)
	}
	x.t, x.v, x.step = t, v, step
	x.n++
}

// timeCode is the code of a change of the step, and its length. It writes a change that is too large for that itself.
func (x *xor) timeCode(change int64) (code uint64, n uint) {
	switch {
	case change == 0:
		return 0b0, 1
	case fitsIn(change, 14):
		return 0b10<<14 | uint64(change)&(1<<14-1), 2 + 14
	case fitsIn(change, 17):
		return 0b110<<17 | uint64(change)&(1<<17-1), 3 + 17
	case fitsIn(change, 20):
		return 0b1110<<20 | uint64(change)&(1<<20-1), 4 + 20
	}
	x.put(0b1111, 4)
	x.put(uint64(change), 64)
	return 0, 0
}

// fitsIn tells whether n bits hold x. The range is that of two's complement, moved up by one.
func fitsIn(x int64, n uint) bool { return -(1<<(n-1)) < x && x <= 1<<(n-1) }

// putValue writes the n bits of code, and the value's difference from the one before.
func (x *xor) putValue(code uint64, n uint, v float64) {
	diff := math.Float64bits(v) ^ math.Float64bits(x.v)
	if diff == 0 {
		x.put(code<<1, n+1)
		return
	}
	leading := min(uint8(bits.LeadingZeros64(diff)), maxLeading)
	trailing := uint8(bits.TrailingZeros64(diff))
	if leading >= x.leading && trailing >= x.trailing { // the last window holds it
		x.put(code<<2|0b10, n+2)
		x.put(diff>>x.trailing, 64-uint(x.leading)-uint(x.trailing))
		return
	}
	x.leading, x.trailing = leading, trailing
	width := 64 - uint(leading) - uint(trailing) // 64 is written as 0
	x.put(code<<13|0b11<<11|uint64(leading)<<6|uint64(width)&(1<<6-1), n+2+5+6)
	x.put(diff>>trailing, width)
}

// put writes the lowest n bits of b, which has no others; n is at most 64.
func (x *xor) put(b uint64, n uint) {
	free := 64 - uint(x.used)
	if n < free {
		x.word |= b << (free - n)
		x.used += uint8(n)
		return
	}
	rest := n - free
	end := len(x.buf)
	if cap(x.buf)-end < 8 {
		x.grow()
	}
	x.buf = x.buf[:end+8] // stores no pointer, which would cost more while garbage is collected
	binary.BigEndian.PutUint64(x.buf[end:], x.word|b>>rest)
	x.word, x.used = b<<(64-rest), uint8(rest)
}

func (x *xor) putBytes(p []byte) {
	for _, b := range p {
		x.put(uint64(b), 8)
	}
}

// grow makes room for 64 bytes, 32 more or a quarter more: the buffer is used again for the series' next chunks, so what it has
// too much stays.
func (x *xor) grow() {
	size := firstBuffer
	if n := cap(x.buf); n > 0 {
		size = n + max(bufferStep, n/4/bufferStep*bufferStep)
	}
	x.buf = append(make([]byte, 0, size), x.buf...)
}

// size is how many bytes the chunk has.
func (x *xor) size() int { return xorHeader + len(x.buf) + int(x.used+7)/8 }

// appendTo appends the chunk's bytes to dst.
func (x *xor) appendTo(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, x.n)
	dst = append(dst, x.buf...)
	for w, left := x.word, int(x.used); left > 0; left -= 8 {
		dst = append(dst, byte(w>>56))
		w <<= 8
	}
	return dst
}

// minT is the time of the first sample. There must be one: its time is in the first whole words.
func (x *xor) minT() int64 {
	t, _ := binary.Varint(x.buf)
	return t
}

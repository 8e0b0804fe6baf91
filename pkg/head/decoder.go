package head

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// decoder reads a snapshot. After the first mistake everything is zero, and bad. It allocates little more than p has.
type decoder struct {
	p   []byte
	bad bool
}

// rest is what follows.
func (d *decoder) rest(what string) ([]byte, error) {
	if d.bad {
		return nil, fmt.Errorf("%w: %s", ErrCorrupt, what)
	}
	return d.p, nil
}

// take is the next n bytes, a view.
func (d *decoder) take(n uint64) []byte {
	if d.bad || n > uint64(len(d.p)) {
		d.bad = true
		return nil
	}
	p := d.p[:n:n]
	d.p = d.p[n:]
	return p
}

func (d *decoder) byte() byte {
	if p := d.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (d *decoder) flag() bool {
	b := d.byte()
	d.bad = d.bad || b > 1
	return b == 1
}

func (d *decoder) uint64() uint64 {
	if p := d.take(8); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.p)
	if d.bad || n <= 0 {
		d.bad = true
		return 0
	}
	d.p = d.p[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.p)
	if d.bad || n <= 0 {
		d.bad = true
		return 0
	}
	d.p = d.p[n:]
	return v
}

// bytes has its length before it; it is a view.
func (d *decoder) bytes() []byte { return d.take(d.uvarint()) }

// maxText bounds names and values of labels, in bytes; they can't be longer than 16 MiB.
const maxText = 1 << 20

func (d *decoder) text() string {
	p := d.bytes()
	d.bad = d.bad || len(p) > maxText
	return string(p)
}

func (d *decoder) sample() sample {
	t := int64(d.uint64())
	return sample{t, math.Float64frombits(d.uint64())}
}

// chunk is a copy.
func (d *decoder) chunk() *chunk {
	minT, length := d.varint(), d.uvarint()
	data := d.bytes()
	maxT := int64(uint64(minT) + length)
	if d.bad || maxT < minT || len(data) == 0 || !wellFormed(chunkenc.Encoding(data[0]), data[1:]) {
		d.bad = true
		return nil
	}
	return &chunk{minT: minT, maxT: maxT, data: bytes.Clone(data)}
}

// wellFormed tells whether a chunk can be read without a panic, and without allocating many times its size.
func wellFormed(e chunkenc.Encoding, p []byte) bool {
	switch e {
	case chunkenc.EncXOR:
		return len(p) > xorHeader
	case chunkenc.EncHistogram, chunkenc.EncFloatHistogram:
		return len(p) >= histogramHeader && saneLayout(p)
	}
	return false
}

// floats reads the state of an open chunk of floats.
func (d *decoder) floats(x *xor) {
	x.v, x.step, x.word = math.Float64frombits(d.uint64()), d.uint64(), d.uint64()
	if p := d.take(2); p != nil {
		x.n = binary.LittleEndian.Uint16(p)
	}
	x.used, x.leading, x.trailing = d.byte(), d.byte(), d.byte()
	buf := d.bytes()
	window := x.leading == noWindow || x.leading <= maxLeading && x.leading+x.trailing < 64 && x.trailing < 64
	if x.n == 0 || x.n == math.MaxUint16 || x.used >= 64 || !window || x.word<<x.used != 0 || len(buf)%8 != 0 || len(buf) == 0 {
		d.bad = true
		return
	}
	x.buf = append(make([]byte, 0, (len(buf)+bufferStep-1)/bufferStep*bufferStep), buf...)
}

// histograms reads the open chunk of a series whose kind is known. It is full: how many bits of its last byte are used
// can't be told.
func (d *decoder) histograms(s *Series) {
	minT, data := d.varint(), d.bytes()
	var e chunkenc.Encoding
	switch s.kind {
	case chunkenc.ValHistogram:
		e = chunkenc.EncHistogram
	case chunkenc.ValFloatHistogram:
		e = chunkenc.EncFloatHistogram
	}
	if d.bad || !wellFormed(e, data) {
		d.bad = true
		return
	}
	m := s.rest()
	m.open, _ = chunkenc.FromData(e, bytes.Clone(data)) // a known encoding
	m.openMinT = minT
}

// more reads what few series have.
func (d *decoder) more(m *more) {
	n := d.uvarint()
	d.bad = d.bad || n >= maxTiny
	for ; n > 0 && !d.bad; n-- {
		m.tiny = append(m.tiny, d.chunk())
	}
	n = d.uvarint()
	d.bad = d.bad || n >= lateSamples
	for ; n > 0 && !d.bad; n-- {
		m.late = append(m.late, d.sample())
	}
	if d.flag() {
		tie := d.sample()
		m.tie = &tie
	}
}

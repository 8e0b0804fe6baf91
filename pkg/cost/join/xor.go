package join

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"

	"github.com/varve-io/varve/pkg/cost/quantity"
)

// window is which samples are read: those in [from, to), at most so many with a value, 0 for all.
type window struct {
	from, to int64
	most     int64
}

// xorReader decodes chunks of the encoding that Prometheus calls XOR: as runs, since most series of facts have one value for hours, and
// its samples take two bits each. https://github.com/prometheus/prometheus/blob/main/tsdb/docs/format/chunks.md
type xorReader struct {
	window
	runs   []quantity.Run
	values int64 // samples in runs that are numbers
	over   bool  // nothing after this is wanted
	bitReader
}

var (
	errChunk = errors.New("a chunk ends within a sample")
	errOrder = errors.New("samples of a chunk are not in the order of time")
)

// read appends the samples of a chunk. All of them are after those that were read before.
func (x *xorReader) read(chunk []byte) error {
	if len(chunk) < 2 {
		return errChunk
	}
	total := int(binary.BigEndian.Uint16(chunk))
	if total == 0 {
		return nil
	}
	t, n := binary.Varint(chunk[2:])
	if n <= 0 {
		return errChunk
	}
	x.bitReader = bitReader{rest: chunk[2+n:]}
	v := x.take(64)
	x.add(quantity.Run{T: t, N: 1, V: math.Float64frombits(v)})
	if total == 1 || x.over {
		return x.end()
	}
	delta := int64(x.uvarint())
	var leading, trailing uint
	for i := 1; i < total && !x.over && !x.short; i++ {
		if x.fill(); i > 1 {
			switch {
			case x.bits>>62 == 0 && x.n > 1:
				same := x.zeros(2*(total-i)) / 2
				x.add(quantity.Run{T: t + delta, Step: delta, N: int64(same), V: math.Float64frombits(v)})
				t, i = t+int64(same)*delta, i+same-1
				continue
			case x.bits>>63 == 0:
				x.drop(1)
			default:
				delta += x.change()
			}
		}
		if delta <= 0 {
			return errOrder
		}
		t += delta
		v ^= x.difference(&leading, &trailing)
		x.one(t, v)
	}
	return x.end()
}

// end says whether there were as many bits as there should have been.
func (x *xorReader) end() error {
	if x.short && !x.over {
		return errChunk
	}
	return nil
}

// add appends what of the run is in the window.
func (x *xorReader) add(r quantity.Run) {
	if x.short {
		return
	}
	if r.T < x.from {
		if r.Last() < x.from {
			return
		}
		skip := (x.from - r.T + r.Step - 1) / r.Step
		r.T, r.N = r.T+skip*r.Step, r.N-skip
	}
	if r.Last() >= x.to {
		x.over = true
		if r.T >= x.to {
			return
		}
		r.N = (x.to-r.T-1)/r.Step + 1
	}
	if x.most > 0 && !math.IsNaN(r.V) {
		r.N = min(r.N, x.most-x.values)
		x.values += r.N
		x.over = x.over || x.values == x.most
	}
	if r.N == 1 {
		r.Step = 0
	}
	x.runs = quantity.Append(x.runs, r)
}

// one is add for one sample.
func (x *xorReader) one(t int64, v uint64) {
	n := len(x.runs)
	if x.short || x.most > 0 || t < x.from || t >= x.to || n > 0 && math.Float64bits(x.runs[n-1].V) == v {
		x.add(quantity.Run{T: t, N: 1, V: math.Float64frombits(v)})
		return
	}
	x.runs = append(x.runs, quantity.Run{T: t, N: 1, V: math.Float64frombits(v)})
}

// change is by how much the time between two samples differs from the one before. 56 bits are known, unless fewer are left.
func (x *xorReader) change() int64 {
	size := uint(64)
	switch ones := min(bits.LeadingZeros64(^x.bits), 4); ones {
	case 0:
		x.drop(1)
		return 0
	case 4:
		x.drop(4)
	default:
		x.drop(uint(ones) + 1)
		size = [...]uint{0, 14, 17, 20}[ones]
	}
	d := int64(x.take(size))
	if size < 64 && d > 1<<(size-1) {
		d -= 1 << size
	}
	return d
}

// difference is the bits by which a value differs from the one before.
func (x *xorReader) difference(leading, trailing *uint) uint64 {
	x.fill()
	switch {
	case x.bits>>63 == 0:
		x.drop(1)
		return 0
	case x.bits>>62 == 3:
		*leading = uint(x.bits >> 57 & 31)
		size := uint(x.bits >> 51 & 63)
		x.drop(13)
		if size == 0 {
			size = 64
		}
		if *leading+size > 64 {
			x.short = true
			return 0
		}
		*trailing = 64 - *leading - size
	default:
		x.drop(2)
	}
	return x.take(64-*leading-*trailing) << *trailing
}

// bitReader takes bits from bytes. Behind their end are zeros, and short tells that some were taken.
type bitReader struct {
	rest  []byte
	bits  uint64 // those that come next, from the top
	n     uint   // how many of them are known
	short bool
}

// fill sees to it that at least 56 bits are known, unless fewer are left.
func (r *bitReader) fill() {
	if len(r.rest) >= 8 {
		r.bits |= binary.BigEndian.Uint64(r.rest) >> r.n
		more := (63 - r.n) / 8
		r.rest = r.rest[more:]
		r.n += 8 * more
		return
	}
	for r.n <= 56 && len(r.rest) > 0 {
		r.bits |= uint64(r.rest[0]) << (56 - r.n)
		r.rest = r.rest[1:]
		r.n += 8
	}
}

func (r *bitReader) drop(n uint) {
	if n > r.n {
		r.short, r.n, r.bits = true, 0, 0
		return
	}
	r.bits <<= n
	r.n -= n
}

// take is the next n bits, at most 64.
func (r *bitReader) take(n uint) uint64 {
	if n > 56 {
		high := r.take(n - 32)
		return high<<32 | r.take(32)
	}
	if r.n < n {
		r.fill()
	}
	v := r.bits >> (64 - n)
	r.drop(n)
	return v
}

// zeros takes zero bits, an even number of them, at most so many, and says how many it took.
func (r *bitReader) zeros(most int) (n int) {
	for n < most {
		r.fill()
		some := min(bits.LeadingZeros64(r.bits), int(r.n), most-n) &^ 1
		r.drop(uint(some))
		n += some
		if some < 48 {
			return n
		}
	}
	return n
}

func (r *bitReader) uvarint() (v uint64) {
	for shift := uint(0); shift < 64; shift += 7 {
		b := r.take(8)
		v |= b & 0x7f << shift
		if b < 0x80 {
			return v
		}
	}
	r.short = true
	return 0
}

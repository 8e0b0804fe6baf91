package series

import (
	"encoding/binary"
	"math"
	"unsafe"

	"github.com/prometheus/prometheus/model/labels"
)

// reader takes fields off p, from at on. After a field that isn't there, bad stays set and every field is zero. It moves on by a number
// and not by slicing p: while garbage is collected, storing a pointer costs more than reading most fields.
type reader struct {
	p   []byte
	at  int // at most len(p)
	bad bool
}

func (r *reader) fail() { r.bad, r.at = true, len(r.p) }

// left is how many bytes are left.
func (r *reader) left() int { return len(r.p) - r.at }

func (r *reader) byte() byte {
	if r.left() == 0 {
		r.fail()
		return 0
	}
	b := r.p[r.at]
	r.at++
	return b
}

func (r *reader) uvarint() uint64 {
	if at := r.at; uint(at) < uint(len(r.p)) && r.p[at] < 0x80 {
		r.at = at + 1
		return uint64(r.p[at])
	}
	return r.longUvarint()
}

func (r *reader) longUvarint() uint64 {
	p := r.p[r.at:]
	if len(p) >= shortVarint {
		if v, n := short(binary.LittleEndian.Uint32(p)); n <= shortVarint {
			r.at += n
			return v
		}
	}
	v, n := binary.Uvarint(p)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.at += n
	return v
}

func (r *reader) varint() int64 { return unzigzag(r.uvarint()) }

// sums reads varints, and makes each number plus those before it, and last, a sample's time. It says how many there were.
func (r *reader) sums(last int64, dst []FloatBits) int {
	p, at := r.p, r.at
	for i := range dst {
		z, n := uint64(0), shortVarint+1
		if uint(at) < uint(len(p)) && p[at] < 0x80 {
			z, n = uint64(p[at]), 1
		} else if len(p)-at >= shortVarint {
			z, n = short(binary.LittleEndian.Uint32(p[at:]))
		}
		if at += n; n > shortVarint {
			r.at = at - n
			z = r.longUvarint()
			if at = r.at; r.bad {
				return i
			}
		}
		last += unzigzag(z)
		dst[i].Time = last
	}
	r.at = at
	return len(dst)
}

func (r *reader) fixed64() uint64 {
	p := r.p[r.at:]
	if len(p) < 8 {
		r.fail()
		return 0
	}
	r.at += 8
	return binary.LittleEndian.Uint64(p)
}

func (r *reader) float() float64 { return math.Float64frombits(r.fixed64()) }

func (r *reader) bytes() []byte {
	n := r.uvarint()
	p := r.p[r.at:]
	if n > uint64(len(p)) {
		r.fail()
		return nil
	}
	r.at += int(n)
	return p[:n]
}

// count is the number of things that follow; each takes a byte at least, so it is bounded by what is there.
func (r *reader) count() int {
	if r.left() == 0 {
		return 0
	}
	n := r.uvarint()
	if n > uint64(r.left()) {
		r.fail()
		return 1 // the caller's first field then fails and says so
	}
	return int(n)
}

func (r *reader) number() Number {
	v := r.uvarint()
	if v > math.MaxUint32 {
		r.fail()
	}
	return Number(v)
}

// labelViews appends labels to dst that are views.
func (r *reader) labelViews(dst []labels.Label) []labels.Label {
	for n := r.many(2); n > 0 && !r.bad; n-- {
		name := r.bytes()
		dst = append(dst, labels.Label{Name: view(name), Value: view(r.bytes())})
	}
	return dst
}

// labels are a copy.
func (r *reader) labels(b *labels.ScratchBuilder) labels.Labels {
	b.Reset()
	b.SetUnsafeAdd(true) // the strings live until Labels copies them
	for _, l := range r.labelViews(nil) {
		b.Add(l.Name, l.Value)
	}
	if r.bad {
		return labels.EmptyLabels()
	}
	return b.Labels()
}

// view is the bytes as a string without a copy: they must not change while it is used.
func view(p []byte) string { return unsafe.String(unsafe.SliceData(p), len(p)) }

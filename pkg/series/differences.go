package series

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// Differences is the values of a batch as the log has them: each sample's bits XOR those of the sample before it with
// the same number. Half of all samples repeat the one before, and most others differ in one to three bytes. A
// difference is a code of four bits, which says where its bytes stand, and these bytes. The format is
// docs/formats/batch.md. It is reused through Reset and allocates only while it grows.
type Differences struct {
	codes, payload []byte
	count, used    int
}

// Continuity is the place of a record among those of its stream that have differences. Whoever has read the record
// before, and none since, may read this one.
type Continuity struct {
	// Sequence rises by one from record to record.
	Sequence uint64
	// Anew: before this record, the value of every number counts as 0; no record before it is needed.
	Anew bool
}

// stretch is the bytes of a difference that are kept: so many, above so many bytes of zeros.
type stretch struct{ above, bytes uint8 }

// stretches is what codes mean, in this order. They are the commonest in the logs of Kubernetes clusters and of
// Prometheus' own metrics; a difference that fits none exactly takes the shortest that has room for it.
var stretches = [16]stretch{
	{0, 0}, {5, 1}, {5, 2}, {4, 2}, {4, 3}, {6, 1}, {6, 2}, {3, 3}, {3, 4}, {0, 6}, {0, 7}, {0, 8}, {5, 3}, {4, 4}, {2, 3}, {0, 4},
}

// codeOf is the code of a difference by its zero bytes: those at the upper end times 16, plus those at the lower end.
var codeOf = makeCodes()

func makeCodes() (codes [256]uint8) {
	const whole = 11
	for leading := range uint8(8) {
		for trailing := range 8 - leading {
			best := uint8(whole)
			for code, s := range stretches {
				fits := s.above <= trailing && s.above+s.bytes >= 8-leading
				if fits && s.bytes < stretches[best].bytes {
					best = uint8(code)
				}
			}
			codes[leading<<4|trailing] = best
		}
	}
	return codes // with eight at both ends, the difference is 0 and so is its code
}

// Reset makes room for n differences and forgets those that there are.
func (d *Differences) Reset(n int) {
	if size := (n + 1) / 2; cap(d.codes) < size {
		d.codes = make([]byte, size)
	} else {
		d.codes = d.codes[:size]
		clear(d.codes)
	}
	if size := 8*n + 8; cap(d.payload) < size {
		d.payload = make([]byte, size)
	} else {
		d.payload = d.payload[:size]
	}
	d.count, d.used = 0, 0
}

// Len is how many differences were added since Reset.
func (d *Differences) Len() int { return d.count }

// Add adds the next difference. No more may be added than Reset made room for.
func (d *Differences) Add(x uint64) {
	code := codeOf[uint8(bits.LeadingZeros64(x)>>3<<4|bits.TrailingZeros64(x)>>3)] & 15
	s := stretches[code]
	binary.LittleEndian.PutUint64(d.payload[d.used:], x>>(s.above<<3&63))
	d.used += int(s.bytes)
	d.codes[d.count>>1] |= code << (d.count & 1 << 2)
	d.count++
}

// AppendLogged appends the batch as the log has it: with these differences, one for each float, in the place of the
// values. The batch must be one that ParseBatch has read.
func (b *Batch) AppendLogged(dst []byte, c Continuity, d *Differences) ([]byte, error) {
	f, ok := b.columns()
	if !ok || b.differ || f.count != d.count {
		return dst, fmt.Errorf("%w: %d differences for %d floats", ErrCorrupt, d.count, f.count)
	}
	dst = append(dst, b.header...)
	dst = appendPayload(dst, sectionDefinitions, b.definitions)
	dst = appendPayload(dst, sectionHistograms, b.histograms)
	dst = appendPayload(dst, sectionExemplars, b.exemplars)
	dst = appendPayload(dst, sectionMetadata, b.metadata)
	var fields [4 * binary.MaxVarintLen64]byte
	h := binary.AppendUvarint(fields[:0], uint64(f.count))
	h = binary.AppendUvarint(h, c.encode())
	h = binary.AppendUvarint(h, uint64(len(f.numbers)))
	h = binary.AppendUvarint(h, uint64(len(f.times)))
	dst = append(dst, sectionDifferences)
	dst = binary.AppendUvarint(dst, uint64(len(h)+len(f.numbers)+len(f.times)+len(d.codes)+d.used))
	dst = append(dst, h...)
	dst = append(dst, f.numbers...)
	dst = append(dst, f.times...)
	dst = append(dst, d.codes...)
	dst = append(dst, d.payload[:d.used]...)
	dst = appendPayload(dst, sectionLabels, b.labels)
	return appendPayload(dst, sectionNumbered, b.numbered), nil
}

func appendPayload(dst []byte, kind byte, payload []byte) []byte {
	if len(payload) == 0 {
		return dst
	}
	dst = append(dst, kind)
	dst = binary.AppendUvarint(dst, uint64(len(payload)))
	return append(dst, payload...)
}

func (c Continuity) encode() uint64 {
	if c.Anew {
		return c.Sequence<<1 | 1
	}
	return c.Sequence << 1
}

// Continuity tells whether the batch's floats are differences, and their place in the stream.
func (b *Batch) Continuity() (c Continuity, ok bool) {
	f, ok := b.columns()
	return Continuity{Sequence: f.continuity >> 1, Anew: f.continuity&1 == 1}, ok && b.differ
}

// differenceReader takes differences off a column.
type differenceReader struct {
	codes, payload []byte
	read, at       int
}

// newDifferenceReader splits a column of n differences. Its length must be right to the byte.
func newDifferenceReader(n int, column []byte) (differenceReader, bool) {
	size := (n + 1) / 2
	if size > len(column) {
		return differenceReader{}, false
	}
	d := differenceReader{codes: column[:size], payload: column[size:]}
	length := 0
	for _, c := range d.codes {
		length += int(stretches[c&15].bytes) + int(stretches[c>>4].bytes)
	}
	odd := n&1 == 1 && d.codes[size-1]>>4 != 0
	return d, !odd && length == len(d.payload)
}

func (d *differenceReader) next() uint64 {
	s := stretches[d.codes[d.read>>1]>>(d.read&1<<2)&15]
	d.read++
	var x uint64
	if p := d.payload[d.at:]; len(p) >= 8 {
		x = binary.LittleEndian.Uint64(p)
	} else {
		var last [8]byte
		copy(last[:], p)
		x = binary.LittleEndian.Uint64(last[:])
	}
	d.at += int(s.bytes)
	return x << (64 - s.bytes<<3) >> (64 - s.bytes<<3) << (s.above << 3)
}

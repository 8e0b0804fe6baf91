package series

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/pkg/tenant"
)

// Number stands for a series within one stream. It is defined once, before or in the batch that first uses it.
type Number uint32

// StreamID names a dictionary of numbers: one distributor process's batches for one partition. Generation moves
// on whenever the numbering starts anew (an owner came back, or too many numbers are idle).
type StreamID struct {
	Distributor uint64
	Generation  uint32
	Partition   int32
}

// Builder collects one tenant's samples for one partition as columns. It is reused through Reset and allocates
// only while its columns grow. The format is docs/formats/batch.md.
type Builder struct {
	stream StreamID
	tenant tenant.ID

	definitions                              definitions
	numbered                                 numbered
	floats, histograms, exemplars, families  int
	lastNumber, lastTime                     int64
	block                                    struct{ numbers, times [blockSize]int64 }
	waiting                                  int // in block
	numbers, times, values                   []byte
	histogramBytes, exemplarBytes, metaBytes []byte
}

// Reset empties the builder for another batch.
func (b *Builder) Reset(stream StreamID, id tenant.ID) {
	if !b.Empty() {
		b.definitions.reset()
		b.numbered.reset()
	}
	*b = Builder{
		stream: stream, tenant: id,
		definitions: b.definitions, numbered: b.numbered, numbers: b.numbers[:0], times: b.times[:0], values: b.values[:0],
		histogramBytes: b.histogramBytes[:0], exemplarBytes: b.exemplarBytes[:0], metaBytes: b.metaBytes[:0],
	}
}

// Empty tells whether nothing was added since Reset.
func (b *Builder) Empty() bool {
	return b.definitions.count+b.numbered.labels+b.numbered.count+b.floats+b.histograms+b.exemplars+b.families == 0
}

// Samples is the number of floats and histograms added since Reset.
func (b *Builder) Samples() int { return b.floats + b.histograms }

// Stream is the dictionary that the batch's numbers belong to.
func (b *Builder) Stream() StreamID { return b.stream }

// Tenant is whose samples they are.
func (b *Builder) Tenant() tenant.ID { return b.tenant }

// Define says which series a number stands for.
func (b *Builder) Define(n Number, ls labels.Labels) {
	room := b.definitions.room[:0]
	ls.Range(func(l labels.Label) { room = append(room, l) })
	b.DefineLabels(n, room)
	clear(room)
	b.definitions.room = room
}

// DefineLabels is Define for labels that are sorted. The result is how many bytes the definition takes at most, in a batch
// that has none of its labels yet.
func (b *Builder) DefineLabels(n Number, ls []labels.Label) int {
	b.definitions.begin(n, len(ls))
	size := 2 * binary.MaxVarintLen32
	for some := range slices.Chunk(ls, together) {
		size += b.definitions.labels(some)
	}
	return size
}

// Float adds a float sample; t is in Unix milliseconds, and every bit of v is kept.
func (b *Builder) Float(n Number, t int64, v float64) {
	i := b.waiting % blockSize
	b.block.numbers[i], b.block.times[i] = int64(n), t
	if cap(b.values)-len(b.values) < 8 {
		b.values = slices.Grow(b.values, 8)
	}
	b.values = b.values[:len(b.values)+8] // stores no pointer, which would cost more while garbage is collected
	binary.LittleEndian.PutUint64(b.values[len(b.values)-8:], math.Float64bits(v))
	b.floats++
	if b.waiting = i + 1; b.waiting == blockSize {
		b.encode()
	}
}

// blockSize is how many numbers and times are encoded at once: that takes less time than one by one.
const blockSize = 16

// encode encodes the numbers and times that wait for it.
func (b *Builder) encode() {
	n := b.waiting
	b.numbers, b.lastNumber = appendSteps(b.numbers, b.lastNumber, b.block.numbers[:n])
	b.times, b.lastTime = appendSteps(b.times, b.lastTime, b.block.times[:n])
	b.waiting = 0
}

// Histogram adds a native histogram with integer counts.
func (b *Builder) Histogram(n Number, t int64, h *histogram.Histogram) {
	b.histogramBytes = binary.AppendUvarint(b.histogramBytes, uint64(n))
	b.histogramBytes = binary.AppendVarint(b.histogramBytes, t)
	b.histogramBytes = appendHistogram(b.histogramBytes, h)
	b.histograms++
}

// FloatHistogram adds a native histogram with float counts.
func (b *Builder) FloatHistogram(n Number, t int64, h *histogram.FloatHistogram) {
	b.histogramBytes = binary.AppendUvarint(b.histogramBytes, uint64(n))
	b.histogramBytes = binary.AppendVarint(b.histogramBytes, t)
	b.histogramBytes = appendFloatHistogram(b.histogramBytes, h)
	b.histograms++
}

// Exemplar adds an exemplar of a series.
func (b *Builder) Exemplar(n Number, e exemplar.Exemplar) {
	b.exemplarBytes = binary.AppendUvarint(b.exemplarBytes, uint64(n))
	b.exemplarBytes = binary.AppendVarint(b.exemplarBytes, e.Ts)
	b.exemplarBytes = binary.LittleEndian.AppendUint64(b.exemplarBytes, math.Float64bits(e.Value))
	b.exemplarBytes = appendLabels(b.exemplarBytes, e.Labels)
	b.exemplars++
}

// Metadata adds what the sender said of a metric family.
func (b *Builder) Metadata(m Metadata) {
	b.metaBytes = appendString(b.metaBytes, m.Family)
	b.metaBytes = appendString(b.metaBytes, string(m.Type))
	b.metaBytes = appendString(b.metaBytes, m.Unit)
	b.metaBytes = appendString(b.metaBytes, m.Help)
	b.families++
}

const (
	batchVersion = 3
	// Older versions are read only. Version 2 has no labels with numbers.
	wholeVersion = 1 // nor any that stand for ones that were written before
)

// The sections of a batch, in the order in which they stand; empty ones are left out.
const (
	sectionDefinitions = 1 + iota
	sectionFloats
	sectionHistograms
	sectionExemplars
	sectionMetadata
	sectionDifferences // of floats, in the log
	sectionLabels
	sectionNumbered
)

// AppendTo encodes the batch onto dst.
func (b *Builder) AppendTo(dst []byte) []byte {
	b.encode()
	dst = append(dst, batchVersion)
	dst = binary.LittleEndian.AppendUint64(dst, b.stream.Distributor)
	dst = binary.AppendUvarint(dst, uint64(b.stream.Generation))
	dst = binary.AppendUvarint(dst, uint64(uint32(b.stream.Partition)))
	dst = appendString(dst, b.tenant.String())
	dst = appendSection(dst, sectionDefinitions, b.definitions.count, b.definitions.bytes)
	if b.floats > 0 {
		var head [3 * binary.MaxVarintLen64]byte
		h := binary.AppendUvarint(head[:0], uint64(b.floats))
		h = binary.AppendUvarint(h, uint64(len(b.numbers)))
		h = binary.AppendUvarint(h, uint64(len(b.times)))
		dst = append(dst, sectionFloats)
		dst = binary.AppendUvarint(dst, uint64(len(h)+len(b.numbers)+len(b.times)+len(b.values)))
		dst = append(dst, h...)
		dst = append(dst, b.numbers...)
		dst = append(dst, b.times...)
		dst = append(dst, b.values...)
	}
	dst = appendSection(dst, sectionHistograms, b.histograms, b.histogramBytes)
	dst = appendSection(dst, sectionExemplars, b.exemplars, b.exemplarBytes)
	dst = appendSection(dst, sectionMetadata, b.families, b.metaBytes)
	dst = appendSection(dst, sectionLabels, b.numbered.labels, b.numbered.labelBytes)
	return appendSection(dst, sectionNumbered, b.numbered.count, b.numbered.bytes)
}

// Size is about how many bytes AppendTo will add.
func (b *Builder) Size() int {
	return 64 + tenant.MaxIDLength + len(b.definitions.bytes) + len(b.numbered.labelBytes) + len(b.numbered.bytes) + len(b.numbers) + len(b.times) + len(b.values) +
		2*binary.MaxVarintLen32*b.waiting +
		len(b.histogramBytes) + len(b.exemplarBytes) + len(b.metaBytes)
}

func appendSection(dst []byte, kind byte, n int, payload []byte) []byte {
	if n == 0 {
		return dst
	}
	var head [binary.MaxVarintLen64]byte
	h := binary.AppendUvarint(head[:0], uint64(n))
	dst = append(dst, kind)
	dst = binary.AppendUvarint(dst, uint64(len(h)+len(payload)))
	dst = append(dst, h...)
	return append(dst, payload...)
}

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func appendLabels(dst []byte, ls labels.Labels) []byte {
	dst = binary.AppendUvarint(dst, uint64(ls.Len()))
	ls.Range(func(l labels.Label) {
		dst = appendString(dst, l.Name)
		dst = appendString(dst, l.Value)
	})
	return dst
}

package head

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// A snapshot is written series by series, and read into a head in which the same series were made (snapshot_series.go):
//
//	sealed    uvarint number of chunks, chunk ...
//	chunk     varint first time, uvarint last time minus first, uvarint length, encoding byte, the chunk
//	open      kind byte; if it isn't 0: newest time, and what is open; rest
//	floats    value, step, word: 8 bytes each; samples: 2 bytes; used, leading, trailing: a byte each; uvarint length, buf
//	histogram varint first time, uvarint length, the chunk
//	rest      byte: 0, or 1 and: sealed, of the late histograms; uvarint number, samples; byte: 0, or 1 and the tie
//	sample    time, value: 8 bytes each
//
// Numbers of a fixed size are little-endian. Whoever stores this adds a version and checksums.

// ErrCorrupt: what was to be restored isn't what a head has written.
var ErrCorrupt = errors.New("corrupt snapshot of a head")

// All is every series so far, in the order of creation; it is read-only.
func (h *Head) All() List { return h.index.all() }

// Ref is the place of the series in All.
func (s *Series) Ref() uint32 { return s.ref - 1 }

// AppendSealed appends to dst what RestoreSealed reads: the chunks that were sealed after the first from ones. It
// says how many there are now; sealed chunks never change. Between it and AppendOpen nobody may append.
func (s *Series) AppendSealed(dst []byte, from int) ([]byte, int) {
	s.mtx.Lock()
	defer s.mtx.Unlock()
	n := max(int(s.chunks)-from, 0)
	dst = binary.AppendUvarint(dst, uint64(n))
	for c := s.sealed; n > 0; c, n = c.prev, n-1 {
		dst = c.appendTo(dst)
	}
	return dst, int(s.chunks)
}

func (c *chunk) appendTo(dst []byte) []byte {
	dst = binary.AppendVarint(dst, c.minT)
	dst = binary.AppendUvarint(dst, uint64(c.maxT)-uint64(c.minT))
	return appendBytes(dst, c.data)
}

func appendBytes(dst, p []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(p))), p...)
}

// AppendOpen appends to dst what RestoreOpen reads: all of the series that isn't sealed.
func (s *Series) AppendOpen(dst []byte) []byte {
	s.mtx.Lock()
	defer s.mtx.Unlock()
	dst = append(dst, byte(s.kind))
	if s.kind == chunkenc.ValNone {
		return dst
	}
	dst = binary.LittleEndian.AppendUint64(dst, uint64(s.open.t))
	if s.kind == chunkenc.ValFloat {
		dst = s.open.appendState(dst)
	} else {
		dst = appendBytes(binary.AppendVarint(dst, s.more.openMinT), s.more.open.Bytes())
	}
	if s.more == nil {
		return append(dst, 0)
	}
	return s.more.appendTo(append(dst, 1))
}

// appendState appends all but the time.
func (x *xor) appendState(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(x.v))
	dst = binary.LittleEndian.AppendUint64(dst, x.step)
	dst = binary.LittleEndian.AppendUint64(dst, x.word)
	dst = binary.LittleEndian.AppendUint16(dst, x.n)
	dst = append(dst, x.used, x.leading, x.trailing)
	return appendBytes(dst, x.buf)
}

func (m *more) appendTo(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(m.tiny)))
	for _, c := range m.tiny {
		dst = c.appendTo(dst)
	}
	dst = binary.AppendUvarint(dst, uint64(len(m.late)))
	for _, l := range m.late {
		dst = l.appendTo(dst)
	}
	if m.tie == nil {
		return append(dst, 0)
	}
	return m.tie.appendTo(append(dst, 1))
}

func (s sample) appendTo(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(s.t))
	return binary.LittleEndian.AppendUint64(dst, math.Float64bits(s.v))
}

// RestoreSealed adds what AppendSealed wrote, and returns what follows it. It keeps nothing of p. The error is
// ErrCorrupt or ErrSealed; the series is of no use then.
func (s *Series) RestoreSealed(p []byte) (rest []byte, err error) {
	s.mtx.Lock()
	defer s.mtx.Unlock()
	h := s.page.head
	if h.sealed.Load() {
		return nil, ErrSealed
	}
	d := decoder{p: p}
	for n := d.uvarint(); n > 0 && !d.bad; n-- {
		if c := d.chunk(); c != nil {
			h.extend(c.minT)
			h.extend(c.maxT)
			s.seal(c)
		}
	}
	return d.rest("sealed chunks")
}

// RestoreOpen gives a series that takes no samples yet what AppendOpen wrote, and returns what follows it. It keeps
// nothing of p. Appending goes on as if the series had never been away, but that the next histogram begins a chunk.
// Errors are those of RestoreSealed.
func (s *Series) RestoreOpen(p []byte) (rest []byte, err error) {
	s.mtx.Lock()
	defer s.mtx.Unlock()
	h := s.page.head
	if h.sealed.Load() {
		return nil, ErrSealed
	}
	if s.kind != chunkenc.ValNone {
		return nil, fmt.Errorf("%w: series %s has samples already", ErrCorrupt, s.Labels())
	}
	d := decoder{p: p}
	if s.kind = chunkenc.ValueType(d.byte()); s.kind == chunkenc.ValNone {
		return d.rest("open chunk")
	}
	s.open.t = int64(d.uint64())
	if s.kind == chunkenc.ValFloat {
		d.floats(&s.open)
	} else {
		d.histograms(s)
	}
	if d.flag() && !d.bad {
		d.more(s.rest())
	}
	if d.bad || s.hasOpen() && s.openMinT() > s.open.t {
		s.kind, s.more = chunkenc.ValNone, nil
		return nil, fmt.Errorf("%w: open chunk", ErrCorrupt)
	}
	s.extendToOpen(h)
	return d.p, nil
}

// extendToOpen widens the head's time range to what isn't sealed.
func (s *Series) extendToOpen(h *Head) {
	if s.hasOpen() {
		h.extend(s.openMinT())
		h.extend(s.open.t)
	}
	if s.more == nil {
		return
	}
	for _, c := range s.more.tiny {
		h.extend(c.minT)
		h.extend(c.maxT)
	}
	for _, l := range s.more.late {
		h.extend(l.t)
	}
}

// AppendShared appends to dst what RestoreShared reads: what belongs to the head and not to one series. These are the
// number of late samples and the exemplars: uvarint late; uvarint number; of each, the oldest first, uvarint place of
// the series, varint time, flag byte, 8 bytes of value, uvarint number of labels, and these as uvarint length and text.
func (h *Head) AppendShared(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(h.late.Load()))
	return h.exemplars.appendTo(dst)
}

// RestoreShared restores what AppendShared wrote, and returns what follows it. All are the head's series in the places
// that they had; exemplars of others are left out. The error is ErrCorrupt.
func (h *Head) RestoreShared(p []byte, all []*Series) (rest []byte, err error) {
	d := decoder{p: p}
	h.late.Add(int64(d.uvarint()))
	for n := d.uvarint(); n > 0 && !d.bad; n-- {
		place := d.uvarint()
		if e := d.exemplar(); !d.bad && place < uint64(len(all)) && all[place] != nil {
			h.exemplars.add(heldExemplar{series: all[place], Exemplar: e})
		}
	}
	return d.rest("exemplars")
}

func (x *exemplars) appendTo(dst []byte) []byte {
	x.mtx.RLock()
	defer x.mtx.RUnlock()
	dst = binary.AppendUvarint(dst, uint64(len(x.ring)))
	for i := range x.ring {
		e := x.ring[(x.next+i)%len(x.ring)]
		dst = binary.AppendUvarint(dst, uint64(e.series.Ref()))
		dst = binary.AppendVarint(dst, e.Ts)
		dst = append(dst, flag(e.HasTs))
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(e.Value))
		dst = binary.AppendUvarint(dst, uint64(e.Labels.Len()))
		e.Labels.Range(func(l labels.Label) {
			dst = appendString(appendString(dst, l.Name), l.Value)
		})
	}
	return dst
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func (d *decoder) exemplar() exemplar.Exemplar {
	e := exemplar.Exemplar{Ts: d.varint(), HasTs: d.flag(), Value: math.Float64frombits(d.uint64())}
	var b labels.ScratchBuilder
	for n := d.uvarint(); n > 0 && !d.bad; n-- {
		name, val := d.text(), d.text()
		b.Add(name, val)
	}
	b.Sort()
	e.Labels = b.Labels()
	return e
}

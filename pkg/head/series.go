package head

import (
	"math"
	"slices"
	"sync"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/varve-io/varve/pkg/series"
)

// Outcome is what became of an appended sample.
type Outcome uint8

// Outcomes. Only Stored, Duplicate and Conflict mean that the head stands for the sample's time.
const (
	// Stored: the sample is in the head.
	Stored Outcome = iota
	// Duplicate: the head had exactly this sample; nothing changed.
	Duplicate
	// Conflict: the series' newest sample has the same time and another value. The winner stays.
	Conflict
	// Sealed: the head takes no samples any more.
	Sealed
	// Malformed: the histogram's spans and buckets don't fit together, or its schema is unknown.
	Malformed
)

// String names the outcome.
func (o Outcome) String() string {
	names := [...]string{"stored", "duplicate", "conflict", "sealed", "malformed"}
	if int(o) < len(names) {
		return names[o]
	}
	return "unknown"
}

// Series is one series of a head. All methods are safe for concurrent use.
//
// It takes two cache lines, with what fills the second one up. What an append of a float in order needs is in the first, but for one in about four, which
// writes a word to the open chunk's buffer.
type Series struct {
	mtx    sync.Mutex
	page   *page // has the head, and the numbers of the series' pairs
	ref    uint32
	labels uint16             // how many it has
	kind   chunkenc.ValueType // of the open chunk; ValNone if there never was one

	open xor // takes the samples that come in order; its time is the newest sample's, of a histogram, too

	at     uint32 // where its numbers begin on the page
	chunks uint32 // how many are sealed
	sealed *chunk // the newest of the sealed chunks. They may overlap where samples came late
	more   *more  // what few series have; nil if this one has none of it
	_      [16]byte
}

// more is what few series have.
type more struct {
	late []sample // floats that came late, not sealed yet
	tie  *sample  // a float that won against the newest of its time

	open     chunkenc.Chunk    // in the place of Series.open while the newest sample is a histogram
	app      chunkenc.Appender // nil if the chunk was restored: it takes no more then
	openMinT int64
	tiny     []*chunk // late histograms, each in a chunk, not sealed yet
}

// sample is a float.
type sample struct {
	t int64
	v float64
}

// lateSamples is how many late floats gather before they are sealed.
const lateSamples = 64

// Labels are the series' labels, built anew each time. They can be had when the head is freed, too.
func (s *Series) Labels() labels.Labels { return s.page.head.index.allPairs().labels(s) }

// Touch loads what an append needs first, and is true. Who appends to many series touches some of them before: what memory
// has to bring then comes at the same time, not one after the other.
func (s *Series) Touch() bool { return s.page != nil && s.at != math.MaxUint32 } // one of each line

// rest is s.more, made if there is none.
func (s *Series) rest() *more {
	if s.more == nil {
		s.more = &more{}
	}
	return s.more
}

// AppendFloat adds a float, at any time.
func (s *Series) AppendFloat(t int64, v float64) Outcome {
	s.mtx.Lock()
	o := s.appendFloat(t, v)
	s.mtx.Unlock()
	return o
}

func (s *Series) appendFloat(t int64, v float64) Outcome {
	h := s.page.head
	switch {
	case h.sealed.Load():
		return Sealed
	case s.kind == chunkenc.ValFloat && t > s.open.t && int(s.open.n) < h.chunkSamples:
	case s.kind != chunkenc.ValNone && t <= s.open.t:
		return s.appendLate(t, v)
	default:
		s.sealOpen()
		s.begin(nil, chunkenc.ValFloat)
	}
	s.open.append(t, v)
	h.extend(t)
	return Stored
}

// begin makes c, which is empty, the open chunk; there is none for floats.
func (s *Series) begin(c chunkenc.Chunk, kind chunkenc.ValueType) {
	s.kind = kind
	s.open.reset()
	if s.more != nil || c != nil {
		m := s.rest()
		m.open, m.app = c, nil
		if c != nil {
			m.app, _ = c.Appender() // can fail only where samples are to be read
		}
	}
}

// sealOpen adds the open chunk, if it has samples, to the sealed ones.
func (s *Series) sealOpen() {
	if c := s.copyOpen(); c != nil {
		s.seal(c)
	}
}

func (s *Series) seal(c *chunk) {
	c.prev = s.sealed
	s.sealed = c
	s.chunks++
}

// appendLate keeps a float that is not after the newest sample.
func (s *Series) appendLate(t int64, v float64) Outcome {
	if t == s.open.t {
		return s.appendTie(v)
	}
	if s.more != nil {
		for _, l := range s.more.late {
			if l.t == t && sameBits(l.v, v) {
				return Duplicate
			}
		}
	}
	s.page.head.late.Add(1)
	s.keepLate(t, v)
	return Stored
}

// appendTie is for a float at the newest sample's time. One that wins is kept beside the sample in the open chunk,
// and readers choose as this does.
func (s *Series) appendTie(v float64) Outcome {
	if s.kind != chunkenc.ValFloat { // floats lose against histograms, but not against their stale markers
		s.keepLate(s.open.t, v)
		return Conflict
	}
	stands := s.open.v
	if s.more != nil && s.more.tie != nil && s.more.tie.t == s.open.t {
		stands = s.more.tie.v
	}
	switch {
	case sameBits(v, stands):
		return Duplicate
	case series.Wins(v, stands):
		s.keepLate(s.open.t, v)
		s.more.tie = &sample{s.open.t, v}
	}
	return Conflict
}

func (s *Series) keepLate(t int64, v float64) {
	m := s.rest()
	m.late = append(m.late, sample{t: t, v: v})
	s.page.head.extend(t)
	if len(m.late) >= lateSamples {
		s.seal(sealFloats(m.late))
		m.late = nil
	}
}

func (s *Series) free() {
	s.mtx.Lock()
	defer s.mtx.Unlock()
	s.open.buf, s.sealed, s.more = nil, nil, nil
	s.kind = chunkenc.ValNone
}

// count adds the series to st.
func (s *Series) count(st *Stats) {
	s.mtx.Lock()
	defer s.mtx.Unlock()
	st.Bytes += seriesSize + int64(cap(s.open.buf))
	if s.kind == chunkenc.ValFloat && s.open.n > 0 {
		st.Chunks++
		st.Samples += int64(s.open.n)
	}
	for c := s.sealed; c != nil; c = c.prev {
		st.add(c)
	}
	if s.more != nil {
		s.more.count(st)
	}
}

func (m *more) count(st *Stats) {
	st.Bytes += moreSize + int64(cap(m.late))*16
	st.Samples += int64(len(m.late))
	for _, c := range m.tiny {
		st.add(c)
	}
	if m.open != nil {
		st.Chunks++
		st.Samples += int64(m.open.NumSamples())
		st.Bytes += openSize + int64(cap(m.open.Bytes()))
	}
}

func (st *Stats) add(c *chunk) {
	st.Chunks++
	st.Samples += int64(c.samples())
	st.Bytes += chunkSize + int64(cap(c.data))
}

func sameBits(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }

// overlaps tells whether a chunk of the series overlaps mint to maxt, both included.
func (s *Series) overlaps(mint, maxt int64) bool {
	s.mtx.Lock()
	defer s.mtx.Unlock()
	if s.openOverlaps(mint, maxt) {
		return true
	}
	for c := s.sealed; c != nil; c = c.prev {
		if c.overlaps(mint, maxt) {
			return true
		}
	}
	return s.more != nil && (slices.ContainsFunc(s.more.tiny, func(c *chunk) bool { return c.overlaps(mint, maxt) }) ||
		slices.ContainsFunc(s.more.late, func(l sample) bool { return mint <= l.t && l.t <= maxt }))
}

func (s *Series) openOverlaps(mint, maxt int64) bool {
	return s.hasOpen() && s.openMinT() <= maxt && mint <= s.open.t
}

// hasOpen tells whether the open chunk has samples.
func (s *Series) hasOpen() bool {
	switch s.kind {
	case chunkenc.ValNone:
		return false
	case chunkenc.ValFloat:
		return s.open.n > 0
	}
	return s.more.open.NumSamples() > 0
}

// openMinT is the time of the open chunk's first sample.
func (s *Series) openMinT() int64 {
	if s.kind == chunkenc.ValFloat {
		return s.open.minT()
	}
	return s.more.openMinT
}

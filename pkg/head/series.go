package head

import (
	"math"
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
type Series struct {
	labels labels.Labels
	ref    uint32

	mtx  sync.Mutex
	kind chunkenc.ValueType // of the open chunk; ValNone if there never was one
	tiny uint8              // sealed chunks of a single late histogram
	head *Head              // nil once the head is freed

	open     chunkenc.Chunk // takes the samples that come in order
	app      chunkenc.Appender
	openMinT int64
	lastT    int64   // the newest sample's time
	lastV    float64 // and value: the winner, if there were several

	sealed []chunk  // in no particular order, and overlapping where samples came late
	late   []sample // floats that came late, not sealed yet
}

// sample is a float.
type sample struct {
	t int64
	v float64
}

// Sizes, in samples or bytes.
const (
	lateSamples   = 64 // how many late floats gather before they are sealed
	openChunkSize = 64 // what an open chunk begins with
)

// Labels are the series' labels; they stay valid when the head is freed.
func (s *Series) Labels() labels.Labels { return s.labels }

// AppendFloat adds a float, at any time.
func (s *Series) AppendFloat(t int64, v float64) Outcome {
	s.mtx.Lock()
	defer s.mtx.Unlock()
	h := s.head
	if h == nil || h.sealed.Load() {
		return Sealed
	}
	if s.open != nil && t <= s.lastT {
		return s.appendLate(t, v)
	}
	if s.kind != chunkenc.ValFloat || s.open.NumSamples() >= h.chunkSamples {
		s.beginFloats()
	}
	s.app.Append(0, t, v)
	s.inOrder(t)
	s.lastV = v
	return Stored
}

// inOrder notes that the open chunk has a sample of t, the newest.
func (s *Series) inOrder(t int64) {
	if s.open.NumSamples() == 1 {
		s.openMinT = t
	}
	s.lastT = t
	s.head.extend(t)
}

// beginFloats seals the open chunk and begins one for floats, in the same buffer if it can.
func (s *Series) beginFloats() {
	s.sealOpen()
	c, ok := s.open.(*chunkenc.XORChunk)
	var buf []byte
	if ok {
		buf = c.Bytes()[:2]
		clear(buf)
	} else {
		c, buf = &chunkenc.XORChunk{}, make([]byte, 2, openChunkSize)
	}
	c.Reset(buf)
	s.begin(c, chunkenc.ValFloat)
}

// begin makes c, which is empty, the open chunk.
func (s *Series) begin(c chunkenc.Chunk, kind chunkenc.ValueType) {
	s.open, s.kind = c, kind
	s.app, _ = c.Appender() // can fail only where samples are to be read
}

// sealOpen adds a trimmed copy of the open chunk to the sealed ones.
func (s *Series) sealOpen() {
	if s.open != nil && s.open.NumSamples() > 0 {
		s.sealed = append(s.sealed, sealChunk(s.open, s.openMinT, s.lastT))
	}
}

// appendLate keeps a float that is not after the newest sample.
func (s *Series) appendLate(t int64, v float64) Outcome {
	if t == s.lastT {
		return s.appendTie(v)
	}
	for _, l := range s.late {
		if l.t == t && sameBits(l.v, v) {
			return Duplicate
		}
	}
	s.head.late.Add(1)
	s.keepLate(t, v)
	return Stored
}

// appendTie is for a float at the newest sample's time. One that wins is kept beside the sample in the open chunk,
// and readers choose as this does.
func (s *Series) appendTie(v float64) Outcome {
	switch {
	case s.kind != chunkenc.ValFloat: // floats lose against histograms, but not against their stale markers
		s.keepLate(s.lastT, v)
	case sameBits(v, s.lastV):
		return Duplicate
	case series.Wins(v, s.lastV):
		s.keepLate(s.lastT, v)
		s.lastV = v
	}
	return Conflict
}

func (s *Series) keepLate(t int64, v float64) {
	s.late = append(s.late, sample{t: t, v: v})
	s.head.extend(t)
	if len(s.late) >= lateSamples {
		s.sealed = append(s.sealed, sealFloats(s.late))
		s.late = nil
	}
}

func (s *Series) free() {
	s.mtx.Lock()
	defer s.mtx.Unlock()
	s.head, s.open, s.app, s.sealed, s.late = nil, nil, nil, nil, nil
}

// count adds the series to st.
func (s *Series) count(st *Stats) {
	s.mtx.Lock()
	defer s.mtx.Unlock()
	st.Bytes += seriesSize + int64(s.labels.ByteSize()) + int64(cap(s.sealed))*chunkSize + int64(cap(s.late))*16
	st.Chunks += len(s.sealed)
	st.Samples += int64(len(s.late))
	for _, c := range s.sealed {
		st.Samples += int64(c.samples())
		st.Bytes += int64(cap(c.data))
	}
	if s.open != nil {
		st.Chunks++
		st.Samples += int64(s.open.NumSamples())
		st.Bytes += openSize + int64(cap(s.open.Bytes()))
	}
}

func sameBits(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }

// overlaps tells whether a chunk of the series overlaps mint to maxt, both included.
func (s *Series) overlaps(mint, maxt int64) bool {
	s.mtx.Lock()
	defer s.mtx.Unlock()
	if s.openOverlaps(mint, maxt) {
		return true
	}
	for _, c := range s.sealed {
		if c.minT <= maxt && mint <= c.maxT {
			return true
		}
	}
	for _, l := range s.late {
		if mint <= l.t && l.t <= maxt {
			return true
		}
	}
	return false
}

func (s *Series) openOverlaps(mint, maxt int64) bool {
	return s.open != nil && s.open.NumSamples() > 0 && s.openMinT <= maxt && mint <= s.lastT
}

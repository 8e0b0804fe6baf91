package head

import (
	"errors"
	"hash/maphash"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/prometheus/model/labels"
)

// ErrSealed: the head takes no new series.
var ErrSealed = errors.New("head is sealed")

// ErrFreed: the head's data is gone, its blocks have it.
var ErrFreed = errors.New("head is freed")

// ErrFull: the head has as many series as references can name, or a series has more than 65535 labels.
var ErrFull = errors.New("head has no more room for series")

// Options are a head's bounds.
type Options struct {
	// ChunkSamples is how many samples a chunk takes, 120 if it is 0.
	ChunkSamples int
	// MaxExemplars is how many exemplars the head keeps, the newest of all series. 0 keeps none.
	MaxExemplars int
}

// Head is one tenant's samples of one epoch. All methods are safe for concurrent use.
type Head struct {
	chunkSamples int
	index        postings
	exemplars    exemplars

	minT, maxT atomic.Int64 // of the samples; minT > maxT if there is none
	late       atomic.Int64
	sealed     atomic.Bool

	life    sync.Mutex
	readers int  // sets and block readers that are open
	freed   bool // no new reader; the data goes with the last one
}

// New makes an empty head, of less than 1 KiB.
func New(o Options) *Head {
	if o.ChunkSamples <= 0 {
		o.ChunkSamples = 120
	}
	h := &Head{chunkSamples: min(o.ChunkSamples, math.MaxUint16), exemplars: exemplars{max: o.MaxExemplars}}
	h.index.seed, h.index.salt = maphash.MakeSeed(), rand.Uint64()
	h.minT.Store(math.MaxInt64)
	h.maxT.Store(math.MinInt64)
	return h
}

// Series is the series with these labels, made if there is none yet; finding it allocates nothing. The labels are
// copied, so they may be a view of a buffer. The error is ErrSealed or ErrFull.
func (h *Head) Series(ls labels.Labels) (s *Series, created bool, err error) {
	return h.index.ofLabels(h, ls)
}

// SeriesLike is Series with the labels of a series of another head, which may be freed. The strings of the labels are
// shared from then on.
func (h *Head) SeriesLike(other *Series) (s *Series, created bool, err error) {
	if other.page.head == h {
		return other, false, nil
	}
	return h.index.like(h, other)
}

// Seal makes the head read-only: every append that has not returned yet is either in the head, for all that read it
// from now on, or refused.
func (h *Head) Seal() { h.sealed.Store(true) }

// Free drops the data, at once or when the last open set and block reader are closed; new ones are refused with
// ErrFreed. A Series that somebody still holds then pins the labels of all series. Free seals the head.
func (h *Head) Free() {
	h.Seal()
	h.life.Lock()
	drop := !h.freed && h.readers == 0
	h.freed = true
	h.life.Unlock()
	if drop {
		h.drop()
	}
}

// acquire keeps the data until release.
func (h *Head) acquire() error {
	h.life.Lock()
	defer h.life.Unlock()
	if h.freed {
		return ErrFreed
	}
	h.readers++
	return nil
}

func (h *Head) release() {
	h.life.Lock()
	h.readers--
	drop := h.freed && h.readers == 0
	h.life.Unlock()
	if drop {
		h.drop()
	}
}

func (h *Head) drop() {
	all := h.index.drop()
	for _, s := range all.all {
		s.free()
	}
	h.exemplars.drop()
}

// extend widens the head's time range to t.
func (h *Head) extend(t int64) {
	for old := h.maxT.Load(); t > old && !h.maxT.CompareAndSwap(old, t); old = h.maxT.Load() {
	}
	for old := h.minT.Load(); t < old && !h.minT.CompareAndSwap(old, t); old = h.minT.Load() {
	}
}

// overlaps tells whether the head may have samples between mint and maxt, both included.
func (h *Head) overlaps(mint, maxt int64) bool {
	return h.minT.Load() <= maxt && mint <= h.maxT.Load()
}

// NumSeries is how many series the head has.
func (h *Head) NumSeries() int { all := h.index.all(); return all.n }

// Times is the time of the oldest and of the newest sample, both included; ok is false if there is none.
func (h *Head) Times() (mint, maxt int64, ok bool) {
	mint, maxt = h.minT.Load(), h.maxT.Load()
	return mint, maxt, mint <= maxt
}

// Stats is what a head holds.
type Stats struct {
	Series  int
	Samples int64 // late ones that repeat an older sample may count twice
	Chunks  int   // sealed and open
	// Bytes is the heap that the chunks, the labels and the index take, about.
	Bytes            int64
	MinTime, MaxTime int64 // MinTime > MaxTime if there are no samples
	Late             int64 // samples that came after a newer one of their series
	Exemplars        int
}

// Stats walks all series, which takes about 0.1 µs for each: ask every few seconds, not for every request.
func (h *Head) Stats() Stats {
	all := h.index.all()
	st := Stats{Series: all.n, Late: h.late.Load(), Exemplars: h.exemplars.len()}
	st.MinTime, st.MaxTime = h.minT.Load(), h.maxT.Load()
	st.Bytes = h.index.bytes()
	for _, s := range all.all {
		s.count(&st)
	}
	return st
}

// Range is a stretch of time: Min is in it, Max is not.
type Range struct{ Min, Max int64 }

// Ranges are the stretches of width milliseconds, aligned to multiples of width, that have samples, in order. It
// reads every chunk that reaches over a boundary: ask once, after Seal.
func (h *Head) Ranges(width int64) ([]Range, error) {
	if err := h.acquire(); err != nil {
		return nil, err
	}
	defer h.release()
	w := ranges{width: width, seen: map[int64]struct{}{}}
	all := h.index.all()
	for _, s := range all.all {
		if err := s.visit(&w); err != nil {
			return nil, err
		}
	}
	out := make([]Range, 0, len(w.seen))
	for n := range w.seen {
		out = append(out, Range{Min: n * width, Max: (n + 1) * width})
	}
	slices.SortFunc(out, func(a, b Range) int {
		if a.Min < b.Min {
			return -1
		}
		return 1
	})
	return out, nil
}

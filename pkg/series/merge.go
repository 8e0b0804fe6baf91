package series

import (
	"bytes"
	"cmp"
	"container/heap"
	"errors"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// Merge is the union of sets. The chunks of a series that several sets have are put together, ordered by MinTime,
// then MaxTime, and chunks with the same times, encoding and bytes are kept once. An error of any set ends the
// merge: an answer that lacks a source is no answer. Closing the merge closes the sets.
func Merge(sets ...Set) Set {
	if len(sets) == 1 {
		return sets[0]
	}
	return &mergeSet{sets: sets, heads: make(setHeap, 0, len(sets)), due: slices.Clone(sets)}
}

// Limited is a set that ends after limit series; 0 is no limit. Each of several sets may be within a limit that their
// merge is not.
func Limited(s Set, limit int) Set {
	if limit <= 0 {
		return s
	}
	return &limitedSet{Set: s, left: limit}
}

type limitedSet struct {
	Set
	left int
}

func (l *limitedSet) Next() bool {
	if l.left == 0 {
		return false
	}
	l.left--
	return l.Set.Next()
}

type mergeSet struct {
	sets  []Set   // to close
	heads setHeap // sets that stand on a series after at
	due   []Set   // sets that stand on at, or at nothing yet
	at    Chunked
	err   error
}

func (m *mergeSet) Next() bool {
	if m.err != nil || !m.advance() || len(m.heads) == 0 {
		return false
	}
	m.take()
	ls := m.at.Labels
	merged := false
	for len(m.heads) > 0 && labels.Equal(m.heads[0].at.Labels, ls) {
		if !merged {
			m.at.Chunks, merged = slices.Clone(m.at.Chunks), true
		}
		have := m.at.Chunks
		m.take()
		m.at = Chunked{Labels: ls, Chunks: append(have, m.at.Chunks...)}
	}
	if merged {
		m.at.Chunks = sortUnique(m.at.Chunks)
	}
	return true
}

// advance moves every due set on and puts it back among the heads.
func (m *mergeSet) advance() bool {
	for _, s := range m.due {
		if s.Next() {
			heap.Push(&m.heads, setHead{set: s, at: s.At()})
			continue
		}
		if m.err = s.Err(); m.err != nil {
			return false
		}
	}
	m.due = m.due[:0]
	return true
}

// take makes the first head the current series.
func (m *mergeSet) take() {
	h := heap.Pop(&m.heads).(setHead)
	m.at = h.at
	m.due = append(m.due, h.set)
}

func (m *mergeSet) At() Chunked { return m.at }
func (m *mergeSet) Err() error  { return m.err }

func (m *mergeSet) Close() error {
	errs := make([]error, 0, len(m.sets))
	for _, s := range m.sets {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

type setHead struct {
	set Set
	at  Chunked
}

// setHeap is a heap.Interface, the least labels first.
type setHeap []setHead

func (h setHeap) Len() int           { return len(h) }
func (h setHeap) Less(i, j int) bool { return labels.Compare(h[i].at.Labels, h[j].at.Labels) < 0 }
func (h setHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *setHeap) Push(x any)        { *h = append(*h, x.(setHead)) }

func (h *setHeap) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	(*h)[last] = setHead{}
	*h = (*h)[:last]
	return x
}

// sortUnique orders chunks in place and drops repetitions.
func sortUnique(chks []chunks.Meta) []chunks.Meta {
	slices.SortFunc(chks, compareChunks)
	return slices.CompactFunc(chks, func(a, b chunks.Meta) bool { return compareChunks(a, b) == 0 })
}

// compareChunks orders chunks by time first; the rest makes the order total, so that it is the same everywhere.
func compareChunks(a, b chunks.Meta) int {
	if c := compareTimes(a, b); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(a.Chunk.Encoding(), b.Chunk.Encoding()), bytes.Compare(a.Chunk.Bytes(), b.Chunk.Bytes()))
}

func compareTimes(a, b chunks.Meta) int {
	return cmp.Or(cmp.Compare(a.MinTime, b.MinTime), cmp.Compare(a.MaxTime, b.MaxTime))
}

package block

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	mathbits "math/bits"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/index"
)

// reader reads a block's index on behalf of one call, with its context. It is used by one goroutine.
type reader struct {
	ctx     context.Context
	b       *Block
	symbols symbolTable
	builder labels.ScratchBuilder
	// What entries gives refers to these.
	pairs []uint32
	metas []chunks.Meta
	batch []entry // room for those of a set
	room  []byte  // for bytes of which nothing is kept
	// Room that is used again.
	refs    []uint32 // of series
	missing []uint64 // number << 32 | place of symbols that have to be read
	places  []uint32
	spans   []span
	numbers []int // of groups of symbols
	bytes   []byte
	found   []textAt // among bytes
	chunks  []chunkSpan
}

func (b *Block) reader(ctx context.Context) *reader {
	select {
	case r := <-b.idle:
		r.ctx = ctx
		return r
	default:
		return &reader{ctx: ctx, b: b}
	}
}

// release is for a reader that nobody uses any more.
func (r *reader) release() {
	r.ctx = nil
	select {
	case r.b.idle <- r:
	default:
	}
}

func (b *Block) readError(file string, err error) error {
	return fmt.Errorf("read block %s, file %s: %w", b.meta.ULID, file, err)
}

func (r *reader) fetch() fetcher { return fetcher{ctx: r.ctx, b: r.b, f: r.b.index, name: IndexName} }

// passing is fetch for what is parsed without keeping any of its bytes.
func (r *reader) passing() fetcher {
	t := r.fetch()
	t.room = &r.room
	return t
}

// entriesStep is how many groups of the postings offset table are read at once when a label's values are walked.
const entriesStep = 512

// walk calls fn for every value of a label, in order, with the place of its list. The value is valid during the call.
func (r *reader) walk(name string, fn func(value []byte, list span) error) error {
	h := r.b.header
	n, ok := h.name(name)
	if !ok {
		return nil
	}
	for first := n.first; first < n.first+n.n; first += entriesStep {
		groups := make([]int, 0, entriesStep)
		for g := first; g < min(first+entriesStep, n.first+n.n); g++ {
			groups = append(groups, g)
		}
		err := r.groups(name, groups, func(_ int, e tableEntry, list span) error { return fn(e.value, list) })
		if err != nil {
			return err
		}
	}
	return nil
}

// groups calls fn for every entry of the given groups, which must be ascending and of the given label.
func (r *reader) groups(name string, groups []int, fn func(i int, e tableEntry, list span) error) error {
	h := r.b.header
	spans := make([]span, len(groups))
	for i, g := range groups {
		spans[i] = span{int64(h.groups[g].entry), int64(h.groupEnd(g))}
	}
	var entries []tableEntry
	return r.fetch().each(spans, func(i int, b []byte) error {
		var err error
		if entries, err = r.parseGroup(entries[:0], name, spans[i], groups[i], b); err != nil {
			return err
		}
		bound := int64(h.listBound(groups[i]))
		for j, e := range entries {
			list := span{int64(e.postings), bound}
			if j+1 < len(entries) && entries[j+1].postings > e.postings {
				list.end = int64(entries[j+1].postings)
			}
			if err := fn(i, e, list); err != nil {
				return err
			}
		}
		return nil
	})
}

func (r *reader) parseGroup(to []tableEntry, name string, s span, group int, b []byte) ([]tableEntry, error) {
	n := s.end - s.off
	if int64(len(b)) < n {
		return to, errShort{n}
	}
	if checksum(b[:n]) != r.b.header.groups[group].crc {
		return to, r.b.corrupt(IndexName, s.off, "bad checksum of entries of the postings offset table")
	}
	c := cursor{b: b[:n]}
	for len(c.b) > 0 {
		var e tableEntry
		if e.parse(&c); c.bad || string(e.name) != name {
			return to, r.b.corrupt(IndexName, s.off, "malformed entry of the postings offset table")
		}
		to = append(to, e)
	}
	return to, nil
}

// lookUp gives the places of the lists of those values that exist. Values must be sorted and without repetition.
func (r *reader) lookUp(name string, values []string) ([]span, error) {
	h := r.b.header
	n, ok := h.name(name)
	if !ok {
		return nil, nil
	}
	var groups []int
	var wanted [][]string // by group
	for _, v := range values {
		g, ok := h.find(n, v)
		if !ok {
			continue
		}
		if len(groups) == 0 || groups[len(groups)-1] != g {
			groups, wanted = append(groups, g), append(wanted, nil)
		}
		wanted[len(wanted)-1] = append(wanted[len(wanted)-1], v)
	}
	var lists []span
	err := r.groups(name, groups, func(i int, e tableEntry, list span) error {
		for len(wanted[i]) > 0 && wanted[i][0] < string(e.value) {
			wanted[i] = wanted[i][1:]
		}
		if len(wanted[i]) > 0 && wanted[i][0] == string(e.value) {
			lists = append(lists, list)
		}
		return nil
	})
	return lists, err
}

// listGuess is what is read of a list whose end is not known.
const listGuess = 4 << 10

// errEnough ends a walk early.
var errEnough = errors.New("enough")

// guessed gives the span an end if it has none.
func guessed(s span) span {
	if s.end < s.off+8 {
		s.end = s.off + listGuess
	}
	return s
}

// fewLists is how many lists are merged while they are read; more become one beforehand.
const fewLists = 4

// lists reads postings lists, which become one.
func (r *reader) lists(spans []span) (index.Postings, error) {
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.off, b.off) })
	for i, s := range spans {
		spans[i] = guessed(s)
	}
	var refs []uint32
	its := make([]index.Postings, 0, fewLists)
	err := r.fetch().each(spans, func(i int, b []byte) error {
		raw, err := r.parseList(spans[i].off, b)
		switch {
		case err != nil:
			return err
		case len(spans) <= fewLists:
			its = append(its, &bigEndian{rest: raw})
			return nil
		}
		for ; len(raw) >= 4; raw = raw[4:] {
			refs = append(refs, binary.BigEndian.Uint32(raw))
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case len(spans) == 0:
		return index.EmptyPostings(), nil
	case len(spans) <= fewLists:
		return index.Merge(r.ctx, its...), nil
	}
	return r.sorted(refs), nil
}

// sorted orders references of many lists. References number the 16-byte steps of the series section, so that many of
// them are ordered best by a set of bits.
func (r *reader) sorted(refs []uint32) index.Postings {
	first := uint32(r.b.header.toc.series / seriesAlign)
	words := (r.b.header.toc.labelIndices/seriesAlign-uint64(first))/64 + 1
	if uint64(len(refs)) < words/16 {
		slices.Sort(refs)
		return &refList{rest: slices.Compact(refs)}
	}
	bits := make([]uint64, words)
	out := refs[:0]
	for _, ref := range refs {
		// One outside of the section is left for entries to find.
		if w := uint64(ref-first) / 64; ref < first || w >= words {
			return &refList{rest: slices.Compact(slices.Sorted(slices.Values(refs)))}
		}
	}
	for _, ref := range refs {
		bits[(ref-first)/64] |= 1 << ((ref - first) % 64)
	}
	for w, word := range bits {
		for ; word != 0; word &= word - 1 {
			out = append(out, first+uint32(w*64+mathbits.TrailingZeros64(word)))
		}
	}
	return &refList{rest: out}
}

// parseList checks a list and gives its references, 4 bytes each.
func (r *reader) parseList(off int64, b []byte) ([]byte, error) {
	if len(b) < 8 {
		return nil, errShort{8}
	}
	n := int64(binary.BigEndian.Uint32(b))
	if int64(len(b)) < 4+n+4 {
		return nil, errShort{4 + n + 4}
	}
	body := b[4 : 4+n]
	if binary.BigEndian.Uint32(b[4+n:]) != checksum(body) {
		return nil, r.b.corrupt(IndexName, off, "bad checksum of a postings list")
	}
	if n < 4 || int64(binary.BigEndian.Uint32(body))*4 != n-4 {
		return nil, r.b.corrupt(IndexName, off, "postings list of %d bytes has another count", n)
	}
	return body[4:], nil
}

package block

import "slices"

// symbolTable are the symbols that a reader knows, each at a place of its own. A map of so many would cost more than all else of a series.
type symbolTable struct {
	slots []uint64 // number << 32 | place, 0 where there is none; a power of two of them, at most half of which are taken
	texts []string // by place, of which 0 is none
}

const (
	// maxSymbols bounds the symbols that a reader remembers between batches.
	maxSymbols = 64 << 10
	// firstSlots is how many slots there are at first.
	firstSlots = 1 << 10
)

// reset forgets all symbols.
func (t *symbolTable) reset() {
	clear(t.slots)
	clear(t.texts)
	t.texts = t.texts[:0]
}

// place is where the text of a symbol is or, if it is new, has to be put.
func (t *symbolTable) place(number uint32) (place uint32, isNew bool) {
	if 2*len(t.texts) >= len(t.slots) {
		t.grow()
	}
	s := t.slot(number)
	if *s != 0 {
		return uint32(*s), false
	}
	if len(t.texts) == 0 {
		t.texts = append(t.texts, "")
	}
	place = uint32(len(t.texts))
	t.texts = append(t.texts, "")
	*s = uint64(number)<<32 | uint64(place)
	return place, true
}

// text is that of a symbol that is known.
func (t *symbolTable) text(number uint32) string { return t.texts[uint32(*t.slot(number))] }

// slot is that of the symbol, or the free one that it would have.
func (t *symbolTable) slot(number uint32) *uint64 {
	mask := uint64(len(t.slots) - 1)
	for i := uint64(number) * 0x9e3779b97f4a7c15 >> 32 & mask; ; i = (i + 1) & mask {
		if s := t.slots[i]; s == 0 || uint32(s>>32) == number {
			return &t.slots[i]
		}
	}
}

func (t *symbolTable) grow() {
	old := t.slots
	t.slots = make([]uint64, max(2*len(old), firstSlots))
	for _, s := range old {
		if s != 0 {
			*t.slot(uint32(s >> 32)) = s
		}
	}
}

// want notes a symbol for readSymbols if it isn't known, and gives its place.
func (r *reader) want(number uint32) uint32 {
	place, isNew := r.symbols.place(number)
	if isNew {
		r.missing = append(r.missing, uint64(number)<<32|uint64(place))
	}
	return place
}

// textAt is where the text of a place is among bytes.
type textAt struct {
	place    uint32
	off, end int
}

// readSymbols reads the symbols that are wanted and not known yet. After an error none is known.
func (r *reader) readSymbols() error {
	err := r.readTexts(r.missing)
	r.missing = r.missing[:0]
	if err != nil {
		r.symbols.reset()
	}
	return err
}

func (r *reader) readTexts(missing []uint64) error {
	h := r.b.header
	slices.Sort(missing)
	spans := r.spans[:0]
	groups := r.numbers[:0]
	for _, m := range missing {
		n := uint32(m >> 32)
		if n >= h.numSymbols {
			return r.b.corrupt(IndexName, int64(h.toc.symbols), "symbol %d of %d", n, h.numSymbols)
		}
		g := int(n / groupSize)
		if len(groups) == 0 || groups[len(groups)-1] != g {
			groups = append(groups, g)
			spans = append(spans, span{int64(h.symbols[g].off), int64(h.symbolEnd(g))})
		}
	}
	r.spans, r.numbers = spans, groups
	r.bytes, r.found = r.bytes[:0], r.found[:0]
	err := r.passing().each(spans, func(i int, b []byte) (err error) {
		missing, err = r.readGroup(groups[i], spans[i], b, missing)
		return err
	})
	if err != nil {
		return err
	}
	all := string(r.bytes)
	for _, t := range r.found {
		r.symbols.texts[t.place] = all[t.off:t.end]
	}
	return nil
}

// readGroup reads what is wanted of a group of symbols, and gives the rest.
func (r *reader) readGroup(g int, at span, b []byte, missing []uint64) ([]uint64, error) {
	n := at.end - at.off
	if int64(len(b)) < n {
		return missing, errShort{n}
	}
	if checksum(b[:n]) != r.b.header.symbols[g].crc {
		return missing, r.b.corrupt(IndexName, at.off, "bad checksum of symbols")
	}
	c := cursor{b: b[:n]}
	for k := uint32(g) * groupSize; len(missing) > 0 && uint32(missing[0]>>32)/groupSize == uint32(g); k++ {
		s := c.str()
		if c.bad {
			return missing, r.b.corrupt(IndexName, at.off, "malformed symbols")
		}
		if k == uint32(missing[0]>>32) {
			off := len(r.bytes)
			r.bytes = append(r.bytes, s...)
			r.found = append(r.found, textAt{uint32(missing[0]), off, len(r.bytes)})
			missing = missing[1:]
		}
	}
	return missing, nil
}

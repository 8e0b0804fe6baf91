package head

// A histogram chunk begins with its layout, as tsdb/docs/format/chunks.md in github.com/prometheus/prometheus
// says: a byte for the zero threshold, or 255 and 8 bytes; the schema; the positive spans, then the negative
// ones: their number, and of each length and offset. Numbers are varbits.

const histogramHeader = 3 // bytes: the number of samples, and flags

// saneLayout tells whether a histogram chunk names no more buckets than its first sample can have in its bytes. A reader
// allocates what the layout names before it looks.
func saneLayout(chunk []byte) bool {
	r := bitReader{p: chunk, at: 8 * histogramHeader}
	if int(chunk[0])<<8|int(chunk[1]) == 0 {
		return true // nothing is read of an empty chunk
	}
	if r.read(8) == 255 {
		r.read(64)
	}
	r.varbit()
	buckets := uint64(0)
	for range 2 {
		for n := r.varbit(); n > 0 && !r.over; n-- {
			buckets += uint64(uint32(r.varbit()))
			r.varbit()
		}
	}
	return !r.over && buckets <= uint64(8*len(chunk)-r.at)
}

// bitReader reads bits, the highest of each byte first.
type bitReader struct {
	p    []byte
	at   int
	over bool // more was read than there is; all is 0 then
}

// read reads at most 64 bits.
func (r *bitReader) read(n int) (v uint64) {
	if r.over || n > 8*len(r.p)-r.at {
		r.over = true
		return 0
	}
	for ; n > 0; n-- {
		v = v<<1 | uint64(r.p[r.at/8]>>(7-r.at%8)&1)
		r.at++
	}
	return v
}

// varbit reads a number of up to 64 bits: how many ones come before a zero, at most 8, says how many bits it has.
func (r *bitReader) varbit() uint64 {
	sizes := [...]int{0, 3, 6, 9, 12, 18, 25, 56, 64}
	ones := 0
	for ones < len(sizes)-1 && r.read(1) == 1 {
		ones++
	}
	return r.read(sizes[ones])
}

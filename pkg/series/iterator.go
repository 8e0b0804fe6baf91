package series

import (
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// NewIterator iterates over the samples of all chunks in the order of time, no time twice; of several samples of
// one time the winner stays (see Wins and CompareHistograms). The chunks may overlap; each must hold its data, and
// none of its samples may be outside its MinTime and MaxTime.
//
// A histogram's counter-reset hint compares it with the sample before it in its chunk. Where the sample before it
// in this iterator is another one, the hint is UnknownCounterReset instead; gauges stay gauges.
//
// reuse may be an iterator that NewIterator made and that is done with. No sample costs an allocation.
func NewIterator(chks []chunks.Meta, reuse chunkenc.Iterator) chunkenc.Iterator {
	it, ok := reuse.(*iterator)
	if !ok {
		it = &iterator{}
	}
	it.reset(chks)
	return it
}

type iterator struct {
	unread []chunks.Meta // in the order of MinTime
	active []*cursor     // chunks that are being read, each standing on a sample
	free   []*cursor
	cur    *cursor // where the current sample is; nil before the first and after the last
	last   *cursor // where the sample before it was, if it was the one before in that chunk too
	t      int64   // of the current sample
	past   int64   // the greatest MaxTime of the chunks that are read to their end, or passed over
	err    error
	tie    tie
}

// cursor stands on a sample of one chunk.
type cursor struct {
	it       chunkenc.Iterator
	kind     chunkenc.ValueType
	t        int64
	min, max int64 // of the chunk
}

func (it *iterator) reset(chks []chunks.Meta) {
	it.free = append(it.free, it.active...)
	if !slices.IsSortedFunc(chks, compareTimes) {
		chks = slices.Clone(chks)
		slices.SortFunc(chks, compareTimes)
	}
	it.unread, it.active = chks, it.active[:0]
	it.cur, it.last, it.t, it.past, it.err = nil, nil, math.MinInt64, math.MinInt64, nil
}

// Next is called for every sample; as long as one chunk alone is due, it only steps through that chunk.
func (it *iterator) Next() chunkenc.ValueType {
	if it.err != nil {
		return chunkenc.ValNone
	}
	it.last = it.cur
	if c := it.cur; c != nil && len(it.active) == 1 {
		if kind := c.it.Next(); kind != chunkenc.ValNone {
			c.kind, c.t = kind, c.it.AtT()
			if len(it.unread) == 0 || c.t < it.unread[0].MinTime {
				it.t = c.t
				return kind
			}
		} else if !it.drop(0) {
			return chunkenc.ValNone
		}
		return it.settle()
	}
	if it.cur != nil && !it.step() {
		return chunkenc.ValNone
	}
	return it.settle()
}

// step moves every cursor off the current time.
func (it *iterator) step() bool {
	for i := len(it.active) - 1; i >= 0; i-- {
		c := it.active[i]
		if c.t > it.t {
			continue
		}
		if c.kind = c.it.Next(); c.kind != chunkenc.ValNone {
			c.t = c.it.AtT()
		} else if !it.drop(i) {
			return false
		}
	}
	return true
}

// Seek keeps to chunkenc.Iterator: a current sample at or after t stays the current one.
func (it *iterator) Seek(t int64) chunkenc.ValueType {
	if it.err != nil {
		return chunkenc.ValNone
	}
	if it.cur != nil && it.t >= t {
		return it.cur.kind
	}
	it.last = it.cur
	for i := len(it.active) - 1; i >= 0; i-- {
		c := it.active[i]
		if c.kind = c.it.Seek(t); c.kind != chunkenc.ValNone {
			c.t = c.it.AtT()
		} else if !it.drop(i) {
			return chunkenc.ValNone
		}
	}
	for len(it.unread) > 0 && it.unread[0].MinTime < t {
		if !it.open(t) {
			return chunkenc.ValNone
		}
	}
	kind := it.settle()
	if c := it.cur; c != nil && len(it.active) == 1 && c.min < c.t && it.past < c.min {
		it.last = c // the sample before it is in the same chunk, although it was passed over
	}
	return kind
}

// settle opens the chunks that are due and chooses the current sample.
func (it *iterator) settle() chunkenc.ValueType {
	for len(it.unread) > 0 && (len(it.active) == 0 || it.unread[0].MinTime <= it.earliest()) {
		if !it.open(math.MinInt64) {
			return chunkenc.ValNone
		}
	}
	if len(it.active) == 0 {
		it.cur = nil
		return chunkenc.ValNone
	}
	it.t = it.earliest()
	it.cur = it.choose()
	return it.cur.kind
}

func (it *iterator) earliest() int64 {
	t := it.active[0].t
	for _, c := range it.active[1:] {
		t = min(t, c.t)
	}
	return t
}

// choose is the winner among the cursors at the current time. Where two say the same, the chunk that the sample
// before came from is preferred: its counter-reset hints stay good.
func (it *iterator) choose() *cursor {
	var best *cursor
	for _, c := range it.active {
		switch {
		case c.t != it.t:
		case best == nil:
			best = c
		default:
			if d := it.tie.compare(c, best); d > 0 || d == 0 && c == it.last {
				best = c
			}
		}
	}
	return best
}

// open begins to read the next chunk, at its first sample at or after t.
func (it *iterator) open(t int64) bool {
	m := it.unread[0]
	it.unread = it.unread[1:]
	if m.MaxTime < t {
		it.past = max(it.past, m.MaxTime)
		return true
	}
	c := it.cursor()
	c.min, c.max = m.MinTime, m.MaxTime
	c.it = m.Chunk.Iterator(c.it)
	it.active = append(it.active, c)
	if t == math.MinInt64 {
		c.kind = c.it.Next()
	} else {
		c.kind = c.it.Seek(t)
	}
	if c.kind == chunkenc.ValNone {
		return it.drop(len(it.active) - 1)
	}
	c.t = c.it.AtT()
	return true
}

// drop lets an exhausted cursor go; false if an error exhausted it.
func (it *iterator) drop(i int) bool {
	c := it.active[i]
	if c == it.last {
		it.last = nil
	}
	it.past = max(it.past, c.max)
	it.free = append(it.free, c)
	it.active = slices.Delete(it.active, i, i+1)
	if err := c.it.Err(); err != nil {
		it.err, it.cur = err, nil
		return false
	}
	return true
}

func (it *iterator) cursor() *cursor {
	n := len(it.free)
	if n == 0 {
		return &cursor{}
	}
	c := it.free[n-1]
	it.free = it.free[:n-1]
	return c
}

// consecutive tells whether the current sample and the one before are neighbours in one chunk.
func (it *iterator) consecutive() bool { return it.last == it.cur }

func (it *iterator) At() (int64, float64) { return it.cur.it.At() }
func (it *iterator) AtT() int64           { return it.t }
func (it *iterator) AtST() int64          { return it.cur.it.AtST() }
func (it *iterator) Err() error           { return it.err }

func (it *iterator) AtHistogram(h *histogram.Histogram) (int64, *histogram.Histogram) {
	t, h := it.cur.it.AtHistogram(h)
	if !it.consecutive() && h.CounterResetHint != histogram.GaugeType {
		h.CounterResetHint = histogram.UnknownCounterReset
	}
	return t, h
}

func (it *iterator) AtFloatHistogram(h *histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	t, h := it.cur.it.AtFloatHistogram(h)
	if !it.consecutive() && h.CounterResetHint != histogram.GaugeType {
		h.CounterResetHint = histogram.UnknownCounterReset
	}
	return t, h
}

// tie decides between samples of one time; it keeps the histograms that it decodes for that.
type tie struct {
	ints   [2]*histogram.Histogram
	floats [2]*histogram.FloatHistogram
}

func (d *tie) compare(a, b *cursor) int {
	if a.kind == chunkenc.ValFloat && b.kind == chunkenc.ValFloat {
		return compareFloats(a, b)
	}
	if ra, rb := d.rank(0, a), d.rank(1, b); ra != rb {
		return ra - rb
	}
	switch a.kind {
	case chunkenc.ValHistogram:
		return CompareHistograms(d.ints[0], d.ints[1])
	case chunkenc.ValFloatHistogram:
		return CompareFloatHistograms(d.floats[0], d.floats[1])
	}
	return 0
}

func compareFloats(a, b *cursor) int {
	_, av := a.it.At()
	_, bv := b.it.At()
	switch {
	case Wins(av, bv):
		return 1
	case Wins(bv, av):
		return -1
	}
	return 0
}

// rank decodes the cursor's sample into slot i and ranks it.
func (d *tie) rank(i int, c *cursor) int {
	switch c.kind {
	case chunkenc.ValHistogram:
		if d.ints[i] == nil {
			d.ints[i] = &histogram.Histogram{}
		}
		_, d.ints[i] = c.it.AtHistogram(d.ints[i])
		return rank(c.kind, d.ints[i].Sum)
	case chunkenc.ValFloatHistogram:
		if d.floats[i] == nil {
			d.floats[i] = &histogram.FloatHistogram{}
		}
		_, d.floats[i] = c.it.AtFloatHistogram(d.floats[i])
		return rank(c.kind, d.floats[i].Sum)
	}
	_, v := c.it.At()
	return rank(c.kind, v)
}

package head

import (
	"encoding/binary"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
)

// The labels of some series are written together, so that each label stands there once:
//
//	series  uvarint number of labels, label ...
//	label   uvarint 0, name, value: a label that didn't come before; or k, the k-th of those, from 1 on
//	name    uvarint length, text; so is a value

// AppendSeries appends to dst what RestoreSeries reads: the labels of as many of the series, from first on, as fit, until dst has
// about size bytes. It says how many these are, at least one if there is one. All are the head's.
func (h *Head) AppendSeries(dst []byte, all List, first, size int) (_ []byte, n int) {
	pairs := h.index.allPairs()
	known, made := make([]uint32, len(pairs)), uint32(0)
	for n = 0; first+n < all.n && (n == 0 || len(dst) < size); n++ {
		numbers := all.At(first + n).numbers()
		dst = binary.AppendUvarint(dst, uint64(len(numbers)))
		for _, k := range numbers {
			dst = binary.AppendUvarint(dst, uint64(known[k]))
			if known[k] == 0 {
				made++
				known[k] = made
				dst = appendString(appendString(dst, pairs[k].Name), pairs[k].Value)
			}
		}
	}
	return dst, n
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// RestoreSeries makes the series that AppendSeries wrote, where the head doesn't have them yet, and gives them in that
// order. It reads all of p and keeps nothing of it. The error is ErrCorrupt, ErrSealed or ErrFull.
func (h *Head) RestoreSeries(p []byte) ([]*Series, error) {
	d := decoder{p: p}
	var made []*Series
	var known []uint32
	x := &h.index
	x.mtx.Lock()
	defer x.mtx.Unlock()
	for len(d.p) > 0 {
		n := d.uvarint()
		if err := x.room(h, int(min(n, uint64(len(d.p))))); err != nil {
			return nil, err
		}
		x.at = x.at[:0]
		for ; n > 0 && !d.bad; n-- {
			switch k := d.uvarint(); {
			case k == 0:
				known = append(known, d.pair(x))
				x.at = append(x.at, known[len(known)-1])
			case k <= uint64(len(known)):
				x.at = append(x.at, known[k-1])
			default:
				d.bad = true
			}
		}
		if d.bad {
			break
		}
		hash := x.hash()
		s := x.find(hash)
		if s == nil {
			s = x.add(h, hash)
		}
		made = append(made, s)
	}
	_, err := d.rest("labels")
	return made, err
}

// pair reads a label, and finds or makes its pair. It gives the pair's number.
func (d *decoder) pair(x *postings) uint32 {
	l := labels.Label{Name: d.text(), Value: d.text()}
	var at place
	if !d.bad && !at.locate(x, &l) {
		at.make(x, &l, strings.Clone)
	}
	return at.pair - 1
}

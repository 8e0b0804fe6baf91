package cube

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/parquet-go/parquet-go"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/money"
)

// codes are a column's values, numbered: they are compared and kept by number.
type codes struct {
	rows   []uint32 // the number of each row; nil if all have the first value
	texts  []string // the values
	ints   []int64
	labels []cost.Labels
	breaks []uint64 // a bit for each row whose number is another one than that of the row before
}

// of is the number of a row's value.
func (c *codes) of(row int32) uint32 {
	if c.rows == nil {
		return 0
	}
	return c.rows[row]
}

func (c *codes) values() int { return max(len(c.texts), len(c.ints), len(c.labels)) }

// begin empties c, keeps what was allocated, and makes room for so many rows, as far as they are likely to be there.
func (c *codes) begin(rows int) {
	rows = min(rows, 2*groupLimit)
	*c = codes{slices.Grow(c.rows[:0], rows), c.texts[:0], c.ints[:0], c.labels[:0], slices.Grow(c.breaks[:0], rows/64+1)}
}

// add appends the number of the next row.
func (c *codes) add(code uint32) {
	row := len(c.rows)
	if row%64 == 0 {
		c.breaks = append(c.breaks, 0)
	}
	if row == 0 || c.rows[row-1] != code {
		c.breaks[row/64] |= 1 << (row % 64)
	}
	c.rows = append(c.rows, code)
}

// read reads so many rows of a column of texts, integers or booleans.
func (c *codes) read(l *leaf, rows int) error {
	c.begin(rows)
	if l.kind == parquet.Boolean {
		c.ints = append(c.ints, 0, 1)
	}
	base := uint32(0) // of the dictionary's values
	for left := rows; left > 0; {
		before := l.known
		from, n, err := l.run(left)
		if err != nil {
			return err
		}
		if l.index != nil && l.known != before {
			base = uint32(c.values())
			c.texts, c.ints = append(c.texts, l.texts...), append(c.ints, l.ints...)
		}
		switch {
		case l.index != nil:
			for _, k := range l.index[from : from+n] {
				c.add(base + uint32(k))
			}
		case l.kind == parquet.Boolean:
			for i := from; i < from+n; i++ {
				c.add(uint32(boolean(l.boolean(i))))
			}
		default:
			c.plain(l, from, n)
		}
		left -= n
	}
	return nil
}

// plain adds values that are in no dictionary: each that is not the one before gets a number.
func (c *codes) plain(l *leaf, from, n int) {
	for i := from; i < from+n; i++ {
		last := c.values() - 1
		if l.kind == parquet.ByteArray {
			if last < 0 || c.texts[last] != l.texts[i] {
				c.texts = append(c.texts, l.texts[i])
			}
		} else if last < 0 || c.ints[last] != l.ints[i] {
			c.ints = append(c.ints, l.ints[i])
		}
		c.add(uint32(c.values() - 1))
	}
}

// readPairs reads so many rows of labels: a leaf of names, one of values.
func (c *codes) readPairs(leaves []*leaf, rows int) error {
	c.begin(rows)
	numbers := map[string]uint32{}
	var known [2]parquet.Dictionary
	var key, last []byte
	for range rows {
		name, n, err := leaves[0].list()
		if err != nil {
			return err
		}
		value, m, err := leaves[1].list()
		if err != nil {
			return err
		}
		if n != m {
			return damaged("the halves of a list have %d and %d elements", n, m)
		}
		if now := [2]parquet.Dictionary{leaves[0].known, leaves[1].known}; now != known || len(c.rows) == 0 {
			clear(numbers) // keys are places in dictionaries
			known, last = now, nil
		}
		key = appendPairs(append(key[:0], 0), leaves, name, value, n)
		if bytes.Equal(key, last) {
			c.add(c.rows[len(c.rows)-1])
			continue
		}
		number, ok := numbers[string(key)]
		if !ok {
			number = uint32(len(c.labels))
			numbers[string(key)] = number
			c.labels = append(c.labels, sharedLabels(nil, leaves, name, value, n))
		}
		c.add(number)
		key, last = last, key
	}
	return nil
}

// appendPairs appends what tells apart those of n pairs that are asked for: the places of a name and a value in their dictionaries, or
// themselves if there is none.
func appendPairs(b []byte, leaves []*leaf, name, value, n int) []byte {
	names, values := leaves[0], leaves[1]
	for i := range n {
		switch {
		case !names.asks(name + i):
		case names.index != nil && values.index != nil:
			b = binary.LittleEndian.AppendUint32(b, uint32(names.index[name+i]))
			b = binary.LittleEndian.AppendUint32(b, uint32(values.index[value+i]))
		default:
			b = appendText(appendText(b, names.text(name+i)), values.text(value+i))
		}
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// sums adds up the numbers of each item. What it gives may be in what was allocated for into.
func (l *leaf) sums(into []money.Quantity, r *runs) ([]money.Quantity, error) {
	sums := slices.Grow(into[:0], len(r.items))[:len(r.items)]
	clear(sums)
	row, all := int32(0), int64(0)
	for run := 0; run < len(r.itemOf); {
		from, n, err := l.run(int(r.starts[len(r.itemOf)] - row))
		if err != nil {
			return nil, err
		}
		if l.index != nil {
			return nil, damaged("a quantity in a dictionary")
		}
		for numbers := l.ints[from : from+n]; len(numbers) > 0; {
			k := min(len(numbers), int(r.starts[run+1]-row))
			all |= addAll(&sums[r.itemOf[run]], numbers[:k])
			numbers = numbers[k:]
			if row += int32(k); row == r.starts[run+1] {
				run++
			}
		}
	}
	if all < 0 {
		return nil, damaged("a negative quantity")
	}
	return sums, nil
}

// addAll adds numbers; what it returns is negative if any of them is.
func addAll(sum *money.Quantity, numbers []int64) (all int64) {
	hi, lo := sum.Hi, sum.Lo
	for _, n := range numbers {
		var carry uint64
		lo, carry = bits.Add64(lo, uint64(n), 0)
		hi += carry
		all |= n
	}
	sum.Hi, sum.Lo = hi, lo
	return all
}

package cube

import (
	"cmp"
	"slices"

	"github.com/parquet-go/parquet-go"

	"github.com/varve-io/varve/pkg/cost"
)

// column is one column of the rows R: where it is in a row and how it is stored.
type column[R any] struct {
	name    string
	node    parquet.Node
	leaves  int // Parquet columns that it consists of
	compare func(a, b *R) int
	// put appends a row's values to those of each leaf.
	put func(leaves [][]parquet.Value, row *R, period int64)
	// read fills the column of rows from the leaves.
	read func(rows []R, leaves []*leaf) error
	// set fills the column of one row with one of the values: of columns that roll-ups are told apart by.
	set func(row *R, values *codes, code uint32)
	// number is a column of quantities, which are added up; labels one of labels.
	number, labels bool
}

// text is a column of strings that repeat: a dictionary.
func text[R any, S ~string](name string, at func(*R) *S) column[R] {
	return column[R]{
		name: name, leaves: 1, node: parquet.Encoded(parquet.String(), &parquet.RLEDictionary),
		compare: func(a, b *R) int { return cmp.Compare(*at(a), *at(b)) },
		put: func(leaves [][]parquet.Value, row *R, _ int64) {
			leaves[0] = append(leaves[0], parquet.ByteArrayValue([]byte(*at(row))))
		},
		set: func(row *R, values *codes, code uint32) { *at(row) = S(values.texts[code]) },
		read: func(rows []R, leaves []*leaf) error {
			l := leaves[0]
			for len(rows) > 0 {
				from, n, err := l.run(len(rows))
				if err != nil {
					return err
				}
				if l.index == nil {
					for i, v := range l.texts[from : from+n] {
						*at(&rows[i]) = S(v)
					}
				} else {
					for i, k := range l.index[from : from+n] {
						*at(&rows[i]) = S(l.texts[k])
					}
				}
				rows = rows[n:]
			}
			return nil
		},
	}
}

// integer is a column of integers with a node of its own.
func integer[R any](name string, node parquet.Node, at func(*R) *int64) column[R] {
	return column[R]{
		name: name, leaves: 1, node: node,
		compare: func(a, b *R) int { return cmp.Compare(*at(a), *at(b)) },
		put: func(leaves [][]parquet.Value, row *R, _ int64) {
			leaves[0] = append(leaves[0], parquet.Int64Value(*at(row)))
		},
		set: func(row *R, values *codes, code uint32) { *at(row) = values.ints[code] },
		read: func(rows []R, leaves []*leaf) error {
			l := leaves[0]
			for len(rows) > 0 {
				from, n, err := l.run(len(rows))
				if err != nil {
					return err
				}
				if l.index == nil {
					for i, v := range l.ints[from : from+n] {
						*at(&rows[i]) = v
					}
				} else {
					for i, k := range l.index[from : from+n] {
						*at(&rows[i]) = l.ints[k]
					}
				}
				rows = rows[n:]
			}
			return nil
		},
	}
}

// number is a quantity that is another one in nearly every row: differences.
func number[R any](name string, at func(*R) *int64) column[R] {
	c := integer(name, parquet.Encoded(parquet.Int(64), &parquet.DeltaBinaryPacked), at)
	c.number = true
	return c
}

// level is a quantity that many rows share, like a request over a whole hour: a dictionary.
func level[R any](name string, at func(*R) *int64) column[R] {
	return integer(name, parquet.Encoded(parquet.Int(64), &parquet.RLEDictionary), at)
}

// instant is a point in time.
func instant[R any](name string, at func(*R) *int64) column[R] {
	return integer(name, timestamp(), at)
}

func timestamp() parquet.Node {
	return parquet.Encoded(parquet.Timestamp(parquet.Millisecond), &parquet.RLEDictionary)
}

// period is the start of the hour, day or month that the row is of. Readers know it from the file's description.
func period[R any](name string) column[R] {
	return column[R]{
		name: name, leaves: 1, node: timestamp(),
		compare: func(_, _ *R) int { return 0 },
		put: func(leaves [][]parquet.Value, _ *R, period int64) {
			leaves[0] = append(leaves[0], parquet.Int64Value(period))
		},
	}
}

// flag is a boolean.
func flag[R any](name string, at func(*R) *bool) column[R] {
	return column[R]{
		name: name, leaves: 1, node: parquet.Leaf(parquet.BooleanType),
		compare: func(a, b *R) int { return boolean(*at(a)) - boolean(*at(b)) },
		put: func(leaves [][]parquet.Value, row *R, _ int64) {
			leaves[0] = append(leaves[0], parquet.BooleanValue(*at(row)))
		},
		set: func(row *R, values *codes, code uint32) { *at(row) = values.ints[code] != 0 },
		read: func(rows []R, leaves []*leaf) error {
			for i := range rows {
				from, _, err := leaves[0].run(1)
				if err != nil {
					return err
				}
				*at(&rows[i]) = leaves[0].boolean(from)
			}
			return nil
		},
	}
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}

// labels is a map of strings.
func labels[R any](name string, at func(*R) *cost.Labels) column[R] {
	return column[R]{
		name: name, leaves: 2, labels: true,
		node: parquet.Map(dictionary(parquet.String()), dictionary(parquet.String())),
		compare: func(a, b *R) int {
			return slices.CompareFunc(*at(a), *at(b), func(x, y cost.Label) int {
				return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.Value, y.Value))
			})
		},
		put: func(leaves [][]parquet.Value, row *R, _ int64) {
			putList(leaves, len(*at(row)), func(i int) (parquet.Value, parquet.Value) {
				l := (*at(row))[i]
				return parquet.ByteArrayValue([]byte(l.Name)), parquet.ByteArrayValue([]byte(l.Value))
			})
		},
		set: func(row *R, values *codes, code uint32) { *at(row) = values.labels[code] },
		read: func(rows []R, leaves []*leaf) error {
			var last cost.Labels
			return readLists(len(rows), leaves, func(i, name, value, n int) {
				last = sharedLabels(last, leaves, name, value, n)
				*at(&rows[i]) = last
			})
		},
	}
}

// sharedLabels are those that are asked for of n labels whose names and values begin there: last, if they are the same.
func sharedLabels(last cost.Labels, leaves []*leaf, name, value, n int) cost.Labels {
	asked, same := 0, true
	for i := range n {
		if leaves[0].asks(name + i) {
			same = same && asked < len(last) && last[asked] == cost.Label{Name: leaves[0].text(name + i), Value: leaves[1].text(value + i)}
			asked++
		}
	}
	if same && asked == len(last) {
		return last
	}
	if asked == 0 {
		return nil
	}
	out := make(cost.Labels, 0, asked)
	for i := range n {
		if leaves[0].asks(name + i) {
			out = append(out, cost.Label{Name: leaves[0].text(name + i), Value: leaves[1].text(value + i)})
		}
	}
	return out
}

// sketch is a list of buckets.
func sketch[R any](name string, at func(*R) *cost.Sketch) column[R] {
	bucket := cost.Columns{
		{Name: "index", Node: dictionary(parquet.Int(32))},
		{Name: "millis", Node: dictionary(parquet.Int(64))},
	}
	return column[R]{
		name: name, leaves: 2, node: parquet.List(bucket.Node()),
		compare: func(a, b *R) int {
			return slices.CompareFunc(*at(a), *at(b), func(x, y cost.Bucket) int {
				return cmp.Or(cmp.Compare(x.Index, y.Index), cmp.Compare(x.Millis, y.Millis))
			})
		},
		put: func(leaves [][]parquet.Value, row *R, _ int64) {
			putList(leaves, len(*at(row)), func(i int) (parquet.Value, parquet.Value) {
				b := (*at(row))[i]
				return parquet.Int32Value(b.Index), parquet.Int64Value(b.Millis)
			})
		},
		read: func(rows []R, leaves []*leaf) error {
			return readLists(len(rows), leaves, func(i, index, millis, n int) {
				var s cost.Sketch
				if n > 0 {
					s = make(cost.Sketch, n)
				}
				for k := range s {
					s[k] = cost.Bucket{Index: int32(leaves[0].integer(index + k)), Millis: leaves[1].integer(millis + k)}
				}
				*at(&rows[i]) = s
			})
		},
	}
}

// putList appends a list of n pairs to two leaves: an empty one is a slot without a value.
func putList(leaves [][]parquet.Value, n int, pair func(int) (parquet.Value, parquet.Value)) {
	if n == 0 {
		for i := range leaves {
			leaves[i] = append(leaves[i], parquet.Value{}.Level(0, 0, 0))
		}
	}
	for i := range n {
		a, b := pair(i)
		leaves[0] = append(leaves[0], a.Level(min(i, 1), 1, 0))
		leaves[1] = append(leaves[1], b.Level(min(i, 1), 1, 0))
	}
}

// readLists calls each with where the elements of every row's list begin in the two leaves, and how many there are.
func readLists(rows int, leaves []*leaf, each func(row, first, second, n int)) error {
	for i := range rows {
		first, n, err := leaves[0].list()
		if err != nil {
			return err
		}
		second, m, err := leaves[1].list()
		if err != nil {
			return err
		}
		if n != m {
			return damaged("the halves of a list have %d and %d elements", n, m)
		}
		each(i, first, second, n)
	}
	return nil
}

func dictionary(n parquet.Node) parquet.Node {
	return parquet.Encoded(n, &parquet.RLEDictionary)
}

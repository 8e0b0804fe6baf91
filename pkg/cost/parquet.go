package cost

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/varve-io/varve/pkg/cost/money"
)

const (
	// ParquetKey is where the metadata of a Parquet file tell of the answer that its rows are of, as JSON.
	ParquetKey = "varve.cost.answer"
	// parquetBatch is how many rows are encoded at once, parquetGroup how many a row group has at most.
	parquetBatch = 1 << 10
	parquetGroup = 1 << 17
)

// writeParquet writes texts as strings, times as UTC milliseconds, money as DECIMAL(38, 9), quantities as DECIMAL(38, 0) and estimates as doubles. The same sheet
// gives the same bytes.
func (s *sheet) writeParquet(w io.Writer) error {
	about, err := json.Marshal(s.about)
	if err != nil {
		return err
	}
	var columns Columns
	for _, c := range s.columns {
		node := c.of.node()
		if c.optional {
			node = parquet.Optional(node)
		}
		columns = append(columns, Column{c.name, node})
	}
	out := parquet.NewWriter(w, parquet.NewSchema("cost", columns.Node()), parquet.Compression(&zstd.Codec{}), parquet.DataPageVersion(1),
		parquet.CreatedBy("varve", "1", "cost"), parquet.KeyValueMetadata(ParquetKey, string(about)))
	e := &parquetRows{sheet: s, out: out, values: make([][]parquet.Value, len(s.columns))}
	for from := 0; from < s.rows; from += parquetBatch {
		if err := e.write(from, min(from+parquetBatch, s.rows)); err != nil {
			return err
		}
		if (from+parquetBatch)%parquetGroup == 0 {
			if err := out.Flush(); err != nil {
				return err
			}
		}
	}
	return out.Close()
}

func (t cellType) node() parquet.Node {
	switch t {
	case textCell:
		return parquet.Encoded(parquet.String(), &parquet.RLEDictionary)
	case timeCell:
		return parquet.Encoded(parquet.Timestamp(parquet.Millisecond), &parquet.RLEDictionary)
	case flagCell:
		return parquet.Leaf(parquet.BooleanType)
	case floatCell:
		return parquet.Leaf(parquet.DoubleType)
	case moneyCell:
		return parquet.Decimal(9, 38, parquet.FixedLenByteArrayType(16))
	}
	return parquet.Decimal(0, 38, parquet.FixedLenByteArrayType(16))
}

// parquetRows encodes rows of a sheet, batch by batch.
type parquetRows struct {
	*sheet
	out      *parquet.Writer
	cells    []sheetCell
	values   [][]parquet.Value // of a batch, by column
	decimals []byte            // to which they point
}

func (e *parquetRows) write(from, to int) error {
	e.decimals = slices.Grow(e.decimals[:0], (to-from)*len(e.columns)*16)
	for i := range e.values {
		e.values[i] = e.values[i][:0]
	}
	for row := from; row < to; row++ {
		e.cells = e.row(row, e.cells[:0])
		for i := range e.cells {
			v, err := e.value(e.columns[i].of, &e.cells[i])
			if err != nil {
				return fmt.Errorf("parquet: column %s: %w", e.columns[i].name, err)
			}
			if e.cells[i].empty {
				v = parquet.NullValue()
			} else if e.columns[i].optional {
				v = v.Level(0, 1, i)
			}
			e.values[i] = append(e.values[i], v)
		}
	}
	for i, column := range e.out.ColumnWriters() {
		if _, err := column.WriteRowValues(e.values[i]); err != nil {
			return err
		}
	}
	return nil
}

func (e *parquetRows) value(of cellType, c *sheetCell) (parquet.Value, error) {
	switch of {
	case textCell:
		return parquet.ByteArrayValue([]byte(c.text)), nil
	case timeCell:
		return parquet.Int64Value(int64(c.number.Lo)), nil
	case flagCell:
		return parquet.BooleanValue(!c.number.IsZero()), nil
	case floatCell:
		return parquet.DoubleValue(math.Float64frombits(c.number.Lo)), nil
	}
	if !c.number.Less(money.Quantity{Hi: 0x4b3b4ca85a86c47a, Lo: 0x098a224000000000}) { // 10^38
		return parquet.Value{}, fmt.Errorf("%s has more than 38 digits", c.number)
	}
	at := len(e.decimals)
	e.decimals = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(e.decimals, c.number.Hi), c.number.Lo)
	return parquet.FixedLenByteArrayValue(e.decimals[at:]), nil
}

// Columns are those of a Parquet file, in their order; the library's own groups are sorted by name.
type Columns []Column

// Column is one of them.
type Column struct {
	Name string
	Node parquet.Node
}

// Node is the group of the columns.
func (c Columns) Node() parquet.Node {
	g := orderedGroup{Group: parquet.Group{}}
	for _, column := range c {
		g.Group[column.Name] = column.Node
		g.names = append(g.names, column.Name)
	}
	return g
}

type orderedGroup struct {
	parquet.Group
	names []string
}

func (g orderedGroup) Fields() []parquet.Field {
	sorted := g.Group.Fields()
	out := make([]parquet.Field, len(g.names))
	for i, name := range g.names {
		at, _ := slices.BinarySearchFunc(sorted, name, func(f parquet.Field, name string) int {
			return cmp.Compare(f.Name(), name)
		})
		out[i] = sorted[at]
	}
	return out
}

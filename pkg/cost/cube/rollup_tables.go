package cube

import (
	"fmt"
	"math"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/money"
)

// Tables of roll-ups, beside Scalings, Scalers and Warnings.
const (
	Items Table = "items" // what the law made of workloads and nodes
	Bill  Table = "bill"  // what is paid for, counted without a look at items
	Lives Table = "lives" // when which node was there
)

// RollUpTables are the tables of a roll-up.
func RollUpTables() []Table { return []Table{Items, Bill, Lives, Scalings, Scalers, Warnings} }

// itemRow is an item with its names.
type itemRow struct {
	Kind       string
	Subject    cost.Subject
	Place      cost.Place
	Quantities [20]int64 // as itemQuantities
	Times      [4]int64  // alive, and usage known of CPU, RAM, GPU
}

func itemQuantities(i *cost.Item) [20]*money.Quantity {
	c, r, g, t := &i.CPU, &i.RAM, &i.GPU, &i.Traffic
	return [...]*money.Quantity{
		&c.Used, &c.Unused, &c.Unknown, &c.Over, &c.Request,
		&r.Used, &r.Unused, &r.Unknown, &r.Over, &r.Request,
		&g.Used, &g.Unused, &g.Unknown, &g.Over, &g.Request,
		&i.Amount, &t.Received, &t.Sent, &t.Read, &t.Written,
	}
}

// billRow is an AssetItem with its names.
type billRow struct {
	Subject    cost.Subject
	Place      cost.Place
	Quantities [17]int64 // as billQuantities
	Times      [2]int64  // up, blind
}

func billQuantities(a *cost.AssetItem) [17]*money.Quantity {
	c, r, g, t := &a.CPU, &a.RAM, &a.GPU, &a.Traffic
	return [...]*money.Quantity{
		&c.Capacity, &c.Allocatable, &c.Blind, &c.Used,
		&r.Capacity, &r.Allocatable, &r.Blind, &r.Used,
		&g.Capacity, &g.Allocatable, &g.Blind, &g.Used,
		&a.Amount, &t.Received, &t.Sent, &t.Read, &t.Written,
	}
}

func subjectColumns[R any](at func(*R) *cost.Subject) []column[R] {
	return []column[R]{
		text("cluster", func(r *R) *string { return &at(r).Cluster }),
		text("namespace", func(r *R) *string { return &at(r).Namespace }),
		text("controller_kind", func(r *R) *string { return &at(r).Controller.Kind }),
		text("controller", func(r *R) *string { return &at(r).Controller.Name }),
		text("container", func(r *R) *string { return &at(r).Container }),
		text("qos", func(r *R) *string { return &at(r).QoS }),
		text("priority", func(r *R) *string { return &at(r).Priority }),
		labels("labels", func(r *R) *cost.Labels { return &at(r).Labels }),
	}
}

func placeColumns[R any](at func(*R) *cost.Place) []column[R] {
	return []column[R]{
		text("class", func(r *R) *cost.ClassKind { return &at(r).Kind }),
		text("class_cluster", func(r *R) *string { return &at(r).Cluster }),
		text("class_type", func(r *R) *string { return &at(r).Type }),
		text("traffic_class", func(r *R) *cost.TrafficClass { return &at(r).Traffic }),
		text("region", func(r *R) *string { return &at(r).Region }),
		text("zone", func(r *R) *string { return &at(r).Zone }),
		flag("spot", func(r *R) *bool { return &at(r).Spot }),
		level("size_cpu_mcore", func(r *R) *int64 { return &at(r).Size.CPU }),
		level("size_ram_bytes", func(r *R) *int64 { return &at(r).Size.RAM }),
		level("size_gpu_mgpu", func(r *R) *int64 { return &at(r).Size.GPU }),
		labels("class_labels", func(r *R) *cost.Labels { return &at(r).Class.Labels }),
	}
}

// numbers are columns of an array's elements; at is where the i-th one is.
func numbers[R any](at func(i int) func(*R) *int64, names ...string) []column[R] {
	var out []column[R]
	for i, name := range names {
		out = append(out, number(name, at(i)))
	}
	return out
}

// kindColumn sorts kinds as reports do.
func kindColumn() column[itemRow] {
	c := text("kind", func(r *itemRow) *string { return &r.Kind })
	c.compare = func(a, b *itemRow) int {
		x, _ := kindOf(a.Kind)
		y, _ := kindOf(b.Kind)
		return int(x) - int(y)
	}
	return c
}

func kindOf(name string) (cost.Kind, error) {
	for k := cost.Workloads; k <= cost.Unattributed; k++ {
		if k.String() == name {
			return k, nil
		}
	}
	return 0, damaged("an item of kind %q", name)
}

func itemTable() *table[itemRow] {
	type row = itemRow
	return newTable(Items,
		[]column[row]{period[row]("period"), kindColumn()},
		subjectColumns(func(r *row) *cost.Subject { return &r.Subject }),
		placeColumns(func(r *row) *cost.Place { return &r.Place }),
		numbers(func(i int) func(*row) *int64 { return func(r *row) *int64 { return &r.Quantities[i] } },
			"cpu_used_core_us", "cpu_unused_core_us", "cpu_usage_unknown_core_us", "cpu_over_core_us", "cpu_request_core_us",
			"ram_used_byte_s", "ram_unused_byte_s", "ram_usage_unknown_byte_s", "ram_over_byte_s", "ram_request_byte_s",
			"gpu_used_gpu_us", "gpu_unused_gpu_us", "gpu_usage_unknown_gpu_us", "gpu_over_gpu_us", "gpu_request_gpu_us",
			"amount", "network_received_bytes", "network_sent_bytes", "disk_read_bytes", "disk_written_bytes"),
		numbers(func(i int) func(*row) *int64 { return func(r *row) *int64 { return &r.Times[i] } }, "alive_ms", "cpu_known_ms", "ram_known_ms", "gpu_known_ms"))
}

func billTable() *table[billRow] {
	type row = billRow
	return newTable(Bill,
		[]column[row]{period[row]("period")},
		subjectColumns(func(r *row) *cost.Subject { return &r.Subject }),
		placeColumns(func(r *row) *cost.Place { return &r.Place }),
		numbers(func(i int) func(*row) *int64 { return func(r *row) *int64 { return &r.Quantities[i] } },
			"cpu_capacity_core_us", "cpu_allocatable_core_us", "cpu_blind_core_us", "cpu_used_core_us",
			"ram_capacity_byte_s", "ram_allocatable_byte_s", "ram_blind_byte_s", "ram_used_byte_s",
			"gpu_capacity_gpu_us", "gpu_allocatable_gpu_us", "gpu_blind_gpu_us", "gpu_used_gpu_us",
			"amount", "network_received_bytes", "network_sent_bytes", "disk_read_bytes", "disk_written_bytes"),
		numbers(func(i int) func(*row) *int64 { return func(r *row) *int64 { return &r.Times[i] } }, "up_ms", "blind_ms"))
}

func lifeTable() *table[cost.NodeLife] {
	type row = cost.NodeLife
	return newTable(Lives, []column[row]{
		period[row]("period"),
		text("cluster", func(r *row) *string { return &r.Cluster }),
		text("node", func(r *row) *string { return &r.Name }),
		text("provider_id", func(r *row) *string { return &r.Provider }),
		instant("start_time", func(r *row) *int64 { return &r.From }),
		instant("end_time", func(r *row) *int64 { return &r.To }),
		text("node_class", func(r *row) *string { return &r.Class }),
	})
}

// Ledgers count in 128 bits. Columns have 64, which every engine reads as numbers and adds up exactly. So a larger quantity is spread over
// several rows of the same names.

// maxSpread bounds the rows that one item is spread over.
const maxSpread = 1 << 10

var errSpread = fmt.Errorf("a quantity takes over %d rows of 64 bits", maxSpread)

// spread moves of each quantity what fits into its number, and tells whether anything is left.
func spread(quantities []*money.Quantity, numbers []int64) (more bool) {
	for i, q := range quantities {
		part := *q
		if limit := money.Units(math.MaxInt64); limit.Less(part) {
			part = limit
		}
		numbers[i] = int64(part.Lo)
		*q = q.Minus(part)
		more = more || !q.IsZero()
	}
	return more
}

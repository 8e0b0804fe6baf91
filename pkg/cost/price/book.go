package price

import "github.com/varve-io/varve/pkg/cost/money"

// Book is a tenant's prices.
type Book struct {
	Currency string
	Lists    []List // by From, ascending
	BuiltIn  bool   // nobody gave this book

	standard *List
	text     []byte
}

// List is the whole book from an hour on.
type List struct {
	From          int64 // milliseconds; a whole UTC hour
	Nodes         []Node
	Volumes       []Flat
	LoadBalancers []Flat
	Network       []Flat
	Overheads     []Overhead
	Discounts     []Discount
}

// Node is a rule for nodes: prices of resources, or of the whole node, which is divided in the ratio of those of its resources.
type Node struct {
	Match                            Match
	CPUCoreHour, RAMGiBHour, GPUHour money.Decimal
	NodeHour                         money.Decimal
	Whole                            bool // NodeHour is given
}

// Flat is a rule with one price: gib_hour of volumes, hour of load balancers, gib of traffic.
type Flat struct {
	Match Match
	Price money.Decimal
}

// Overhead is paid for a cluster: by the hour, or as a part of all else. All that match are added.
type Overhead struct {
	Name        string
	Match       Match
	ClusterHour money.Decimal
	Percent     money.Percent
}

// Discount is a part of the price that is not paid. The first that matches an asset wins.
type Discount struct {
	On      Section // "" is all
	Match   Match
	Percent money.Percent
}

// Section is a part of a list.
type Section string

// Sections.
const (
	Nodes         Section = "nodes"
	Volumes       Section = "volumes"
	LoadBalancers Section = "load_balancers"
	Network       Section = "network"
	Overheads     Section = "overheads"
	Discounts     Section = "discounts"
)

// Text is the book as it was given, for those who ask for it and for a report's hash.
func (b *Book) Text() []byte { return b.text }

// At is the prices at t: of the latest list with from <= t. Before the first, all are built-in.
func (b *Book) At(t int64) Prices {
	p := Prices{standard: b.standard}
	for i := range b.Lists {
		if b.Lists[i].From <= t {
			p.list = &b.Lists[i]
		}
	}
	return p
}

// Constant tells whether one list is in force in all of [from, to), so that a roll-up of that time can be priced.
func (b *Book) Constant(from, to int64) bool { return b.At(from) == b.At(to-1) }

// Prices are what one list says, and what is built in where it says nothing. They are comparable.
type Prices struct{ list, standard *List }

const builtIn = `currency: USD
prices:
- from: 1970-01-01
  nodes:
  - match: {spot: true}
    cpu_core_hour: 0.01
    ram_gib_hour: 0.0013
    gpu_hour: 0.3
  - cpu_core_hour: 0.03
    ram_gib_hour: 0.004
    gpu_hour: 0.95
  volumes:
  - gib_hour: 0.00006
  load_balancers:
  - hour: 0.025
`

// Default is the built-in book: about what clouds ask on demand. It is no tenant's bill, and reports warn of it.
func Default() *Book {
	p := parser{}
	if err := p.read([]byte(builtIn)); err != nil {
		panic("price: the built-in book: " + err.Error())
	}
	return &Book{Currency: p.book.Currency, BuiltIn: true, standard: &p.book.Lists[0], text: []byte(builtIn)}
}

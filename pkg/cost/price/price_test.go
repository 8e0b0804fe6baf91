package price

import (
	"strings"
	"testing"
	"time"

	"github.com/varve-io/varve/pkg/cost/money"
)

const example = `currency: EUR
prices:
- from: 2025-01-01
  nodes:
  - {match: {instance_type: [m5.large, "c5.*"], spot: true}, cpu_core_hour: 0.01, ram_gib_hour: 0.001}
  - {match: {region: "eu-*"}, node_hour: 0.192}
  - {cpu_core_hour: 0.03, ram_gib_hour: 0.004, gpu_hour: 0.95}
  volumes:
  - {match: {class: fast}, gib_hour: 0.0002}
  network:
  - {match: {direction: sent}, gib: 0.09}
  overheads:
  - {name: control plane, cluster_hour: 0.10}
  - {name: support, match: {cluster: prod}, percent: 3}
  discounts:
  - {on: nodes, match: {team: a}, percent: 12.5}
- from: 2025-02-01T05:00:00Z
  nodes:
  - {cpu_core_hour: 0.06, ram_gib_hour: 0.008}
`

type attributes map[string]string

func (a attributes) Attribute(name string) string { return a[name] }

func hourOf(t *testing.T, s string) int64 {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at.UnixMilli()
}

// nodeHour is what one hour of 2 cores and 8 GiB costs.
func nodeHour(p Prices, s attributes) string {
	r := p.Node(s, Size{CPU: 2000, RAM: 8 << 30})
	sum := r.CPU.Of(money.Units(2 * 3_600_000_000))
	sum.Add(r.RAM.Of(money.Units(3600 * 8 << 30)))
	return sum.Round().String()
}

func TestRules(t *testing.T) {
	b, err := Parse([]byte(example))
	if err != nil {
		t.Fatal(err)
	}
	january := b.At(hourOf(t, "2025-01-31T10:00:00Z"))
	for _, c := range []struct {
		name string
		at   string
		of   attributes
		want string
	}{
		{"first rule", "2025-01-01T00:00:00Z", attributes{"instance_type": "c5.xlarge", "spot": "true"}, "0.028"},
		{"all fields must match", "2025-01-01T00:00:00Z", attributes{"instance_type": "c5.xlarge", "spot": "false"}, "0.092"},
		{"a node's total", "2025-01-01T00:00:00Z", attributes{"region": "eu-west-1"}, "0.192"},
		{"discount: 0.092 × 0.875", "2025-01-01T00:00:00Z", attributes{"team": "a"}, "0.0805"},
		{"the hour before", "2025-02-01T04:59:59Z", attributes{}, "0.092"},
		{"the latest list is the whole book", "2025-02-01T05:00:00Z", attributes{"region": "eu-west-1", "team": "a"}, "0.184"},
		{"before the first list: built-in", "2024-12-31T23:59:59Z", attributes{}, "0.092"},
		{"built-in spot", "2024-12-31T23:59:59Z", attributes{"spot": "true"}, "0.0304"},
	} {
		if got := nodeHour(b.At(hourOf(t, c.at)), c.of); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	if r := january.Volume(attributes{"class": "fast"}); r.BuiltIn || r.Amount.Of(money.Units(3600<<30)).Round().String() != "0.0002" {
		t.Errorf("fast volume: %+v", r)
	}
	if r := january.Volume(attributes{"class": "slow"}); !r.BuiltIn || r.Amount.IsZero() {
		t.Errorf("a volume without a rule: %+v", r)
	}
	if got := january.Traffic(attributes{"direction": "sent"}).Of(money.Units(1 << 30)).Round().String(); got != "0.09" {
		t.Errorf("a GiB sent: %s", got)
	}
	if !january.Traffic(attributes{"direction": "received"}).IsZero() {
		t.Error("a byte received has a price")
	}
	rates, percent := january.Cluster(attributes{"cluster": "prod"})
	if got := rates.Amount.Of(money.Units(3_600_000)).Round().String(); got != "0.1" || percent != 30_000 {
		t.Errorf("cluster: %s and %d", got, percent)
	}
	if !b.Constant(hourOf(t, "2025-01-01T00:00:00Z"), hourOf(t, "2025-02-01T05:00:00Z")) || b.Constant(hourOf(t, "2025-02-01T00:00:00Z"), hourOf(t, "2025-02-02T00:00:00Z")) {
		t.Error("Constant")
	}
}

// A node of unknown size still has its total; at rates it can't have a price.
func TestUnknownSize(t *testing.T) {
	b, err := Parse([]byte(example))
	if err != nil {
		t.Fatal(err)
	}
	p := b.At(hourOf(t, "2025-01-01T00:00:00Z"))
	if got := p.Node(attributes{"region": "eu-1"}, Size{}).Amount.Of(money.Units(3_600_000)).Round().String(); got != "0.192" {
		t.Errorf("an hour costs %s", got)
	}
}

func TestJSONIsABook(t *testing.T) {
	b, err := Parse([]byte("{\n\t\"currency\": \"USD\",\n\t\"prices\": [{\"from\": \"2025-01-01\", \"nodes\": [{\"match\": {\"zone\": [\"a\"]}, \"cpu_core_hour\": 0.03}]}]}"))
	if err != nil {
		t.Fatal(err)
	}
	if len(b.Lists) != 1 || b.Lists[0].Nodes[0].CPUCoreHour.String() != "0.03" {
		t.Errorf("%+v", b)
	}
}

func TestErrorsNameTheField(t *testing.T) {
	list := func(s string) string { return "currency: USD\nprices:\n- from: 2025-01-01\n  " + s + "\n" }
	for _, c := range []struct{ book, want string }{
		{"", "empty"},
		{"currency: USD", "prices has no list"},
		{"prices: []\n", "currency is missing"},
		{"currency: dollars\nprices: []", "currency (line 1)"},
		{"currency: USD\nprices: [{nodes: []}]", "prices[0] (line 2): from is missing"},
		{"currency: USD\nprices: [{from: 2025-01-01T00:30:00Z}]", `prices[0].from (line 2): "2025-01-01T00:30:00Z" is not on a whole UTC hour`},
		{"currency: USD\nprices: [{from: 2025-01-01}, {from: 2025-01-01T02:00:00+02:00}]", "two of prices are from 2025-01-01T00:00:00Z"},
		{list("nodes: [{cpu_hour: 1}]"), "prices[0].nodes[0].cpu_hour (line 4): there is no such field"},
		{list("nodes: [{cpu_core_hour: 1e-3}]"), "prices[0].nodes[0].cpu_core_hour (line 4)"},
		{list("nodes: [{cpu_core_hour: -1}]"), "not a decimal number"},
		{list("nodes: [{cpu_core_hour: .nan}]"), "not a decimal number"},
		{list("nodes: [{match: {zone: a}}]"), "none of cpu_core_hour"},
		{list("nodes: [{match: {zone: {}}, node_hour: 1}]"), "prices[0].nodes[0].match.zone (line 4): it must be one value"},
		{list("nodes: [{match: {zone: a, zone: b}, node_hour: 1}]"), "zone"},
		{list("nodes: {}"), "prices[0].nodes (line 4): it must be a list"},
		{list("volumes: [{}]"), "gib_hour is missing"},
		{list("overheads: [{percent: 101}]"), "prices[0].overheads[0].percent"},
		{list("overheads: [{name: x}]"), "one of cluster_hour and percent"},
		{list("discounts: [{on: gpus, percent: 1}]"), `on is "gpus"`},
		{list("nodes: &a [{node_hour: 1}]"), "must be a list"},
		{list("network: [{match: {class: [internet, interent]}, gib: 1}]"), `prices[0].network[0].match.class (line 4): there is no "interent", but internet, cross_region, cross_zone, in_zone, unclassified`},
		{list("network: [{match: {class: 'zone*'}, gib: 1}]"), `there is no "zone*"`},
		{list("network: [{match: {direction: egress}, gib: 1}]"), `prices[0].network[0].match.direction (line 4): there is no "egress", but received, sent`},
		{list("discounts: [{on: network, match: {class: gp3}, percent: 1}]"), `prices[0].discounts[0].match.class (line 4): there is no "gp3"`},
		{list("nodes: [{match: {zone: " + strings.Repeat("z", 300) + "}, node_hour: 1}]"), "300 bytes are more than 256"},
		{strings.Repeat(" ", MaxBytes+1), "more than 1048576"},
		{"currency: USD\nprices: [{from: 2025-01-01, nodes: [" + strings.Repeat("{node_hour: 1},", MaxRules+1) + "]}]", "more than 10000"},
	} {
		if _, err := Parse([]byte(c.book)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.80q: %v, want %q", c.book, err, c.want)
		}
	}
}

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, value string
		want           bool
	}{
		{"*", "", true}, {"a*", "abc", true}, {"a*c", "abc", true}, {"a*c", "abd", false}, {"?", "", false}, {"a?c", "abc", true},
		{"*a*b*", "xxaxxbxx", true}, {"*a*b", "ab-ab-c", false}, {"", "", true}, {"", "x", false}, {"a**", "a", true},
	} {
		if got := glob(c.pattern, c.value); got != c.want {
			t.Errorf("glob(%q, %q) = %v", c.pattern, c.value, got)
		}
	}
}

// Whatever is parsed has prices for everything and parses again.
func FuzzParse(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte(builtIn))
	f.Add([]byte(`{"currency": "USD", "prices": [{"from": "2025-01-01"}]}`))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := Parse(data)
		if err != nil {
			return
		}
		if len(b.Lists) == 0 || len(b.Lists) > MaxLists {
			t.Fatalf("%d lists", len(b.Lists))
		}
		for _, l := range b.Lists {
			p := b.At(l.From)
			p.Node(attributes{"zone": "a"}, Size{CPU: 1, RAM: 1, GPU: 1})
			p.Volume(attributes{"class": "x"})
			p.LoadBalancer(attributes{})
			p.Cluster(attributes{})
		}
		if _, err := Parse(b.Text()); err != nil {
			t.Fatalf("its text doesn't parse again: %v", err)
		}
	})
}

package cost

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"math"
	"slices"
	"strconv"

	"github.com/varve-io/varve/pkg/cost/money"
)

// quantity is a decimal string: numbers of JSON are exact to 2^53 only.
type quantity money.Quantity

func (q quantity) MarshalText() ([]byte, error) { return money.Quantity(q).Append(nil), nil }

// MarshalJSON is the format of docs/cost.md.
func (r *Report) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	err := r.WriteJSON(&b)
	return b.Bytes(), err
}

// WriteJSON writes the format of docs/cost.md, indented, line by line as it goes.
func (r *Report) WriteJSON(w io.Writer) error {
	type plain Report
	head, err := json.MarshalIndent(struct {
		*plain
		Lines *int `json:"lines,omitempty"` // in place of those of the report
	}{plain: (*plain)(r)}, "", "  ")
	if err != nil {
		return err
	}
	j := &jsonLines{b: append(bytes.TrimSuffix(head, []byte("\n}")), ",\n  \"lines\": ["...), step: r.Step != StepNone, order: namesInOrder()}
	for _, by := range r.By {
		text := string(appendString(nil, by))
		j.by = append(j.by, text[1:len(text)-1])
	}
	before := len(j.b) // warnings can be long
	for i, l := range r.Lines {
		if i > 0 {
			j.b = append(j.b, ',')
		}
		j.line(l)
		if len(j.b)-before < flushJSON {
			continue
		}
		if buffer, ok := w.(*bytes.Buffer); ok && !j.flushed {
			buffer.Grow(before + (len(j.b)-before)/(i+1)*len(r.Lines)/100*105) // about what all lines take
		}
		if _, err := w.Write(j.b); err != nil {
			return err
		}
		j.b, j.flushed, before = j.b[:0], true, 0
	}
	if len(r.Lines) > 0 {
		j.b = append(j.b, "\n  "...)
	}
	_, err = w.Write(append(j.b, "]\n}\n"...))
	return err
}

// flushJSON is how many bytes are written at once.
const flushJSON = 64 << 10

// jsonLines writes lines as scripts read them. A line's key is an object of the report's dimensions, in their order.
type jsonLines struct {
	b       []byte
	flushed bool     // a part of it
	by      []string // without quotation marks
	step    bool
	from    Time // of the line before
	time    []byte
	order   []int // of quantities by name
}

func (j *jsonLines) line(l *Line) {
	j.b = append(j.b, "\n    {\n      \"kind\": \""...)
	j.b = append(append(j.b, l.Kind.String()...), '"')
	if j.step {
		if j.time == nil || l.From != j.from {
			j.from, j.time = l.From, []byte(l.From.String())
		}
		j.field("from")
		j.b = append(append(append(j.b, '"'), j.time...), '"')
	}
	j.key(l)
	j.money("cost", l.Cost)
	if l.Kind == Workloads {
		j.money("used", l.Used)
		j.money("unused", l.Unused)
		j.money("usage_unknown", l.UsageUnknown)
		if !l.Shared.IsZero() {
			j.money("shared", l.Shared)
		}
	}
	for _, p := range [...]struct {
		name  string
		value money.Nanos
	}{{"cpu", l.CPU}, {"ram", l.RAM}, {"gpu", l.GPU}, {"storage", l.Storage}, {"network", l.Network}, {"lb", l.LB}} {
		j.money(p.name, p.value)
	}
	if !l.Other.IsZero() {
		j.money("other", l.Other)
	}
	if l.Kind == Workloads {
		j.ratios("efficiency", l.efficiency())
		j.ratios("coverage", l.coverage())
	}
	j.quantities(l)
	j.b = append(j.b, "\n    }"...)
}

// field begins a field of a line.
func (j *jsonLines) field(name string) {
	j.b = append(append(append(j.b, ",\n      \""...), name...), "\": "...)
}

func (j *jsonLines) money(name string, n money.Nanos) {
	j.field(name)
	j.b = append(n.Append(append(j.b, '"')), '"')
}

// inner begins a field of a line's object.
func (j *jsonLines) inner(first bool, name string) {
	if !first {
		j.b = append(j.b, ',')
	}
	j.b = append(append(append(j.b, "\n        \""...), name...), "\": "...)
}

func (j *jsonLines) key(l *Line) {
	j.field("key")
	j.b = append(j.b, '{')
	for i, by := range j.by {
		j.inner(i == 0, by)
		j.b = appendString(j.b, l.Key[i])
	}
	if len(j.by) > 0 {
		j.b = append(j.b, "\n      "...)
	}
	j.b = append(j.b, '}')
}

func (j *jsonLines) ratios(name string, all []fraction) {
	if len(all) == 0 {
		return
	}
	j.field(name)
	j.b = append(j.b, '{')
	for i, r := range all {
		j.inner(i == 0, r.of)
		j.b = strconv.AppendFloat(j.b, r.value, 'f', -1, 64)
	}
	j.b = append(j.b, "\n      }"...)
}

func (j *jsonLines) quantities(l *Line) {
	all := l.quantities()
	first := true
	for _, i := range j.order {
		q := &all[i]
		if q.value.IsZero() {
			continue
		}
		if first {
			j.field("quantities")
			j.b = append(j.b, '{')
		}
		j.inner(first, q.name)
		j.b = append(q.value.Append(append(j.b, '"')), '"')
		first = false
	}
	if !first {
		j.b = append(j.b, "\n      }"...)
	}
}

// namesInOrder are the places of quantities in the order of their names.
func namesInOrder() []int {
	all := (&Line{}).quantities()
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(all[a].name, all[b].name) })
	return order
}

// appendString appends a string of JSON.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			text, _ := json.Marshal(s) // a string has no error
			return append(b, text...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

type namedQuantity struct {
	name  string
	value money.Quantity
}

// quantityNames are those of a resource's used, unused, usage_unknown, requested and overcommit.
var quantityNames = [3][5]string{
	{"cpu_core_microseconds_used", "cpu_core_microseconds_unused", "cpu_core_microseconds_usage_unknown", "cpu_core_microseconds_requested", "cpu_core_microseconds_overcommit"},
	{"ram_byte_seconds_used", "ram_byte_seconds_unused", "ram_byte_seconds_usage_unknown", "ram_byte_seconds_requested", "ram_byte_seconds_overcommit"},
	{"gpu_microseconds_used", "gpu_microseconds_unused", "gpu_microseconds_usage_unknown", "gpu_microseconds_requested", "gpu_microseconds_overcommit"},
}

// classQuantityNames are those of bytes received and sent, by class; what no class has is what they leave of all.
var classQuantityNames = [2][4]string{
	{"network_received_bytes_internet", "network_received_bytes_cross_region", "network_received_bytes_cross_zone", "network_received_bytes_in_zone"},
	{"network_sent_bytes_internet", "network_sent_bytes_cross_region", "network_sent_bytes_cross_zone", "network_sent_bytes_in_zone"},
}

// lineQuantities is how many quantities a line has.
const lineQuantities = 31

// quantities are what the line's money is for, and what is no money, in the order of columns.
func (l *Line) quantities() (all [lineQuantities]namedQuantity) {
	t := &l.Sum.Traffic
	for i, p := range l.Sum.parts() {
		for j, q := range [5]money.Quantity{p.Used, p.Unused, p.Unknown, p.Request, p.Over} {
			all[5*i+j] = namedQuantity{quantityNames[i][j], q}
		}
	}
	for i, q := range [...]namedQuantity{
		{"storage_byte_seconds", l.Assets.Storage}, {"lb_milliseconds", l.Assets.LB}, {"milliseconds", l.Assets.Time},
		{"network_received_bytes", t.Received}, {"network_sent_bytes", t.Sent}, {"disk_read_bytes", t.Read}, {"disk_written_bytes", t.Written},
		{"container_milliseconds", money.Units(l.Sum.Alive)},
	} {
		all[15+i] = q
	}
	for i, c := range l.Classified {
		all[23+i] = namedQuantity{classQuantityNames[0][i], c[0]}
		all[27+i] = namedQuantity{classQuantityNames[1][i], c[1]}
	}
	return all
}

// fraction is a part of something.
type fraction struct {
	of    string
	value float64
}

// Efficiency is the part of what was held, while usage is known, that was used: by life and not by window. cost is of the money.
func (l *Line) Efficiency() map[string]float64 { return byName(l.efficiency()) }

func (l *Line) efficiency() []fraction {
	all := make([]fraction, 0, 4)
	if known := l.used.Plus(l.unused); !known.IsZero() {
		all = append(all, fraction{"cost", ratio(l.used.Float(), known.Float())})
	}
	for i, p := range [3]*Parts{&l.Sum.CPU, &l.Sum.GPU, &l.Sum.RAM} {
		if held := p.Used.Plus(p.Unused); !held.IsZero() {
			all = append(all, fraction{[3]string{"cpu", "gpu", "ram"}[i], ratio(p.Used.Float(), held.Float())})
		}
	}
	return all
}

// Coverage is the part of its life in which usage is known.
func (l *Line) Coverage() map[string]float64 { return byName(l.coverage()) }

func (l *Line) coverage() (all []fraction) {
	if l.Sum.Alive == 0 {
		return nil
	}
	alive := float64(l.Sum.Alive)
	all = append(make([]fraction, 0, 3), fraction{"cpu", ratio(float64(l.Sum.CPUKnown), alive)})
	if !l.Sum.GPU.sum().IsZero() {
		all = append(all, fraction{"gpu", ratio(float64(l.Sum.GPUKnown), alive)})
	}
	return append(all, fraction{"ram", ratio(float64(l.Sum.RAMKnown), alive)})
}

func byName(all []fraction) map[string]float64 {
	m := map[string]float64{}
	for _, f := range all {
		m[f.of] = f.value
	}
	return m
}

func (p *Parts) sum() money.Quantity { return p.Used.Plus(p.Unused).Plus(p.Unknown) }

// ratio has four decimals.
func ratio(part, whole float64) float64 { return math.Round(part/whole*10_000) / 10_000 }

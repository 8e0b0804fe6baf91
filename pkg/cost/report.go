package cost

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/big"
	"time"

	"github.com/varve-io/varve/pkg/cost/money"
)

// Report is what a window cost, and whose that was. Money is rounded: the total first, then steps against it, lines against their step,
// and a line's parts against the line.
type Report struct {
	Currency string      `json:"currency"`
	Window   Window      `json:"window"`
	Method   Method      `json:"method"`
	Step     Step        `json:"step"`
	Timezone string      `json:"timezone,omitempty"` // of steps; "" is UTC
	By       []string    `json:"by"`
	Total    money.Nanos `json:"total"`
	Residual string      `json:"residual"` // the bill of assets minus all lines, exact, added without signs over steps: 0
	Hash     string      `json:"hash"`     // of the query, the price book and all exact quantities and amounts
	Lines    []*Line     `json:"lines"`
	Next     string      `json:"next,omitempty"` // the cursor of the next page
	Warnings []Warning   `json:"warnings"`

	Part  *Part   `json:"-"` // of a page
	whole *Report // of a page
}

// Window is a time; To is not in it.
type Window struct {
	From Time `json:"from"`
	To   Time `json:"to"`
}

// Time is in milliseconds and is printed as RFC 3339.
type Time int64

// String is the time in RFC 3339, UTC.
func (t Time) String() string { return time.UnixMilli(int64(t)).UTC().Format(time.RFC3339) }

// MarshalText gives String.
func (t Time) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// Line is what one key cost in one step. Cost is the sum of the pools. Of workloads it is also Used + Unused + UsageUnknown + Shared; a volume that is
// mounted, a load balancer with pods, and traffic are used.
type Line struct {
	Kind Kind
	From Time // of the step
	Key  []string
	Cost money.Nanos

	Used, Unused, UsageUnknown, Shared         money.Nanos
	CPU, RAM, GPU, Storage, Network, LB, Other money.Nanos

	Sum        Item // quantities
	Assets     Assets
	Classified Classified // of Sum's traffic

	pools                         amounts
	used, unused, unknown, shared money.Amount
}

// Report is all that was added. Nothing may be added after it.
func (b *Builder) Report() (*Report, error) {
	missing, err := b.check()
	if err != nil {
		return nil, err
	}
	b.priceSums()
	entries := b.sorted()
	b.query.Sharing.apply(entries, b.weighed)
	r := &Report{
		Currency: b.book.Currency, Window: Window{Time(b.query.From), Time(b.query.To)},
		Method: b.query.Method, Step: b.query.Step, By: b.query.By,
	}
	if r.By == nil {
		r.By = []string{}
	}
	r.Timezone = b.query.zoneName()
	steps := b.lines(r, entries)
	r.Residual = residual(b.bills, steps)
	r.round(b.steps, steps)
	r.Hash = b.hash(r, b.bills)
	b.warnings = append(b.warnings, b.traffic.warnings()...)
	if missing > 0 {
		b.warnings = append(b.warnings, Warning{Name: HoursMissing, Count: missing})
	}
	if r.Warnings = addWarnings(b.warnings); r.Warnings == nil {
		r.Warnings = []Warning{}
	}
	return r, nil
}

// lines adds entries of the same line, which are neighbours, and gives the sums of steps.
func (b *Builder) lines(r *Report, entries []*entry) []money.Amount {
	steps := make([]money.Amount, len(b.steps))
	r.Lines = []*Line{}
	var last lineKey
	for i, e := range entries {
		cost := e.pools.sum()
		steps[e.line.step].Add(cost)
		if i == 0 || e.line != last {
			last = e.line
			l := &Line{Kind: e.line.kind, From: Time(b.steps[e.line.step]), Key: make([]string, len(b.query.By))}
			for i := range l.Key {
				l.Key[i] = b.value(e.line, i)
			}
			r.Lines = append(r.Lines, l)
		}
		r.Lines[len(r.Lines)-1].add(e)
	}
	kept := r.Lines[:0]
	for _, l := range r.Lines {
		if cost := l.pools.sum(); !cost.IsZero() || l.Kind == Workloads || !l.Sum.empty() {
			kept = append(kept, l)
		}
	}
	r.Lines = kept
	return steps
}

// Amount is the cost before it was rounded.
func (l *Line) Amount() money.Amount { return l.pools.sum() }

func (l *Line) add(e *entry) {
	l.pools.add(&e.pools)
	l.used.Add(e.used)
	l.unused.Add(e.unused)
	l.unknown.Add(e.unknown)
	l.shared.Add(e.shared)
	l.Sum.add(&e.sum)
	l.Assets.add(&e.assets)
	l.Classified.add(&e.classified)
}

// residual is how far bills and lines of steps are apart.
func residual(bill, lines []money.Amount) string {
	sum := new(big.Int)
	for i := range bill {
		d := new(big.Int).Sub(bill[i].Big(), lines[i].Big())
		sum.Add(sum, d.Abs(d))
	}
	if sum.Sign() == 0 {
		return "0"
	}
	return money.InUnits(sum)
}

// round prints the total, then steps against it, then lines against their step.
func (r *Report) round(starts []int64, steps []money.Amount) {
	var sum money.Amount
	for _, s := range steps {
		sum.Add(s)
	}
	r.Total = sum.Round()
	of := map[Time][]*Line{}
	for _, l := range r.Lines {
		of[l.From] = append(of[l.From], l)
	}
	for i, total := range money.RoundAgainst(r.Total, steps) {
		lines := of[Time(starts[i])]
		costs := make([]money.Amount, len(lines))
		for j, l := range lines {
			costs[j] = l.pools.sum()
		}
		for j, cost := range money.RoundAgainst(total, costs) {
			lines[j].round(cost)
		}
	}
}

// round prints the line's parts against its cost.
func (l *Line) round(cost money.Nanos) {
	l.Cost = cost
	p := money.RoundAgainst(cost, l.pools[:])
	l.CPU, l.RAM, l.GPU, l.Storage, l.Network, l.LB, l.Other = p[0], p[1], p[2], p[3], p[4], p[5], p[6]
	if l.Kind == Workloads {
		u := money.RoundAgainst(cost, []money.Amount{l.used, l.unused, l.unknown, l.shared})
		l.Used, l.Unused, l.UsageUnknown, l.Shared = u[0], u[1], u[2], u[3]
	}
}

// hash is of all that the report was computed from, as far as it tells: it doesn't depend on how hours were added.
func (b *Builder) hash(r *Report, bill []money.Amount) string {
	h := sha256.New()
	q := b.query
	fmt.Fprintf(h, "%d %d %q %q %q %+v %q\n", q.From, q.To, q.Step, q.By, q.Method, q.Sharing, b.book.Text())
	h.Write([]byte(q.zoneName()))
	h.Write(q.Weights.text(q.Sharing.Metrics()))
	var buf []byte
	for _, s := range bill {
		buf = appendAmount(buf, s)
	}
	for _, l := range r.Lines {
		buf = append(buf, byte(l.Kind))
		buf = binary.BigEndian.AppendUint64(buf, uint64(l.From))
		buf = appendStrings(buf, l.Key...)
		for _, a := range l.pools {
			buf = appendAmount(buf, a)
		}
		for _, a := range [...]money.Amount{l.used, l.unused, l.unknown, l.shared} {
			buf = appendAmount(buf, a)
		}
		for _, q := range l.quantities() {
			buf = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(buf, q.value.Hi), q.value.Lo)
		}
		h.Write(buf)
		buf = buf[:0]
	}
	h.Write(buf)
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

func appendAmount(buf []byte, a money.Amount) []byte {
	for _, w := range a {
		buf = binary.BigEndian.AppendUint64(buf, w)
	}
	return buf
}

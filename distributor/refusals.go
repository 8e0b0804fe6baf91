package distributor

import (
	"fmt"
	"strings"

	"github.com/varve-io/varve/pkg/tenant"
)

// reason is the limit or the rule that refused something: the reason label of a metric.
type reason string

// What is refused for being malformed rather than for being over a limit.
const (
	invalidLabels    reason = "invalid_labels"
	invalidHistogram reason = "invalid_histogram"
	conflict         reason = "conflict"

	invalidLine  reason = "invalid_line"  // of text
	invalidPoint reason = "invalid_point" // of OTLP
	stringValue  reason = "string_value"  // of Influx lines
)

func limitReason(l tenant.LimitName) reason { return reason(l) }

// refusals collects what a request's sender must be told.
type refusals struct {
	order []reason
	by    map[reason]*refusal
	total int
}

type refusal struct {
	samples int
	first   string // the first one, in words, with the limit
}

// add counts samples that were refused; first is called only for the first of its reason.
func (r *refusals) add(why reason, samples int, first func() string) {
	f := r.by[why]
	if f == nil {
		if r.by == nil {
			r.by = map[reason]*refusal{}
		}
		f = &refusal{first: first()}
		r.by[why] = f
		r.order = append(r.order, why)
	}
	f.samples += samples
	r.total += samples
}

// has tells whether the limit refused any.
func (r *refusals) has(l tenant.LimitName) bool { return r.by[limitReason(l)] != nil }

func (r *refusals) reset() { *r = refusals{order: r.order[:0]} }

// message tells the sender what was refused and why, and that the rest is stored.
func (r *refusals) message(sent int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d samples refused, the rest is stored", r.total, sent)
	for _, why := range r.order {
		f := r.by[why]
		fmt.Fprintf(&b, "; %s: %d, the first: %s", why, f.samples, f.first)
	}
	return b.String()
}

package distributor

import (
	"strings"
	"sync"
	"time"

	"github.com/varve-io/varve/pkg/remote"
)

// diary is what a tenant was refused, or lost by its own rules, for as long as the distributor knows the tenant. It
// takes 1 to 2 KiB for each reason that there was.
type diary struct {
	since time.Time

	mu      sync.Mutex
	stored  tally // samples
	created tally // series
	by      map[reason]*record
	latest  time.Time // when something was noted last
}

// record is one reason's.
type record struct {
	tally
	examples [examplesKept]Example // the newest, in turns
	next     int
}

const (
	examplesKept  = 3
	exampleLength = 400 // bytes
	tallyMinutes  = 60
)

// tally counts by calendar minutes, for an hour, and since it began.
type tally struct {
	total  int64
	minute int64 // the newest
	counts [tallyMinutes]uint32
}

func (t *tally) add(now time.Time, n int) {
	minute := now.Unix() / 60
	if minute-t.minute >= tallyMinutes {
		t.counts = [tallyMinutes]uint32{}
		t.minute = minute
	}
	for t.minute < minute {
		t.minute++
		t.counts[t.minute%tallyMinutes] = 0
	}
	t.total += int64(n)
	c := &t.counts[t.minute%tallyMinutes]
	*c = uint32(min(uint64(*c)+uint64(n), 1<<32-1))
}

// last is the count of so many calendar minutes, the one that now is in being the newest.
func (t *tally) last(now time.Time, minutes int64) (n int64) {
	minute := now.Unix() / 60
	for m := max(minute-minutes, t.minute-tallyMinutes) + 1; m <= t.minute; m++ {
		n += int64(t.counts[m%tallyMinutes])
	}
	return n
}

// rate is the count per second over about the last minute: the one before is weighed by what is left of it.
func (t *tally) rate(now time.Time) float64 {
	this := t.last(now, 1)
	before := t.last(now, 2) - this
	return (float64(this) + float64(before)*float64(60-now.Unix()%60)/60) / 60
}

// took notes a request that was taken.
func (d *diary) took(now time.Time, w Written, created int, lists ...*refusals) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stored.add(now, w.Floats+w.Histograms)
	if created > 0 {
		d.created.add(now, created)
	}
	for _, l := range lists {
		for _, why := range l.order {
			d.note(now, why, l.by[why].samples, l.by[why].first)
		}
	}
}

// leftOut notes what could not be translated into samples.
func (d *diary) leftOut(now time.Time, refused []remote.Refusal) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range refused {
		d.note(now, reason(r.Reason), r.Count, r.First)
	}
}

// failed notes a request that failed as a whole.
func (d *diary) failed(now time.Time, why reason, text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note(now, why, 1, text)
}

func (d *diary) note(now time.Time, why reason, n int, text string) {
	r := d.by[why]
	if r == nil {
		if d.by == nil {
			d.by = map[reason]*record{}
		}
		r = &record{}
		d.by[why] = r
	}
	r.add(now, n)
	d.latest = now
	if len(text) > exampleLength {
		text = strings.ToValidUTF8(text[:exampleLength], "") + "…"
	}
	r.examples[r.next%examplesKept] = Example{Time: now, Text: strings.Clone(text)}
	r.next++
}

// fresh tells whether something was noted within the hour that can be asked about.
func (d *diary) fresh(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return now.Sub(d.latest) < tallyMinutes*time.Minute
}

// newest are the examples, the latest first.
func (r *record) newest() []Example {
	var out []Example
	for i := r.next - 1; i >= max(0, r.next-examplesKept); i-- {
		out = append(out, r.examples[i%examplesKept])
	}
	return out
}

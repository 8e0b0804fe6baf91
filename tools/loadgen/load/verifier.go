package load

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// VerifierConfig says what to verify, and how.
type VerifierConfig struct {
	From, To    int64 // only samples of From ≤ time < To, Unix milliseconds; 0 = no bound
	Exclusive   bool  // nothing but this load may be in its tenants; otherwise only series with its cluster label count
	PartialOK   bool  // what an answer that warns leaves out is not lost
	MaxSamples  int   // read at once, 200,000 by default
	Concurrency int   // reads at once, 2 by default
}

// Verdict counts what a Verifier found, in samples.
type Verdict struct {
	Acked    int64 // that must be there
	Found    int64 // of these, that are
	Lost     int64 // acked, not there
	Withheld int64 // acked, not in an answer that says that it is partial (with PartialOK)
	Invented int64 // there, but never sent, refused, or in another tenant
	Twice    int64 // there more than once
	Wrong    int64 // there with other bits
	Unknown  int64 // in doubt, and there with the right bits
	Examples []string
}

// OK says that nothing is amiss.
func (v Verdict) OK() bool { return v.Lost+v.Invented+v.Twice+v.Wrong == 0 }

// maxExamples is how many mismatches a Verdict describes.
const maxExamples = 20

// Verifier compares what a server answers with what a ledger says. It may run while the load is being written: a sample is
// lost only if its ack was in the ledger before the read began.
type Verifier struct {
	cfg    VerifierConfig
	gen    *Generator
	ledger *Ledger
	source Source

	mu      sync.Mutex
	verdict Verdict
	done    int
	reads   int
}

// NewVerifier prepares to verify the ledger's load.
func NewVerifier(ledger *Ledger, source Source, cfg VerifierConfig) (*Verifier, error) {
	gen, err := New(ledger.Config())
	if err != nil {
		return nil, err
	}
	if cfg.MaxSamples == 0 {
		cfg.MaxSamples = 200_000
	}
	cfg.Concurrency = max(cfg.Concurrency, 0)
	if cfg.Concurrency == 0 {
		cfg.Concurrency = 2
	}
	return &Verifier{cfg: cfg, gen: gen, ledger: ledger, source: source}, nil
}

// Progress says how many of how many reads are done, and what they found.
func (v *Verifier) Progress() (done, of int, found Verdict) {
	v.mu.Lock()
	defer v.mu.Unlock()
	found = v.verdict
	found.Examples = slices.Clone(found.Examples)
	return v.done, v.reads, found
}

// Run reads everything and returns what it found; the error is of reading.
func (v *Verifier) Run(ctx context.Context) (Verdict, error) {
	windows := v.plan()
	v.mu.Lock()
	v.reads = len(windows)
	v.mu.Unlock()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(v.cfg.Concurrency)
	for _, w := range windows {
		g.Go(func() error {
			if err := v.check(ctx, w); err != nil {
				return fmt.Errorf("verify tenant %q, metric %q: %w", v.gen.cfg.TenantName(w.tenant), w.metric, err)
			}
			v.mu.Lock()
			v.done++
			v.mu.Unlock()
			return nil
		})
	}
	err := g.Wait()
	_, _, verdict := v.Progress()
	return verdict, err
}

// window is one read: some steps of all series of a metric in a tenant.
type window struct {
	tenant int
	metric string // "" = every metric that is not of the load
	others []string
	slots  []int
	steps  [2]int64 // from, to
	times  [2]int64 // read from ≤ time < to
}

// plan cuts all that may exist into reads of bounded size.
func (v *Verifier) plan() []window {
	cfg := v.gen.cfg
	byMetric := make([]map[string][]int, cfg.Tenants)
	for i := range byMetric {
		byMetric[i] = map[string][]int{}
	}
	for slot := range cfg.Series {
		t := v.gen.track(slot)
		m := byMetric[slot%cfg.Lanes%cfg.Tenants]
		m[t.fam.name] = append(m[t.fam.name], slot)
	}
	first, last := v.steps()
	var out []window
	for tenant, metrics := range byMetric {
		names := make([]string, 0, len(metrics))
		for name := range metrics {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			n := max(1, int64(v.cfg.MaxSamples/len(metrics[name])))
			w := window{tenant: tenant, metric: name, slots: metrics[name]}
			out = append(out, v.cut(w, first, last, n)...)
		}
		out = append(out, v.cut(window{tenant: tenant, others: names}, first, last, 1440)...)
	}
	return out
}

// cut makes windows of n steps. The outer ones reach an interval further, to see what should not be there.
func (v *Verifier) cut(w window, first, last, n int64) []window {
	var out []window
	at := func(step int64) int64 { return v.gen.cfg.Start + step*v.gen.cfg.IntervalMS }
	for from := first; from < last; from += n {
		w.steps = [2]int64{from, min(from+n, last)}
		w.times = [2]int64{at(from), at(w.steps[1])}
		if from == first {
			w.times[0] -= v.gen.cfg.IntervalMS
		}
		if w.steps[1] == last {
			w.times[1] += v.gen.cfg.IntervalMS
		}
		if v.cfg.From != 0 {
			w.times[0] = max(w.times[0], v.cfg.From)
		}
		if v.cfg.To != 0 {
			w.times[1] = min(w.times[1], v.cfg.To)
		}
		if w.times[0] < w.times[1] {
			out = append(out, w)
		}
	}
	return out
}

// steps is the range of steps that the ledger names and that is asked for.
func (v *Verifier) steps() (first, last int64) {
	cfg := v.gen.cfg
	for lane := range cfg.Lanes {
		slots := cfg.LaneSlots(lane)
		last = max(last, (v.ledger.Next(lane)+slots-1)/slots)
	}
	if v.cfg.From > cfg.Start {
		first = (v.cfg.From-cfg.Start)/cfg.IntervalMS - 1
	}
	if v.cfg.To != 0 {
		last = min(last, (v.cfg.To-cfg.Start)/cfg.IntervalMS+1)
	}
	return max(first, 0), last
}

// retries of a read that fails, as it may while servers restart.
const (
	readAttempts = 6
	readBackoff  = 250 * time.Millisecond
)

func (v *Verifier) check(ctx context.Context, w window) error {
	sel := Selection{Tenant: v.gen.cfg.TenantName(w.tenant), From: w.times[0], To: w.times[1], Metric: w.metric}
	if !v.cfg.Exclusive {
		sel.Cluster = v.gen.cfg.Cluster()
	}
	if w.metric == "" {
		sel.NotMetric = strings.Join(w.others, "|")
	}
	for attempt := 0; ; attempt++ {
		c := newChecker(v, w)
		partial, err := v.source.Read(ctx, sel, c.series)
		if err == nil {
			if err := c.finish(partial); err != nil {
				return err
			}
			v.add(c.verdict)
			return nil
		}
		var final *FinalError
		if errors.As(err, &final) || attempt+1 >= readAttempts || !sleep(ctx, readBackoff<<attempt) {
			return err
		}
	}
}

func (v *Verifier) add(d Verdict) {
	v.mu.Lock()
	defer v.mu.Unlock()
	t := &v.verdict
	t.Acked += d.Acked
	t.Found += d.Found
	t.Lost += d.Lost
	t.Withheld += d.Withheld
	t.Invented += d.Invented
	t.Twice += d.Twice
	t.Wrong += d.Wrong
	t.Unknown += d.Unknown
	for _, e := range d.Examples {
		if len(t.Examples) < maxExamples {
			t.Examples = append(t.Examples, e)
		}
	}
}

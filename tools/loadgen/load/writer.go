package load

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// WriterConfig says how to send a load.
type WriterConfig struct {
	URL      string        // of the remote-write endpoint
	Protocol Protocol      // RemoteWrite1 by default
	Senders  int           // requests under way at once; a lane is always the same sender's
	Batch    int           // positions per request, 2000 by default as in Prometheus
	Rate     float64       // samples per second over all senders; 0 = as fast as they are taken
	Shuffle  bool          // each request's series come in an order of their own, the worst case for what learns orders
	Live     bool          // sends no sample before its time
	Timeout  time.Duration // of one attempt, 30 s by default as in Prometheus
	RetryFor time.Duration // before a request is given up as Unknown; 0 = until the context ends
	Header   http.Header   // added to each request
}

// Stats counts what a Writer has done so far, in samples where nothing else is said.
type Stats struct {
	Acked, Refused, Partial, Unknown int64
	Short                            int64         // acked by a 2xx whose X-Prometheus-Remote-Write-*-Written say fewer
	Requests, Retries                int64         // finished requests; attempts beyond the first
	RawBytes, SentBytes              int64         // of finished requests, before and after compression
	Latency                          LatencyCounts // of decided requests, see Writer
	LastError                        string        // newest refusal or failure
}

// Samples is how many samples have been decided.
func (s Stats) Samples() int64 { return s.Acked + s.Refused + s.Partial + s.Unknown }

// Writer sends a load and keeps the ledger. Make it with NewWriter; Run it once.
//
// A request's latency is from the time when it was due until its ack or refusal, retries included. With a Rate it is due by the
// schedule, which doesn't wait for answers: a server that stalls delays all that is due meanwhile, and each of these requests says
// so. Without one it is due when it is sent.
type Writer struct {
	cfg     WriterConfig
	gen     *Generator
	ledger  *Ledger
	client  *http.Client
	counts  [256]atomic.Int64 // samples by State
	short   atomic.Int64
	request atomic.Int64
	retries atomic.Int64
	raw     atomic.Int64
	sent    atomic.Int64
	latency latencies
	lastErr atomic.Pointer[string]

	creating atomic.Int64 // lanes whose first step isn't decided
	created  chan struct{}
}

// NewWriter prepares sending what the ledger doesn't have yet of its load.
func NewWriter(ledger *Ledger, cfg WriterConfig) (*Writer, error) {
	gen, err := New(ledger.Config())
	if err != nil {
		return nil, err
	}
	if cfg.Protocol == 0 {
		cfg.Protocol = RemoteWrite1
	}
	if cfg.Protocol == RemoteWrite1 && gen.cfg.CustomBuckets {
		return nil, errors.New("new writer: custom buckets need remote write 2.0")
	}
	if cfg.Batch == 0 {
		cfg.Batch = 2000
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second
	}
	cfg.Senders = min(max(cfg.Senders, 1), gen.cfg.Lanes)
	if cfg.Batch < 1 || cfg.Rate < 0 {
		return nil, fmt.Errorf("new writer: batch is %d and rate %g, want them positive", cfg.Batch, cfg.Rate)
	}
	w := &Writer{cfg: cfg, gen: gen, ledger: ledger, created: make(chan struct{}), client: &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: cfg.Senders,
		DisableCompression:  true,
	}}}
	w.creating.Store(int64(gen.cfg.Lanes))
	return w, nil
}

// Created is closed when the first sample of every slot is decided: what follows is the steady state (but for churn).
func (w *Writer) Created() <-chan struct{} { return w.created }

// Run sends until the load or the context ends; the latter is no error. Requests that are under way then are given their
// timeout to finish, but are not tried again. It fails only if the ledger does.
func (w *Writer) Run(ctx context.Context) error {
	defer w.client.CloseIdleConnections()
	g, ctx := errgroup.WithContext(ctx)
	for i := range w.cfg.Senders {
		g.Go(func() error { return w.sender(ctx, i) })
	}
	return g.Wait()
}

// Stats may be called at any time.
func (w *Writer) Stats() Stats {
	s := Stats{
		Acked: w.counts[Acked].Load(), Refused: w.counts[Refused].Load(),
		Partial: w.counts[Partial].Load(), Unknown: w.counts[Unknown].Load(),
		Short: w.short.Load(), Requests: w.request.Load(), Retries: w.retries.Load(),
		RawBytes: w.raw.Load(), SentBytes: w.sent.Load(), Latency: w.latency.snapshot(),
	}
	if e := w.lastErr.Load(); e != nil {
		s.LastError = *e
	}
	return s
}

// sender sends the lanes that are its own, in turns.
func (w *Writer) sender(ctx context.Context, id int) error {
	var lanes []*lane
	for l := id; l < w.gen.cfg.Lanes; l += w.cfg.Senders {
		lanes = append(lanes, newLane(w.gen, l, w.ledger))
		lanes[len(lanes)-1].shuffle = w.cfg.Shuffle
	}
	enc := newEncoder(w.cfg.Protocol)
	pace := newPacer(w.cfg.Rate, w.cfg.Senders, id, w.cfg.Batch)
	for len(lanes) > 0 {
		going := lanes[:0]
		for _, l := range lanes {
			r, ok := l.next(w.batch(l))
			if !ok {
				continue
			}
			going = append(going, l)
			if ctx.Err() != nil {
				return nil
			}
			if w.cfg.Live && !sleep(ctx, time.Until(time.UnixMilli(l.lastTime(r)))) {
				return nil
			}
			if ok, err := w.send(ctx, enc, pace, l, r); !ok || err != nil {
				return err
			}
			w.noteCreated(l, r)
		}
		lanes = going
	}
	return nil
}

// batch is how many positions a lane's request may have. A tenant of many is small, and its sender doesn't wait for the next
// scrape to fill a request; a shuffled request must not have a series twice, as its samples would be out of order.
func (w *Writer) batch(l *lane) int64 {
	if w.cfg.Shuffle || w.gen.cfg.Tenants > 1 {
		return min(int64(w.cfg.Batch), l.slots)
	}
	return int64(w.cfg.Batch)
}

// noteCreated closes created after the last lane's first step.
func (w *Writer) noteCreated(l *lane, r Range) {
	if !l.created && r.To >= l.slots {
		l.created = true
		if w.creating.Add(-1) == 0 {
			close(w.created)
		}
	}
}

// send sends one request when it is due, until it is decided, and records it; false if the context ended before.
func (w *Writer) send(ctx context.Context, enc *encoder, pace *pacer, l *lane, r Range) (bool, error) {
	enc.reset()
	samples := l.encode(enc, r)
	body, raw := enc.finish()
	due, ok := pace.wait(ctx, samples)
	if !ok {
		return false, nil
	}
	if err := w.ledger.Begin(r); err != nil {
		return false, err
	}
	state, status := w.decide(ctx, request{body, w.gen.cfg.TenantOf(l.id), samples})
	if state != Unknown {
		w.latency.observe(time.Since(due))
	}
	w.counts[state].Add(samples)
	w.request.Add(1)
	w.raw.Add(int64(raw))
	w.sent.Add(int64(len(body)))
	return true, w.ledger.Set(r, state, status)
}

// pacer spreads one sender's samples evenly over time. It forgets nothing: after a stall it is due at once until it
// has caught up.
type pacer struct {
	rate float64 // per second; 0 = no limit
	next time.Time
}

// newPacer is that of sender id of several, which take turns.
func newPacer(rate float64, senders, id, batch int) *pacer {
	p := &pacer{rate: rate / float64(senders), next: time.Now()}
	if rate > 0 {
		p.next = p.next.Add(time.Duration(float64(id*batch) / rate * float64(time.Second)))
	}
	return p
}

// wait returns when so many samples were due; false if the context ended first.
func (p *pacer) wait(ctx context.Context, samples int64) (time.Time, bool) {
	if p.rate == 0 {
		return time.Now(), ctx.Err() == nil
	}
	due := p.next
	p.next = due.Add(time.Duration(float64(samples) / p.rate * float64(time.Second)))
	return due, sleep(ctx, time.Until(due))
}

// sleep returns false if the context ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

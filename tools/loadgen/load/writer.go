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
	Live     bool          // sends no sample before its time
	Timeout  time.Duration // of one attempt, 30 s by default as in Prometheus
	RetryFor time.Duration // before a request is given up as Unknown; 0 = until the context ends
	Header   http.Header   // added to each request
}

// Stats counts what a Writer has done so far, in samples where nothing else is said.
type Stats struct {
	Acked, Refused, Partial, Unknown int64
	Short                            int64 // acked by a 2xx whose X-Prometheus-Remote-Write-*-Written say fewer
	Requests, Retries                int64 // finished requests; attempts beyond the first
	RawBytes, SentBytes              int64 // of finished requests, before and after compression
	Latency                          LatencyCounts
	LastError                        string // newest refusal or failure
}

// Samples is how many samples have been decided.
func (s Stats) Samples() int64 { return s.Acked + s.Refused + s.Partial + s.Unknown }

// Writer sends a load and keeps the ledger. Make it with NewWriter; Run it once.
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
	return &Writer{cfg: cfg, gen: gen, ledger: ledger, client: &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: cfg.Senders,
		DisableCompression:  true,
	}}}, nil
}

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
	}
	enc := newEncoder(w.cfg.Protocol)
	pace := newPacer(w.cfg.Rate / float64(w.cfg.Senders))
	for len(lanes) > 0 {
		going := lanes[:0]
		for _, l := range lanes {
			r, ok := l.next(int64(w.cfg.Batch))
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
			if !pace.wait(ctx, r.To-r.From) {
				return nil
			}
			if err := w.send(ctx, enc, l, r); err != nil {
				return err
			}
		}
		lanes = going
	}
	return nil
}

// send sends one request until it is decided, and records it.
func (w *Writer) send(ctx context.Context, enc *encoder, l *lane, r Range) error {
	enc.reset()
	samples := l.encode(enc, r)
	body, raw := enc.finish()
	if err := w.ledger.Begin(r); err != nil {
		return err
	}
	state, status := w.decide(ctx, request{body, w.gen.cfg.TenantOf(l.id), samples})
	w.counts[state].Add(samples)
	w.request.Add(1)
	w.raw.Add(int64(raw))
	w.sent.Add(int64(len(body)))
	return w.ledger.Set(r, state, status)
}

// pacer spreads samples evenly over time. What it fell behind by more than a second is forgotten.
type pacer struct {
	rate float64 // per second; 0 = no limit
	next time.Time
}

func newPacer(rate float64) *pacer { return &pacer{rate: rate, next: time.Now()} }

func (p *pacer) wait(ctx context.Context, samples int64) bool {
	if p.rate == 0 {
		return true
	}
	if late := time.Now().Add(-time.Second); p.next.Before(late) {
		p.next = late
	}
	ok := sleep(ctx, time.Until(p.next))
	p.next = p.next.Add(time.Duration(float64(samples) / p.rate * float64(time.Second)))
	return ok
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

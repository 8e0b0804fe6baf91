package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	remoteapi "github.com/prometheus/client_golang/exp/api/remote"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"golang.org/x/sync/errgroup"

	"github.com/varve-io/varve/tools/clustergen/cluster"
)

// requestSamples is how many samples a request has at least, except for the last one of a window.
const requestSamples = 10_000

// tenantHeader adds a tenant to each request.
type tenantHeader struct {
	tenant string
	next   http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t tenantHeader) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.tenant != "" {
		r = r.Clone(r.Context())
		r.Header.Set("X-Scope-OrgID", t.tenant)
	}
	return t.next.RoundTrip(r)
}

// write sends everything, one window after another, so that no series is sent out of order. What is refused for now is sent again;
// anything else ends it, with the time from which on to go on.
func write(ctx context.Context, o *options, f cluster.Fleet) error {
	transport := &http.Transport{MaxIdleConnsPerHost: o.senders}
	defer transport.CloseIdleConnections()
	api, err := remoteapi.NewAPI(o.url, remoteapi.WithAPIPath(""), remoteapi.WithAPIHTTPClient(&http.Client{Transport: tenantHeader{o.tenant, transport},
		Timeout: time.Minute}), remoteapi.WithAPIBackoff(remoteapi.BackoffConfig{Min: 50 * time.Millisecond, Max: 5 * time.Second}))
	if err != nil {
		return err
	}
	s := &sender{api: api, senders: o.senders}
	begin, all := time.Now(), f.Watched()
	for from := all.From; from < all.To; from += o.window.Milliseconds() {
		if err := s.window(ctx, f, from, min(from+o.window.Milliseconds(), all.To)); err != nil {
			return fmt.Errorf("write samples from %s on: %w", clock(from), err)
		}
		n := s.samples.Load()
		fmt.Fprintf(os.Stderr, "%4.0fs  %s  %d samples, %.0f/s\n", time.Since(begin).Seconds(), clock(from), n, float64(n)/time.Since(begin).Seconds())
	}
	return nil
}

type sender struct {
	api     *remoteapi.API
	senders int
	samples atomic.Int64
}

// window sends what is in [from, to), and returns when all of it is acked.
func (s *sender) window(ctx context.Context, f cluster.Fleet, from, to int64) error {
	g, sending := errgroup.WithContext(ctx)
	g.SetLimit(s.senders)
	r := newRequest()
	var buf []cluster.Sample
	for series := range f.Series(from, to) {
		if buf = series.Samples(buf[:0], from, to); len(buf) > 0 {
			r.add(series, buf)
		}
		if r.samples >= requestSamples {
			full := r
			g.Go(func() error { return s.send(sending, full) })
			r = newRequest()
		}
		if sending.Err() != nil {
			break
		}
	}
	if r.samples > 0 {
		g.Go(func() error { return s.send(sending, r) })
	}
	return errors.Join(g.Wait(), ctx.Err())
}

func (s *sender) send(ctx context.Context, r *request) error {
	r.message.Symbols = r.symbols.Symbols()
	stats, err := s.api.Write(ctx, remoteapi.WriteV2MessageType, &r.message)
	if err != nil {
		return err
	}
	if stats.Samples < r.samples {
		return fmt.Errorf("%d of %d samples were written", stats.Samples, r.samples)
	}
	s.samples.Add(int64(r.samples))
	return nil
}

// request is one that is being filled.
type request struct {
	message writev2.Request
	symbols writev2.SymbolsTable
	samples int
}

func newRequest() *request { return &request{symbols: writev2.NewSymbolTable()} }

func (r *request) add(s *cluster.Series, samples []cluster.Sample) {
	ts := writev2.TimeSeries{LabelsRefs: r.symbols.SymbolizeLabels(s.Labels, nil), Samples: make([]writev2.Sample, len(samples))}
	for i, x := range samples {
		ts.Samples[i] = writev2.Sample{Timestamp: x.T, Value: x.V}
	}
	r.message.Timeseries = append(r.message.Timeseries, ts)
	r.samples += len(samples)
}

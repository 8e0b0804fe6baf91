package querier_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/telemetry"
	"github.com/varve-io/varve/querier"
)

// lasting is a source of samples that takes a while for each read.
type lasting struct {
	*counted
	each time.Duration
}

func (s lasting) Select(ctx context.Context, q series.Query) (querier.RecentAnswer, error) {
	time.Sleep(s.each)
	return s.counted.Select(ctx, q)
}

// pipes are connections within the process.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error   { close(p.closed); return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{} }

func (p pipes) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	p.conns <- server
	return client, nil
}

// Who asks for it is told every second how far a long answer is; others, and whose answer comes soon, get nothing but the answer. Each request is counted
// with the status of its answer.
func TestProgressIsTold(t *testing.T) {
	s := newCostSite(t)
	question := "http://querier/api/v1/cost/report?by=namespace&" + window(costBegin+hour/2, costBegin+3*hour)
	_, want := s.send("GET", strings.TrimPrefix(question, "http://querier"), "", "")
	for _, tt := range []struct {
		name     string
		each     time.Duration
		question string
		header   string
		status   int
		told     []string
	}{
		{"who asks for it", 47 * time.Millisecond, question, "1", http.StatusOK, []string{"done=0, hours=3", "done=1, hours=3", "done=2, hours=3"}},
		{"who doesn't ask", 47 * time.Millisecond, question, "", http.StatusOK, nil},
		{"an answer that comes soon", 0, question, "1", http.StatusOK, nil},
		{"an error", time.Minute, question, "1", http.StatusServiceUnavailable, []string{"done=0, hours=3"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q, _, reg := s.over(lasting{s.samples, tt.each}, nil)
				chain := telemetry.NewHTTP(slog.New(slog.DiscardHandler), reg, noop.NewTracerProvider())
				server, p := &http.Server{Handler: chain.Handler("query", q)}, pipes{make(chan net.Conn), make(chan struct{})}
				go func() { _ = server.Serve(p) }()
				client := &http.Client{Transport: &http.Transport{DialContext: p.dial}}
				var told []string
				ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
					told = append(told, h.Get(querier.ProgressHeader))
					return nil
				}})
				r, err := http.NewRequestWithContext(ctx, "GET", tt.question, nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set(querier.ProgressHeader, tt.header)
				resp, err := client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				if err != nil || resp.StatusCode != tt.status || resp.Header.Get(querier.ProgressHeader) != "" {
					t.Errorf("%v %s %v %.300s", err, resp.Status, resp.Header, body)
				}
				if tt.status == http.StatusOK && string(body) != want {
					t.Error(difference(string(body), want))
				}
				if told = slices.Compact(told); !slices.Equal(told, tt.told) {
					t.Errorf("told: %q", told)
				}
				client.CloseIdleConnections()
				if err := server.Close(); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				checkStatus(t, reg, tt.status)
			})
		})
	}
}

// checkStatus looks for one request, with that status, where all layers count.
func checkStatus(t *testing.T, reg *prometheus.Registry, status int) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, f := range families {
		if f.GetName() != "varve_http_request_duration_seconds" && f.GetName() != "varve_querier_request_duration_seconds" {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "code" && l.GetValue() == strconv.Itoa(status) {
					seen++
				}
			}
			if n := m.GetHistogram().GetSampleCount(); n != 1 {
				t.Errorf("%s: %d requests", f.GetName(), n)
			}
		}
	}
	if seen != 2 {
		t.Errorf("%d of 2 layers counted the status %d", seen, status)
	}
}

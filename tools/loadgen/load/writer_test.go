package load

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// TestAStallDelaysAllThatIsDueMeanwhile: a rate's schedule doesn't wait for answers, so one slow answer shows in the
// latency of every request that was due while it was awaited.
func TestAStallDelaysAllThatIsDueMeanwhile(t *testing.T) {
	const stall = 300 * time.Millisecond
	var n atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 1 {
			time.Sleep(stall)
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	defer srv.Close()
	cfg := testConfig()
	cfg.Series, cfg.Lanes, cfg.Steps = 10, 1, 20
	ledger, err := NewLedger("", cfg)
	if err != nil {
		t.Fatal(err)
	}
	w, err := NewWriter(ledger, WriterConfig{URL: srv.URL, Batch: 10, Rate: 1000}) // a request each 10 ms
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := w.Stats()
	if s.Requests != 20 || s.Latency.Quantile(0.5) < stall/2 {
		t.Errorf("%d requests with a median latency of %s, want 20 with more than %s", s.Requests, s.Latency.Quantile(0.5), stall/2)
	}
	select {
	case <-w.Created():
	default:
		t.Error("all is written, but not all series are created")
	}
}

func TestShufflingKeepsTheSamples(t *testing.T) {
	cfg := testConfig()
	gen, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ledger, err := NewLedger("", cfg)
	if err != nil {
		t.Fatal(err)
	}
	l := newLane(gen, 0, ledger)
	first, second := slices.Clone(l.shuffled(Range{0, 0, 100})), slices.Clone(l.shuffled(Range{0, 100, 200}))
	for i := range second {
		second[i] -= 100
	}
	if slices.Equal(first, second) || slices.IsSorted(first) {
		t.Error("two requests have the same order, or none")
	}
	slices.Sort(first)
	for i, pos := range first {
		if pos != int64(i) {
			t.Fatalf("position %d is %d", i, pos)
		}
	}
}

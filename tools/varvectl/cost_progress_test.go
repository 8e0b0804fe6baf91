package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/querier"
)

// What a server tells of its progress is shown as that of blocks is; who isn't to be shown any doesn't ask for it.
func TestProgressOfAServer(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(querier.ProgressHeader) != "" {
			for _, told := range []string{"done=0, hours=240", "done=60, hours=240", "nothing", "done=120, hours=240"} {
				w.Header().Set(querier.ProgressHeader, told)
				w.WriteHeader(http.StatusProcessing)
			}
		}
		w.Header().Set(querier.NextHeader, "later")
		_, _ = w.Write([]byte("lines"))
	}))
	defer srv.Close()
	for _, tt := range []struct {
		shown bool
		want  string
	}{
		{true, "read 60 of 240 hours, 25 %; about 2m0s left\nread 120 of 240 hours, 50 %; about 1m0s left\n"},
		{false, ""},
	} {
		var out, notice bytes.Buffer
		clock := time.UnixMilli(0)
		var p *hoursProgress
		if tt.shown {
			p = &hoursProgress{w: &notice, now: func() time.Time {
				defer func() { clock = clock.Add(20 * time.Second) }()
				return clock
			}}
		}
		s := &server{srv.URL, http.Header{}}
		next, err := s.ask(t.Context(), &out, ask{verb: cost.AskReport}, "json", p)
		if err != nil || next != "later" || out.String() != "lines" || notice.String() != tt.want {
			t.Errorf("%v: %v %q %q\n%s", tt.shown, err, next, out.String(), notice.String())
		}
	}
}

// Progress says how many hours are done, and how long the rest takes at this pace; on a terminal nothing of it stays.
func TestProgressOfHours(t *testing.T) {
	const hours = 5
	for _, tt := range []struct {
		onTerminal bool
		want       string
	}{
		{false, "read 2 of 5 hours, 40 %; about 18s left\nread 4 of 5 hours, 80 %; about 6s left\n"},
		{true, "\r\x1b[Kread 1 of 5 hours, 20 %; about 24s left\r\x1b[Kread 2 of 5 hours, 40 %; about 18s left" +
			"\r\x1b[Kread 3 of 5 hours, 60 %; about 12s left\r\x1b[Kread 4 of 5 hours, 80 %; about 6s left\r\x1b[Kread 5 of 5 hours, 100 %; about 0s left\r\x1b[K"},
	} {
		var out bytes.Buffer
		clock := time.UnixMilli(0)
		p := &hoursProgress{w: &out, onTerminal: tt.onTerminal, now: func() time.Time { return clock }}
		ledgers := func(yield func(*cost.Ledger, error) bool) {
			for n := range int64(hours) {
				clock = clock.Add(6 * time.Second)
				if !yield(&cost.Ledger{From: n * hourMillis, To: (n + 1) * hourMillis}, nil) {
					return
				}
			}
		}
		n := 0
		for range watched(ledgers, cost.Query{To: hours * hourMillis}, p) {
			n++
		}
		if n != hours || out.String() != tt.want {
			t.Errorf("%d hours, on a terminal %v:\n%q\nwant\n%q", n, tt.onTerminal, out.String(), tt.want)
		}
	}
}

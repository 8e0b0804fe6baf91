package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/varve-io/varve/pkg/cost"
)

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

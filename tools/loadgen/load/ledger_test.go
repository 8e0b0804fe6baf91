package load

import (
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"
)

// TestLedgerAgainstArray compares spans with an array of states, in memory and after reading the file again.
func TestLedgerAgainstArray(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		cfg := testConfig()
		path := filepath.Join(dir, "ledger")
		_ = os.Remove(path)
		l, err := NewLedger(path, cfg)
		if err != nil {
			rt.Fatal(err)
		}
		defer l.Close()
		var model [40]State
		for range rapid.IntRange(1, 30).Draw(rt, "n") {
			from := rapid.Int64Range(0, 38).Draw(rt, "from")
			to := rapid.Int64Range(from+1, 39).Draw(rt, "to")
			st := rapid.SampledFrom([]State{Unknown, Acked, Partial, Refused}).Draw(rt, "state")
			if err := l.Set(Range{1, from, to}, st, 0); err != nil {
				rt.Fatal(err)
			}
			for i := from; i < to; i++ {
				model[i] = st
			}
		}
		r, err := OpenLedger(path)
		if err != nil {
			rt.Fatal(err)
		}
		defer r.Close()
		for i, want := range model {
			if a, b := l.State(1, int64(i)), r.State(1, int64(i)); a != want || b != want {
				rt.Fatalf("state of %d is %v, reopened %v, want %v", i, a, b, want)
			}
		}
		for i := 1; i < len(l.lanes[1]); i++ {
			if a, b := l.lanes[1][i-1], l.lanes[1][i]; a.to > b.from || a.to == b.from && a.state == b.state {
				rt.Fatalf("spans %v are not joined", l.lanes[1])
			}
		}
	})
}

func TestLedgerTornLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	l, err := NewLedger(path, testConfig())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Set(Range{0, 0, 5}, Acked, 204); err != nil {
		t.Fatal(err)
	}
	if _, err := l.file.WriteString("1 A 0 5 1"); err != nil {
		t.Fatal(err)
	}
	l.Close()
	r, err := ResumeLedger(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if r.Next(0) != 5 {
		t.Fatalf("next is %d, want 5", r.Next(0))
	}
	if err := r.Begin(Range{0, 5, 9}); err != nil {
		t.Fatal(err)
	}
	o, err := OpenLedger(path)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if o.State(0, 4) != Acked || o.State(0, 5) != Unknown || o.State(0, 9) != Unsent {
		t.Fatalf("states are %v %v %v", o.State(0, 4), o.State(0, 5), o.State(0, 9))
	}
}

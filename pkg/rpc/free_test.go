package rpc

import (
	"bytes"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/varve-io/varve/pkg/series"
)

// kept is for batches whose bytes are not used again.
func kept() {}

// used is a batch whose bytes are overwritten once they are free.
type used struct {
	bytes []byte
	freed atomic.Int32
}

func newUsed(n byte, size int) *used { return &used{bytes: bytes.Repeat([]byte{n}, size)} }

func (u *used) free() {
	u.freed.Add(1)
	for i := range u.bytes {
		u.bytes[i] = 0xff
	}
}

// whole refuses a batch that was overwritten while it was sent.
func whole(batch []byte) error {
	if batch[0] == 0xff || bytes.Count(batch, batch[:1]) != len(batch) {
		return errors.New("bytes were used again too early")
	}
	return nil
}

// The bytes of a batch are free when the owner has them, not before, and once.
func TestBytesAreFreed(t *testing.T) {
	w := newWorld(t, &recorder{refuse: whole})
	l := w.dial(t)
	var all []*used
	var receipts []series.Receipt
	for round := range 20 {
		for _, size := range []int{1, 1000, 1 << 10, 5000, 100_000, 1 << 20} {
			u := newUsed(byte(round), size)
			r, err := l.Push(u.bytes, u.free)
			if err != nil {
				t.Fatal(err)
			}
			all, receipts = append(all, u), append(receipts, r)
		}
	}
	for _, r := range receipts {
		if _, err := r.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
	for _, u := range all {
		if n := u.freed.Load(); n > 1 || n == 0 && len(u.bytes) > 1<<10 {
			t.Errorf("%d bytes were freed %d times", len(u.bytes), n)
		}
	}
	u := newUsed(1, 5000)
	if _, err := l.Push(u.bytes, u.free); err == nil || u.freed.Load() != 1 {
		t.Errorf("after the link was closed: %v, freed %d times", err, u.freed.Load())
	}
}

// What is queued on a link that breaks is freed, too; what was being sent may never be.
func TestBytesAreFreedWhenALinkBreaks(t *testing.T) {
	r := &recorder{hold: make(chan struct{})}
	defer close(r.hold)
	w := newWorld(t, r)
	l := w.dial(t)
	var all []*used
	for err := error(nil); err == nil; {
		u := newUsed(1, 4<<20)
		_, err = l.Push(u.bytes, u.free)
		all = append(all, u)
	}
	l.Close()
	some := false
	for _, u := range all {
		if n := u.freed.Load(); n > 1 {
			t.Errorf("freed %d times", n)
		} else if n == 1 {
			some = true
		}
	}
	if last := all[len(all)-1]; last.freed.Load() != 1 || !some {
		t.Error("the batch that didn't go into the queue was not freed")
	}
}

func TestBytesAreFreedByALocalLink(t *testing.T) {
	r := &recorder{}
	l, err := openLocal(r)
	if err != nil {
		t.Fatal(err)
	}
	push := func() error {
		u := newUsed(1, 10)
		_, err := l.Push(u.bytes, u.free)
		if n := u.freed.Load(); n != 1 {
			t.Errorf("freed %d times", n)
		}
		return err
	}
	if err := push(); err != nil {
		t.Error(err)
	}
	r.refuse = func([]byte) error { return series.ErrUnknownNumber }
	if err := push(); !errors.Is(err, series.ErrUnknownNumber) {
		t.Error(err)
	}
	if err := push(); !errors.Is(err, series.ErrUnavailable) {
		t.Errorf("through a link that is broken: %v", err)
	}
}

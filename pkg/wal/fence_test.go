package wal

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestFaultAtEveryOperation lets each operation of the file system fail once: nothing acked is lost, nothing that comes
// back was refused twice over, and the log takes records again by itself.
func TestFaultAtEveryOperation(t *testing.T) {
	for nth := 1; nth <= 40; nth++ {
		for _, errno := range []error{unix.EIO, unix.ENOSPC, unix.EFBIG} {
			synctest.Test(t, func(t *testing.T) { faultAt(t, nth, errno) })
		}
	}
}

func faultAt(t *testing.T, nth int, errno error) {
	disk := newMemFS()
	l := openTest(t, Options{Dir: "/log", FS: disk, SegmentBytes: headerBytes + 300, ReserveBytes: 1 << 10, LowWater: 1})
	disk.mu.Lock()
	at := disk.ops + nth
	disk.fault = func(op, _ string) error {
		if disk.ops == at {
			return errno
		}
		return nil
	}
	disk.mu.Unlock()
	stop := start(t, l)
	var acked []entry
	for i := range 12 {
		rec := fmt.Sprintf("%02d %s", i, strings.Repeat("x", i))
		for !tryPut(t, l, rec) {
			time.Sleep(time.Second) // virtual
		}
		acked = append(acked, entry{1, rec})
	}
	stop()
	got, damage := reopen(t, Options{Dir: "/log", FS: disk})
	got = withoutRepeats(got)
	if diff := cmp.Diff(acked, got); diff != "" || damage.Lossy() {
		t.Fatalf("%v at operation %d: %v %s", errno, nth, damage, diff)
	}
	if err := l.Healthy(); !errors.Is(err, ErrClosed) {
		t.Fatalf("after the end: %v", err)
	}
}

// tryPut appends once and waits; false is a refusal that may be retried.
func tryPut(t *testing.T, l *Log, rec string) bool {
	t.Helper()
	p, err := l.Append([]byte(rec))
	if err == nil {
		err = l.Wait(t.Context(), p)
	}
	if err != nil && !errors.Is(err, ErrUnavailable) {
		t.Fatal(err)
	}
	return err == nil
}

// withoutRepeats removes the first of two equal records in a row: one that failed, and was appended again.
func withoutRepeats(in []entry) []entry {
	var out []entry
	for i, e := range in {
		if i+1 == len(in) || in[i+1] != e {
			out = append(out, e)
		}
	}
	return out
}

// TestFencedTailIgnored: the bytes of a failed group are on disk, but its successor's header excludes them.
func TestFencedTailIgnored(t *testing.T) {
	disk := newMemFS()
	l := openTest(t, Options{Dir: "/log", FS: disk, NoCompression: true})
	stop := start(t, l)
	put(t, l, "one")
	term := l.Term()
	var failed atomic.Bool
	disk.mu.Lock()
	disk.fault = func(op, _ string) error {
		if op == "sync" && failed.CompareAndSwap(false, true) {
			return unix.EIO
		}
		return nil
	}
	disk.mu.Unlock()
	p, err := l.Append([]byte("failed"))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Wait(t.Context(), p); !errors.Is(err, ErrFenced) || !errors.Is(err, unix.EIO) {
		t.Fatalf("wait: %v", err)
	}
	if _, err := l.AppendIn(term, []byte("two")); !errors.Is(err, ErrTermOver) {
		t.Fatalf("append in the old term: %v", err)
	}
	for !tryPut(t, l, "two") {
		time.Sleep(time.Millisecond)
	}
	stop()
	if data := disk.node(segmentID{1, 1}.path("/log")).data; !bytes.Contains(data, []byte("failed")) {
		t.Fatal("the failed record is not in the file: the test tests nothing")
	}
	got, damage := reopen(t, Options{Dir: "/log", FS: disk})
	if diff := cmp.Diff([]entry{{1, "one"}, {1, "two"}}, got); diff != "" || damage.Lossy() || damage.Tail {
		t.Fatal(damage, diff)
	}
}

// TestDiskFull fills the disk from outside, and frees it again: the reserve is given up, Append refuses, and within 10
// seconds of space being back the log takes records, without a restart.
func TestDiskFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newMemFS()
		disk.space = 64 << 20
		var mu sync.Mutex
		var space []bool
		o := Options{Dir: "/log", FS: disk, ReserveBytes: 4 << 20, LowWater: 8 << 20}
		o.Events.Space = func(full bool, _ int64) { mu.Lock(); defer mu.Unlock(); space = append(space, full) }
		l := openTest(t, o)
		stop := start(t, l)
		put(t, l, "before")
		other, err := disk.Create("/other")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = other.Write(make([]byte, 35<<20)) // the log has 16 MiB allocated and 4 in reserve
		if err := other.Allocate(0, 36<<20); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if _, err := l.Append([]byte("refused")); err != nil {
			t.Fatalf("8 MiB are free: %v", err)
		}
		_, _ = other.Write(make([]byte, 20<<20))
		time.Sleep(time.Second)
		if _, err := l.Append([]byte("refused")); !errors.Is(err, ErrDiskFull) || !errors.Is(l.Healthy(), ErrDiskFull) {
			t.Fatalf("append to a full disk: %v", err)
		}
		if err := disk.RemoveAll("/other"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		put(t, l, "after")
		stop()
		mu.Lock()
		defer mu.Unlock()
		if diff := cmp.Diff([]bool{true, false}, space); diff != "" {
			t.Fatal(diff)
		}
	})
}

// TestNoSpace runs into ENOSPC without a low-water mark, with groups larger than what is left.
func TestNoSpace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newMemFS()
		disk.space = 24 << 20
		o := Options{Dir: "/log", FS: disk, NoCompression: true, ReserveBytes: 1 << 20}
		l := openTest(t, o)
		stop := start(t, l)
		rec := strings.Repeat("r", 1<<20)
		var acked int
		for tryPut(t, l, rec) {
			acked++
		}
		if acked < 15 {
			t.Fatalf("only %d records of 1 MiB in 24 MiB", acked)
		}
		time.Sleep(10 * time.Second)
		if disk.exists("/log/" + reserveName) {
			t.Fatal("reserve not given up")
		}
		disk.mu.Lock()
		disk.space = 64 << 20
		disk.mu.Unlock()
		time.Sleep(10 * time.Second)
		put(t, l, "after")
		stop()
		if !disk.exists("/log/" + reserveName) {
			t.Fatal("no reserve again")
		}
		got, damage := reopen(t, o)
		if len(got) != acked+1 || got[acked].Rec != "after" || damage.Lossy() {
			t.Fatalf("%d records of %d, %v", len(got), acked+1, damage)
		}
	})
}

// TestFenceFailsQueue: what was appended behind the group that failed fails with it, as it may refer to its records.
func TestFenceFailsQueue(t *testing.T) {
	disk := newMemFS()
	l := openTest(t, Options{Dir: "/log", FS: disk})
	stop := start(t, l)
	put(t, l, "one")
	var behind Position
	var once sync.Once
	disk.mu.Lock()
	disk.fault = func(op, _ string) (err error) {
		if op == "sync" {
			once.Do(func() {
				if behind, err = l.Append([]byte("behind")); err == nil {
					err = unix.EIO
				}
			})
		}
		return err
	}
	disk.mu.Unlock()
	p, err := l.Append([]byte("failed"))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Wait(t.Context(), p); !errors.Is(err, ErrFenced) {
		t.Fatalf("wait: %v", err)
	}
	if err := l.Wait(t.Context(), behind); !errors.Is(err, ErrFenced) {
		t.Fatalf("wait for what was behind: %v", err)
	}
	stop()
}

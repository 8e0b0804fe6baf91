package wal

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// writeLog writes groups of 3 records each, and returns the file system, its only segment, the records, and where each
// group ends.
func writeLog(t testing.TB, groups int, raw bool) (disk *memFS, path string, want []entry, ends []int64) {
	t.Helper()
	disk = newMemFS()
	l := openTest(t, Options{Dir: "/log", FS: disk, NoCompression: raw})
	stop := start(t, l)
	rng := rand.New(rand.NewPCG(1, 2))
	path = segmentID{1, 1}.path("/log")
	for g := range groups {
		var recs []string
		for i := range 3 {
			recs = append(recs, fmt.Sprintf("%03d.%d %s", g, i, strings.Repeat(fmt.Sprint(rng.IntN(100)), rng.IntN(60))))
		}
		put(t, l, recs...)
		disk.mu.Lock()
		ends = append(ends, int64(len(disk.node(path).data)))
		disk.mu.Unlock()
		for _, r := range recs {
			want = append(want, entry{1, r})
		}
	}
	stop()
	return disk, path, want, ends
}

func options(disk *memFS) Options { return Options{Dir: "/log", FS: disk} }

// TestTruncate cuts the log at every offset: what lies in whole groups before the cut survives, and appending goes on.
func TestTruncate(t *testing.T) {
	disk, path, want, ends := writeLog(t, 12, true)
	size := len(disk.node(path).data)
	for cut := headerBytes; cut < size; cut++ {
		torn := disk.kill()
		n := torn.node(path)
		n.data, n.pending = n.data[:cut], nil
		whole := 0
		for whole < len(ends) && ends[whole] <= int64(cut) {
			whole++
		}
		got, damage := reopen(t, options(torn))
		if len(got) < 3*whole || !slices.Equal(want[:len(got)], got) || damage.Lossy() {
			t.Fatalf("cut at %d: %d records of %d groups, %v", cut, len(got), whole, damage)
		}
		if cut%37 == 0 {
			again := appendOne(t, torn)
			if diff := cmp.Diff(append(got, entry{1, "more"}), again); diff != "" {
				t.Fatalf("cut at %d: %s", cut, diff)
			}
		}
	}
}

func appendOne(t *testing.T, disk *memFS) []entry {
	t.Helper()
	l := openTest(t, options(disk))
	stop := start(t, l)
	put(t, l, "more")
	stop()
	got, damage := reopen(t, options(disk))
	if damage.Tail {
		t.Fatalf("torn tail after a clean end: %v", damage)
	}
	return got
}

// TestMutations damages the segment in many ways: never a panic, a wrong record, or more lost than the frames hit; and
// what is lost is counted exactly, as the log ends with a mark.
func TestMutations(t *testing.T) {
	rounds := 10_000
	if testing.Short() {
		rounds = 500
	}
	disk, path, want, ends := writeLog(t, 40, false)
	pristine := disk.node(path).data
	rng := rand.New(rand.NewPCG(3, 4))
	for round := range rounds {
		data := bytes.Clone(pristine)
		at := rng.IntN(len(data))
		n := 1
		switch kind := rng.IntN(4); kind {
		case 0, 1:
			data[at] ^= 1 << rng.IntN(8)
		case 2:
			n = min(1+rng.IntN(4096), len(data)-at)
			clear(data[at : at+n])
		case 3:
			n = min(1+rng.IntN(512), len(data)-at)
			copy(data[at:at+n], data[rng.IntN(len(data)-n):])
		}
		disk.node(path).data = data
		got, damage := reopen(t, options(disk))
		checkMutation(t, fmt.Sprintf("round %d: %d bytes at %d", round, n, at), mutation{want, got, ends, int64(at), int64(n), damage})
	}
}

type mutation struct {
	want, got []entry
	ends      []int64
	at, n     int64
	damage    Damage
}

func checkMutation(t *testing.T, name string, m mutation) {
	t.Helper()
	have := map[string]bool{}
	for i, e := range m.got {
		if i > 0 && m.got[i-1].Rec >= e.Rec {
			t.Fatalf("%s: %q after %q", name, e.Rec, m.got[i-1].Rec)
		}
		have[e.Rec] = true
	}
	lost, from := 0, int64(headerBytes)
	for g, end := range m.ends {
		hit := m.at < end && m.at+m.n > from
		for _, e := range m.want[3*g : 3*g+3] {
			if have[e.Rec] {
				delete(have, e.Rec)
			} else if lost++; !hit {
				t.Fatalf("%s: lost %q, which was not hit: %+v", name, e.Rec, m.damage)
			}
		}
		from = end
	}
	if len(have) > 0 {
		t.Fatalf("%s: made up %v", name, have)
	}
	// Damage that reaches the last mark can't be told from a torn group.
	if m.at+m.n <= m.ends[len(m.ends)-1] && m.damage.Records != uint64(lost) {
		t.Fatalf("%s: lost %d records, said %v", name, lost, m.damage)
	}
}

// TestLostSegment removes or destroys a segment in the middle: its records are counted.
func TestLostSegment(t *testing.T) {
	disk := newMemFS()
	o := Options{Dir: "/log", FS: disk, SegmentBytes: headerBytes + 1}
	l := openTest(t, o)
	stop := start(t, l)
	for i := range 6 {
		put(t, l, fmt.Sprint(i, "a"), fmt.Sprint(i, "b"))
	}
	if _, err := l.NextEpoch(); err != nil {
		t.Fatal(err)
	}
	put(t, l, "next")
	stop()
	for number := uint64(1); number <= 6; number++ {
		gone := disk.kill()
		path := segmentID{1, number}.path("/log")
		if err := gone.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		got, damage := reopen(t, options(gone))
		if len(got) != 11 || damage.Records != 2 {
			t.Fatalf("segment %d removed: %d records, %+v", number, len(got), damage)
		}
		bad := disk.kill()
		clear(bad.node(path).data[:headerBytes])
		got, damage = reopen(t, options(bad))
		if len(got) != 11 || damage.Records != 2 || !damage.Uncounted {
			t.Fatalf("segment %d without header: %d records, %+v", number, len(got), damage)
		}
	}
}

// TestForgedFrame puts a whole copy of a segment's bytes into a record, and damages the frame that holds it.
func TestForgedFrame(t *testing.T) {
	other, otherPath, _, _ := writeLog(t, 5, true)
	disk := newMemFS()
	l := openTest(t, Options{Dir: "/log", FS: disk, NoCompression: true})
	stop := start(t, l)
	put(t, l, "before")
	put(t, l, string(other.node(otherPath).data))
	put(t, l, "after")
	path := segmentID{1, 1}.path("/log")
	stop()
	data := disk.node(path).data
	data[bytes.Index(data, []byte("before"))+len("before")+12] ^= 1 // in the second frame's header
	got, damage := reopen(t, options(disk))
	if diff := cmp.Diff([]entry{{1, "before"}, {1, "after"}}, got); diff != "" || damage.Records != 1 {
		t.Fatal(diff, damage)
	}
}

// TestGolden reads the files of each version, and writes them anew if WAL_GOLDEN is set.
func TestGolden(t *testing.T) {
	const dir = "testdata/v1"
	if os.Getenv("WAL_GOLDEN") != "" {
		writeGolden(t, dir)
	}
	o := Options{Dir: t.TempDir()}
	if err := os.CopyFS(o.Dir, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	got, damage := reopen(t, o)
	want := []entry{{1, "first"}, {1, ""}, {1, strings.Repeat("abc", 1000)}, {2, "second epoch"}}
	if diff := cmp.Diff(want, got); diff != "" || damage.Lossy() || damage.Tail {
		t.Fatal(diff, damage)
	}
}

func writeGolden(t *testing.T, dir string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	l := openTest(t, Options{Dir: dir, Now: func() time.Time { return time.Unix(1_700_000_000, 0) }})
	stop := start(t, l)
	put(t, l, "first", "")
	put(t, l, strings.Repeat("abc", 1000))
	if _, err := l.NextEpoch(); err != nil {
		t.Fatal(err)
	}
	put(t, l, "second epoch")
	stop()
	if err := os.Remove(filepath.Join(dir, lockName)); err != nil {
		t.Fatal(err)
	}
}

// FuzzSegment reads any bytes as the frames of a segment whose header is sound.
func FuzzSegment(f *testing.F) {
	disk, path, _, ends := writeLog(f, 4, false)
	data := disk.node(path).data[headerBytes:]
	f.Add(data)
	f.Add(data[:ends[1]-headerBytes+20])
	f.Add(append(bytes.Clone(data[50:]), data...))
	f.Add([]byte{})
	header, err := parseSegmentHeader(disk.node(path).data)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, frames []byte) {
		// The checksum of frame headers is set right, so that the fuzzer gets behind it.
		for off := 0; off+frameHeaderBytes <= len(frames); off++ {
			if bytes.HasPrefix(frames[off:], header.marker[:]) {
				fixHeader(frames[off:], header.marker, int64(headerBytes+off))
			}
		}
		rp := &replay{ctx: t.Context(), Replaying: Replaying{Record: func(uint64, uint64, []byte) error { return nil }}}
		in := bytes.NewReader(append(header.encode(), frames...))
		r := &segmentReader{in: in, marker: header.marker, limit: in.Size(), damage: &rp.damage, emit: rp.emit}
		if err := r.read(); err != nil {
			t.Fatal(err)
		}
		if r.end > in.Size() || r.end < headerBytes {
			t.Fatalf("end %d of %d", r.end, in.Size())
		}
	})
}

func fixHeader(b []byte, m marker, off int64) {
	h := frameHeader{flags: b[8]}
	h.stored, h.raw, h.count, h.base, h.first, h.crc = le32(b[12:]), le32(b[16:]), le32(b[20:]), le64(b[24:]), le64(b[32:]), le32(b[40:])
	h.put(b, m, off)
}

// TestTornGroup damages a frame of the last group. If the group was never synced, it is no loss, and nothing behind it is
// taken; as soon as something follows the group, the same hole is a loss.
func TestTornGroup(t *testing.T) {
	for i, c := range []byte("ab") {
		disk, path := writeLargeGroup(t)
		n := disk.node(path)
		n.data[bytes.Index(n.data, bytes.Repeat([]byte{c}, 100))]++
		got, damage := reopen(t, options(disk))
		if len(got) != 2 || damage.Records != 1 || damage.Tail {
			t.Fatalf("group with a mark, frame %c: %d records, %+v", c, len(got), damage)
		}
		n.data = n.data[:len(n.data)-frameHeaderBytes] // the mark
		got, damage = reopen(t, options(disk))
		if len(got) != i || damage.Lossy() || !damage.Tail {
			t.Fatalf("group at the end, frame %c: %d records, %+v", c, len(got), damage)
		}
	}
}

// writeLargeGroup writes one group of three frames, each filled with one letter, and a mark.
func writeLargeGroup(t *testing.T) (disk *memFS, path string) {
	t.Helper()
	disk = newMemFS()
	l := openTest(t, Options{Dir: "/log", FS: disk, NoCompression: true})
	var last Position
	for _, c := range "abc" {
		p, err := l.Append([]byte(strings.Repeat(string(c), frameTarget)))
		if err != nil {
			t.Fatal(err)
		}
		last = p
	}
	stop := start(t, l)
	if err := l.Wait(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	stop()
	return disk, segmentID{1, 1}.path("/log")
}

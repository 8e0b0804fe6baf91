package head

import (
	"math"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/storage"
	"pgregory.net/rapid"
)

// A list of references is read like a plain slice of them, also where it has grown since it was taken.
func TestRefs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r refs
		var want []storage.SeriesRef
		ref, bytes := uint32(0), 0
		for range rapid.IntRange(0, 40).Draw(t, "runs") {
			ref += rapid.Uint32Range(1, 3).Draw(t, "gap")
			for range rapid.IntRange(1, 5).Draw(t, "run") {
				bytes += r.add(ref)
				bytes += r.add(ref) // twice is once
				want = append(want, storage.SeriesRef(ref))
				ref++
			}
			ref--
		}
		if bytes != 4*cap(r.closed) {
			t.Fatalf("%d bytes counted of %d", bytes, 4*cap(r.closed))
		}
		l := r.all()
		for range rapid.IntRange(0, 9).Draw(t, "more") {
			ref += rapid.Uint32Range(1, 2).Draw(t, "gap")
			r.add(ref)
		}
		at := 0 // the next one that wasn't read
		for range 50 {
			if rapid.Bool().Draw(t, "seek") {
				to := storage.SeriesRef(rapid.Uint64Range(0, uint64(ref)+2).Draw(t, "to"))
				if at == 0 || want[at-1] < to {
					i, _ := slices.BinarySearch(want, to)
					at = i + 1
				}
				if ok := l.Seek(to); ok != (at <= len(want)) || ok && l.At() != want[at-1] {
					t.Fatalf("seek %d: %t, at %d", to, ok, l.At())
				}
			} else if at++; l.Next() != (at <= len(want)) || at <= len(want) && l.At() != want[at-1] {
				t.Fatalf("next: at %d", l.At())
			}
			if at > len(want) {
				break
			}
		}
	})
}

// A table finds what was added, whatever hashes collide.
func TestTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tab table
		hashes := []uint32{0}
		for n := range rapid.Uint32Range(0, 200).Draw(t, "numbers") {
			hash := rapid.SampledFrom([]uint32{0, 1, 1 << 31, 1<<32 - 1, n * 0x9e3779b9}).Draw(t, "hash")
			hashes = append(hashes, hash)
			tab.add(hash, n+1)
		}
		var all table
		for n := range rapid.Uint32Range(0, 100).Draw(t, "before") {
			all.add(n<<25, math.MaxUint32)
		}
		all.addAll(&tab)
		if all.used*fullOf > len(all.slots)*3 {
			t.Fatalf("%d of %d slots are used", all.used, len(all.slots))
		}
		for n, hash := range hashes {
			if got := all.find(hash, func(number uint32) bool { return number == uint32(n) }); got != uint32(n) {
				t.Fatalf("%d of hash %d: found %d in the other table", n, hash, got)
			}
			if got := tab.find(hash, func(number uint32) bool { return number == uint32(n) }); got != uint32(n) {
				t.Fatalf("%d of hash %d: found %d", n, hash, got)
			}
		}
	})
}

// Series whose labels' numbers are alike have other hashes, so that none is looked for among many.
func TestHashesOfLikeSeries(t *testing.T) {
	const n = 50_000
	p := &New(Options{}).index
	for name, numbers := range map[string]func(i uint32) []uint32{
		"one label":   func(i uint32) []uint32 { return []uint32{i} },
		"two":         func(i uint32) []uint32 { return []uint32{2 * i, 2*i + 1} },
		"a grid":      func(i uint32) []uint32 { return []uint32{i % 40, 100 + i/40%40, 200 + i/1600} },
		"a wide grid": func(i uint32) []uint32 { return []uint32{i % 40 << 13, i / 40 % 40 << 13, i / 1600 << 13, 7} },
		"pods": func(i uint32) []uint32 {
			return []uint32{i % 64, 70, 90 + i/1920, 3000 + 3*(i/64), 3001 + 3*(i/64), 3002 + 3*(i/64)}
		},
		"an order": func(i uint32) []uint32 { return []uint32{i % 224, i / 224, 5, i / 224, i % 224} },
	} {
		seen := make(map[uint32]bool, n)
		for i := range uint32(n) {
			p.at = numbers(i)
			seen[p.hash()] = true
		}
		if same := n - len(seen); same > 10 { // of random ones, 0.3
			t.Errorf("%s: %d of %d series have the hash of another", name, same, n)
		}
	}
}

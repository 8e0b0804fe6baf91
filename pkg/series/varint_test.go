package series

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/varve-io/varve/pkg/tenant"
)

// edges are the numbers where a varint gets longer, and those beside them.
func edges() (all []int64) {
	for shift := range 64 {
		for _, beside := range []int64{-2, -1, 0, 1} {
			all = append(all, 1<<shift+beside, -(1<<shift + beside))
		}
	}
	return all
}

// checkSteps compares what is written with encoding/binary.
func checkSteps(t *testing.T, last int64, xs []int64) {
	t.Helper()
	want, before := []byte("before"), last
	for _, x := range xs {
		want = binary.AppendVarint(want, x-before)
		before = x
	}
	got, newest := appendSteps([]byte("before"), last, xs)
	if !bytes.Equal(got, want) || newest != before {
		t.Fatalf("%d from %d on are\n%x, up to %d, want\n%x, up to %d", xs, last, got, newest, want, before)
	}
}

// checkReading compares what is read of any bytes with encoding/binary.
func checkReading(t *testing.T, p []byte) {
	t.Helper()
	unsigned, signed := reader{p: p}, reader{p: p}
	var want []FloatBits
	sum := int64(7)
	for at := 0; ; {
		u, n := binary.Uvarint(p[at:])
		s, _ := binary.Varint(p[at:])
		if n <= 0 {
			u, s, n = 0, 0, len(p)-at
		} else {
			sum += s
			want = append(want, FloatBits{Time: sum})
		}
		at += n
		if got := unsigned.uvarint(); got != u || unsigned.at != at {
			t.Fatalf("%x: uvarint up to %d is %d up to %d, want %d", p, at, got, unsigned.at, u)
		}
		if got := signed.varint(); got != s || signed.at != at {
			t.Fatalf("%x: varint up to %d is %d up to %d, want %d", p, at, got, signed.at, s)
		}
		if len(want) == 0 || at == len(p) {
			break
		}
	}
	for most := range len(want) + 2 {
		r, got := reader{p: p}, make([]FloatBits, most)
		n := r.sums(7, got)
		if n != min(most, len(want)) || r.bad != (most > n) {
			t.Fatalf("%x: %d of %d sums, bad %v, want %d", p, n, most, r.bad, len(want))
		}
		for i := range got[:n] {
			if got[i] != want[i] {
				t.Fatalf("%x: sum %d is %d, want %d", p, i, got[i].Time, want[i].Time)
			}
		}
	}
}

func TestVarintsAreThoseOfGo(t *testing.T) {
	for _, x := range edges() {
		p := binary.AppendVarint(nil, x)
		checkSteps(t, 0, []int64{x})
		checkSteps(t, x, []int64{0, x, math.MinInt64, x, math.MaxInt64})
		for behind := range 12 { // so many bytes that are others'
			checkReading(t, append(slices.Clip(p), bytes.Repeat([]byte{0x7f}, behind)...))
			checkReading(t, append(slices.Clip(p), bytes.Repeat([]byte{0xff}, behind)...))
		}
		for i := range p {
			checkReading(t, p[:i])
		}
	}
	for n := range 13 { // longer than need be, too long, and without an end
		for _, last := range []byte{0, 1, 2, 0x7f, 0x80, 0xff} {
			for _, more := range []byte{0x80, 0xff} {
				checkReading(t, append(bytes.Repeat([]byte{more}, n), last))
				checkReading(t, append(bytes.Repeat([]byte{more}, n), last, 1, 2, 3))
			}
		}
	}
}

func FuzzVarintsAreThoseOfGo(f *testing.F) {
	for _, x := range edges() {
		p := binary.AppendVarint(nil, x)
		f.Add(x, p)
		f.Add(x, append(p, 0x80, 0x80, 0x80, 0, 0xff))
	}
	f.Fuzz(func(t *testing.T, last int64, p []byte) {
		if len(p) > 200 {
			return
		}
		checkReading(t, p)
		var xs []int64
		for ; len(p) >= 9; p = p[9:] {
			xs = append(xs, int64(binary.LittleEndian.Uint64(p)>>(p[8]%64)))
		}
		checkSteps(t, last, xs)
	})
}

// What stands before a damage is read, and no more, in whatever portions.
func TestFloatsUpToADamage(t *testing.T) {
	good := []int64{5, -2, 300_000, 1}
	encode := func(numbers, times []byte) []byte {
		var b Builder
		b.Reset(StreamID{Distributor: 1}, tenant.Anonymous)
		p := b.AppendTo(nil)
		var section []byte
		for _, n := range []int{len(good), len(numbers), len(times)} {
			section = binary.AppendUvarint(section, uint64(n))
		}
		section = append(append(section, numbers...), times...)
		section = append(section, make([]byte, 8*len(good))...)
		return append(binary.AppendUvarint(append(p, sectionFloats), uint64(len(section))), section...)
	}
	column := func(damaged int, damage ...byte) (p []byte) {
		for i, x := range good {
			if i == damaged {
				return append(p, damage...)
			}
			p = binary.AppendVarint(p, x)
		}
		return p
	}
	whole := column(len(good))
	endless := bytes.Repeat([]byte{0x80}, 11)
	for name, c := range map[string]struct {
		numbers, times []byte
		want           int
	}{
		"none":                     {whole, whole, 4},
		"no numbers":               {nil, whole, 0},
		"a number is cut off":      {column(2, 0x80), whole, 2},
		"a number without end":     {column(1, endless...), whole, 1},
		"a number below 0":         {column(2, binary.AppendVarint(nil, -4)...), whole, 2},
		"a number that is too big": {column(3, binary.AppendVarint(nil, math.MaxUint32)...), whole, 3},
		"a time is missing":        {whole, column(3), 3},
		"a time is cut off":        {whole, column(1, 0xff, 0xff), 1},
		"both, the time first":     {column(2, 0x80), column(1, endless...), 1},
		"both, the number first":   {column(1, 0x80), column(2, endless...), 1},
	} {
		b, err := ParseBatch(encode(c.numbers, c.times))
		if err != nil {
			t.Fatal(err)
		}
		for portion := 1; portion < 6; portion++ {
			it, got := b.Floats(), 0
			for room := make([]FloatBits, portion); ; {
				n := it.Fill(room)
				for _, f := range room[:n] {
					if want := []int64{5, 3, 300_003, 300_004}[got]; int64(f.Number) != want || f.Time != want {
						t.Errorf("%s: sample %d is %+v", name, got, f)
					}
					got++
				}
				if n < portion {
					break
				}
			}
			if got != c.want || errors.Is(it.Err(), ErrCorrupt) != (c.want < len(good)) || it.Fill(make([]FloatBits, 1)) != 0 {
				t.Errorf("%s, in portions of %d: %d samples, %v, want %d", name, portion, got, it.Err(), c.want)
			}
		}
	}
}

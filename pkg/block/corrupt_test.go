package block

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/varve-io/varve/pkg/series"
)

// memFiles is a block in memory.
type memFiles map[string][]byte

func (m memFiles) Open(_ context.Context, name string) (File, error) {
	b, ok := m[name]
	if !ok {
		return nil, fmt.Errorf("open %s: %w", name, fs.ErrNotExist)
	}
	return memFile(b), nil
}

type memFile []byte

func (f memFile) Size() int64  { return int64(len(f)) }
func (f memFile) Close() error { return nil }

func (f memFile) Ranges(ctx context.Context, ranges []Range) (out [][]byte, err error) {
	for _, r := range ranges {
		b, err := f.Range(ctx, r.Off, r.Len)
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

func (f memFile) Range(ctx context.Context, off, n int64) ([]byte, error) {
	if off < 0 || n < 0 || off > int64(len(f))-n {
		return nil, fmt.Errorf("range %d+%d of %d bytes", off, n, len(f))
	}
	return f[off : off+n : off+n], ctx.Err()
}

func loadFiles(t testing.TB, dir string) memFiles {
	t.Helper()
	m := memFiles{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		m[filepath.ToSlash(name)], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// mutate damages a copy of b.
func mutate(b []byte, rng *rand.Rand) []byte {
	b = slices.Clone(b)
	if len(b) == 0 {
		return b
	}
	i := rng.IntN(len(b))
	n := min(1+rng.IntN(64), len(b)-i)
	switch rng.IntN(7) {
	case 0, 1:
		b[i] ^= 1 << rng.IntN(8)
	case 2:
		b[i] = byte(rng.Uint32())
	case 3:
		clear(b[i : i+n])
	case 4:
		return b[:i]
	case 5:
		return slices.Insert(b, i, bytes.Clone(b[i:i+n])...)
	default:
		return slices.Delete(b, i, i+n)
	}
	return b
}

func smallBlock(t testing.TB) (memFiles, Meta) {
	t.Helper()
	all := testSeries(90, 0, hour/12)
	dir := ownBlock(t, foreignBlock(t, all))
	m, err := ReadMeta(dir)
	if err != nil {
		t.Fatal(err)
	}
	return loadFiles(t, dir), m
}

// answer is what a block says to every selector, and about labels.
type answer struct {
	series []series.Chunked
	names  []string
	values []string
}

func ask(files Files, m Meta, i int) (answer, error) {
	ctx := context.Background()
	b, err := Open(ctx, files, m)
	if err != nil {
		return answer{}, err
	}
	defer b.Close()
	all := selectors()
	q := series.Query{MinTime: 0, MaxTime: hour, Matchers: all[i%len(all)]}
	var a answer
	if a.names, err = b.LabelNames(ctx, q); err != nil {
		return a, err
	}
	if a.values, err = b.LabelValues(ctx, "instance", q); err != nil {
		return a, err
	}
	set, err := b.Select(ctx, q)
	if err != nil {
		return a, err
	}
	defer set.Close()
	for set.Next() {
		a.series = append(a.series, set.At())
	}
	return a, set.Err()
}

// TestDamageIsNeverAWrongAnswer damages index, chunks and header: every answer is right or an error.
func TestDamageIsNeverAWrongAnswer(t *testing.T) {
	files, m := smallBlock(t)
	var want []answer
	for i := range selectors() {
		a, err := ask(files, m, i)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, a)
	}
	names := slices.Sorted(maps.Keys(files))
	rng := rand.New(rand.NewPCG(3, 4))
	rounds := 10_000
	if testing.Short() {
		rounds = 1000
	}
	failed := 0
	for round := range rounds {
		name := names[rng.IntN(len(names))]
		damaged := maps.Clone(files)
		damaged[name] = mutate(files[name], rng)
		if round%4 == 0 {
			delete(damaged, HeaderName)
		}
		i := rng.IntN(len(want))
		got, err := ask(damaged, m, i)
		if err != nil {
			failed++
			continue
		}
		same := slices.Equal(got.names, want[i].names) && slices.Equal(got.values, want[i].values)
		if !same || !cmp.Equal(want[i].series, got.series, chunkedEqual) {
			t.Fatalf("round %d: damage in %s gave a wrong answer to %v", round, name, selectors()[i])
		}
	}
	if failed < rounds/20 {
		t.Errorf("only %d of %d damaged blocks gave an error", failed, rounds)
	}
	t.Logf("%d of %d damaged blocks gave an error", failed, rounds)
}

// TestVerifyFindsDamage damages every kind of file; without sums in meta.json the parts must notice by themselves.
func TestVerifyFindsDamage(t *testing.T) {
	files, _ := smallBlock(t)
	ctx := context.Background()
	r, err := Verify(ctx, files)
	if err != nil || r.Err() != nil || !r.HasHeader {
		t.Fatalf("sound block: %v, %v, header %v", err, r.Err(), r.HasHeader)
	}
	rng := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		for name, b := range files {
			if name == MetaName {
				continue
			}
			damaged := maps.Clone(files)
			if damaged[name] = mutate(b, rng); bytes.Equal(damaged[name], b) {
				continue
			}
			if r, err := Verify(ctx, damaged); err == nil && r.Err() == nil {
				t.Fatalf("damage in %s was not found", name)
			}
		}
	}
}

func TestVerifyForeign(t *testing.T) {
	files := loadFiles(t, foreignBlock(t, testSeries(50, 0, 2*hour)))
	r, err := Verify(context.Background(), files)
	if err != nil || r.Err() != nil || r.HasHeader {
		t.Fatalf("sound block: %v, %v, header %v", err, r.Err(), r.HasHeader)
	}
	files[SegmentName(0)][100] ^= 1
	if r, err := Verify(context.Background(), files); err != nil || r.Err() == nil {
		t.Fatalf("damage was not found: %v", err)
	}
}

func FuzzHeader(f *testing.F) {
	files, _ := smallBlock(f)
	f.Add(files[HeaderName])
	f.Add(files[HeaderName][:40])
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= 4 { // let the fuzzer past the checksum
			b = append(slices.Clone(b[:len(b)-4]), sumOf(b[:len(b)-4])...)
		}
		h, err := decodeHeader(b)
		if err == nil && !bytes.Equal(h.encode(), b) {
			again, err := decodeHeader(h.encode())
			if err != nil || !cmp.Equal(h, again, headerEqual) {
				t.Errorf("encode of a decoded header says something else: %v", err)
			}
		}
	})
}

// FuzzIndex changes bytes of an index and makes its checksums good again: nonsense may give nonsense, but no panic,
// and nothing without bounds.
func FuzzIndex(f *testing.F) {
	files, m := smallBlock(f)
	delete(files, HeaderName)
	sums := checkedSpans(f, files, m)
	f.Add([]byte{}, byte(1))
	f.Add([]byte{0, 9, 200, 1, 30, 3}, byte(2))
	size := len(files[IndexName])
	f.Add([]byte{byte((size - 10) >> 8), byte(size - 10), 7}, byte(3))
	f.Fuzz(func(_ *testing.T, edits []byte, selector byte) {
		index := slices.Clone(files[IndexName])
		for ; len(edits) >= 3; edits = edits[3:] {
			index[(int(edits[0])<<8|int(edits[1]))%size] = edits[2]
		}
		for _, s := range sums {
			copy(index[s.end:], sumOf(index[s.off:s.end]))
		}
		_, _ = ask(memFiles{IndexName: index, SegmentName(0): files[SegmentName(0)]}, m, int(selector))
		_, _ = Verify(context.Background(), memFiles{
			IndexName: index, SegmentName(0): files[SegmentName(0)], MetaName: files[MetaName],
		})
	})
}

// checkedSpans gives every part of an index that a checksum follows.
func checkedSpans(t testing.TB, files memFiles, m Meta) []span {
	b, err := Open(context.Background(), files, m)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	index, h, r := files[IndexName], b.header, b.reader(context.Background())
	table := func(off uint64) span {
		return span{int64(off) + 4, int64(off) + 4 + int64(binary.BigEndian.Uint32(index[off:]))}
	}
	spans := []span{table(h.toc.symbols), table(h.toc.postingsTable), {int64(len(index)) - tocLen, int64(len(index)) - 4}}
	for _, n := range h.names {
		if err := r.walk(n.name, func(_ []byte, list span) error {
			spans = append(spans, table(uint64(list.off)))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	refs, err := r.match(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range refs {
		off := int64(ref) * seriesAlign
		n, k := binary.Uvarint(index[off:])
		spans = append(spans, span{off + int64(k), off + int64(k) + int64(n)})
	}
	return spans
}

func sumOf(b []byte) []byte {
	return []byte{byte(checksum(b) >> 24), byte(checksum(b) >> 16), byte(checksum(b) >> 8), byte(checksum(b))}
}

package block

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/varve-io/varve/pkg/series"
)

func TestWrite(t *testing.T) {
	p := openProm(t, foreignBlock(t, testSeries(60, 0, 4*hour)))
	dest := t.TempDir()
	origin := Varve{Partition: 3, Replica: "ingester-a-0", Epoch: 42}
	m, err := Write(context.Background(), dest, p, Spec{MinTime: 0, MaxTime: 2 * hour, Origin: origin})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(dest, m.ULID.String())
	back, err := ReadMeta(dir)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(m, back); d != "" {
		t.Errorf("meta.json: %s", d)
	}
	if v := m.Varve; v.Version != 1 || v.Partition != 3 || v.Replica != "ingester-a-0" || v.Epoch != 42 {
		t.Errorf("origin %+v", v)
	}
	var names []string
	for _, f := range m.Varve.Files {
		names = append(names, f.Name)
	}
	if want := []string{"chunks/000001", "index", "sparse.varve"}; !slices.Equal(names, want) {
		t.Errorf("files %v, want %v", names, want)
	}
	if entries, err := os.ReadDir(dest); err != nil || len(entries) != 1 {
		t.Errorf("%v in the destination, want the block alone (%v)", entries, err)
	}
	r, err := Verify(context.Background(), Dir(dir))
	if err != nil || r.Err() != nil || r.MinTime < 0 || r.MaxTime >= 2*hour {
		t.Errorf("verify: %v, %v, [%d, %d]", err, r.Err(), r.MinTime, r.MaxTime)
	}
}

// TestPrometheusTakesIt opens a directory of blocks as `promtool tsdb` does.
func TestPrometheusTakesIt(t *testing.T) {
	dir := ownBlock(t, foreignBlock(t, testSeries(60, 0, 2*hour)))
	db, err := tsdb.OpenDBReadOnly(filepath.Dir(dir), t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	blocks, err := db.Blocks()
	if err != nil || len(blocks) != 1 {
		t.Fatalf("%d blocks (%v), want 1", len(blocks), err)
	}
	m, _ := ReadMeta(dir)
	if d := cmp.Diff(m.BlockMeta, blocks[0].Meta()); d != "" {
		t.Error(d)
	}
}

func TestWriteNothing(t *testing.T) {
	p := openProm(t, foreignBlock(t, testSeries(6, 0, hour)))
	dest := filepath.Join(t.TempDir(), "new")
	m, err := Write(context.Background(), dest, p, Spec{MinTime: 2 * hour, MaxTime: 4 * hour})
	if err != nil || m.Stats.NumSamples != 0 {
		t.Fatalf("%+v, %v", m, err)
	}
	if entries, err := os.ReadDir(dest); err != nil || len(entries) != 0 {
		t.Errorf("%v in the destination (%v)", entries, err)
	}
}

func TestRemoveUnfinished(t *testing.T) {
	dest := t.TempDir()
	for _, name := range []string{unfinished + "1/01ABC", "01M7YTWW8NX1MD97C181V03FC8"} {
		if err := os.MkdirAll(filepath.Join(dest, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := RemoveUnfinished(dest); err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(dest); len(entries) != 1 || entries[0].Name()[0] != '0' {
		t.Errorf("%v was left", entries)
	}
	if err := RemoveUnfinished(filepath.Join(dest, "missing")); err != nil {
		t.Error(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	files, m := smallBlock(t)
	ctx := context.Background()
	deleted := m
	deleted.Stats.NumTombstones = 1
	if _, err := Open(ctx, files, deleted); err == nil {
		t.Error("a block with deletions was opened")
	}
	if _, err := Open(ctx, memFiles{}, m); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("block without index: %v", err)
	}
	gone := maps.Clone(files)
	delete(gone, SegmentName(0))
	if _, err := ask(gone, m, 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("block without chunks: %v", err)
	}
	b, err := Open(ctx, files, m)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	over, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := b.Select(over, series.Query{MaxTime: hour}); !errors.Is(err, context.Canceled) {
		t.Errorf("select with a cancelled context: %v", err)
	}
	if _, err := b.LabelValues(over, "job", series.Query{MaxTime: hour}); !errors.Is(err, context.Canceled) {
		t.Errorf("label values with a cancelled context: %v", err)
	}
}

// TestHeaderOfAnotherBlock: a header that belongs elsewhere is built anew.
func TestHeaderOfAnotherBlock(t *testing.T) {
	files, m := smallBlock(t)
	other, _ := smallBlock(t)
	want, err := ask(files, m, 0)
	if err != nil {
		t.Fatal(err)
	}
	files = maps.Clone(files)
	files[HeaderName] = other[HeaderName]
	b, err := Open(context.Background(), files, m)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, built := b.Header(); !built {
		t.Error("the header of another block was taken")
	}
	got, err := ask(files, m, 0)
	if err != nil || !cmp.Equal(want.series, got.series, chunkedEqual) {
		t.Errorf("wrong answer (%v)", err)
	}
}

// rottenFiles gives files whose cache is damaged until it is told to drop it.
type rottenFiles struct {
	memFiles
	rng *rand.Rand
}

type rottenFile struct {
	memFile
	rotten []byte
}

func (r rottenFiles) Open(ctx context.Context, name string) (File, error) {
	f, err := r.memFiles.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	rotten := slices.Clone(r.memFiles[name])
	for range 20 {
		rotten[r.rng.IntN(len(rotten))] ^= 4
	}
	return &rottenFile{f.(memFile), rotten}, nil
}

func (r *rottenFile) Range(ctx context.Context, off, n int64) ([]byte, error) {
	return memFile(r.rotten).Range(ctx, off, n)
}

func (r *rottenFile) Ranges(ctx context.Context, ranges []Range) ([][]byte, error) {
	return memFile(r.rotten).Ranges(ctx, ranges)
}

func (r *rottenFile) Drop(off, n int64) { copy(r.rotten[off:off+n], r.memFile[off:off+n]) }

func TestDamagedCacheIsDropped(t *testing.T) {
	files, m := smallBlock(t)
	b, err := Open(context.Background(), files, m)
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(30) {
		for i := range selectors() {
			want, err := ask(files, m, i)
			if err != nil {
				t.Fatal(err)
			}
			index, _ := rottenFiles{files, rand.New(rand.NewPCG(seed, 1))}.Open(context.Background(), IndexName)
			rotten := &Block{
				meta: m, header: b.header, index: index, segments: map[uint32]File{},
				files: rottenFiles{files, rand.New(rand.NewPCG(seed, 2))},
			}
			q := series.Query{MaxTime: hour, Matchers: selectors()[i]}
			set, err := rotten.Select(context.Background(), q)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if got := collect(t, set); !cmp.Equal(want.series, got, chunkedEqual) {
				t.Fatalf("seed %d: wrong answer", seed)
			}
		}
	}
}

func TestMergeNamesTheDamagedSource(t *testing.T) {
	dirs := []string{foreignBlock(t, testSeries(20, 0, hour)), ownBlock(t, foreignBlock(t, testSeries(20, hour, 2*hour)))}
	path := filepath.Join(dirs[1], SegmentName(0))
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	dest := t.TempDir()
	_, err = Merge(context.Background(), dest, dirs, MergeSpec{})
	var damage *CorruptError
	m, _ := ReadMeta(dirs[1])
	if !errors.As(err, &damage) || damage.Block != m.ULID || damage.File != SegmentName(0) {
		t.Errorf("error %v, want one that names %s", err, m.ULID)
	}
	if entries, _ := os.ReadDir(dest); len(entries) != 0 {
		t.Errorf("%v was left", entries)
	}
}

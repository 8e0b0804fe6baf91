package catalog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/thanos-io/objstore"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/varve-io/varve/pkg/block"
	"github.com/varve-io/varve/pkg/bucket"
	"github.com/varve-io/varve/pkg/bucket/buckettest"
	"github.com/varve-io/varve/pkg/tenant"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func tenantA(t testing.TB) tenant.ID {
	t.Helper()
	id, err := tenant.Parse("a")
	if err != nil {
		t.Fatal(err)
	}
	return id
}

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newStore(t testing.TB, bkt bucket.Bucket, now func() time.Time) *Store {
	t.Helper()
	s, err := New(bkt, now, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// blockID is the n-th ID of the tests.
func blockID(n int) ulid.ULID {
	var id ulid.ULID
	_ = id.SetTime(ulid.Timestamp(start))
	id[15], id[14] = byte(n), byte(n>>8)
	return id
}

func testBlock(n int) Block {
	return Block{
		ID: blockID(n), MinTime: int64(n) * 100, MaxTime: int64(n)*100 + 200, Series: 3, Samples: 30, Chunks: 3, Bytes: 30, Level: 1,
		Files: []block.FileSum{{Name: "chunks/000001", Size: 20, CRC32C: 1}, {Name: "index", Size: 10, CRC32C: 2}},
	}
}

func ids(blocks []Block) []string {
	var out []string
	for _, b := range blocks {
		out = append(out, b.ID.String())
	}
	return out
}

var sameCatalog = cmp.Options{cmp.AllowUnexported(Catalog{}), cmpopts.IgnoreFields(Catalog{}, "byID"), cmp.Comparer(func(a, b tenant.ID) bool { return a == b })}

func drawFacts(t *rapid.T) []Fact {
	facts := make([]Fact, rapid.IntRange(0, 6).Draw(t, "facts"))
	some := func(name string) []ulid.ULID {
		var out []ulid.ULID
		for _, n := range rapid.SliceOfN(rapid.IntRange(0, 5), 0, 3).Draw(t, name) {
			out = append(out, blockID(n))
		}
		return out
	}
	for i := range facts {
		f := Fact{ID: blockID(1000 + i), Remove: some("remove"), Deleted: some("deleted"), Quarantine: map[ulid.ULID]string{}}
		for _, n := range rapid.SliceOfN(rapid.IntRange(0, 5), 0, 3).Draw(t, "add") {
			b := testBlock(n)
			b.Series = rapid.Uint64Range(1, 3).Draw(t, "series")
			f.Add = append(f.Add, b)
		}
		for _, id := range some("quarantine") {
			f.Quarantine[id] = rapid.StringMatching("[ab]").Draw(t, "reason")
		}
		_ = f.ID.SetTime(ulid.Timestamp(start) + uint64(i))
		facts[i] = f
	}
	return facts
}

func TestFoldIsASet(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		facts := drawFacts(r)
		want := Fold(empty(tenantA(t)), facts...)
		for _, b := range want.Blocks {
			for _, f := range facts {
				if slices.Contains(f.Remove, b.ID) || slices.Contains(f.Deleted, b.ID) {
					r.Fatalf("removed block %s is present", b.ID)
				}
			}
		}
		for _, f := range facts {
			for _, b := range f.Add {
				if !want.Knows(b.ID) {
					r.Fatalf("added block %s is unknown", b.ID)
				}
			}
		}
		mixed := rapid.Permutation(facts).Draw(r, "order")
		cut := rapid.IntRange(0, len(facts)).Draw(r, "cut")
		got := Fold(Fold(Fold(empty(tenantA(t)), mixed[:cut]...), mixed[cut:]...), mixed[:cut]...)
		if d := cmp.Diff(want, got, sameCatalog...); d != "" {
			r.Fatalf("order, grouping or repetition matters:\n%s", d)
		}
	})
}

func TestCodec(t *testing.T) {
	c, err := newCodec()
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(r *rapid.T) {
		want := Fold(empty(tenantA(t)), drawFacts(r)...)
		want.Generation, want.Updated = 7, time.UnixMilli(start.UnixMilli())
		data, err := c.encode(want)
		if err != nil {
			r.Fatal(err)
		}
		got, err := c.decode(tenantA(t), data)
		if err != nil {
			r.Fatal(err)
		}
		if d := cmp.Diff(want, got, sameCatalog...); d != "" {
			r.Fatal(d)
		}
		data[rapid.IntRange(0, len(data)-1).Draw(r, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(r, "bit")
		if got, err := c.decode(tenantA(t), data); err == nil && got.Hash != want.Hash {
			r.Fatal("a flipped bit went unnoticed")
		}
	})
}

func FuzzDecode(f *testing.F) {
	c, err := newCodec()
	if err != nil {
		f.Fatal(err)
	}
	id := tenantA(f)
	data, err := c.encode(Fold(empty(id), Fact{ID: blockID(9), Add: []Block{testBlock(1)}, Remove: []ulid.ULID{blockID(2)}}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	fact, err := encodeFact(Fact{ID: blockID(9), Add: []Block{testBlock(1)}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(fact)
	f.Add([]byte(`{"version":1,"tenant":"a","blocks":[{"id":"","files":null}]}`))
	f.Add([]byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, data := range [][]byte{raw, c.enc.EncodeAll(raw, nil)} {
			cat, err := c.decode(id, data)
			if err == nil {
				if _, err := c.encode(cat); err != nil {
					t.Error(err)
				}
			} else if !errors.Is(err, ErrCorrupt) && !errors.Is(err, errVersion) {
				t.Errorf("an error without a kind: %v", err)
			}
		}
		if fact, err := decodeFact(blockID(9), raw); err == nil {
			Fold(empty(id), fact)
		}
	})
}

func TestOverlapping(t *testing.T) {
	cat := Fold(empty(tenantA(t)), Fact{Add: []Block{testBlock(2), testBlock(0), testBlock(1)}})
	for _, c := range []struct {
		mint, maxt int64
		want       []Block
	}{
		{-10, -1, nil}, {0, 0, []Block{testBlock(0)}}, {199, 199, []Block{testBlock(0), testBlock(1)}},
		{200, 200, []Block{testBlock(1), testBlock(2)}}, {400, 900, nil}, {0, 900, []Block{testBlock(0), testBlock(1), testBlock(2)}},
	} {
		if d := cmp.Diff(c.want, cat.Overlapping(c.mint, c.maxt)); d != "" {
			t.Errorf("[%d, %d]:\n%s", c.mint, c.maxt, d)
		}
	}
}

func TestLifeOfABlock(t *testing.T) {
	now := start
	s := newStore(t, objstore.NewInMemBucket(), func() time.Time { return now })
	id, ctx := tenantA(t), t.Context()
	commit := func(f Fact) *Catalog {
		t.Helper()
		cat, err := s.Commit(ctx, id, f)
		if err != nil {
			t.Fatal(err)
		}
		return cat
	}
	first := commit(Fact{Add: []Block{testBlock(1), testBlock(2)}})
	second := commit(Fact{Quarantine: map[ulid.ULID]string{blockID(2): "overlaps itself"}})
	if b, _ := second.Block(blockID(2)); b.Quarantined == "" || first.Hash == second.Hash {
		t.Errorf("quarantine is not seen: %+v", b)
	}
	cat := commit(Fact{Add: []Block{testBlock(3)}, Remove: []ulid.ULID{blockID(1), blockID(2)}})
	if d := cmp.Diff(ids([]Block{testBlock(3)}), ids(cat.Blocks)); d != "" || !cat.Knows(blockID(1)) || cat.Knows(blockID(9)) {
		t.Errorf("after compaction:\n%s", d)
	}
	if got := cat.Expired(now.Add(59*time.Minute), time.Hour); len(got) != 0 {
		t.Errorf("expired early: %v", got)
	}
	now = now.Add(time.Hour)
	if d := cmp.Diff([]ulid.ULID{blockID(1), blockID(2)}, cat.Expired(now, time.Hour)); d != "" {
		t.Error(d)
	}
	cat = commit(Fact{Deleted: []ulid.ULID{blockID(1), blockID(2)}})
	if got := cat.Expired(now, time.Hour); len(got) != 0 || !cat.Knows(blockID(1)) {
		t.Errorf("deleted and still expired: %v", got)
	}
	now = now.Add(removalKeep + time.Hour)
	if cat = commit(Fact{Add: []Block{testBlock(4)}}); cat.Knows(blockID(1)) {
		t.Error("a removal is remembered for ever")
	}
}

// over is a store like another, of another bucket; it doesn't wait for other writers.
func over(s *Store, bkt objstore.Bucket) *Store {
	c := *s
	c.bkt = bkt
	c.pause = func(context.Context, time.Duration) error { return nil }
	return &c
}

func atStart() time.Time { return start }

// stepped is a bucket whose operations wait for their turn.
type stepped struct {
	objstore.Bucket
	ask, done chan struct{}
	dead      *atomic.Bool
}

var errDead = errors.New("writer died")

func (s stepped) step(op func() error) error {
	s.ask <- struct{}{}
	<-s.done
	if s.dead.Load() {
		return errDead
	}
	return op()
}

func (s stepped) Get(ctx context.Context, name string) (r io.ReadCloser, err error) {
	err = s.step(func() (err error) { r, err = s.Bucket.Get(ctx, name); return err })
	return r, err
}

func (s stepped) Upload(ctx context.Context, name string, r io.Reader, o ...objstore.ObjectUploadOption) error {
	return s.step(func() error { return s.Bucket.Upload(ctx, name, r, o...) })
}

func (s stepped) Iter(ctx context.Context, dir string, f func(string) error, o ...objstore.IterOption) error {
	return s.step(func() error { return s.Bucket.Iter(ctx, dir, f, o...) })
}

// play runs writers whose bucket operations are interleaved as choose says: it gets the writers that wait, and
// returns the one to go on, and whether that one dies instead. It returns the writers' errors.
func play(t *testing.T, base *Store, bkt objstore.Bucket, facts []Fact, choose func(waiting []int) (int, bool)) []error {
	n := len(facts)
	errs, ended := make([]error, n), make([]chan struct{}, n)
	writers, dead := make([]stepped, n), make([]atomic.Bool, n)
	for i, f := range facts {
		ended[i] = make(chan struct{})
		writers[i] = stepped{bkt, make(chan struct{}), make(chan struct{}), &dead[i]}
		s := over(base, writers[i])
		go func() {
			defer close(ended[i])
			_, errs[i] = s.Commit(context.Background(), tenantA(t), f)
		}()
	}
	waiting := map[int]bool{}
	settle := func(i int) { // until the writer asks for its next step, or ends
		select {
		case <-writers[i].ask:
			waiting[i] = true
		case <-ended[i]:
			delete(waiting, i)
		}
	}
	for i := range writers {
		settle(i)
	}
	for len(waiting) > 0 {
		var order []int
		for i := range writers {
			if waiting[i] {
				order = append(order, i)
			}
		}
		i, dies := choose(order)
		if dies {
			dead[i].Store(true)
		}
		writers[i].done <- struct{}{}
		settle(i)
	}
	return errs
}

// TestInterleavings lets two writers meet at every step: in all orders (7,062 as it stands), or the first 10,000.
func TestInterleavings(t *testing.T) {
	want := 10_000
	if testing.Short() {
		want = 500
	}
	base := newStore(t, nil, atStart)
	var script []int // the choices to make, as positions among the waiting
	for run := range want {
		bkt := objstore.NewInMemBucket()
		seed(t, over(base, bkt))
		facts := []Fact{
			{Add: []Block{testBlock(1)}, Remove: []ulid.ULID{blockID(100)}},
			{Add: []Block{testBlock(2)}, Remove: []ulid.ULID{blockID(101), blockID(1)}},
		}
		var path, width []int
		errs := play(t, base, bkt, facts, func(waiting []int) (int, bool) {
			c := 0
			if len(path) < len(script) {
				c = script[len(path)]
			}
			path, width = append(path, c), append(width, len(waiting))
			return waiting[c], false
		})
		if err := errors.Join(errs...); err != nil {
			t.Fatalf("order %v: %v", path, err)
		}
		wantBlocks(t, over(base, bkt), fmt.Sprint(path), 2, 102)
		script = path
		for len(script) > 0 && script[len(script)-1]+1 >= width[len(script)-1] {
			script = script[:len(script)-1]
		}
		if len(script) == 0 {
			t.Logf("all %d orders", run+1)
			return
		}
		script[len(script)-1]++
	}
}

// TestInterleavingsWithDeaths lets three writers meet at random, and some die: what was acknowledged stays.
func TestInterleavingsWithDeaths(t *testing.T) {
	base := newStore(t, nil, atStart)
	for n := range 2000 {
		rnd := rand.New(rand.NewPCG(uint64(n), 5))
		bkt := objstore.NewInMemBucket()
		if n%2 == 0 {
			seed(t, over(base, bkt))
		}
		facts := []Fact{{Add: []Block{testBlock(1)}}, {Add: []Block{testBlock(2)}}, {Add: []Block{testBlock(3)}}}
		errs := play(t, base, bkt, facts, func(waiting []int) (int, bool) {
			return waiting[rnd.IntN(len(waiting))], rnd.IntN(20) == 0
		})
		cat, err := over(base, bkt).Sync(t.Context(), tenantA(t))
		if err != nil {
			t.Fatal(err)
		}
		for i, err := range errs {
			if err == nil && !cat.Knows(blockID(i+1)) {
				t.Fatalf("seed %d: block %d was acknowledged and is lost", n, i+1)
			}
		}
	}
}

func seed(t *testing.T, s *Store) {
	t.Helper()
	if _, err := s.Commit(t.Context(), tenantA(t), Fact{Add: []Block{testBlock(100), testBlock(101), testBlock(102)}}); err != nil {
		t.Fatal(err)
	}
}

func wantBlocks(t *testing.T, s *Store, what string, want ...int) {
	t.Helper()
	cat, err := s.Load(t.Context(), tenantA(t))
	if err != nil {
		t.Fatal(err)
	}
	var blocks []Block
	for _, n := range want {
		blocks = append(blocks, testBlock(n))
	}
	if d := cmp.Diff(ids(blocks), ids(cat.Blocks)); d != "" {
		t.Fatalf("%s:\n%s", what, d)
	}
}

func TestCommitOnAFaultyBucket(t *testing.T) {
	inner := objstore.NewInMemBucket()
	faulty := buckettest.NewFaulty(inner, 11)
	faulty.ErrorRate, faulty.LateRate, faulty.TornRate, faulty.HideNewest = 0.05, 0.05, 0.05, 2
	s := over(newStore(t, nil, atStart), faulty)
	acked := 0
	for n := range 200 {
		if _, err := s.Commit(t.Context(), tenantA(t), Fact{Add: []Block{testBlock(n)}}); err == nil {
			acked++
		} else if !errors.Is(err, buckettest.ErrFault) {
			t.Fatal(err)
		}
		cat, err := over(s, inner).Sync(t.Context(), tenantA(t))
		if err != nil {
			t.Fatal(err)
		}
		if len(cat.Blocks) < acked || len(cat.Blocks) > n+1 {
			t.Fatalf("%d of %d acknowledged blocks are there after %d", len(cat.Blocks), acked, n+1)
		}
	}
	if acked == 0 || acked == 200 {
		t.Errorf("%d of 200 commits went through: no faults, or nothing else", acked)
	}
}

func TestCatalogIsMadeAgain(t *testing.T) {
	for name, spoil := range map[string]func(bkt *objstore.InMemBucket) error{
		"lost": func(bkt *objstore.InMemBucket) error {
			return bkt.Delete(context.Background(), "a/varve/catalog.json.zst")
		},
		"damaged": func(bkt *objstore.InMemBucket) error {
			return bkt.Upload(context.Background(), "a/varve/catalog.json.zst", strings.NewReader("garbage"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			bkt := objstore.NewInMemBucket()
			s := newStore(t, bkt, atStart)
			put(t, bkt, "a", blockID(5), foreignMeta(blockID(5), ""))
			seed(t, s)
			if _, err := s.Commit(t.Context(), tenantA(t), Fact{Remove: []ulid.ULID{blockID(100)}}); err != nil {
				t.Fatal(err)
			}
			if err := spoil(bkt); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Load(t.Context(), tenantA(t)); (name == "damaged") != errors.Is(err, ErrCorrupt) {
				t.Errorf("load: %v", err)
			}
			if _, err := s.Commit(t.Context(), tenantA(t), Fact{Add: []Block{testBlock(200)}}); err != nil {
				t.Fatal(err)
			}
			cat, err := s.Load(t.Context(), tenantA(t))
			if err != nil {
				t.Fatal(err)
			}
			for n, want := range map[int]bool{5: true, 100: false, 101: true, 102: true, 200: true} {
				if _, ok := cat.Block(blockID(n)); ok != want {
					t.Errorf("block %d is there: %v", n, ok)
				}
			}
			newer := bytes.NewReader(s.codec.enc.EncodeAll([]byte(`{"version":99,"tenant":"a"}`), nil))
			if err := bkt.Upload(t.Context(), "a/varve/catalog.json.zst", newer); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Commit(t.Context(), tenantA(t), Fact{Add: []Block{testBlock(201)}}); !errors.Is(err, errVersion) {
				t.Errorf("a newer catalog was overwritten: %v", err)
			}
		})
	}
}

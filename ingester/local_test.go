package ingester

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/varve-io/varve/pkg/block"
	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// A damaged local block doesn't keep the ingester from starting: it is set aside, and unless the catalog has it, the
// owner says that it lost something.
func TestADamagedLocalBlockIsSetAside(t *testing.T) {
	garble := func(name string) func(dir string) error {
		return func(dir string) error { return os.WriteFile(filepath.Join(dir, name), []byte("{no"), 0o600) }
	}
	for name, c := range map[string]struct {
		damage  func(dir string) error
		shipped bool
		bucket  error
		lost    bool
	}{
		"meta.json":                   {damage: garble(block.MetaName), lost: true},
		"meta.json, shipped":          {damage: garble(block.MetaName), shipped: true},
		"meta.json, bucket gone":      {damage: garble(block.MetaName), shipped: true, bucket: errors.New("bucket has gone"), lost: true},
		"no meta.json":                {damage: func(dir string) error { return os.Remove(filepath.Join(dir, block.MetaName)) }, lost: true},
		"index":                       {damage: garble(block.IndexName), lost: true},
		"a segment of chunks is gone": {damage: func(dir string) error { return os.Remove(filepath.Join(dir, "chunks", "000001")) }, lost: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			width := blockWidth.Milliseconds()
			b.catalog.failWith(errors.New("not yet"))
			b.push(func(bl *series.Builder) {
				bl.Define(0, named("a"))
				bl.Float(0, 1000, 1)
				bl.Float(0, width+1000, 2)
			})
			if err := b.Flush(context.Background()); !errors.Is(err, b.catalog.fail) {
				t.Fatal(err)
			}
			hit := b.blocks.all()[0].Meta()
			want := map[string]float64{"a@1000": 1, "a@7201000": 2}
			delete(want, map[bool]string{true: "a@1000", false: "a@7201000"}[hit.MinTime == 0])
			b.stop()
			if err := c.damage(filepath.Join(b.dir, "blocks", "anonymous", hit.ULID.String())); err != nil {
				t.Fatal(err)
			}
			if b.catalog.failWith(c.bucket); c.shipped {
				b.catalog.shipped[hit.ULID] = ""
			}
			b.ring = viewOf{ring.NewView(1, 3, nil)}
			before := time.Now().UnixMilli()
			b.start()
			b.want(want)
			if since := b.Standing().CompleteSince; c.lost != (since >= before) {
				t.Errorf("it says that it is complete since %d", since)
			}
			if _, err := os.Stat(filepath.Join(b.dir, "blocks", "anonymous", damaged+hit.ULID.String(), "index")); err != nil {
				t.Error(err)
			}
			since := b.Standing().CompleteSince
			b.restart()
			if again := b.Standing().CompleteSince; again != since {
				t.Errorf("after one more start it is complete since %d, not %d", again, since)
			}
		})
	}
}

func TestADamagedListOfReleasedBlocksIsBegunAnew(t *testing.T) {
	b := newBed(t)
	b.stop()
	if err := os.WriteFile(b.blocks.released.path, []byte("[{"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.start()
	if s := b.standingFor(tenant.Anonymous); len(s.Released) != 0 {
		t.Errorf("released are %v", s.Released)
	}
}

// Nothing is let go of before readers are told for good.
func TestNoBlockIsReleasedThatTheListLacks(t *testing.T) {
	b := newBedWithGrace(t, 0)
	b.push(func(bl *series.Builder) { bl.Define(0, named("a")); bl.Float(0, 1000, 1) })
	if err := os.MkdirAll(b.blocks.released.path+".new", 0o755); err != nil {
		t.Fatal(err)
	}
	b.flush()
	b.release(context.Background())
	b.want(map[string]float64{"a@1000": 1})
	if err := os.Remove(b.blocks.released.path + ".new"); err != nil {
		t.Fatal(err)
	}
	b.release(context.Background())
	b.want(map[string]float64{})
}

// Many released blocks of one tenant push out none of another's.
func TestReleasedBlocksAreBoundedByTenant(t *testing.T) {
	l := releasedList{path: filepath.Join(t.TempDir(), "released.json")}
	if err := l.load(); err != nil {
		t.Fatal(err)
	}
	quiet := mustTenant(t, "quiet")
	fake := func(id tenant.ID) *localBlock { return &localBlock{Block: new(block.Block), tenant: id} }
	now := time.Now()
	few, one := fake(quiet), fake(tenant.Anonymous)
	many := make([]*localBlock, maxReleased+10)
	for n := range many {
		many[n] = one
	}
	for _, round := range [][]*localBlock{{few}, many} {
		if err := l.add(round, now); err != nil {
			t.Fatal(err)
		}
	}
	loaded := releasedList{path: l.path}
	if err := loaded.load(); err != nil {
		t.Fatal(err)
	}
	for _, l := range []*releasedList{&l, &loaded} {
		if q, m := len(l.of(quiet)), len(l.of(tenant.Anonymous)); q != 1 || m != maxReleased {
			t.Errorf("%d of the quiet one and %d of the other are told of", q, m)
		}
	}
	if err := l.add([]*localBlock{one}, now.Add(releasedFor+time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got := append(l.of(quiet), l.of(tenant.Anonymous)...); len(got) != 1 || got[0] != (ulid.ULID{}) {
		t.Errorf("a day later %d are told of, want the new one", len(got))
	}
}

package compactor

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"path/filepath"
	"runtime/debug"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/thanos-io/objstore"
	"go.uber.org/goleak"

	"github.com/varve-io/varve/pkg/block"
	"github.com/varve-io/varve/pkg/bucket"
	"github.com/varve-io/varve/pkg/catalog"
	"github.com/varve-io/varve/pkg/head"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

func TestMain(m *testing.M) {
	debug.SetGCPercent(400) // the writer of a block takes megabytes for a few samples
	goleak.VerifyTestMain(m)
}

// model is what the bucket must say: series, then time, then value.
type model map[string]map[int64]float64

func (m model) add(ls labels.Labels, t int64, v float64) {
	s := m[ls.String()]
	if s == nil {
		s = map[int64]float64{}
		m[ls.String()] = s
	}
	if old, ok := s[t]; !ok || series.Wins(v, old) {
		s[t] = v
	}
}

func (m model) samples() (n int) {
	for _, s := range m {
		n += len(s)
	}
	return n
}

func (m model) equal(other model) bool {
	return maps.EqualFunc(m, other, func(a, b map[int64]float64) bool {
		return maps.EqualFunc(a, b, func(x, y float64) bool { return math.Float64bits(x) == math.Float64bits(y) })
	})
}

// world is a bucket with what must be in it.
type world struct {
	t      testing.TB
	bkt    objstore.Bucket // without faults
	store  *catalog.Store
	now    time.Time
	limits tenant.Limits
	want   map[tenant.ID]model
}

func newWorld(t testing.TB, bkt objstore.Bucket) *world {
	w := &world{t: t, bkt: bkt, now: time.Now(), want: map[tenant.ID]model{}}
	w.store = w.newStore(bkt)
	return w
}

func (w *world) clock() time.Time { return w.now }

// For implements Limits.
func (w *world) For(tenant.ID) *tenant.Limits { return &w.limits }

func (w *world) newStore(bkt objstore.Bucket) *catalog.Store {
	w.t.Helper()
	s, err := catalog.New(bkt, w.clock, quiet(), prometheus.NewRegistry())
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// compactor makes one that works through bkt.
func (w *world) compactor(bkt objstore.Bucket) *Compactor {
	return New(Default(), Dependencies{
		Catalog: w.newStore(bkt), Bucket: bkt, Dir: w.t.TempDir(), Limits: w, Logger: quiet(), Reg: prometheus.NewRegistry(), Now: w.clock,
	})
}

func id(t testing.TB, name string) tenant.ID {
	t.Helper()
	out, err := tenant.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// midnight is that of a day before the compactor's clock by so many days.
func (w *world) midnight(days int) int64 {
	return floor(w.now.UnixMilli(), dayWidth) - int64(days)*dayWidth
}

// spec says which samples a block gets.
type spec struct {
	from, to int64 // Unix milliseconds
	series   int
	step     int64
	value    float64 // is added to each
	origin   block.Varve
}

// write writes a block and remembers its samples.
func (w *world) write(id tenant.ID, s spec) string {
	w.t.Helper()
	h := head.New(head.Options{})
	defer h.Free()
	if w.want[id] == nil {
		w.want[id] = model{}
	}
	for i := range s.series {
		ls := labels.FromStrings("__name__", "m", "i", fmt.Sprint(i), "tenant", id.String())
		ser, _, err := h.Series(ls)
		if err != nil {
			w.t.Fatal(err)
		}
		for at := s.from; at < s.to; at += s.step {
			v := s.value + float64(i) + float64(at%1000)
			ser.AppendFloat(at, v)
			w.want[id].add(ls, at, v)
		}
	}
	h.Seal()
	dir := w.t.TempDir()
	m, err := block.Write(w.t.Context(), dir, h.Reader(head.Range{Min: s.from, Max: s.to}), block.Spec{MinTime: s.from, MaxTime: s.to, Origin: s.origin})
	if err != nil || m.Stats.NumSamples == 0 {
		w.t.Fatalf("write block: %d samples, %v", m.Stats.NumSamples, err)
	}
	return filepath.Join(dir, m.ULID.String())
}

// put writes a block, uploads it and enters it.
func (w *world) put(id tenant.ID, s spec) catalog.Block {
	w.t.Helper()
	return w.upload(id, w.write(id, s))
}

func (w *world) upload(id tenant.ID, dir string) catalog.Block {
	w.t.Helper()
	b, err := catalog.Upload(w.t.Context(), w.bkt, id, dir)
	if err == nil {
		_, err = w.store.Commit(w.t.Context(), id, catalog.Fact{Add: []catalog.Block{b}})
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

// fill puts the blocks of three replicas for some hours of one day.
func (w *world) fill(id tenant.ID, day, hours int) {
	for from := int64(0); from < int64(hours); from += 2 {
		for n := range 3 {
			at := w.midnight(day) + from*hour
			w.put(id, spec{from: at, to: at + 2*hour - int64(n)*hour/4, series: 4, step: hour / 8, origin: block.Varve{Partition: 1, Replica: fmt.Sprint("r", n), Epoch: from}})
		}
	}
}

func (w *world) catalog(id tenant.ID) *catalog.Catalog {
	w.t.Helper()
	cat, err := w.store.Sync(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return cat
}

// read gives what all blocks of the catalog say together, and how many samples they have.
func (w *world) read(id tenant.ID) (model, int) {
	w.t.Helper()
	got, n := model{}, 0
	reader, err := bucket.NewReader(w.bkt, bucket.CacheConfig{}, quiet(), prometheus.NewRegistry())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, b := range w.catalog(id).Blocks {
		open, err := block.Open(w.t.Context(), b.OpenFiles(reader, id), b.Meta())
		if err != nil {
			w.t.Fatal(err)
		}
		err = open.Samples(w.t.Context(), func(ls labels.Labels, it chunkenc.Iterator, _ chunkenc.ValueType) error {
			t, v := it.At()
			got.add(ls, t, v)
			n++
			return nil
		})
		if err := errors.Join(err, open.Close()); err != nil {
			w.t.Fatal(err)
		}
	}
	return got, n
}

// verify reads every byte of all blocks of the catalog.
func (w *world) verify(id tenant.ID) {
	w.t.Helper()
	for _, b := range w.catalog(id).Blocks {
		dir := w.t.TempDir()
		if err := catalog.Download(w.t.Context(), w.bkt, id, b, dir); err != nil {
			w.t.Fatal(err)
		}
		report, err := block.Verify(w.t.Context(), block.Dir(filepath.Join(dir, b.ID.String())))
		if err != nil || report.Err() != nil {
			w.t.Fatalf("verify %s: %v, %v", b.ID, err, report.Err())
		}
	}
}

// check compares the bucket with what must be in it; once says that no sample may be there twice.
func (w *world) check(id tenant.ID, once bool) {
	w.t.Helper()
	got, n := w.read(id)
	if want := w.want[id]; !got.equal(want) {
		w.t.Fatalf("tenant %s: %d samples of %d series, want %d of %d", id, got.samples(), len(got), want.samples(), len(want))
	}
	if once && n != got.samples() {
		w.t.Errorf("tenant %s: %d samples are there %d times", id, got.samples(), n)
	}
}

func run(t *testing.T, c *Compactor, id tenant.ID) {
	t.Helper()
	if err := c.RunOnce(t.Context(), id); err != nil {
		t.Fatal(err)
	}
}

func localBucket(t testing.TB) objstore.Bucket {
	t.Helper()
	cfg := bucket.Default()
	cfg.Dir = t.TempDir()
	bkt, err := bucket.Open(cfg, "", quiet(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bkt.Close() })
	return bkt
}

func (w *world) name(id tenant.ID, b catalog.Block, file string) string {
	return id.String() + "/" + b.ID.String() + "/" + file
}

func objects(t *testing.T, bkt objstore.Bucket, dir string) (names []string) {
	t.Helper()
	if err := bkt.Iter(t.Context(), dir, func(name string) error {
		names = append(names, name)
		return nil
	}, objstore.WithRecursiveIter()); err != nil {
		t.Fatal(err)
	}
	return names
}

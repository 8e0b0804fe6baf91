package ingester

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// speller is a distributor's side of a stream: it says what numbers of labels stand for, once in most cases.
type speller struct {
	b          *bed
	generation uint32
	random     *rand.Rand
	next       series.LabelNumber
	labels     map[labels.Label]series.LabelNumber
	numbers    map[string]series.Number // by tenant and labels
	want       map[string]float64
	time       int64
}

func newSpeller(b *bed) *speller {
	return &speller{b: b, random: rand.New(rand.NewPCG(1, 2)), want: map[string]float64{}}
}

// anew begins another generation, as after a restart.
func (s *speller) anew() {
	s.generation++
	s.next, s.labels, s.numbers = 0, map[labels.Label]series.LabelNumber{}, map[string]series.Number{}
}

// label is the number of a label, defined in the batch if it is new, and sometimes once more.
func (s *speller) label(bl *series.Builder, l labels.Label) series.LabelNumber {
	k, ok := s.labels[l]
	if !ok || k+series.LabelsKept/2 < s.next {
		k, ok = s.next, false
		s.labels[l] = k
		s.next++
	}
	if !ok || s.random.IntN(10) == 0 {
		bl.Label(k, l)
	}
	return k
}

// push sends a batch of some series of a tenant, of which some are new.
func (s *speller) push(id tenant.ID, many int) {
	s.b.t.Helper()
	var bl series.Builder
	bl.Reset(series.StreamID{Distributor: 1, Generation: s.generation}, id)
	s.time++
	for range many {
		ls := labels.FromStrings("__name__", s.draw("m", 20), "a", s.draw("v", 5), "b", s.draw("v", 5), "pod", s.draw("p", int(s.time)))
		key := id.String() + ls.String()
		n, ok := s.numbers[key]
		if !ok {
			n = series.Number(len(s.numbers))
			s.numbers[key] = n
			var ks []series.LabelNumber
			ls.Range(func(l labels.Label) { ks = append(ks, s.label(&bl, l)) })
			if s.random.IntN(8) == 0 {
				bl.Define(n, ls)
			} else {
				bl.DefineNumbered(n, ks)
			}
		}
		at := fmt.Sprint(key, "@", s.time)
		v, again := s.want[at]
		if !again {
			v = s.random.Float64()
			s.want[at] = v
		}
		bl.Float(n, s.time, v)
	}
	r, err := s.b.Push(bl.AppendTo(nil))
	if err == nil {
		_, err = r.Wait(context.Background())
	}
	if err != nil {
		s.b.t.Fatal(err)
	}
}

func (s *speller) draw(prefix string, of int) string { return fmt.Sprint(prefix, s.random.IntN(of)) }

// check compares all that is stored of the tenants.
func (s *speller) check(when string, of ...tenant.ID) {
	s.b.t.Helper()
	got := map[string]float64{}
	for _, id := range of {
		set, _, err := s.b.Select(context.Background(), series.Query{Tenant: id, MinTime: 0, MaxTime: 1 << 60})
		if err != nil {
			s.b.t.Fatal(err)
		}
		var it chunkenc.Iterator
		for set.Next() {
			it = series.NewIterator(set.At().Chunks, it)
			for it.Next() == chunkenc.ValFloat {
				ts, v := it.At()
				got[fmt.Sprintf("%s%s@%d", id, set.At().Labels, ts)] = v
			}
		}
		if err := errors.Join(set.Err(), set.Close()); err != nil {
			s.b.t.Fatal(err)
		}
	}
	if d := gocmp.Diff(s.want, got); d != "" {
		s.b.t.Fatalf("%s: content differs (-want +got):\n%s", when, d)
	}
}

// Series that are defined by numbers of labels have these labels, whatever becomes of epochs, snapshots and processes.
func TestSeriesOfLabelsWithNumbers(t *testing.T) {
	b := newBed(t)
	s := newSpeller(b)
	s.anew()
	tenants := []tenant.ID{tenant.Anonymous, mustTenant(t, "x"), mustTenant(t, "y")}
	for range 30 {
		when := "after some batches"
		switch s.random.IntN(6) {
		case 0:
			when = "in another epoch"
			if err := b.Rotate(); err != nil {
				t.Fatal(err)
			}
		case 1:
			when = "with a snapshot"
			b.snapshot()
		case 2:
			when = "after a restart"
			b.restart()
			s.anew()
		}
		for range 10 {
			s.push(tenants[s.random.IntN(len(tenants))], 30)
		}
		s.check(when, tenants...)
	}
	b.restart()
	s.check("at the end", tenants...)
}

func mustTenant(t *testing.T, name string) tenant.ID {
	t.Helper()
	id, err := tenant.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// A restart from a snapshot knows the labels that batches before it have defined.
func TestSnapshotsHaveLabels(t *testing.T) {
	b := newBed(t)
	b.push(func(bl *series.Builder) {
		bl.Label(0, labels.Label{Name: "__name__", Value: "a"})
		bl.Label(1, labels.Label{Name: "__name__", Value: "b"})
		bl.DefineNumbered(0, []series.LabelNumber{0})
		bl.Float(0, 1000, 1)
	})
	b.snapshot()
	b.push(func(bl *series.Builder) { bl.DefineNumbered(1, []series.LabelNumber{1}); bl.Float(1, 1000, 2) })
	b.restart()
	b.want(map[string]float64{"a@1000": 1, "b@1000": 2})
}

// A snapshot has no number of an older term: the log that it stands in for doesn't define it.
func TestSnapshotsAreOfTheirTerm(t *testing.T) {
	b := newBed(t)
	b.push(func(bl *series.Builder) {
		for i, name := range []string{"a", "b"} {
			bl.Label(series.LabelNumber(i), labels.Label{Name: "__name__", Value: name})
			bl.DefineNumbered(series.Number(i), []series.LabelNumber{series.LabelNumber(i)})
			bl.Float(series.Number(i), 1000, 1)
		}
	})
	if err := b.Rotate(); err != nil {
		t.Fatal(err)
	}
	if err := b.cutAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.push(func(bl *series.Builder) { bl.Float(0, 2000, 1) })
	b.snapshot()
	l, err := b.loadSnapshot(t.Context(), newEpoch(b.current.number))
	if err != nil || len(l.streams) != 1 {
		t.Fatalf("the snapshot has %d streams, %v", len(l.streams), err)
	}
	for _, st := range l.streams {
		if r := st.refs.find(0); r == nil || r.era == 0 {
			t.Error("it lacks a number that its term defines")
		}
		if r := st.refs.find(1); r != nil && r.era != 0 {
			t.Error("it has a number that its term doesn't define")
		}
	}
	if len(l.records) != 0 {
		t.Errorf("it has %d records: labels that its term has only as text", len(l.records))
	}
}

// A snapshot of a stream with more tenants than eras are kept for nothing has each number in its tenant's head.
func TestSnapshotsOfManyTenants(t *testing.T) {
	b := newBed(t)
	id := func(n int) tenant.ID { return mustTenant(t, fmt.Sprint("t", n)) }
	push := func(n int, build func(*series.Builder)) {
		t.Helper()
		var bl series.Builder
		bl.Reset(series.StreamID{Distributor: 1, Generation: 1}, id(n))
		build(&bl)
		r, err := b.Push(bl.AppendTo(nil))
		if err == nil {
			_, err = r.Wait(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	const many = 3 * fewEras
	for n := range many {
		push(n, func(bl *series.Builder) {
			bl.Define(series.Number(n), named(fmt.Sprint("s", n)))
			bl.Float(series.Number(n), 1000, 1)
		})
	}
	b.snapshot()
	for n := range many { // what the restart replays
		push(n, func(bl *series.Builder) { bl.Float(series.Number(n), 2000, 2) })
	}
	l, err := b.loadSnapshot(t.Context(), newEpoch(b.current.number))
	if err != nil || len(l.streams) != 1 {
		t.Fatalf("the snapshot has %d streams, %v", len(l.streams), err)
	}
	for _, st := range l.streams {
		for n := range many {
			r := st.refs.find(series.Number(n))
			of := st.eras.all[r.era]
			if of.head != l.epoch.head(id(n)) || of.tenant != st.tenants[id(n)] {
				t.Fatalf("number %d is of the era %d, another tenant's", n, r.era)
			}
			if got := of.list.At(int(r.series)).Labels(); !labels.Equal(got, named(fmt.Sprint("s", n))) {
				t.Fatalf("number %d has become %s", n, got)
			}
		}
	}
	b.restart()
	for n := range many {
		if mint, maxt, ok := b.current.head(id(n)).Times(); !ok || mint != 1000 || maxt != 2000 {
			t.Errorf("tenant %d has samples of %d to %d after the restart, want 1000 to 2000", n, mint, maxt)
		}
	}
}

// Nothing is taken of a batch that needs a label which isn't there: never defined, or as many as are kept were defined after it.
func TestLabelsThatAreNotKept(t *testing.T) {
	b := newBed(t)
	refused := func(want error, build func(*series.Builder)) {
		t.Helper()
		var bl series.Builder
		bl.Reset(series.StreamID{Distributor: 1, Generation: 1}, tenant.Anonymous)
		build(&bl)
		bl.Float(0, 2000, 1)
		if _, err := b.Push(bl.AppendTo(nil)); !errors.Is(err, want) {
			t.Errorf("the batch is answered with %v, not %v", err, want)
		}
	}
	name := func(i int) labels.Label { return labels.Label{Name: "__name__", Value: fmt.Sprint("m", i)} }
	refused(series.ErrUnknownNumber, func(bl *series.Builder) { bl.DefineNumbered(0, []series.LabelNumber{0}) })
	b.push(func(bl *series.Builder) {
		bl.Label(0, name(0))
		bl.Label(1, name(1))
		bl.DefineNumbered(0, []series.LabelNumber{0})
		bl.Float(0, 1000, 1)
	})
	refused(series.ErrUnknownNumber, func(bl *series.Builder) { bl.DefineNumbered(1, []series.LabelNumber{series.LabelsKept}) })
	refused(series.ErrCorrupt, func(bl *series.Builder) { bl.Label(1, name(2)) })
	b.push(func(bl *series.Builder) {
		for i := 2; i <= series.LabelsKept; i++ { // the last one takes the place of 0
			bl.Label(series.LabelNumber(i), name(i))
		}
		bl.DefineNumbered(1, []series.LabelNumber{1})
		bl.DefineNumbered(2, []series.LabelNumber{series.LabelsKept})
		bl.Float(1, 1000, 2)
		bl.Float(2, 1000, 3)
	})
	refused(series.ErrUnknownNumber, func(bl *series.Builder) { bl.DefineNumbered(3, []series.LabelNumber{0}) })
	want := map[string]float64{"m0@1000": 1, "m1@1000": 2, fmt.Sprintf("m%d@1000", series.LabelsKept): 3}
	b.want(want)
	b.restart()
	b.want(want)
}

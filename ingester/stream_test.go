package ingester

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/pkg/config"
	"github.com/varve-io/varve/pkg/head"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/pkg/wal"
)

// A batch of one tenant that uses a number of another is corrupt, in the term of the definition and in later ones.
func TestNumbersBelongToTheirTenant(t *testing.T) {
	b := newBed(t)
	x := mustTenant(t, "x")
	b.push(func(bl *series.Builder) { bl.Define(0, named("a")); bl.Float(0, 1000, 1) })
	foreign := func() error {
		var bl series.Builder
		bl.Reset(series.StreamID{Distributor: 1, Generation: 1}, x)
		bl.Define(1, named("b"))
		bl.Float(1, 1000, 1)
		bl.Float(0, 2000, 2)
		_, err := b.Push(bl.AppendTo(nil))
		return err
	}
	if err := foreign(); !errors.Is(err, series.ErrCorrupt) {
		t.Errorf("another tenant's number: %v", err)
	}
	if err := b.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := foreign(); !errors.Is(err, series.ErrCorrupt) {
		t.Errorf("another tenant's number, an epoch later: %v", err)
	}
	b.push(func(bl *series.Builder) { bl.Float(0, 2000, 3) })
	b.want(map[string]float64{"a@1000": 1, "a@2000": 3})
	if size := unsafe.Sizeof(ref{}); size > 16 {
		t.Errorf("a reference takes %d bytes; there is one per series and distributor", size)
	}
}

// Numbers that nobody uses keep the labels of their series, and not the heads of epochs that are cut.
func TestNumbersLeaveHeadsThatAreCut(t *testing.T) {
	b := newBedOf(t, time.Hour)
	var ahead atomic.Int64
	b.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	b.start()
	b.push(func(bl *series.Builder) {
		for n := range 2*vacateStep + 3 {
			bl.Define(series.Number(n), named(fmt.Sprint("s", n)))
		}
		bl.Float(0, 1000, 1)
		bl.Float(vacateStep, 1000, 2)
	})
	for epoch := range 3 {
		was := b.current
		if err := b.Rotate(); err != nil {
			t.Fatal(err)
		}
		b.push(func(bl *series.Builder) { bl.Float(0, 2000+int64(epoch), 1) })
		for range 2 {
			if err := b.cutAll(t.Context()); err != nil {
				t.Fatal(err)
			}
			ahead.Add(int64(b.vacateAfter()))
		}
		for _, st := range b.streams {
			for at, e := range st.eras.all {
				if e.head == was.head(tenant.Anonymous) {
					t.Errorf("era %d keeps the head of epoch %d", at, epoch)
				}
			}
			for n := range st.refs.size {
				r := st.refs.find(series.Number(n))
				of := st.eras.all[r.era]
				if was.head(tenant.Anonymous) == of.head {
					t.Fatalf("number %d is of epoch %d", n, epoch)
				}
				if got := of.list.At(int(r.series)).Labels(); !labels.Equal(got, named(fmt.Sprint("s", n))) {
					t.Fatalf("number %d has become %s", n, got)
				}
			}
		}
	}
	b.push(func(bl *series.Builder) { bl.Float(vacateStep, 3000, 3) })
	b.want(map[string]float64{
		"s0@1000": 1, "s0@2000": 1, "s0@2001": 1, "s0@2002": 1,
		fmt.Sprintf("s%d@1000", vacateStep): 2, fmt.Sprintf("s%d@3000", vacateStep): 3,
	})
}

// A sender may pause for longer than a short epoch lasts: its numbers are still known.
func TestStreamsOutliveAPause(t *testing.T) {
	b := &bed{t: t, dir: t.TempDir()}
	for _, c := range []struct {
		period, pause time.Duration
		kept          bool
	}{
		{time.Second, 29 * time.Minute, true},
		{time.Second, 31 * time.Minute, false},
		{2 * time.Hour, 3 * time.Hour, true},
		{2 * time.Hour, 5 * time.Hour, false},
	} {
		now := time.Now()
		b.now = func() time.Time { return now }
		b.make()
		b.cfg.HeadPeriod = config.Duration(c.period)
		b.stream(series.StreamID{Distributor: 1})
		now = now.Add(c.pause)
		b.dropStreams()
		if kept := len(b.streams) == 1; kept != c.kept {
			t.Errorf("epochs of %s, a pause of %s: kept is %v", c.period, c.pause, kept)
		}
	}
}

// Heads that no number has any more are let go of, and those of numbers are not.
func TestErasGoWithTheirNumbers(t *testing.T) {
	const many = 20 * fewEras
	st := &stream{}
	for epoch := range many {
		st.begin(wal.Term{Epoch: uint64(epoch)})
		h := head.New(head.Options{})
		d := st.dictionary(tenant.Anonymous, h)
		if epoch%8 == 0 {
			s, _, err := h.Series(named(fmt.Sprint("s", epoch)))
			if err != nil {
				t.Fatal(err)
			}
			*st.refs.make(series.Number(epoch)) = ref{series: s.Ref(), era: d.now}
		}
		for n := 0; n <= epoch; n += 8 {
			if n > 0 && epoch%(n+10) != 0 { // the first is used in each epoch, most others never again
				continue
			}
			r, err := d.resolve(series.Number(n))
			if err != nil {
				t.Fatal(err)
			}
			all := d.settle()
			if got := all.At(int(r.series)).Labels(); !labels.Equal(got, named(fmt.Sprint("s", n))) {
				t.Fatalf("number %d has become %s", n, got)
			}
		}
		d.settle()
		h.Free()
	}
	if len(st.eras.all) > many/2 {
		t.Errorf("%d eras are kept for %d numbers", len(st.eras.all), many/8)
	}
	st.sweep()
	used := map[uint32]bool{}
	for n := range st.refs.size {
		if r := st.refs.find(series.Number(n)); r != nil {
			used[r.era] = true
		}
	}
	for at, e := range st.eras.all {
		if e.head != nil && !used[uint32(at)] {
			t.Errorf("era %d is kept for no number", at)
		}
	}
}

// The place of an era that was swept may be another tenant's.
func TestErasAreOfTheirTenants(t *testing.T) {
	st := &stream{}
	st.begin(wal.Term{Epoch: 1})
	var heads [3 * fewEras]*head.Head
	for range 3 {
		for n := range heads {
			if heads[n] == nil {
				heads[n] = head.New(head.Options{})
			}
			if d := st.dictionary(mustTenant(t, fmt.Sprint("t", n)), heads[n]); st.eras.all[d.now].head != heads[n] {
				t.Fatalf("the era of tenant %d is of another head", n)
			}
		}
	}
}

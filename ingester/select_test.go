package ingester

import (
	"context"
	"errors"
	"testing"

	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// onLook calls f when somebody looks whether the context has ended.
type onLook struct {
	context.Context
	f func()
}

func (c onLook) Err() error { c.f(); return c.Context.Err() }

// A selection that meets a head which a cut has just freed begins anew, and leaves nothing open of what it had.
func TestASelectionThatMeetsACutClosesWhatItHad(t *testing.T) {
	b := newBed(t)
	b.push(func(bl *series.Builder) { bl.Define(0, named("a")); bl.Float(0, 1000, 1) })
	first := b.current
	freed := newEpoch(99)
	freed.head(tenant.Anonymous).Free()
	set := func(old []*epoch, current *epoch) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.old, b.current = old, current
	}
	b.cutMu.Lock() // no cut of its own comes between
	set([]*epoch{first}, freed)
	ctx := onLook{t.Context(), func() { set(nil, first) }}
	s, _, err := b.Select(ctx, series.Query{Tenant: tenant.Anonymous, MaxTime: 5000})
	b.cutMu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if !s.Next() || s.At().Labels.Get("__name__") != "a" {
		t.Error("the selection that began anew finds nothing")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	h := first.lookup(tenant.Anonymous)
	if h.Free(); h.NumSeries() != 0 {
		t.Error("a set of the head is still open")
	}
}

// Every answer names the blocks that it is made of, until they are released.
func TestAnswersNameTheBlocksTheyHold(t *testing.T) {
	b := newBedWithGrace(t, 0)
	b.push(func(bl *series.Builder) { bl.Define(0, named("a")); bl.Float(0, 1000, 1) })
	ask := func(mint int64) (held int) {
		q := series.Query{Tenant: tenant.Anonymous, MinTime: mint, MaxTime: 1 << 60}
		set, selected, err := b.Select(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if err := set.Close(); err != nil {
			t.Fatal(err)
		}
		_, names, err := b.LabelNames(t.Context(), q)
		if err != nil || len(names.Held) != len(selected.Held) {
			t.Errorf("label names name %d, a selection %d: %v", len(names.Held), len(selected.Held), err)
		}
		return len(selected.Held)
	}
	for _, step := range []struct {
		name string
		do   func()
		mint int64
		want int
	}{
		{"in the head", func() {}, 0, 0},
		{"cut", func() {
			if err := errors.Join(b.Rotate(), b.cutAll(t.Context())); err != nil {
				t.Fatal(err)
			}
		}, 0, 1},
		{"another range", func() {}, blockWidth.Milliseconds(), 0},
		{"released", func() { b.flush(); b.release(t.Context()) }, 0, 0},
	} {
		if step.do(); ask(step.mint) != step.want {
			t.Errorf("%s: %d blocks are named, want %d", step.name, ask(step.mint), step.want)
		}
	}
}

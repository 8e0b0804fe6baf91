package distributor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/series"
)

// fleet is owners that can be up or down, and what each of them got, over all its ways.
type fleet struct {
	mu    sync.Mutex
	up    map[string]bool
	got   map[string][]string
	dials map[string]int
	ways  []*way
	full  map[string]bool // refuses batches
}

func newFleet(up ...string) *fleet {
	f := &fleet{up: map[string]bool{}, got: map[string][]string{}, dials: map[string]int{}, full: map[string]bool{}}
	for _, name := range up {
		f.up[name] = true
	}
	return f
}

type way struct {
	*fleet
	name   string
	once   sync.Once
	broken chan struct{}
}

func (f *fleet) Dial(ctx context.Context, o ring.Owner) (Owner, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dials[o.Instance]++
	if !f.up[o.Instance] {
		return nil, errors.New("down")
	}
	w := &way{fleet: f, name: o.Instance, broken: make(chan struct{})}
	f.ways = append(f.ways, w)
	return w, nil
}

func (w *way) Push(batch []byte, free func()) (series.Receipt, error) {
	defer free()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.full[w.name] {
		return nil, errors.New("full")
	}
	w.got[w.name] = append(w.got[w.name], string(batch))
	return settled{}, nil
}

func (w *way) Broken() <-chan struct{} { return w.broken }
func (w *way) Close()                  { w.once.Do(func() { close(w.broken) }) }

// breakWays breaks the ways to an owner.
func (f *fleet) breakWays(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.ways {
		if w.name == name {
			w.Close()
		}
	}
}

func (f *fleet) fill(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.full[name] = true
}

func (f *fleet) set(name string, up bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.up[name] = up
}

// dialled is how often an owner was dialled.
func (f *fleet) dialled(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dials[name]
}

// settled is a receipt whose owner has answered.
type settled struct {
	ack series.Ack
	err error
}

func (s settled) Wait(context.Context) (series.Ack, error) { return s.ack, s.err }

func owners(names ...string) []ring.Owner {
	var all []ring.Owner
	for _, n := range names {
		all = append(all, ring.Owner{Instance: n, Address: n + ":1"})
	}
	return all
}

func TestStreamJoinsOwnersAsTheyCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet("a", "b")
		s := newStream(0, f, newVersions())
		s.follow(owners("a", "b", "c"))
		synctest.Wait()
		if n := s.joined(); n != 2 {
			t.Fatalf("%d owners joined, want 2", n)
		}
		before := s.currentGeneration()
		time.Sleep(time.Hour)
		if g := s.currentGeneration(); g != before {
			t.Errorf("a dead owner moved the generation from %d to %d", before, g)
		}
		if f.dialled("c") < 1000 {
			t.Errorf("a dead owner was dialled %d times in an hour", f.dialled("c"))
		}
		if _, whole, err := s.push(before, noLabel, letterOf("one")); err != nil || !whole {
			t.Errorf("push: whole %v, %v", whole, err)
		}
		f.set("c", true)
		time.Sleep(redialAfter)
		synctest.Wait()
		if _, _, err := s.push(before, noLabel, letterOf("stale")); !errors.Is(err, errStale) {
			t.Errorf("push of an older generation: %v", err)
		}
		receipts, whole, err := s.push(s.currentGeneration(), noLabel, letterOf("two"))
		if err != nil || !whole || len(receipts) != 3 {
			t.Errorf("%d receipts, whole %v, %v", len(receipts), whole, err)
		}
		s.close()
		want := map[string][]string{"a": {"one", "two"}, "b": {"one", "two"}, "c": {"two"}}
		if diff := cmp.Diff(want, f.got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestStreamGoesOnWithoutABrokenOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet("a", "b", "c")
		s := newStream(0, f, newVersions())
		defer s.close()
		s.follow(owners("a", "b", "c"))
		synctest.Wait()
		g := s.currentGeneration()
		f.set("b", false)
		f.breakWays("b")
		synctest.Wait()
		receipts, whole, err := s.push(g, noLabel, letterOf("x"))
		if err != nil || !whole || len(receipts) != 2 {
			t.Errorf("%d receipts, whole %v, %v", len(receipts), whole, err)
		}
		f.fill("a")
		receipts, whole, _ = s.push(g, noLabel, letterOf("y"))
		if _, err := await(t.Context(), receipts, 2); whole || err == nil {
			t.Errorf("one of two refused: whole %v, %v", whole, err)
		}
	})
}

// An owner whose way breaks again and again makes all series be sent anew each time, so it is let in ever more rarely,
// unless it is needed.
func TestStreamBacksOffFromAFlappingOwner(t *testing.T) {
	for _, c := range []struct {
		up       []string
		min, max int // joins in an hour
	}{{[]string{"a", "b", "c"}, 200, 300}, {[]string{"a"}, 3000, 4000}} {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(c.up...)
			s := newStream(0, f, newVersions())
			defer s.close()
			s.follow(owners("a", "b", "c"))
			for range 3600 {
				time.Sleep(time.Second)
				f.breakWays("a")
			}
			synctest.Wait()
			if n := f.dialled("a"); n < c.min || n > c.max {
				t.Errorf("%d joins in an hour with %v, want %d to %d", n, c.up, c.min, c.max)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			before := f.dialled("a")
			f.breakWays("a")
			time.Sleep(2 * redialAfter)
			synctest.Wait()
			if f.dialled("a") != before+1 {
				t.Error("an owner that was steady isn't let in at once")
			}
		})
	}
}

func TestStreamFollowsTheRing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet("a", "b")
		s := newStream(0, f, newVersions())
		s.follow(owners("a", "b"))
		synctest.Wait()
		moved := owners("a")
		moved[0].Address = "elsewhere:1"
		s.follow(moved)
		synctest.Wait()
		if n := s.joined(); n != 1 || f.dialled("a") != 2 {
			t.Errorf("%d joined, a dialled %d times", n, f.dialled("a"))
		}
		for i, w := range f.ways[:2] {
			select {
			case <-w.broken:
			default:
				t.Errorf("way %d is still open", i)
			}
		}
		s.close() // and synctest finds what is still running
	})
}

// Every owner gets the batches in one order.
func TestStreamOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet("a", "b", "c")
		s := newStream(0, f, newVersions())
		s.follow(owners("a", "b", "c"))
		synctest.Wait()
		g := s.currentGeneration()
		var senders sync.WaitGroup
		for i := range 8 {
			senders.Go(func() {
				for j := range 200 {
					if _, _, err := s.push(g, noLabel, letterOf(fmt.Sprintf("%d/%d", i, j))); err != nil {
						t.Error(err)
					}
				}
			})
		}
		senders.Wait()
		s.close()
		if len(f.got["a"]) != 1600 || !slices.Equal(f.got["a"], f.got["b"]) || !slices.Equal(f.got["a"], f.got["c"]) {
			t.Error("owners got different orders")
		}
	})
}

func TestAwait(t *testing.T) {
	ok := func(conflicts int) series.Receipt { return settled{ack: series.Ack{Conflicts: conflicts}} }
	bad := settled{err: errors.New("bad")}
	for _, c := range []struct {
		name     string
		receipts []series.Receipt
		quorum   int
		want     int // conflicts
		fails    bool
	}{
		{"nobody", nil, 1, 0, true},
		{"one of one", []series.Receipt{ok(2)}, 1, 2, false},
		{"one of one fails", []series.Receipt{bad}, 1, 0, true},
		{"too few to begin with", []series.Receipt{ok(0)}, 2, 0, true},
		{"two of three, one fails", []series.Receipt{bad, ok(3), ok(1)}, 2, 1, false},
		{"two of three, two fail", []series.Receipt{bad, ok(0), bad}, 2, 0, true},
		{"two of two fail one", []series.Receipt{ok(0), bad}, 2, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			ack, err := await(t.Context(), c.receipts, c.quorum)
			if c.fails != (err != nil) || ack.Conflicts != c.want {
				t.Errorf("%+v, %v", ack, err)
			}
		})
	}
}

// overtaken is a ring whose first view is late: before it arrives, somebody has followed the next one.
type overtaken struct {
	views   []*ring.View
	between func()
}

func (o *overtaken) View() *ring.View {
	v := o.views[0]
	if len(o.views) > 1 {
		o.views = o.views[1:]
		o.between()
	}
	return v
}

// A view that comes late must not close the streams of a newer one.
func TestOlderViewsAreNotFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		partition := func(id int32) ring.Partition {
			return ring.Partition{ID: id, State: ring.Active, Tokens: []uint32{uint32(id)}, Owners: owners("a")}
		}
		r := &overtaken{views: []*ring.View{
			ring.NewView(1, 1, []ring.Partition{partition(0)}),
			ring.NewView(2, 1, []ring.Partition{partition(0), partition(1)}),
		}}
		d := New(Default(), Dependencies{Ring: r, Dialer: newFleet("a"), Reg: prometheus.NewRegistry(), Now: time.Now})
		defer d.closeStreams()
		r.between = d.followRing
		d.followRing()
		if len(d.streams) != 2 || d.view != 2 {
			t.Errorf("%d streams of view %d, want both of view 2", len(d.streams), d.view)
		}
	})
}

// letterOf is a batch of these bytes.
func letterOf(s string) *letter {
	l := new(letterbox).take(len(s))
	l.bytes = append(l.bytes, s...)
	return l
}

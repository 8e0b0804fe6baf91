package distributor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"

	"github.com/varve-io/varve/pkg/config"
	"github.com/varve-io/varve/pkg/remote"
	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// keeper is an owner that reads what it gets: it finds every number's series as an ingester would, and complains of a
// number that it was never told.
type keeper struct {
	name string

	mu        sync.Mutex
	known     map[series.StreamID]*told
	defined   map[string]int     // definitions, by series
	samples   map[string]float64 // by series and time
	problems  []error
	conflicts int           // what it acks with
	down      bool          // can't be dialled
	full      bool          // refuses batches
	fails     bool          // takes batches and fails to sync them
	hangs     chan struct{} // if set, acks wait for its close
	way       *keeperWay
}

func newKeeper(name string) *keeper {
	return &keeper{name: name, known: map[series.StreamID]*told{}, defined: map[string]int{}, samples: map[string]float64{}}
}

// take reads a batch.
func (k *keeper) take(batch []byte) error {
	b, err := series.ParseBatch(batch)
	if err != nil {
		return err
	}
	known := k.known[b.Stream]
	if known == nil {
		known = &told{series: map[series.Number]string{}}
		k.known[b.Stream] = known
	}
	defined, err := known.read(&b)
	for _, n := range defined {
		k.defined[known.series[n]]++
	}
	for it := b.Floats(); err == nil; {
		n, t, v, ok := it.Next()
		if !ok {
			return it.Err()
		}
		s, ok := known.series[n]
		if !ok {
			return fmt.Errorf("%w: %d", series.ErrUnknownNumber, n)
		}
		k.samples[fmt.Sprintf("%s@%d", s, t)] = v
	}
	return err
}

type keeperWay struct {
	*keeper
	once   sync.Once
	broken chan struct{}
}

func (w *keeperWay) Push(batch []byte, free func()) (series.Receipt, error) {
	defer free()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.full {
		return nil, errors.New("full")
	}
	if w.fails {
		return settled{err: errors.New("no sync")}, nil
	}
	if err := w.take(batch); err != nil {
		w.problems = append(w.problems, err)
	}
	ack := settled{ack: series.Ack{Conflicts: w.conflicts, First: w.name}}
	if w.hangs != nil {
		return late{w.hangs, ack}, nil
	}
	return ack, nil
}

func (w *keeperWay) Broken() <-chan struct{} { return w.broken }
func (w *keeperWay) Close()                  { w.once.Do(func() { close(w.broken) }) }

// late is a receipt that comes after something.
type late struct {
	after chan struct{}
	settled
}

func (l late) Wait(ctx context.Context) (series.Ack, error) {
	select {
	case <-l.after:
		return l.settled.Wait(ctx)
	case <-ctx.Done():
		return series.Ack{}, context.Cause(ctx)
	}
}

// keepers is the owners that can be dialled.
type keepers map[string]*keeper

func (ks keepers) Dial(_ context.Context, o ring.Owner) (Owner, error) {
	k := ks[o.Instance]
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.down {
		return nil, errors.New("down")
	}
	// A new way begins with an empty dictionary.
	k.known = map[series.StreamID]*told{}
	k.way = &keeperWay{keeper: k, broken: make(chan struct{})}
	return k.way, nil
}

// bounce breaks the way to an owner.
func (ks keepers) bounce(name string) {
	k := ks[name]
	k.mu.Lock()
	way := k.way
	k.mu.Unlock()
	way.Close()
}

type fixedLimits struct {
	mu         sync.Mutex
	l          *tenant.Limits
	generation uint64
}

func (f *fixedLimits) For(tenant.ID) *tenant.Limits {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.l
}

func (f *fixedLimits) Source(tenant.ID, tenant.LimitName) string { return "" }

func (f *fixedLimits) Generation() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.generation
}

func (f *fixedLimits) set(change func(*tenant.Limits)) {
	l := *f.For(tenant.Anonymous)
	change(&l)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.l = &l
	f.generation++
}

type movingRing struct {
	mu sync.Mutex
	v  *ring.View
}

func (r *movingRing) View() *ring.View {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.v
}

func (r *movingRing) set(v *ring.View) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.v = v
}

// yard is a distributor over keepers.
type yard struct {
	*Distributor
	t       testing.TB
	keepers keepers
	limits  *fixedLimits
	ring    *movingRing
}

// newYard runs a distributor whose one partition has the owners. It belongs into a bubble, or calls wait itself.
func newYard(t testing.TB, rf int, names ...string) *yard {
	y := &yard{t: t, keepers: keepers{}, ring: &movingRing{}, limits: &fixedLimits{}}
	l := tenant.DefaultLimits(tenant.Machine{Cores: 2, Memory: 4 << 30})
	y.limits.l = &l
	for _, n := range names {
		y.keepers[n] = newKeeper(n)
	}
	y.ring.set(ring.NewView(1, rf, []ring.Partition{{State: ring.Active, Tokens: []uint32{0}, Owners: owners(names...)}}))
	cfg := Default()
	cfg.MaxInflightBytes = config.GiB
	y.Distributor = New(cfg, Dependencies{
		Ring: y.ring, Dialer: y.keepers, Limits: y.limits, Logger: slog.New(slog.DiscardHandler),
		Reg: prometheus.NewRegistry(), Now: time.Now,
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = y.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return y
}

// bodyOf is a 1.0 request with one sample for each of the names.
func bodyOf(t testing.TB, at time.Time, v float64, names ...string) []byte {
	var w prompb.WriteRequest
	for _, n := range names {
		w.Timeseries = append(w.Timeseries, prompb.TimeSeries{
			Labels:  []prompb.Label{{Name: "__name__", Value: n}, {Name: "job", Value: "test"}},
			Samples: []prompb.Sample{{Timestamp: at.UnixMilli(), Value: v}},
		})
	}
	raw, err := w.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func named(n string) string { return labels.FromStrings("__name__", n, "job", "test").String() }

func (y *yard) push(at time.Time, v float64, names ...string) (Written, error) {
	return newRequest(y.Distributor).push(context.Background(), tenant.Anonymous, remote.WriteV1, bodyOf(y.t, at, v, names...))
}

func (y *yard) mustPush(at time.Time, v float64, names ...string) Written {
	y.t.Helper()
	w, err := y.push(at, v, names...)
	if err != nil {
		y.t.Fatal(err)
	}
	return w
}

// awaitReady waits until a quorum of the owners was reached.
func (y *yard) awaitReady() {
	y.t.Helper()
	for give := time.Now().Add(10 * time.Second); y.Ready() != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(give) {
			y.t.Fatal(y.Ready())
		}
	}
}

// sound complains of what the owners complained of.
func (y *yard) sound() {
	y.t.Helper()
	for name, k := range y.keepers {
		if len(k.problems) > 0 {
			y.t.Errorf("owner %s: %d problems, the first: %v", name, len(k.problems), k.problems[0])
		}
	}
}

func TestDefinitionsGoOutOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 3, "a", "b", "c")
		synctest.Wait()
		for n := range 5 {
			y.mustPush(time.Now().Add(time.Duration(n)*time.Second), 1, "x", "y")
		}
		for name, k := range y.keepers {
			if k.defined[named("x")] != 1 || k.defined[named("y")] != 1 || len(k.samples) != 10 {
				t.Errorf("%s: definitions %v, %d samples", name, k.defined, len(k.samples))
			}
		}
		// One comes back: everybody gets them once more, for the numbering is everybody's.
		y.keepers.bounce("b")
		time.Sleep(time.Second)
		synctest.Wait()
		y.mustPush(time.Now(), 1, "x", "y")
		y.mustPush(time.Now(), 1, "x")
		for name, k := range y.keepers {
			if k.defined[named("x")] != 2 || k.defined[named("y")] != 2 {
				t.Errorf("%s after b came back: definitions %v", name, k.defined)
			}
		}
		y.sound()
	})
}

// A definition that some owner did not take goes out again with the next samples.
func TestDefinitionsThatWereRefusedGoOutAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 3, "a", "b", "c")
		synctest.Wait()
		y.keepers["c"].full = true
		y.mustPush(time.Now(), 1, "x")
		y.keepers["c"].full = false
		y.mustPush(time.Now().Add(time.Second), 2, "x")
		y.mustPush(time.Now().Add(2*time.Second), 3, "x")
		if n := y.keepers["a"].defined[named("x")]; n != 2 {
			t.Errorf("a got %d definitions, want 2", n)
		}
		if k := y.keepers["c"]; k.defined[named("x")] != 1 || len(k.samples) != 2 {
			t.Errorf("c: definitions %v, samples %v", k.defined, k.samples)
		}
		y.sound()
	})
}

func TestIdleSeriesExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 1, "a")
		synctest.Wait()
		y.mustPush(time.Now(), 1, "x", "y")
		s := y.sender(tenant.Anonymous)
		for range 30 {
			time.Sleep(time.Minute)
			y.mustPush(time.Now(), 1, "x")
		}
		if n := s.series.Load(); n != 1 {
			t.Errorf("%d active series after half an hour, want x alone", n)
		}
		y.mustPush(time.Now(), 2, "y")
		if n := s.series.Load(); n != 2 {
			t.Errorf("%d active series, want 2", n)
		}
		if n := y.keepers["a"].defined[named("y")]; n != 2 {
			t.Errorf("y was defined %d times, want 2", n)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		y.mu.RLock()
		tenants := len(y.tenants)
		y.mu.RUnlock()
		if tenants != 0 {
			t.Errorf("%d tenants after an hour of silence", tenants)
		}
		y.mustPush(time.Now(), 3, "x")
		y.sound()
	})
}

// Once most numbers belong to series that are gone, the numbering begins anew.
func TestNumberingBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 1, "a")
		synctest.Wait()
		y.mustPush(time.Now(), 1, "x")
		s := y.stream(0, y.ring.View())
		before, born, _ := s.current()
		for range 200_000 {
			s.number()
		}
		for range 100_000 {
			s.retire(born)
		}
		if g := s.currentGeneration(); g != before {
			t.Errorf("generation %d with half of the numbers in use", g)
		}
		for range 60_000 {
			s.retire(born)
		}
		after := s.currentGeneration()
		if after != before+1 {
			t.Errorf("generation %d, want %d", after, before+1)
		}
		y.mustPush(time.Now().Add(time.Second), 2, "x")
		if n, _ := s.number(); n != 1 {
			t.Errorf("the next number is %d, want 1: x has 0", n)
		}
		if n := y.keepers["a"].defined[named("x")]; n != 2 {
			t.Errorf("x was defined %d times, want 2", n)
		}
		y.sound()
	})
}

func TestLimitsThatChangeAreLookedAtAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 1, "a")
		synctest.Wait()
		y.mustPush(time.Now(), 1, "x")
		y.limits.set(func(l *tenant.Limits) { l.MaxLabelsPerSeries = 1 })
		if w := y.mustPush(time.Now().Add(time.Second), 1, "x"); w.Refused != 1 || w.Floats != 0 {
			t.Errorf("over the new limit: %+v", w)
		}
		y.limits.set(func(l *tenant.Limits) { l.MaxLabelsPerSeries = 2 })
		if w := y.mustPush(time.Now().Add(2*time.Second), 1, "x"); w.Refused != 0 || w.Floats != 1 {
			t.Errorf("within the newest limit: %+v", w)
		}
		if n := y.keepers["a"].defined[named("x")]; n != 1 {
			t.Errorf("x was defined %d times: its number was still good", n)
		}
		y.sound()
	})
}

func TestSeriesMoveWithTheRing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 1, "a", "b")
		partition := func(id int32, state ring.State, owner string, tokens ...uint32) ring.Partition {
			return ring.Partition{ID: id, State: state, Tokens: tokens, Owners: owners(owner)}
		}
		y.ring.set(ring.NewView(2, 1, []ring.Partition{partition(0, ring.Active, "a", 0, 1<<31)}))
		time.Sleep(time.Second)
		var names []string
		for n := range 100 {
			names = append(names, fmt.Sprint("m", n))
		}
		y.mustPush(time.Now(), 1, names...)
		if n := len(y.keepers["a"].samples); n != 100 {
			t.Errorf("a got %d samples", n)
		}
		split := ring.NewView(3, 1, []ring.Partition{partition(0, ring.Active, "a", 0), partition(1, ring.Active, "b", 1<<31)})
		y.ring.set(split)
		time.Sleep(time.Second)
		y.mustPush(time.Now(), 2, names...)
		a, b := len(y.keepers["a"].samples), len(y.keepers["b"].samples)
		if a+b != 200 || b < 20 || b > 80 {
			t.Errorf("a has %d samples, b %d", a, b)
		}
		for _, n := range names {
			ls := labels.FromStrings("__name__", n, "job", "test")
			id, _ := split.PartitionOf(uint32(xxhash.Sum64String(tenant.Anonymous.String())*31 + labels.StableHash(ls)))
			if got := y.keepers["b"].defined[ls.String()] == 1; got != (id == 1) {
				t.Errorf("%s is in partition %d, defined at b: %v", n, id, got)
			}
		}
		// What stayed was not defined again; what moves back is.
		y.ring.set(ring.NewView(4, 1, []ring.Partition{partition(0, ring.Active, "a", 0), partition(1, ring.Inactive, "b", 1<<31)}))
		time.Sleep(time.Second)
		y.mustPush(time.Now(), 3, names...)
		if n := len(y.keepers["a"].samples); n != a+100 {
			t.Errorf("a has %d samples, want %d", n, a+100)
		}
		total := 0
		for _, n := range y.keepers["a"].defined {
			total += n
		}
		if total != 100+b {
			t.Errorf("a got %d definitions, want %d", total, 100+b)
		}
		if n := y.sender(tenant.Anonymous).series.Load(); n != 100 {
			t.Errorf("%d active series, want 100", n)
		}
		y.sound()
	})
}

func TestQuorumOfOwners(t *testing.T) {
	for _, tt := range []struct {
		rf                     int
		down, full, fail, hang int // of as many owners as rf
		ok                     bool
		takes                  time.Duration // how long the answer takes
	}{
		{rf: 1, ok: true},
		{rf: 1, down: 1},
		{rf: 1, full: 1},
		{rf: 1, fail: 1},
		{rf: 1, hang: 1, takes: 10 * time.Second},
		{rf: 3, ok: true},
		{rf: 3, down: 1, ok: true},
		{rf: 3, full: 1, ok: true},
		{rf: 3, fail: 1, ok: true},
		{rf: 3, hang: 1, ok: true},
		{rf: 3, down: 2},
		{rf: 3, full: 2},
		{rf: 3, fail: 2},
		{rf: 3, hang: 2, takes: 10 * time.Second},
		{rf: 3, down: 1, full: 1},
		{rf: 3, fail: 1, hang: 1, takes: 10 * time.Second},
		{rf: 3, down: 3},
		{rf: 3, fail: 3},
		{rf: 3, hang: 3, takes: 10 * time.Second},
		{rf: 3, down: 1, fail: 1, hang: 1},
	} {
		name := fmt.Sprintf("rf %d, %d down, %d full, %d failing, %d hanging", tt.rf, tt.down, tt.full, tt.fail, tt.hang)
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				names := []string{"a", "b", "c"}[:tt.rf]
				y := newYard(t, tt.rf, names...)
				bad := slices.Concat(slices.Repeat([]string{"down"}, tt.down), slices.Repeat([]string{"full"}, tt.full), slices.Repeat([]string{"fail"}, tt.fail), slices.Repeat([]string{"hang"}, tt.hang))
				synctest.Wait() // until all are dialled
				for i, how := range bad {
					k := y.keepers[names[i]]
					k.mu.Lock()
					k.down, k.full, k.fails = how == "down", how == "full", how == "fail"
					if how == "hang" {
						k.hangs = make(chan struct{})
					}
					k.mu.Unlock()
					if how == "down" {
						y.keepers.bounce(names[i])
					}
				}
				time.Sleep(time.Second)
				begun := time.Now()
				w, err := y.push(begun, 1, "x")
				if (err == nil) != tt.ok || tt.ok && w.Floats != 1 {
					t.Errorf("%+v, %v", w, err)
				}
				if err != nil && !errors.Is(err, ErrUnavailable) {
					t.Errorf("error %v is not ErrUnavailable", err)
				}
				if took := time.Since(begun); took != tt.takes {
					t.Errorf("it took %v, want %v", took, tt.takes)
				}
			})
		})
	}
}

// The quorum is of the configured replication factor, not of the owners that are registered.
func TestQuorumIsOfTheConfiguredFactor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 3, "a")
		time.Sleep(time.Second)
		if _, err := y.push(time.Now(), 1, "x"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("one registered owner of three: %v", err)
		}
		if y.Ready() == nil {
			t.Error("ready without a quorum")
		}
	})
}

// A conflict is told where a quorum of owners saw it.
func TestConflictsByQuorum(t *testing.T) {
	for _, tt := range []struct {
		conflicts [3]int // of each owner; -1: it fails
		want      []int  // either, where it depends on who is first
	}{
		{[3]int{0, 0, 0}, []int{0}},
		{[3]int{1, 1, 1}, []int{1}},
		{[3]int{0, 0, 1}, []int{0}},
		{[3]int{1, 1, -1}, []int{1}},
		{[3]int{2, 1, -1}, []int{1}},
		{[3]int{0, 1, -1}, []int{0}},
		{[3]int{0, 1, 1}, []int{0, 1}},
	} {
		t.Run(fmt.Sprint(tt.conflicts), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				y := newYard(t, 3, "a", "b", "c")
				for i, name := range []string{"a", "b", "c"} {
					y.keepers[name].conflicts, y.keepers[name].fails = tt.conflicts[i], tt.conflicts[i] < 0
				}
				time.Sleep(time.Second)
				if w := y.mustPush(time.Now(), 1, "x"); !slices.Contains(tt.want, w.Refused) {
					t.Errorf("%d conflicts, want one of %v", w.Refused, tt.want)
				}
			})
		})
	}
}

// Many requests bring the same new series at once, while owners come and go: no owner may get a number before its
// definition, and whatever was acked is on a quorum.
func TestDefinitionsPrecedeTheirUse(t *testing.T) {
	y := newYard(t, 3, "a", "b", "c")
	y.awaitReady()
	const senders, rounds, width = 8, 60, 100
	begun := time.Now()
	var acked sync.Map
	for r := range rounds {
		var names []string
		for n := range width {
			names = append(names, fmt.Sprintf("m%d", r/2*width+n)) // new in every other round
		}
		var wg sync.WaitGroup
		for s := range senders {
			wg.Go(func() {
				at := begun.Add(time.Duration(s*rounds+r) * time.Millisecond)
				if _, err := y.push(at, float64(s), names...); err != nil {
					return
				}
				for _, n := range names {
					acked.Store(fmt.Sprintf("%s@%d", named(n), at.UnixMilli()), float64(s))
				}
			})
		}
		if r%20 == 5 {
			y.keepers.bounce("b")
		}
		wg.Wait()
	}
	count := 0
	acked.Range(func(key, v any) bool {
		count++
		on := 0
		for _, k := range y.keepers {
			k.mu.Lock()
			if got, ok := k.samples[key.(string)]; ok && math.Float64bits(got) == math.Float64bits(v.(float64)) {
				on++
			}
			k.mu.Unlock()
		}
		if on < 2 {
			t.Errorf("%s is acked and on %d owners", key, on)
		}
		return on >= 2
	})
	if count < senders*rounds*width/2 {
		t.Errorf("only %d samples were acked", count)
	}
	y.sound()
}

// blackHole is an owner that acks at once.
type blackHole struct{ broken chan struct{} }

func (b blackHole) Dial(context.Context, ring.Owner) (Owner, error)    { return b, nil }
func (b blackHole) Push(_ []byte, free func()) (series.Receipt, error) { free(); return settled{}, nil }
func (b blackHole) Broken() <-chan struct{}                            { return b.broken }
func (b blackHole) Close()                                             {}

// newBlackHole is a yard whose owner acks at once, without limits that a benchmark would meet.
func newBlackHole(b *testing.B) *yard {
	y := newYard(b, 1, "a")
	y.awaitReady()
	y.streams[0].close()
	y.streams[0] = newStream(0, blackHole{make(chan struct{})}, y.versions)
	y.streams[0].follow(owners("a"))
	y.limits.set(func(l *tenant.Limits) {
		l.MaxSamplesPerSecond, l.MaxNewSeriesPerSecond, l.MaxActiveSeries = 0, 0, 0
	})
	y.awaitReady()
	return y
}

func benchmarkPush(b *testing.B, known bool) {
	y := newBlackHole(b)
	const samples = 2000
	at := time.Now()
	body := func(round int) []byte {
		var w prompb.WriteRequest
		for n := range samples {
			w.Timeseries = append(w.Timeseries, prompb.TimeSeries{
				Labels: []prompb.Label{
					{Name: "__name__", Value: "container_cpu_usage_seconds_total"}, {Name: "cluster", Value: "eu-west-1"}, {Name: "container", Value: "app"},
					{Name: "instance", Value: "10.0.12.7:10250"}, {Name: "job", Value: "kubelet"}, {Name: "namespace", Value: "team-payments"},
					{Name: "node", Value: "ip-10-0-12-7"}, {Name: "pod", Value: fmt.Sprintf("payments-%d-%d", round, n)},
				},
				Samples: []prompb.Sample{{Timestamp: at.UnixMilli(), Value: float64(n)}},
			})
		}
		raw, err := w.Marshal()
		if err != nil {
			b.Fatal(err)
		}
		return raw
	}
	r := newRequest(y.Distributor)
	push := func(raw []byte) {
		if w, err := r.push(context.Background(), tenant.Anonymous, remote.WriteV1, raw); err != nil || w.Floats != samples || w.Refused > 0 {
			b.Fatal(w, err)
		}
	}
	first := body(0)
	push(first)
	b.ReportAllocs()
	b.ResetTimer()
	for n := range b.N {
		raw := first
		if !known {
			b.StopTimer()
			raw = body(n + 1)
			b.StartTimer()
		}
		push(raw)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/samples, "ns/sample")
}

// 2,000 samples of as many series that are known.
func BenchmarkPushKnown(b *testing.B) { benchmarkPush(b, true) }

// 2,000 samples of as many series that are new.
func BenchmarkPushNew(b *testing.B) { benchmarkPush(b, false) }

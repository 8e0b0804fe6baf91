package distributor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"github.com/varve-io/varve/pkg/remote"
	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/tenant"
)

// The table does what a map would, with keys that crowd in few slots.
func TestTableIsAMap(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 0))
		tab := newTable()
		want := map[remote.Key]uint32{} // step in which it was seen
		ids := map[remote.Key]uint32{}
		now := uint32(1_000_000)
		for range 5000 {
			k := remote.Key{Hi: 1 + random.Uint64N(30), Lo: random.Uint64N(40)<<58 | random.Uint64N(40)}
			switch op := random.IntN(100); {
			case op < 60:
				id, fresh := tab.make(k, 7, now)
				if _, known := want[k]; fresh == known || known && ids[k] != id {
					t.Fatalf("seed %d: make %v: %d, fresh %v, known %v as %d", seed, k, id, fresh, known, ids[k])
				}
				if fresh {
					want[k], ids[k] = now/seenStep, id
				}
			case op < 98:
				id := tab.find(k)
				if id != ids[k] {
					t.Fatalf("seed %d: find %v: %d, want %d", seed, k, id, ids[k])
				}
				if id == 0 {
					break
				}
				tab.at(id).touch(now)
				want[k] = now / seenStep
			default:
				now += random.Uint32N(1000)
				gone := 0
				tab.expire(now, func(standing) { gone++ })
				maps.DeleteFunc(want, func(k remote.Key, seen uint32) bool {
					idle := now/seenStep-seen >= uint32(idleSteps)
					if idle {
						gone--
						delete(ids, k)
					}
					return idle
				})
				if gone != 0 || tab.series.Load() != int64(len(want)) {
					t.Fatalf("seed %d: %d too many expired, %d series are left, want %d", seed, gone, tab.series.Load(), len(want))
				}
			}
		}
		for k, id := range ids {
			if tab.find(k) != id {
				t.Errorf("seed %d: %v is lost", seed, k)
			}
		}
	}
}

func TestTableIsSmall(t *testing.T) {
	for _, n := range []int{10, 100, 769, 1000, 10_000, 98_305, 200_000} {
		tab := filled(n)
		bytes := 4*len(tab.index.Load().slots) + int(unsafe.Sizeof(*tab))
		for _, p := range *tab.pages.Load() {
			bytes += len(p)*int(unsafe.Sizeof(entry{})) + int(unsafe.Sizeof(p))
		}
		most := 43*n + min(n, pageEntries)*int(unsafe.Sizeof(entry{})) + 256 // the last page may be empty
		t.Logf("%d series: %d bytes, %.1f for each", n, bytes, float64(bytes)/float64(n))
		if bytes > most {
			t.Errorf("%d series: %d bytes, want at most %d", n, bytes, most)
		}
	}
}

// Series are let go between 20 and 22 minutes after their latest sample. A clock that is put back lets none go, and a
// table that nobody looked at for hours does so late.
func TestIdleSeries(t *testing.T) {
	const seen, minute, hour = 1_700_000_000, 60, 3600
	for _, tt := range []struct {
		after int
		idle  bool
	}{
		{0, false}, {15 * minute, false}, {20 * minute, false}, {22 * minute, true}, {hour, true}, {90 * minute, true},
		{-1, false}, {-minute, false}, {-30 * minute, false}, {256 * seenStep, false}, {256*seenStep + 22*minute, true},
	} {
		for shift := range uint32(seenStep) {
			tab := newTable()
			id, _ := tab.make(remote.Key{Hi: 1, Lo: 1}, 0, 0)
			tab.at(id).touch(seen + shift)
			gone := false
			tab.expire(uint32(int(seen+shift)+tt.after), func(standing) { gone = true })
			if gone != tt.idle {
				t.Fatalf("%d s after %d: let go: %v, want %v", tt.after, seen+shift, gone, tt.idle)
			}
		}
	}
}

// What an entry has room for: more than that makes a series slower or its batch shorter, and nothing of it wrong.
func TestEntriesAtTheirLimits(t *testing.T) {
	if n := unsafe.Sizeof(entry{}); n != 32 {
		t.Errorf("an entry has %d bytes", n)
	}
	tab := newTable()
	for front, want := range map[uint32]uint32{0: 0, 1: 1, frontAtMost: frontAtMost, frontAtMost + 1: 0, 1 << 30: 0} {
		k := remote.Key{Hi: uint64(front) + 1, Lo: math.MaxUint64}
		id, _ := tab.make(k, front, math.MaxUint32)
		tab.at(id).touch(12345)
		if got := tab.at(id).front(); got != want || tab.find(k) != id {
			t.Errorf("a front of %d bytes is remembered as %d, want %d", front, got, want)
		}
	}
	e := &entry{}
	s := standingOf(math.MaxUint32, partitionAtMost).at(math.MaxUint32-1, math.MaxUint16)
	for size, want := range map[int]int{0: 0, 1: 128, 128: 128, 129: 256, 1 << 20: 1 << 20, 1 << 30: placeSizes * placeSizeUnit} {
		e.put(s)
		e.setSize(s, size)
		got, ok := e.standing(math.MaxUint32 - 1)
		if !ok || got.size() != want || got.series() != math.MaxUint32 || got.partition() != partitionAtMost || got.replica() != math.MaxUint16 || got.defined() || got.idle() {
			t.Errorf("size %d: %+v, %v, size %d, want %d", size, got, ok, got.size(), want)
		}
	}
	e.place.Or(placeDefined | placeIdle)
	got, _ := e.standing(0)
	if got = got.at(7, 3); got.version() != 7 || got.replica() != 3 || got.idle() || !got.defined() || got.dropped() || got.series() != math.MaxUint32 {
		t.Errorf("at another version it is %+v", got)
	}
	if e.number.Store(got.number); got.place == e.place.Load() {
		t.Error("nothing has changed")
	}
	if _, ok := e.standing(0); ok {
		t.Error("a number of one version and a place of another are taken for one standing")
	}
}

func TestSendersAreFollowed(t *testing.T) {
	for protocol, name := range map[remote.Protocol]string{remote.WriteV1: "1.0", remote.WriteV2: "2.0"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				y := newYard(t, 1, "a")
				synctest.Wait()
				r := newRequest(y.Distributor)
				var all []labels.Labels
				for n := range 100 {
					all = append(all, podLabels(n))
				}
				backwards := slices.Clone(all)
				slices.Reverse(backwards)
				without := append(slices.Clone(all[:50]), all[60:]...)
				few := append(slices.Clone(all[:50]), all[55:]...)
				with := append(append(slices.Clone(all[:70]), podLabels(100)), all[70:]...)
				for _, step := range []struct {
					name string
					send []labels.Labels
					want [3]int // followed, found, new
				}{
					{"for the first time", all, [3]int{0, 0, 100}},
					{"again", all, [3]int{100 - ahead, ahead, 0}},
					{"backwards", backwards, [3]int{0, 100, 0}},
					{"again backwards", backwards, [3]int{100 - ahead, ahead, 0}},
				} {
					if got := r.pushAll(t, protocol, step.send); got != step.want {
						t.Errorf("%s: %v, want %v", step.name, got, step.want)
					}
				}
				r.pushAll(t, protocol, all)
				for _, step := range []struct {
					name string
					send []labels.Labels
					want [3]int
				}{
					{"in order", all, [3]int{100 - ahead, ahead, 0}},
					{"many are gone", without, [3]int{89 - 2*ahead, 2*ahead + 1, 0}},
					{"they are back", all, [3]int{99 - 2*ahead, 2*ahead + 1, 0}},
					{"a few are gone", few, [3]int{94 - ahead, ahead + 1, 0}},
					{"and are back", all, [3]int{99 - 2*ahead, 2*ahead + 1, 0}},
					{"one is new", with, [3]int{100 - ahead, ahead, 1}},
					{"and known", with, [3]int{101 - ahead, ahead, 0}},
				} {
					if got := r.pushAll(t, protocol, step.send); got != step.want {
						t.Errorf("%s: %v, want %v", step.name, got, step.want)
					}
				}
				y.sound()
			})
		})
	}
}

// A series that ends, and one that comes in its place, cost no search later: neither of them nor of their neighbours.
func TestReplacedSeriesAreFollowed(t *testing.T) {
	for protocol, name := range map[remote.Protocol]string{remote.WriteV1: "1.0", remote.WriteV2: "2.0"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				y := newYard(t, 1, "a")
				synctest.Wait()
				r := newRequest(y.Distributor)
				var all []labels.Labels
				for n := range 100 {
					all = append(all, podLabels(n))
				}
				r.pushAll(t, protocol, all)
				const first, gone = 40, 10
				var both, after []labels.Labels
				stale := map[int]bool{}
				both, after = append(both, all[:first]...), append(after, all[:first]...)
				for n := first; n < first+gone; n++ {
					stale[len(both)] = true
					both = append(both, all[n], podLabels(100+n))
					after = append(after, podLabels(100+n))
				}
				both, after = append(both, all[first+gone:]...), append(after, all[first+gone:]...)
				marked := packedValues(t, protocol, time.Now(), both, func(n int) float64 {
					if stale[n] {
						return math.Float64frombits(value.StaleNaN)
					}
					return 1
				})
				if got, want := r.pushPacked(t, protocol, marked, len(both)), [3]int{100 - ahead, ahead, gone}; got != want {
					t.Errorf("replaced: %v, want %v", got, want)
				}
				if got, want := r.pushAll(t, protocol, after), [3]int{100 - ahead, ahead, 0}; got != want {
					t.Errorf("afterwards: %v, want %v", got, want)
				}
				y.sound()
			})
		})
	}
}

// pushAll pushes a sample of each series, and says how they were found.
func (r *request) pushAll(t testing.TB, p remote.Protocol, all []labels.Labels) [3]int {
	t.Helper()
	return r.pushPacked(t, p, packed(t, p, time.Now(), all), len(all))
}

// latest is the entry of the latest series.
func (t *trail) latest() uint32 { return t.passed[t.turn%ahead] }

func (r *request) pushPacked(t testing.TB, p remote.Protocol, body []byte, samples int) [3]int {
	t.Helper()
	raw, err := s2.Decode(nil, body)
	if err != nil {
		t.Fatal(err)
	}
	if w, err := r.push(context.Background(), tenant.Anonymous, p, raw); err != nil || w.Floats != samples {
		t.Fatal(w, err)
	}
	n := r.trail.taken
	return [3]int{n.followed, n.found, n.fresh}
}

// Senders with orders of their own, of both protocols; owners that come back, limits and a ring that change, and an hour in
// which nothing comes: every sample is stored under its series, and what a map would remember is what is active.
func TestPushesAgainstAModel(t *testing.T) {
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			m := &world{yard: newYard(t, 1, "a", "b"), random: rand.New(rand.NewPCG(seed, 1)), seen: map[string]time.Time{}, want: map[string]float64{}}
			for n := range 60 {
				m.all = append(m.all, podLabels(n))
			}
			synctest.Wait()
			for range 150 {
				m.step(t)
			}
			got := map[string]float64{}
			for _, k := range m.keepers {
				maps.Copy(got, k.samples)
			}
			if d := cmp.Diff(m.want, got); d != "" {
				t.Errorf("seed %d: %s", seed, d)
			}
			m.sound()
		})
	}
}

type world struct {
	*yard
	random *rand.Rand
	all    []labels.Labels
	seen   map[string]time.Time // by protocol and series
	want   map[string]float64   // by series and time
	split  uint32               // versions of the ring
	tight  bool                 // most series have more labels than may be
}

func (m *world) step(t *testing.T) {
	switch m.random.IntN(12) {
	case 0:
		m.keepers.bounce("a")
	case 1:
		m.tight = !m.tight
		m.limits.set(func(l *tenant.Limits) {
			if l.MaxLabelsPerSeries = 30; m.tight {
				l.MaxLabelsPerSeries = 9
			}
		})
	case 2:
		m.split++
		of := []int32{0, 1}[m.split%2]
		m.ring.set(ring.NewView(1+m.split, 1, []ring.Partition{
			{ID: 0, State: ring.Active, Tokens: []uint32{0}, Owners: owners("a")},
			{ID: 1, State: []ring.State{ring.Inactive, ring.Active}[of], Tokens: []uint32{1 << 31}, Owners: owners("b")},
		}))
	case 3:
		time.Sleep(time.Duration(m.random.IntN(60)) * time.Minute)
	}
	time.Sleep(time.Minute) // longer than seenStep, and long enough for links to open
	synctest.Wait()
	m.sweep()
	m.send(t)
	m.sweep()
	if n := m.sender(tenant.Anonymous).series.Load(); n != int64(len(m.seen)) {
		t.Fatalf("%d active series, want %d", n, len(m.seen))
	}
}

func (m *world) sweep() {
	m.expire(time.Now())
	maps.DeleteFunc(m.seen, func(_ string, at time.Time) bool { return time.Since(at) > seriesIdle })
}

// send sends some of the series, in some order.
func (m *world) send(t *testing.T) {
	from, to := m.random.IntN(len(m.all)), m.random.IntN(len(m.all))+1
	some := slices.Clone(m.all[min(from, to-1):to])
	if m.random.IntN(2) == 0 {
		m.random.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
	}
	p := []remote.Protocol{remote.WriteV1, remote.WriteV2}[m.random.IntN(2)]
	at := time.Now()
	raw, err := s2.Decode(nil, packed(t, p, at, some))
	if err != nil {
		t.Fatal(err)
	}
	r := newRequest(m.Distributor)
	w, err := r.push(context.Background(), tenant.Anonymous, p, raw)
	if err != nil {
		t.Fatal(err)
	}
	for n, ls := range some {
		key := fmt.Sprint(p, ls)
		if _, known := m.seen[key]; known || !m.tight {
			m.seen[key] = at
		}
		if !m.tight {
			m.want[fmt.Sprintf("%s@%d", ls, at.UnixMilli())] = float64(n)
		}
	}
	if stored := len(some) * btoi(!m.tight); w.Floats != stored || w.Refused != len(some)-stored {
		t.Fatalf("%+v of %d", w, len(some))
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Series are let go while requests bring them, versions move, and owners come and go: no sample is stored under
// another series, and none that was acked is missing.
func TestTheTableIsSweptWhileItIsUsed(t *testing.T) {
	y := newYard(t, 1, "a")
	y.awaitReady()
	ctx, cancel := context.WithCancel(t.Context())
	var others, senders sync.WaitGroup
	others.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			y.expire(time.Now().Add(time.Hour)) // all of them
			if n%10 == 0 {
				y.limits.set(func(l *tenant.Limits) { l.MaxLabelsPerSeries++ })
			}
			if n == 100 || n == 1000 {
				y.keepers.bounce("a")
			}
			time.Sleep(50 * time.Microsecond)
		}
	})
	begun := time.Now()
	acked := make([]map[string]float64, 4)
	for s := range acked {
		acked[s] = map[string]float64{}
		senders.Go(func() {
			random := rand.New(rand.NewPCG(uint64(s), 9))
			for round := range 60 {
				from, at := random.IntN(100), begun.Add(time.Duration(s*1000+round)*time.Millisecond)
				var names []string
				for n := range 100 {
					names = append(names, fmt.Sprint("m", from+n))
				}
				if round%3 == 0 {
					random.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
				}
				w, err := y.push(at, float64(s), names...)
				for ; err != nil; w, err = y.push(at, float64(s), names...) {
					time.Sleep(time.Millisecond)
				}
				if w.Floats != len(names) {
					t.Errorf("%+v", w)
				}
				for _, n := range names {
					acked[s][fmt.Sprintf("%s@%d", named(n), at.UnixMilli())] = float64(s)
				}
			}
		})
	}
	senders.Wait()
	cancel()
	others.Wait()
	total := 0
	k := y.keepers["a"]
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, samples := range acked {
		for key, v := range samples {
			if got, ok := k.samples[key]; !ok || got != v {
				t.Fatalf("%s is %v, %v; want %v", key, got, ok, v)
			}
		}
		total += len(samples)
	}
	if total != 4*60*100 {
		t.Errorf("%d samples were acked", total)
	}
	if len(k.problems) > 0 {
		t.Errorf("%d problems, the first: %v", len(k.problems), k.problems[0])
	}
}

// What a rule drops is no active series, is remembered, and is one again when the rules have changed.
func TestDroppedSeries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 1, "a")
		synctest.Wait()
		y.mustPush(time.Now(), 1, "x", "y")
		r, s := newRequest(y.Distributor), y.sender(tenant.Anonymous)
		push := func(want Written) {
			t.Helper()
			w, err := r.push(t.Context(), tenant.Anonymous, remote.WriteV1, bodyOf(t, time.Now(), 2, "x", "y"))
			if w.Message = ""; err != nil || w != want {
				t.Errorf("%+v, %v, want %+v", w, err, want)
			}
		}
		push(Written{Floats: 2})
		r.trail.drop(r.trail.at(r.trail.latest()), y.versions.renumbered(), 0) // as a rule would
		push(Written{Floats: 1, ByRule: Drops{Floats: 1}})
		if s.series.Load() != 1 || s.dropped.Load() != 1 {
			t.Errorf("%d series, %d dropped", s.series.Load(), s.dropped.Load())
		}
		y.limits.set(func(l *tenant.Limits) {})
		push(Written{Floats: 2})
		if s.series.Load() != 2 || s.dropped.Load() != 0 {
			t.Errorf("%d series, %d dropped", s.series.Load(), s.dropped.Load())
		}
		push(Written{Floats: 2})
		r.trail.drop(r.trail.at(r.trail.latest()), y.versions.renumbered(), 0)
		y.expire(time.Now().Add(time.Hour))
		if s.series.Load() != 0 || s.dropped.Load() != 0 {
			t.Errorf("%d series, %d dropped after an hour", s.series.Load(), s.dropped.Load())
		}
		y.sound()
	})
}

// A definition that went out counts for the numbering that it is of, not for a later one that happens to give the same
// number again.
func TestDefinitionsCountForTheirNumbering(t *testing.T) {
	v := newVersions()
	p := &part{stream: newStream(0, newFleet(), v)}
	current := func() uint32 {
		p.generation, p.born, _ = p.stream.current()
		return v.current.Load().version
	}
	tab := newTable()
	id, _ := tab.make(remote.Key{Hi: 1, Lo: 1}, 0, 0)
	first, err := tab.assign(tab.at(id), p, current(), 0)
	if err != nil {
		t.Fatal(err)
	}
	renumber(p.stream)
	second, err := tab.assign(tab.at(id), p, current(), 0)
	if err != nil || second.series() != first.series() {
		t.Fatalf("number %d, then %d, %v", first.series(), second.series(), err)
	}
	tab.setDefined(0, []definition{{id, first.number}})
	if st, ok := tab.at(id).standing(0); !ok || st.defined() {
		t.Errorf("%+v: what was defined in the generation before is defined in this one", st)
	}
	tab.setDefined(1, []definition{{id, second.number}})
	if st, ok := tab.at(id).standing(0); !ok || st.defined() {
		t.Errorf("%+v: what was defined in another partition is defined in this one", st)
	}
	tab.setDefined(0, []definition{{id, second.number}})
	if st, ok := tab.at(id).standing(0); !ok || !st.defined() {
		t.Errorf("%+v is not defined", st)
	}
	if _, err := tab.assign(tab.at(id), p, second.version()-1, 0); !errors.Is(err, errStale) {
		t.Errorf("an older request may change the entry: %v", err)
	}
	version := current()
	renumber(p.stream)
	other, _ := tab.make(remote.Key{Hi: 2, Lo: 2}, 0, 0)
	if _, err := tab.assign(tab.at(other), p, version, 0); !errors.Is(err, errStale) {
		t.Errorf("a number of a generation that the part knows nothing of: %v", err)
	}
}

func renumber(s *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renumber()
}

// What a request decides is decided at its version. A stream that was renumbered since is none of it.
func TestRequestsOlderThanANumberingAreStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 1, "a")
		synctest.Wait()
		r := newRequest(y.Distributor)
		r.sitDown()
		r.sender = y.sender(tenant.Anonymous)
		r.begin()
		renumber(y.streams[0])
		if _, err := r.part(0); !errors.Is(err, errStale) {
			t.Errorf("got %v", err)
		}
		r.begin()
		if _, err := r.part(0); err != nil {
			t.Error(err)
		}
	})
}

package distributor

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/varve-io/varve/pkg/ring"
)

const (
	testTimeout  = 30 * time.Second
	testInterval = 5 * time.Second // of scrapes
	testGossip   = time.Second     // at most
)

// town carries gossip between distributors, with delays.
type town struct {
	mu      sync.Mutex
	rnd     *rand.Rand
	members []*member
}

// member is a distributor's ear in town.
type member struct {
	town  *town
	known ring.Elections
	heard chan struct{}
}

func (t *town) join() *member {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := &member{town: t, known: ring.Elections{}, heard: make(chan struct{}, 1)}
	for _, other := range t.members { // as joining members do
		m.merge(other.known)
	}
	t.members = append(t.members, m)
	return m
}

func (m *member) merge(news ring.Elections) {
	for k, e := range news {
		if old, ok := m.known[k]; ok {
			e = old.Merge(e)
		}
		m.known[k] = e
	}
	select {
	case m.heard <- struct{}{}:
	default:
	}
}

func (m *member) PublishElections(_ context.Context, news ring.Elections) error {
	m.town.mu.Lock()
	defer m.town.mu.Unlock()
	m.merge(news)
	for _, other := range m.town.members {
		if other != m {
			time.AfterFunc(time.Duration(m.town.rnd.Int64N(int64(testGossip))), func() {
				m.town.mu.Lock()
				defer m.town.mu.Unlock()
				other.merge(news)
			})
		}
	}
	return nil
}

func (m *member) WatchElections(ctx context.Context, take func(ring.Elections)) {
	for {
		m.town.mu.Lock()
		known := maps.Clone(m.known)
		m.town.mu.Unlock()
		take(known)
		select {
		case <-ctx.Done():
			return
		case <-m.heard:
		}
	}
}

// stored is a sample that was let through.
type stored struct {
	replica string
	time    int64 // of the sample
	value   int64 // of a counter that grows with true time
	at      time.Time
}

// play is replicas that write to distributors, for a while.
type play struct {
	t            *testing.T
	mu           sync.Mutex // guards rnd, samples and down
	rnd          *rand.Rand
	distributors []*elections
	skews        []time.Duration // of the replicas' clocks
	backlogs     bool            // what couldn't be sent is sent later
	samples      []stored
	down         int // replicas that are down; never all of them
	outages      int // that may be long enough for another to take over
}

// run plays, all in one bubble, one goroutine at a time.
func (p *play) run(d time.Duration) {
	ctx, cancel := context.WithTimeout(p.t.Context(), d)
	defer cancel()
	town := &town{rnd: rand.New(rand.NewPCG(p.rnd.Uint64(), 0))}
	var share Elections
	many := len(p.distributors)
	for i := range p.distributors {
		if many > 1 {
			share = town.join()
		}
		e := newElections(share, slog.New(slog.DiscardHandler), newMetrics(prometheus.NewRegistry()))
		p.distributors[i] = e
		go e.run(ctx, time.Now)
	}
	synctest.Wait()
	for i := range p.skews {
		go p.replica(ctx, i)
	}
	<-ctx.Done()
	synctest.Wait()
	time.Sleep(time.Minute) // what is on its way comes in
}

// replica scrapes and writes; now and then it is down, and comes back with or without what it could not send.
func (p *play) replica(ctx context.Context, i int) {
	name := string(rune('a' + i))
	p.mu.Lock()
	to, phase := p.rnd.IntN(len(p.distributors)), time.Duration(p.rnd.Int64N(int64(testInterval)))
	p.mu.Unlock()
	time.Sleep(phase)
	var queue []stored
	outage := 0 // scrapes that it goes on
	queueing := false
	for ; ctx.Err() == nil; time.Sleep(testInterval) {
		p.mu.Lock()
		if p.rnd.IntN(40) == 0 && outage == 0 && p.down < len(p.skews)-1 {
			outage, queueing = 1+p.rnd.IntN(24), p.backlogs && p.rnd.IntN(2) == 0
			p.down++
			if time.Duration(outage+1)*testInterval > testTimeout*4/5-testGossip-electionsTick {
				p.outages++
			}
		}
		if p.rnd.IntN(10) == 0 {
			to = p.rnd.IntN(len(p.distributors))
		}
		if outage == 0 || queueing {
			now := time.Now()
			queue = append(queue, stored{replica: name, time: now.Add(p.skews[i]).UnixMilli(), value: now.UnixMilli()})
		}
		if outage == 0 {
			p.send(name, p.distributors[to], queue)
			queue = nil
		} else if outage--; outage == 0 {
			p.down--
		}
		p.mu.Unlock()
	}
}

// send is what a request does with samples of an elected replica.
func (p *play) send(name string, e *elections, queue []stored) {
	k, now := ring.Contest{Tenant: "t", Cluster: "c"}, time.Now()
	for batch := range slices.Chunk(queue, 3) {
		m, err := e.ask(k, name, testTimeout, now)
		if err != nil {
			p.t.Error(err)
			return
		}
		newest := int64(0)
		for _, s := range batch {
			if m.term > 0 && s.time > m.floor {
				s.at, newest = now, max(newest, s.time)
				p.samples = append(p.samples, s)
			}
		}
		if newest > 0 {
			e.heard(k, m.term, now)
			e.stored(k, name, newest, now)
		}
	}
}

// flaps checks that nobody was elected while another went on.
func (p *play) flaps() {
	for _, d := range p.distributors {
		if term := d.contests[ring.Contest{Tenant: "t", Cluster: "c"}].Term; int(term) > 1+p.outages {
			p.t.Errorf("%d elections for %d outages", term, p.outages)
		}
	}
}

// gaps checks that nothing is missing for longer than failing over takes, and returns how often a replica took over.
func (p *play) gaps(most time.Duration) (failovers int) {
	slices.SortFunc(p.samples, func(a, b stored) int { return int(a.time - b.time) })
	for i := 1; i < len(p.samples); i++ {
		a, b := p.samples[i-1], p.samples[i]
		if gap := time.Duration(b.time-a.time) * time.Millisecond; gap > most {
			p.t.Errorf("nothing is stored for %v, from %s to %s", gap, a.replica, b.replica)
		}
		if a.replica != b.replica {
			failovers++
		}
	}
	return failovers
}

// resets checks that the counter never falls.
func (p *play) resets() {
	for i := 1; i < len(p.samples); i++ {
		if a, b := p.samples[i-1], p.samples[i]; b.value < a.value {
			p.t.Errorf("the counter falls from %d (%s) to %d (%s)", a.value, a.replica, b.value, b.replica)
		}
	}
}

// doubles checks that once a replica was taken from, nothing of another is among what is older; with several
// distributors, two samples may only be so if they came in within a time of each other.
func (p *play) doubles(within time.Duration) (doubles int) {
	slices.SortStableFunc(p.samples, func(a, b stored) int { return a.at.Compare(b.at) })
	newest := map[string]stored{}
	for _, s := range p.samples {
		for name, other := range newest {
			if name == s.replica || s.time > other.time {
				continue
			}
			doubles++
			if apart := s.at.Sub(other.at); apart > within {
				p.t.Errorf("%s is taken from at %d, %v after %s was at %d", s.replica, s.time, apart, other.replica, other.time)
			}
		}
		if s.time > newest[s.replica].time {
			newest[s.replica] = s
		}
	}
	return doubles
}

func eachSeed(t *testing.T, f func(t *testing.T, rnd *rand.Rand)) {
	for seed := range uint64(100) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, rand.New(rand.NewPCG(seed, 7))) })
		})
	}
}

const usualGap = testTimeout + 2*testInterval

// Whatever the replicas go through, one distributor stores one of them at a time and misses no more than failing over
// takes.
func TestOneReplicaAtATime(t *testing.T) {
	failovers := 0
	eachSeed(t, func(t *testing.T, rnd *rand.Rand) {
		p := &play{t: t, rnd: rnd, distributors: make([]*elections, 1), skews: make([]time.Duration, 2+rnd.IntN(2)), backlogs: true}
		p.run(30 * time.Minute)
		p.flaps()
		p.doubles(-1)
		failovers += p.gaps(usualGap)
		p.resets()
	})
	if failovers < 200 {
		t.Errorf("only %d failovers: the play is too tame", failovers)
	}
}

// Replicas' clocks may go wrong: that shows in what they store, and in no more.
func TestReplicasWithSkewedClocks(t *testing.T) {
	eachSeed(t, func(t *testing.T, rnd *rand.Rand) {
		skew := time.Duration(rnd.Int64N(int64(testTimeout)))
		p := &play{t: t, rnd: rnd, distributors: make([]*elections, 1), skews: []time.Duration{0, skew - testTimeout/2}}
		p.run(30 * time.Minute)
		p.flaps()
		p.doubles(-1)
		p.gaps(usualGap + testTimeout/2)
		p.resets()
	})
}

// With several distributors, two replicas are stored at once for no longer than word takes from one to the others.
func TestSeveralDistributorsElect(t *testing.T) {
	eachSeed(t, func(t *testing.T, rnd *rand.Rand) {
		p := &play{t: t, rnd: rnd, distributors: make([]*elections, 2+rnd.IntN(2)), skews: make([]time.Duration, 2), backlogs: true}
		p.run(30 * time.Minute)
		p.flaps()
		p.doubles(testGossip + electionsTick + testTimeout/6)
		p.gaps(usualGap + testGossip + electionsTick)
		agreed := p.distributors[0].contests[ring.Contest{Tenant: "t", Cluster: "c"}]
		for _, d := range p.distributors[1:] {
			if c := d.contests[ring.Contest{Tenant: "t", Cluster: "c"}]; c.Replica != agreed.Replica || c.Term != agreed.Term {
				t.Errorf("one has %+v, another %+v", agreed.Election, c.Election)
			}
		}
	})
}

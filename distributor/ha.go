package distributor

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/varve-io/varve/pkg/ring"
)

// Elections is where distributors tell each other which replicas they elected.
type Elections interface {
	// PublishElections merges elections into what all know.
	PublishElections(context.Context, ring.Elections) error
	// WatchElections calls take with all that is known, at once, even if that is nothing, and when it changes, until ctx
	// ends; never two at a time.
	WatchElections(ctx context.Context, take func(ring.Elections))
}

// errNoElections is said while it isn't known whom others have elected.
var errNoElections = errors.New("the elections of HA pairs are not known yet")

// elections decide which replica of each cluster is stored. A replica is elected where there is none, and where the
// elected one has been silent for longer than the failover timeout by this process' clock; then only samples that are
// later than all that may be stored of others are taken from it. Another one is never elected while it goes on.
type elections struct {
	share   Elections
	log     *slog.Logger
	metrics *metrics
	wake    chan struct{} // there is something that others should know at once

	moved atomic.Bool // somebody else is elected than before

	mu       sync.Mutex
	known    bool // what others have elected was read
	contests map[ring.Contest]*contest
}

// contest is a cluster's election, as this process knows it.
type contest struct {
	ring.Election
	timeout time.Duration
	heard   time.Time // when samples of the elected replica last came in, here or by word of others
	told    time.Time // when others were last told that they do
	alive   bool      // samples came in since
	changed bool      // others must be told of more than that
}

func newElections(share Elections, log *slog.Logger, m *metrics) *elections {
	e := &elections{share: share, log: log, metrics: m, wake: make(chan struct{}, 1), contests: map[ring.Contest]*contest{}}
	if share == nil {
		e.share, e.known = solitude{}, true
	}
	return e
}

// mandate is under which election samples of a replica are stored.
type mandate struct {
	term  uint64 // 0: they are not
	floor int64  // of the elected one's, only what is later than this
}

// ask is the mandate of a replica whose samples have just come in; it may be elected by that.
func (s *elections) ask(k ring.Contest, replica string, timeout time.Duration, now time.Time) (mandate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.known {
		return mandate{}, errNoElections
	}
	c := s.contests[k]
	if c == nil {
		c = &contest{}
		s.contests[k] = c
	}
	c.timeout = timeout
	if c.Replica != replica || c.Term == 0 {
		if c.Term > 0 && now.Sub(c.heard) <= timeout {
			return mandate{}, nil
		}
		s.elect(k, c, replica, now)
	}
	return mandate{c.Term, c.Floor}, nil
}

func (s *elections) elect(k ring.Contest, c *contest, replica string, now time.Time) {
	s.log.Info("a replica is elected", "tenant", k.Tenant, "cluster", k.Cluster, "replica", replica, "before", c.Replica)
	s.metrics.elections.Inc()
	c.Election = ring.Election{Term: c.Term + 1, Replica: replica, Floor: max(c.Floor, c.Newest), Beat: c.Beat, Seen: now.Unix()}
	c.heard, c.changed = now, true
	s.moved.Store(true)
	s.rouse()
}

// elected tells whether a replica is the elected one.
func (s *elections) elected(r replica) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.contests[r.contest]
	return c != nil && c.Replica == r.name
}

func (s *elections) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// heard notes that a request brought samples that may be stored under a mandate.
func (s *elections) heard(k ring.Contest, term uint64, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.contests[k]; c != nil && c.Term == term {
		c.alive = true
		if now.After(c.heard) {
			c.heard = now
		}
	}
}

// stored notes that samples up to a time are stored, which came in under a replica's mandate. A sample from far ahead
// must not keep the next replica from being stored for as long, so no time counts that is more than the failover
// timeout ahead.
func (s *elections) stored(k ring.Contest, replica string, newest int64, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.contests[k]
	if c == nil {
		return
	}
	newest = min(newest, now.Add(c.timeout).UnixMilli())
	switch {
	case c.Replica == replica:
		c.Newest = max(c.Newest, newest)
	case newest > c.Floor: // it was overruled meanwhile
		c.Floor, c.changed = newest, true
		s.rouse()
	}
}

// take merges what others know.
func (s *elections) take(all ring.Elections, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known = true
	oldest := now.Add(-ring.ElectionKept).Unix()
	for k, theirs := range all {
		if theirs.Term == 0 || theirs.Seen < oldest {
			continue
		}
		c := s.contests[k]
		if c == nil {
			s.contests[k] = &contest{Election: theirs, heard: now}
			continue
		}
		before := c.Election
		c.Election = before.Merge(theirs)
		if c.Term != before.Term || c.Replica != before.Replica || c.Beat > before.Beat {
			c.heard = now
		}
		if c.Replica != before.Replica {
			s.moved.Store(true)
		}
		if c.Term != theirs.Term || c.Replica != theirs.Replica || c.Floor != theirs.Floor {
			c.changed = true
		}
	}
}

// news are the elections that others must be told of now, and word that replicas go on: each six times in a failover
// timeout, or at last at all if the process stops.
func (s *elections) news(now time.Time, last bool) ring.Elections {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := ring.Elections{}
	for k, c := range s.contests {
		if now.Sub(c.heard) > ring.ElectionKept {
			delete(s.contests, k)
			continue
		}
		if !c.changed && !(c.alive && (last || now.Sub(c.told) >= c.timeout/6)) {
			continue
		}
		if c.alive {
			c.Beat, c.Seen, c.told = c.Beat+1, now.Unix(), now
		}
		c.alive, c.changed = false, false
		out[k] = c.Election
	}
	return out
}

// again keeps news to be told later.
func (s *elections) again(news ring.Elections) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range news {
		if c := s.contests[k]; c != nil {
			c.changed = true
		}
	}
}

// electionsTick is how often word of replicas is spread. Elections themselves are told at once.
const electionsTick = time.Second

// run tells others of elections, and hears of theirs, until ctx ends.
func (s *elections) run(ctx context.Context, clock func() time.Time) {
	var watching sync.WaitGroup
	watching.Go(func() { s.share.WatchElections(ctx, func(all ring.Elections) { s.take(all, clock()) }) })
	defer watching.Wait()
	tick := time.NewTicker(electionsTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), electionsTick)
			defer cancel()
			s.publish(last, clock(), true)
			return
		case <-tick.C:
		case <-s.wake:
		}
		s.publish(ctx, clock(), false)
	}
}

func (s *elections) publish(ctx context.Context, now time.Time, last bool) {
	news := s.news(now, last)
	if len(news) == 0 {
		return
	}
	if err := s.share.PublishElections(ctx, news); err != nil {
		s.again(news)
		s.log.Warn("elections of HA pairs can't be told to other distributors", "error", err)
	}
}

// solitude is where nobody is told, and nobody tells.
type solitude struct{}

func (solitude) PublishElections(context.Context, ring.Elections) error { return nil }

func (solitude) WatchElections(ctx context.Context, _ func(ring.Elections)) { <-ctx.Done() }

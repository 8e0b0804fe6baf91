package distributor

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// turns lets requests be worked on, from their parsing to their acks, a bounded number of inflated bytes at a time, and
// tenants in turn. A tenant may have at most twice of what is left, as of the memory. So what a request waits for behind the
// requests of other tenants is bounded, however many those send: a batch reaches its owners' heads after everything that was
// sent before it.
type turns struct {
	mu      sync.Mutex
	size    int64
	free    int64
	blocked bool     // a request waits for more than is left: nobody overtakes it
	waiting []*queue // of tenants, in the order of their turns; none is empty
}

// queue is the requests of one tenant that wait.
type queue struct {
	sender   *sender
	requests []*waiter
}

type waiter struct {
	bytes   int64
	granted chan struct{}
}

func newTurns(size int64) *turns { return &turns{size: size, free: size} }

// begin waits for the turn of a request, which end gives back with the same size. One larger than all that may be
// worked on at a time is worked on alone. Errors wrap ErrUnavailable.
func (t *turns) begin(ctx context.Context, s *sender, bytes int64, wait time.Duration) error {
	bytes = min(bytes, t.size)
	t.mu.Lock()
	at := slices.IndexFunc(t.waiting, func(q *queue) bool { return q.sender == s })
	if at < 0 && !t.blocked && t.may(s, bytes) {
		t.take(s, bytes)
		t.mu.Unlock()
		return nil
	}
	if at < 0 {
		at = len(t.waiting)
		t.waiting = append(t.waiting, &queue{sender: s})
	}
	w := &waiter{bytes, make(chan struct{})}
	t.waiting[at].requests = append(t.waiting[at].requests, w)
	t.grant()
	t.mu.Unlock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-w.granted:
		return nil
	case <-ctx.Done():
		t.leave(s, w)
		return fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
	case <-timer.C:
		t.leave(s, w)
		return fmt.Errorf("%w: it was not its turn within %s (distributor.ack_timeout)", errOverload, wait)
	}
}

// end gives a turn back.
func (t *turns) end(s *sender, bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.take(s, -min(bytes, t.size))
	t.grant()
}

// leave takes back a request that gave up, and its turn if that came just now.
func (t *turns) leave(s *sender, w *waiter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.grant() // it may have been in the way of others
	for i, q := range t.waiting {
		if at := slices.Index(q.requests, w); at >= 0 {
			q.requests = slices.Delete(q.requests, at, at+1)
			if len(q.requests) == 0 {
				t.waiting = slices.Delete(t.waiting, i, i+1)
			}
			return
		}
	}
	t.take(s, -w.bytes)
}

func (t *turns) may(s *sender, bytes int64) bool {
	return share(s.working, bytes, t.free)
}

func (t *turns) take(s *sender, bytes int64) {
	t.free -= bytes
	s.working += bytes
}

// grant lets those go on whose turn it is: a request of each tenant that may have more, in turn.
func (t *turns) grant() {
	t.blocked = false
	for i := 0; i < len(t.waiting); {
		q := t.waiting[i]
		w := q.requests[0]
		if w.bytes > t.free {
			t.blocked = true
			return
		}
		if !t.may(q.sender, w.bytes) {
			i++
			continue
		}
		t.take(q.sender, w.bytes)
		close(w.granted)
		q.requests = q.requests[1:]
		t.waiting = slices.Delete(t.waiting, i, i+1)
		if len(q.requests) > 0 {
			t.waiting = append(t.waiting, q)
		}
	}
}

// share tells whether a tenant that has some of something may have more: at most twice of what is then left for others. So
// one tenant alone has two thirds of it, two have two fifths each, and however many there are, something is left for
// another. What has nothing yet may have all that is left.
func share(has, more, left int64) bool {
	return more <= left && (has == 0 || has+more <= 2*(left-more))
}

// memory is what all requests may hold, of which each tenant has a share.
type memory struct {
	mu   sync.Mutex
	free int64
}

// take takes n bytes for a request that holds own of what its tenant holds; false if they can't be had. A tenant's only
// request may have all that is left.
func (m *memory) take(s *sender, own, n int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n > m.free || s.held > own && !share(s.held, n, m.free) {
		return false
	}
	m.free -= n
	s.held += n
	return true
}

func (m *memory) giveBack(s *sender, n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.free += n
	s.held -= n
}

package rpc

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/varve-io/varve/pkg/ring"
)

// maxSkew is how far clocks may differ. Gossip decides by them which word is the later one, owners by which time they
// have lost or shipped something.
const maxSkew = 5 * time.Second

// ErrClock says that this process' clock is wrong, or everybody else's.
var ErrClock = errors.New("clock differs from the others'")

// CheckClock compares the clock with those of the view's other owners. It fails with ErrClock when most that answer
// differ by more than five seconds. An owner asks before it enters the ring.
func (p *Pool) CheckClock(ctx context.Context, v *ring.View) error {
	return p.checkClock(ctx, v, time.Now)
}

func (p *Pool) checkClock(ctx context.Context, v *ring.View, now func() time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	var (
		mu               sync.Mutex
		asked            sync.WaitGroup
		agree, disagree  int
		farthest         time.Duration
		farthestInstance string
	)
	for _, partition := range v.Partitions {
		for _, o := range partition.Owners {
			if o.Address == "" {
				continue
			}
			asked.Go(func() {
				ahead, err := p.ahead(ctx, o, now)
				if err != nil {
					return // it is not there
				}
				mu.Lock()
				defer mu.Unlock()
				if ahead.Abs() <= maxSkew {
					agree++
					return
				}
				disagree++
				if ahead.Abs() > farthest.Abs() {
					farthest, farthestInstance = ahead, o.Instance
				}
			})
		}
	}
	asked.Wait()
	if disagree > agree {
		return fmt.Errorf("%w: it is ahead of %s by %v, and differs from %d of %d owners by more than %v", ErrClock, farthestInstance, farthest, disagree, agree+disagree, maxSkew)
	}
	return nil
}

// ahead is how far this clock is before an owner's. An answer that takes long tells nothing.
func (p *Pool) ahead(ctx context.Context, o ring.Owner, now func() time.Time) (time.Duration, error) {
	peer, err := p.peer(o)
	if err != nil {
		return 0, err
	}
	var f frame
	began, before := time.Now(), now()
	if err := peer.cc.Invoke(peer.meant(ctx), probeMethod, &frame{}, &f); err != nil {
		return 0, fromWire(ctx, o.Address, err)
	}
	took := time.Since(began)
	d := decoder{p: f.body}
	theirs := time.UnixMilli(d.varint())
	if d.bad || took > maxSkew/2 {
		return 0, errProtocol
	}
	return before.Add(took / 2).Sub(theirs), nil
}

package rpc

import (
	"context"
	"sync"
	"time"

	"github.com/varve-io/varve/pkg/series"
)

// Peers asks the other owners of one partition.
type Peers struct {
	Pool *Pool
	Ring Ring
	// Partition and Instance are the asker's own.
	Partition int32
	Instance  string
}

// standingTimeout is how long an owner may take to say how it stands.
const standingTimeout = 5 * time.Second

// Standings asks all of them at once how they stand. Those that don't answer are left out.
func (p Peers) Standings(ctx context.Context) []series.Standing {
	ctx, cancel := context.WithTimeout(ctx, standingTimeout)
	defer cancel()
	partition, _ := p.Ring.View().Partition(p.Partition)
	var (
		mu    sync.Mutex
		all   []series.Standing
		asked sync.WaitGroup
	)
	for _, o := range partition.Owners {
		if o.Instance == p.Instance {
			continue
		}
		asked.Go(func() {
			s, err := p.Pool.Standing(ctx, o)
			if err != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, s)
		})
	}
	asked.Wait()
	return all
}

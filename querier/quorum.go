package querier

import (
	"time"

	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/series"
)

// futureWindow is how far ahead of the clock a sample's time may be when it is received: what an owner lost by time of
// receipt may lie this much later by the samples' own times. It is the default of the limit of that name, which must not
// be exceeded where partitions have several owners, and room for clocks that differ.
const futureWindow = 10*time.Minute + 5*time.Minute

// bearsWitness tells whether an owner of that standing would have every acked sample of a read that begins at mint.
func bearsWitness(s series.Standing, mint int64) bool {
	return s.CompleteSince == 0 || mint > s.CompleteSince && mint-s.CompleteSince > futureWindow.Milliseconds()
}

// lacking is the partitions of which too few witnesses answered for the read to overlap every quorum of writes. The
// count follows the configured replication factor, never the owners that happen to be there. Only a partition that
// takes no writes is content with those it has: one that waits to become active has nothing yet, and owners that left
// an inactive one have shipped all that they had.
func lacking(v *ring.View, witnesses map[string]bool) []int32 {
	var ids []int32
	for _, p := range v.Partitions {
		need := ring.Witnesses(v.ReplicationFactor)
		if p.State != ring.Active {
			need = min(need, len(p.Owners))
		}
		for _, o := range p.Owners {
			if witnesses[o.Instance] {
				need--
			}
		}
		if need > 0 {
			ids = append(ids, p.ID)
		}
	}
	return ids
}

// unknown is the partitions that an owner knows and the view lacks.
func unknown(v *ring.View, known []int32) []int32 {
	var ids []int32
	for _, id := range known {
		if _, ok := v.Partition(id); !ok {
			ids = append(ids, id)
		}
	}
	return ids
}

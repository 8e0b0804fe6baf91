package ring

import (
	"slices"
	"sort"
)

// State is what a partition is good for.
type State uint8

// A partition is written to only while it is active, and read from in every state.
const (
	Pending  State = 1 + iota // announced, waiting for gossip to converge
	Active                    // takes writes
	Inactive                  // takes none any more; its owners still answer for what they hold
)

// String is the state's name as the status page shows it.
func (s State) String() string {
	switch s {
	case Pending:
		return "pending"
	case Active:
		return "active"
	case Inactive:
		return "inactive"
	}
	return "unknown"
}

// Owner is one replica of a partition: an ingester in a zone.
type Owner struct {
	Instance string
	Zone     string
	// Address is the host:port of its internal listener; empty for this process itself.
	Address string
}

// Partition is a share of the series, and who holds it.
type Partition struct {
	ID     int32
	State  State
	Tokens []uint32
	// Owners is ordered by instance.
	Owners []Owner
}

// View is the ring as one process knows it at one time. It never changes; a newer one has a greater Version.
type View struct {
	Version uint32
	// ReplicationFactor is the configured number of owners per partition, however many are there.
	ReplicationFactor int
	// Partitions is ordered by ID.
	Partitions []Partition

	tokens []token
	only   bool // all tokens are those of one partition
}

type token struct {
	value     uint32
	partition int32
}

// NewView orders the partitions and indexes the tokens of the active ones.
func NewView(version uint32, rf int, partitions []Partition) *View {
	v := &View{Version: version, ReplicationFactor: rf, Partitions: partitions}
	slices.SortFunc(v.Partitions, func(a, b Partition) int { return int(a.ID) - int(b.ID) })
	for _, p := range v.Partitions {
		slices.SortFunc(p.Owners, func(a, b Owner) int {
			if a.Instance < b.Instance {
				return -1
			}
			return 1
		})
		if p.State != Active {
			continue
		}
		for _, t := range p.Tokens {
			v.tokens = append(v.tokens, token{t, p.ID})
		}
	}
	slices.SortFunc(v.tokens, func(a, b token) int {
		if a.value < b.value {
			return -1
		}
		return 1
	})
	v.only = len(v.tokens) > 0 && !slices.ContainsFunc(v.tokens, func(t token) bool { return t.partition != v.tokens[0].partition })
	return v
}

// Single is the ring of one process that does everything: one partition, one owner, no gossip.
func Single(instance string) *View {
	return NewView(1, 1, []Partition{{ID: 0, State: Active, Tokens: []uint32{0}, Owners: []Owner{{Instance: instance}}}})
}

// PartitionOf is the active partition that a series' hash belongs to: the one with the least token greater than the
// hash, in a circle. ok is false while no partition is active.
func (v *View) PartitionOf(hash uint32) (id int32, ok bool) {
	if len(v.tokens) == 0 {
		return 0, false
	}
	i := sort.Search(len(v.tokens), func(i int) bool { return v.tokens[i].value > hash })
	return v.tokens[i%len(v.tokens)].partition, true
}

// Only is the partition that all series belong to, if there is but one that is active.
func (v *View) Only() (id int32, ok bool) {
	if !v.only {
		return 0, false
	}
	return v.tokens[0].partition, true
}

// Partition is the partition with that ID.
func (v *View) Partition(id int32) (Partition, bool) {
	i, ok := slices.BinarySearchFunc(v.Partitions, id, func(p Partition, id int32) int { return int(p.ID) - int(id) })
	if !ok {
		return Partition{}, false
	}
	return v.Partitions[i], true
}

// Quorum is how many owners must have synced a sample before it is acked: a majority of the configured replication
// factor.
func Quorum(rf int) int { return rf/2 + 1 }

// Witnesses is how many complete owners of a partition must answer a read so that it overlaps every quorum of
// writes.
func Witnesses(rf int) int { return rf - Quorum(rf) + 1 }

package distributor

import (
	"math"
	"sync"

	"github.com/varve-io/varve/pkg/remote"
	"github.com/varve-io/varve/pkg/series"
)

// entry is what the table knows of a series under one spelling.
type entry struct {
	token      uint32        // its place in the ring
	partition  int32         // that holds the token in view
	view       uint32        // version of the ring that partition was looked up in
	number     series.Number // in generation of the partition's stream
	generation uint32        // 0: it has no number
	limits     uint32        // generation of the limits that it was found valid under
	seen       uint32        // Unix seconds of its latest sample
	defined    bool          // its number's definition is on the stream
	units      uint16        // the size of its definition
}

// size is that of the series' definition in a batch, in bytes, rounded up.
func (e *entry) size() int { return int(e.units) * 64 }

func (e *entry) setSize(n int) { e.units = uint16(min((n+63)/64, math.MaxUint16)) }

// table finds the entries of one tenant. Its parts have a lock each, so that requests rarely meet.
type table struct {
	shards [tableShards]shard
}

const tableShards = 16

type shard struct {
	mu      sync.Mutex
	index   map[remote.Key]uint32
	entries []entry
	free    []uint32
}

func newTable() *table {
	t := &table{}
	for i := range t.shards {
		t.shards[i].index = map[remote.Key]uint32{}
	}
	return t
}

func (t *table) shard(k remote.Key) *shard { return &t.shards[k.Hi%tableShards] }

// find is a copy of the entry, marked as seen now; ok is false for a new series.
func (s *shard) find(k remote.Key, now uint32) (e entry, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.index[k]
	if !ok {
		return entry{}, false
	}
	s.entries[i].seen = now
	return s.entries[i], true
}

// put stores the entry under the key, and tells whether the key is new.
func (s *shard) put(k remote.Key, e entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.index[k]; ok {
		s.entries[i] = e
		return false
	}
	if n := len(s.free); n > 0 {
		i := s.free[n-1]
		s.free = s.free[:n-1]
		s.index[k], s.entries[i] = i, e
		return true
	}
	s.index[k] = uint32(len(s.entries))
	s.entries = append(s.entries, e)
	return true
}

// setDefined notes that the number's definition has gone out, if the entry still has that number.
func (s *shard) setDefined(k remote.Key, n series.Number, generation uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.index[k]; ok {
		if e := &s.entries[i]; e.number == n && e.generation == generation {
			e.defined = true
		}
	}
}

// expire drops the entries that were last seen before a time, and calls gone for each.
func (t *table) expire(before uint32, gone func(entry)) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for k, i := range s.index {
			if s.entries[i].seen < before {
				gone(s.entries[i])
				s.entries[i] = entry{}
				s.free = append(s.free, i)
				delete(s.index, k)
			}
		}
		s.mu.Unlock()
	}
}

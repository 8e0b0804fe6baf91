package catalog

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/varve-io/varve/pkg/tenant"
)

// Catalog is a tenant's blocks at one time. It is immutable: share it, don't change it.
type Catalog struct {
	Tenant tenant.ID
	// Generation grows with every write; two writers at once may both write the same one.
	Generation uint64
	// Updated is when it was written, by the writer's clock.
	Updated time.Time
	// Blocks are those to read, ordered by MinTime, then ID.
	Blocks []Block
	// Removed are blocks not to read any more; it remembers them long after their data is gone.
	Removed map[ulid.ULID]Removal
	// Hash names what a query can see: catalogs of one tenant with equal hashes have equal blocks.
	Hash string

	quarantined map[ulid.ULID]string
	facts       []ulid.ULID // folded in, and perhaps still in the bucket; ordered
	byID        map[ulid.ULID]int
}

// Removal is how far a block is on its way out. Times are Unix milliseconds.
type Removal struct {
	// At is when it was removed from the catalog.
	At int64 `json:"at"`
	// Deleted is when its data was deleted, 0 before that.
	Deleted int64 `json:"deleted,omitempty"`
}

// Fact is a change that happened and stays true. All of it takes effect at once: a compaction is one fact that adds
// its result and removes its sources.
type Fact struct {
	// ID is given by Commit, and carries the time.
	ID  ulid.ULID `json:"id"`
	Add []Block   `json:"add,omitempty"`
	// Remove wins over every Add of the same block, whichever comes first.
	Remove []ulid.ULID `json:"remove,omitempty"`
	// Quarantine gives reasons.
	Quarantine map[ulid.ULID]string `json:"quarantine,omitempty"`
	// Deleted are removed blocks whose data is gone from the bucket.
	Deleted []ulid.ULID `json:"deleted,omitempty"`
}

func (f Fact) empty() bool {
	return len(f.Add)+len(f.Remove)+len(f.Quarantine)+len(f.Deleted) == 0
}

func (f Fact) check() error {
	for _, b := range f.Add {
		if err := b.check(); err != nil {
			return err
		}
	}
	return nil
}

func empty(id tenant.ID) *Catalog { return Fold(&Catalog{Tenant: id}) }

// Fold is the catalog that also knows the facts. It is pure; neither the order nor the repetition of facts matters.
func Fold(c *Catalog, facts ...Fact) *Catalog {
	out := &Catalog{
		Tenant: c.Tenant, Generation: c.Generation, Updated: c.Updated,
		Removed: maps.Clone(c.Removed), quarantined: maps.Clone(c.quarantined),
		facts: slices.Clone(c.facts),
	}
	if out.Removed == nil {
		out.Removed = map[ulid.ULID]Removal{}
	}
	if out.quarantined == nil {
		out.quarantined = map[ulid.ULID]string{}
	}
	blocks := make(map[ulid.ULID]Block, len(c.Blocks))
	for _, b := range c.Blocks {
		blocks[b.ID] = b
	}
	for _, f := range facts {
		out.fold(f, blocks)
	}
	out.settle(blocks)
	return out
}

func (c *Catalog) fold(f Fact, blocks map[ulid.ULID]Block) {
	for _, b := range f.Add {
		b.Quarantined = ""
		if known, ok := blocks[b.ID]; !ok || precedes(known, b) {
			blocks[b.ID] = b
		}
	}
	at := int64(f.ID.Time())
	for _, id := range f.Remove {
		c.remove(id, Removal{At: at})
	}
	for _, id := range f.Deleted {
		c.remove(id, Removal{At: at, Deleted: at})
	}
	for id, reason := range f.Quarantine {
		c.quarantined[id] = max(c.quarantined[id], reason)
	}
	if !f.ID.IsZero() {
		c.facts = append(c.facts, f.ID)
	}
}

// remove joins what is known of a removal: the earliest times hold.
func (c *Catalog) remove(id ulid.ULID, r Removal) {
	if known, ok := c.Removed[id]; ok {
		r.At = min(r.At, known.At)
		if r.Deleted == 0 || known.Deleted != 0 && known.Deleted < r.Deleted {
			r.Deleted = known.Deleted
		}
	}
	c.Removed[id] = r
}

// precedes gives two descriptions of one block an order, so that the same one stays whatever the order of facts.
func precedes(a, b Block) bool {
	a.Quarantined, b.Quarantined = "", ""
	aj, errA := json.Marshal(a)
	bj, errB := json.Marshal(b)
	return errA == nil && errB == nil && bytes.Compare(aj, bj) < 0
}

// settle gives the catalog its normal form.
func (c *Catalog) settle(blocks map[ulid.ULID]Block) {
	for id := range c.Removed {
		delete(blocks, id)
		delete(c.quarantined, id)
	}
	c.Blocks = slices.AppendSeq(make([]Block, 0, len(blocks)), maps.Values(blocks))
	slices.SortFunc(c.Blocks, func(a, b Block) int {
		return cmp.Or(cmp.Compare(a.MinTime, b.MinTime), a.ID.Compare(b.ID))
	})
	slices.SortFunc(c.facts, ulid.ULID.Compare)
	c.facts = slices.Compact(c.facts)
	c.byID = make(map[ulid.ULID]int, len(blocks))
	h := sha256.New()
	for i := range c.Blocks {
		b := &c.Blocks[i]
		b.Quarantined = c.quarantined[b.ID]
		c.byID[b.ID] = i
		h.Write(b.ID[:])
		fmt.Fprintf(h, "%q", b.Quarantined)
	}
	c.Hash = hex.EncodeToString(h.Sum(nil)[:16])
}

// Overlapping are the blocks that may hold samples in [mint, maxt], both included, in the order of Blocks.
func (c *Catalog) Overlapping(mint, maxt int64) []Block {
	var out []Block
	for _, b := range c.Blocks {
		if b.MinTime > maxt {
			break
		}
		if b.Overlaps(mint, maxt) {
			out = append(out, b)
		}
	}
	return out
}

// Block is a block that is to be read.
func (c *Catalog) Block(id ulid.ULID) (Block, bool) {
	i, ok := c.byID[id]
	if !ok {
		return Block{}, false
	}
	return c.Blocks[i], true
}

// Knows tells whether the block is in the catalog or was removed from it: its data arrived.
func (c *Catalog) Knows(id ulid.ULID) bool {
	_, present := c.byID[id]
	_, removed := c.Removed[id]
	return present || removed
}

// Expired are the blocks that were removed at least grace ago and whose data is not known to be deleted, ordered.
func (c *Catalog) Expired(now time.Time, grace time.Duration) []ulid.ULID {
	var out []ulid.ULID
	for id, r := range c.Removed {
		if r.Deleted == 0 && now.UnixMilli()-r.At >= grace.Milliseconds() {
			out = append(out, id)
		}
	}
	slices.SortFunc(out, ulid.ULID.Compare)
	return out
}

// forget drops records that nothing can ask for any more: removals whose data is long deleted, and folded facts
// that are old and not in the bucket.
func (c *Catalog) forget(now time.Time, inBucket []ulid.ULID) {
	maps.DeleteFunc(c.Removed, func(_ ulid.ULID, r Removal) bool {
		return r.Deleted != 0 && now.UnixMilli()-r.Deleted > removalKeep.Milliseconds()
	})
	c.facts = slices.DeleteFunc(c.facts, func(id ulid.ULID) bool {
		_, there := slices.BinarySearchFunc(inBucket, id, ulid.ULID.Compare)
		return !there && now.Sub(ulid.Time(id.Time())) > FactKeep
	})
}

// has tells whether the fact was folded in.
func (c *Catalog) has(fact ulid.ULID) bool {
	_, ok := slices.BinarySearchFunc(c.facts, fact, ulid.ULID.Compare)
	return ok
}

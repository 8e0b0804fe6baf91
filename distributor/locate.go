package distributor

import (
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/pkg/remote"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// maxLabels bounds what is parsed of a series before the tenant's own limit is looked at.
const maxLabels = 1024

// spot is where the samples of a series go. Without a part they go nowhere: they are refused, or else a rule of the
// tenant drops them.
type spot struct {
	id      uint32 // of the entry; 0 for none
	part    *part
	number  series.Number
	refused *violation
}

// locate finds or makes the current series' place in the batch of its partition.
func (r *request) locate(s *remote.Series) (spot, error) {
	id := r.trail.lookUp(s)
	if id == 0 {
		return r.define(0)
	}
	r.trail.step(id)
	r.trail.at(id).touch(r.seconds)
	return r.stand(id)
}

// stand is the place of the current series, whose entry is known. Whatever the entry says holds while limits and ring
// are what it was verified by, and its number while it is younger than the numbering of the stream. The number may
// be of a numbering that has begun since; then the batch is stale when it is sent.
func (r *request) stand(id uint32) (spot, error) {
	e := r.trail.at(id)
	st, ok := e.standing(r.rules)
	if !ok {
		return r.define(id)
	}
	if st.dropped() {
		return spot{id: id}, nil
	}
	if !st.defined() {
		return r.define(id)
	}
	p, err := r.part(st.partition())
	if err != nil {
		return spot{}, err
	}
	if st.version() < p.born {
		return r.define(id)
	}
	p.used += st.size()
	return spot{id: id, part: p, number: st.series()}, nil
}

// define is stand for a series that is new (without an entry), or whose entry no longer holds.
func (r *request) define(id uint32) (spot, error) {
	if err := r.decoder.Labels(&r.scratch, maxLabels); err != nil {
		return spot{id: id, refused: &violation{invalidLabels, err.Error()}}, nil
	}
	ls := r.scratch.Labels()
	// This is where a tenant's rules have their say, and where it is found out which HA pair and replica a series is of
	// (entry.ha, once it has an entry): the labels are parsed, and what they become is what is checked.
	// For a series that a rule drops: return r.drop(id), nil.
	if v := r.verify(id, ls); v != nil {
		return spot{id: id, refused: v}, nil
	}
	partition, ok := r.view.PartitionOf(token(r.sender.id, ls))
	if !ok {
		return spot{}, fmt.Errorf("%w: %w", ErrUnavailable, errNoPartition)
	}
	p, err := r.part(partition)
	if err != nil {
		return spot{}, err
	}
	id = r.enter(id)
	st, err := r.trail.assign(r.trail.at(id), p, r.version)
	if err != nil {
		return spot{}, err
	}
	if st.defined() {
		p.used += st.size()
	} else if err := r.addDefinition(p, id, st, ls); err != nil {
		return spot{}, err
	}
	return spot{id: id, part: p, number: st.series()}, nil
}

// verify is nil for a series that may be stored. One with an entry is only looked at again when the limits may have
// changed, and is within the quotas anyway.
func (r *request) verify(id uint32, ls labels.Labels) *violation {
	if id != 0 {
		if _, ok := r.trail.at(id).standing(r.rules); ok {
			return nil
		}
	}
	if v := checkLabels(ls, r.lim); v != nil || id != 0 {
		return v
	}
	return r.sender.mayCreate(r.now, r.lim)
}

// enter is the entry of the current series, which may have none yet.
func (r *request) enter(id uint32) uint32 {
	if id != 0 {
		return id
	}
	s := &r.decoder.Series
	id, fresh := r.trail.make(s.Key, s.Front, r.seconds)
	if fresh {
		r.trail.taken.fresh++
	}
	r.trail.step(id)
	return id
}

// drop remembers that a rule drops the current series. It takes no part in the quotas; but no more than as many series
// again as may be active are remembered.
func (r *request) drop(id uint32) spot {
	if most := r.lim.MaxActiveSeries; id == 0 && most > 0 && r.trail.dropped.Load() >= int64(most) {
		return spot{}
	}
	id = r.enter(id)
	r.trail.drop(r.trail.at(id), r.version)
	return spot{id: id}
}

// addDefinition says in the batch what the entry's number stands for.
func (r *request) addDefinition(p *part, id uint32, st standing, ls labels.Labels) error {
	before := p.builder.Size()
	p.builder.Define(st.series(), ls)
	size := p.builder.Size() - before
	r.trail.at(id).setSize(st, size)
	p.pending = append(p.pending, definition{id, st.number})
	return errors.Join(r.writeOut(size), r.seriesMetadata(p, ls))
}

// token is a series' place in the ring, the same in every process.
func token(id tenant.ID, ls labels.Labels) uint32 {
	return uint32(xxhash.Sum64String(id.String())*31 + labels.StableHash(ls))
}

package distributor

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/pkg/remote"
	"github.com/varve-io/varve/pkg/series"
)

// maxLabels bounds what is parsed of a series before the tenant's own limit is looked at.
const maxLabels = 1024

// spot is where the samples of a series go. Without a part they go nowhere. It has four fields: one with more is not kept
// in registers.
type spot struct {
	id     uint32 // of the entry; 0 for none
	part   *part
	number series.Number
	ballot *ballot // nil for a series of no HA pair
}

// nowhere is the spot of the current series if it is not stored: it is refused, or another replica of its HA pair is
// stored, or else a rule of the tenant drops it.
func (r *request) nowhere(id uint32, refused *violation, b *ballot) spot {
	r.violation = refused
	return spot{id: id, ballot: b}
}

// locate finds or makes the current series' place in the batch of its partition.
func (r *request) locate(s *remote.Series) (spot, error) {
	if !s.Guessed && r.trail.coming[r.trail.next%ahead] != 0 {
		return r.locateNew(s)
	}
	id := r.trail.lookUp(s)
	if id == 0 {
		return r.define(0)
	}
	return r.known(id)
}

// locateNew is locate for a series that came instead of another one, and so is most likely new: it is read while memory is asked whether
// it is.
func (r *request) locateNew(s *remote.Series) (spot, error) {
	r.trail.ask(s.Key)
	err := r.parse()
	if id := r.trail.lookUp(s); id != 0 {
		return r.known(id)
	}
	return r.defineRead(0, err)
}

// known is locate for a series that has an entry.
func (r *request) known(id uint32) (spot, error) {
	e := r.trail.at(id)
	r.trail.step(id, e)
	e.touch(r.seconds)
	return r.stand(id, e)
}

// stand is the place of the current series, whose entry is known. Whatever the entry says holds while limits and ring
// are what it was verified by, and its number while it is younger than the numbering of the stream. The number may
// be of a numbering that has begun since; then the batch is stale when it is sent.
func (r *request) stand(id uint32, e *entry) (spot, error) {
	st, ok := e.standing(r.rules)
	if !ok {
		return r.define(id)
	}
	var b *ballot
	if n := st.replica(); n != 0 {
		var err error
		if b, err = r.ballot(n); err != nil {
			return spot{}, err
		}
		if b.term == 0 {
			return r.nowhere(id, nil, b), nil
		}
		if st.idle() {
			r.trail.setIdle(e, n, false)
		}
	}
	if st.dropped() && b == nil {
		return r.nowhere(id, nil, nil), nil
	}
	if !st.defined() { // as one is that was dropped until its replica was elected
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
	return spot{id: id, part: p, number: st.series(), ballot: b}, nil
}

// define is stand for a series that is new (without an entry), or whose entry no longer holds.
func (r *request) define(id uint32) (spot, error) {
	return r.defineRead(id, r.parse())
}

// defineRead is define after the labels were read.
func (r *request) defineRead(id uint32, err error) (spot, error) {
	if err != nil {
		return r.nowhere(id, &violation{invalidLabels, err.Error()}, nil), nil
	}
	to := r.rewrite(r.spelling)
	switch {
	case to.refused != nil:
		return r.nowhere(id, to.refused, nil), nil
	case !to.keep:
		return r.nowhere(r.drop(id, 0), nil, nil), nil
	}
	var b *ballot
	if to.replica != 0 {
		var err error
		if b, err = r.ballot(to.replica); err != nil {
			return spot{}, err
		}
		if b.term == 0 {
			return r.nowhere(r.drop(id, to.replica), nil, b), nil
		}
	}
	if v := r.verify(id, to); v != nil {
		return r.nowhere(id, v, nil), nil
	}
	return r.place(id, to, b)
}

// place is define for a series that is stored.
func (r *request) place(id uint32, to rewritten, b *ballot) (spot, error) {
	ls := to.labels
	partition, ok := r.view.Only()
	if !ok {
		partition, ok = r.view.PartitionOf(r.token(ls))
	}
	if !ok {
		return spot{}, fmt.Errorf("%w: %w", ErrUnavailable, errNoPartition)
	}
	p, err := r.part(partition)
	if err != nil {
		return spot{}, err
	}
	id = r.enter(id)
	st, err := r.trail.assign(r.trail.at(id), p, r.version, to.replica)
	if err != nil {
		return spot{}, err
	}
	if st.defined() {
		p.used += st.size()
	} else if err := r.addDefinition(p, id, st, ls); err != nil {
		return spot{}, err
	}
	return spot{id: id, part: p, number: st.series(), ballot: b}, nil
}

// verify is nil for a series that may be stored. One with an entry is only looked at again when the limits may have
// changed, or when its replica has just been elected, and is within the quotas anyway.
func (r *request) verify(id uint32, to rewritten) *violation {
	if id != 0 {
		if st, ok := r.trail.at(id).standing(r.rules); ok && !st.dropped() {
			return nil
		}
	}
	if v := checkLabels(to.labels, to.ascii, r.lim); v != nil || id != 0 {
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
		r.trail.inserted(id)
	} else {
		r.trail.step(id, r.trail.at(id))
	}
	return id
}

// drop remembers that a rule drops the current series, or that its replica is not stored. It takes no part in the
// quotas; but no more than as many series again as may be active are remembered.
func (r *request) drop(id uint32, replica uint16) uint32 {
	if most := r.lim.MaxActiveSeries; id == 0 && most > 0 && r.trail.dropped.Load() >= int64(most) {
		return 0
	}
	id = r.enter(id)
	r.trail.drop(r.trail.at(id), r.version, replica)
	return id
}

// addDefinition says in the batch what the entry's number stands for.
func (r *request) addDefinition(p *part, id uint32, st standing, ls []labels.Label) error {
	size := 0
	if !r.inTexts {
		size = p.labels.define(p.builder, st.series(), ls)
	}
	if size == 0 {
		size = p.builder.DefineLabels(st.series(), ls)
	}
	p.used += size
	r.trail.at(id).setSize(st, size)
	p.pending = append(p.pending, definition{id, st.number})
	return errors.Join(r.writeOut(size), r.seriesMetadata(p, ls))
}

// token is a series' place in the ring, the same in every process: xxhash of the tenant times 31, and labels.StableHash.
func (r *request) token(ls []labels.Label) uint32 {
	const end = 0xff // of a string
	b := r.hashed[:0]
	for _, l := range ls {
		b = append(b, l.Name...)
		b = append(b, end)
		b = append(b, l.Value...)
		b = append(b, end)
	}
	r.hashed = b
	return uint32(r.sender.hash + xxhash.Sum64(b))
}

// parse reads the current series' labels.
func (r *request) parse() (err error) {
	r.spelling, err = r.decoder.Labels(r.spelling[:0], maxLabels)
	return err
}

// inWords is labels in words.
func inWords(ls []labels.Label) string { return shortened(labels.New(slices.Clone(ls)...).String()) }

package distributor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/varve-io/varve/pkg/remote"
	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// batchBytes is where one batch of a request ends and the next one for the same partition begins. It holds for the
// batch together with the definitions of the series that it uses, because an owner logs those once more, in one
// record, when this batch is the first of an epoch that uses them. Only the series at the edge goes beyond it, with
// its labels, description and one histogram (a few MiB where limits are as wide as they can be), so that both stay
// well below the largest record that the log takes, and the largest batch that a link takes.
const batchBytes = 4 << 20

// part is what one partition gets of a request: batches, in the order in which its owners must get them.
type part struct {
	stream     *stream
	generation uint32
	born       uint32      // the version at which the generation began
	labels     *dictionary // of the generation
	builder    *draft      // of the batch that isn't finished
	used       int         // bytes of the definitions of series that it uses
	pending    []definition
	batches    []batch
}

// batch is one that is finished.
type batch struct {
	encoded  *letter            // nil once it is sent
	pending  int                // where its definitions end in the part's,
	texts    int                // and its labels' texts
	oldest   series.LabelNumber // that it needs
	receipts []series.Receipt
}

// definition is a number that a batch defines.
type definition struct {
	id     uint32 // of the entry
	number uint64 // as the entry has it, with its version
}

// begin makes the part that of another request.
func (p *part) begin(st *stream) {
	p.stream, p.used = st, 0
	p.generation, p.born, p.labels = st.current()
	p.pending = p.pending[:0]
	p.forget()
}

// forget lets go of the batches.
func (p *part) forget() {
	for _, b := range p.batches {
		if b.encoded != nil {
			b.encoded.free()
		}
	}
	clear(p.batches)
	p.batches = p.batches[:0]
}

func (p *part) full() bool { return p.builder.Size()+p.used >= batchBytes }

// finish ends the batch, if there is anything in it, and begins another.
func (p *part) finish(letters *letterbox) {
	p.used = 0
	if p.builder.Empty() {
		return
	}
	encoded := letters.take(p.builder.Size())
	encoded.bytes = p.builder.AppendTo(encoded.bytes)
	p.batches = append(p.batches, batch{encoded: encoded, pending: len(p.pending), texts: len(p.builder.texts), oldest: p.builder.oldest})
	p.builder.turn(p.builder.Stream(), p.builder.Tenant())
}

// part is that of a partition, with room in its batch. errStale says that its numbering is newer than the request.
func (r *request) part(partition int32) (*part, error) {
	if p := r.latest; p != nil && p.stream.partition == partition {
		if p.full() {
			p.finish(&r.d.letters)
		}
		return p, nil
	}
	p := r.parts[partition]
	if p == nil {
		var err error
		if p, err = r.newPart(partition); err != nil {
			return nil, err
		}
	} else if p.full() {
		p.finish(&r.d.letters)
	}
	r.latest = p
	return p, nil
}

func (r *request) newPart(partition int32) (*part, error) {
	st := r.d.stream(partition, r.view)
	if st == nil || partition > partitionAtMost {
		return nil, fmt.Errorf("%w: partition %d has gone", ErrUnavailable, partition)
	}
	if n := len(r.order); n < cap(r.order) {
		r.order = r.order[:n+1]
	} else {
		r.order = append(r.order, nil)
	}
	p := r.order[len(r.order)-1]
	if p == nil {
		p = &part{}
		r.order[len(r.order)-1] = p
	}
	p.begin(st)
	p.builder = r.builder(len(r.order) - 1)
	if p.born > r.version {
		return nil, errStale
	}
	p.builder.begin(series.StreamID{Distributor: r.d.incarnation, Generation: p.generation, Partition: partition}, r.sender.id)
	r.parts[partition] = p
	return p, nil
}

// room is where the i-th sample of the current series goes; the first goes where locate said. A batch that is full is
// followed by another, in which the series is defined again unless its definition has gone out: no batch needs what
// another one of the request defines.
func (r *request) room(at spot, i int) (spot, error) {
	if i == 0 || !at.part.full() {
		return at, nil
	}
	at, err := r.stand(at.id, r.trail.at(at.id))
	if err == nil && at.part == nil { // it has just become one that is dropped
		err = errStale
	}
	return at, err
}

// writeOut counts the bytes that a request of 2.0 may hold once and a batch holds for each of its series.
func (r *request) writeOut(n int) error {
	r.out += int64(n)
	if most := r.d.cfg.MaxRequestBytes; r.out > int64(most) {
		return fmt.Errorf("%w: its labels and descriptions, written out, are more than %s (distributor.max_request_bytes)", remote.ErrTooLarge, most)
	}
	if inMemory := 2 * r.out; inMemory > r.held { // as columns, and as batches
		return r.hold(inMemory + 64<<10)
	}
	return nil
}

// hold makes sure that so many bytes of all requests' memory are this one's. One that needs more than there is gets it
// when it is alone. One tenant can't have all of it while others write: memory.take.
func (r *request) hold(n int64) error {
	more := min(n, int64(r.d.cfg.MaxInflightBytes)) - r.held
	if more <= 0 {
		return nil
	}
	if !r.d.inflight.take(r.holder, r.held, more) {
		return fmt.Errorf("%w (distributor.max_inflight_bytes=%s)", errOverload, r.d.cfg.MaxInflightBytes)
	}
	r.held += more
	return nil
}

// release gives back the memory that the request held.
func (r *request) release() {
	if r.held > 0 {
		r.d.inflight.giveBack(r.holder, r.held)
		r.held = 0
	}
	for _, p := range r.order {
		p.forget()
	}
	r.leaveDesk()
}

// send hands every batch to its owners.
func (r *request) send() error {
	for _, p := range r.order {
		p.finish(&r.d.letters)
		first, text := 0, 0
		for i := range p.batches {
			b := &p.batches[i]
			receipts, whole, err := p.stream.push(p.generation, b.oldest, b.encoded)
			if err != nil {
				return err
			}
			b.encoded.free()
			b.encoded = nil
			b.receipts = receipts
			if whole { // else some owner lacks these definitions: the next request sends them again
				r.sender.table.setDefined(p.stream.partition, p.pending[first:b.pending])
				p.labels.setKnown(p.builder.texts[text:b.texts])
			}
			first, text = b.pending, b.texts
		}
	}
	return nil
}

// await waits for a quorum of every batch. Series that came too fast are no error of the sender's: it is to send all of
// it again, for which the error is; what is stored stays.
func (r *request) await(ctx context.Context) (Written, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Duration(r.d.cfg.AckTimeout), errAckTimeout)
	defer cancel()
	var errs []error
	for _, p := range r.order {
		for _, b := range p.batches {
			ack, err := await(ctx, b.receipts, ring.Quorum(r.view.ReplicationFactor))
			if err != nil {
				errs = append(errs, fmt.Errorf("partition %d: %w", p.stream.partition, err))
				break // its other batches will hardly fare better
			}
			if ack.Conflicts > 0 {
				r.refused.add(conflict, ack.Conflicts, func() string { return ack.First })
			}
		}
	}
	if len(errs) > 0 {
		return Written{}, fmt.Errorf("%w: %w", ErrUnavailable, errors.Join(errs...))
	}
	r.noteStored()
	w := r.written
	if w.Refused = r.refused.total; w.Refused > 0 {
		w.Message = r.refused.message(r.sent)
	}
	r.d.metrics.took(w, &r.refused)
	r.sender.diary.took(r.now, w, r.trail.taken.fresh, &r.refused, &r.dropped)
	if r.refused.has(tenant.MaxNewSeriesPerSecond) {
		return w, fmt.Errorf("%w: %s", ErrUnavailable, w.Message)
	}
	return w, nil
}

var errAckTimeout = errors.New("too few owners have synced within distributor.ack_timeout")

package ingester

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/varve-io/varve/pkg/head"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/pkg/wal"
)

// copy is the stream as it is now. Nobody may be pushing.
func (s *stream) copy() *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &stream{id: s.id, term: s.term, round: s.round, next: s.next, refs: s.refs.copy(), eras: eras{all: slices.Clone(s.eras.all)}, labels: learned{all: slices.Clone(s.labels.all), texts: slices.Clone(s.labels.texts)}, tenants: maps.Clone(s.tenants)}
}

// refBytes is about what a number takes in a snapshot.
const refBytes = 3 + 1 + 3 + 8

// writeStream writes what the stream's numbers stand for, and the values that the log's next ones are relative to.
func writeStream(w *frameWriter, st *stream) error {
	p := binary.LittleEndian.AppendUint64(nil, st.id.Distributor)
	p = binary.AppendUvarint(p, uint64(st.id.Generation))
	p = binary.AppendUvarint(p, uint64(uint32(st.id.Partition)))
	p = binary.AppendUvarint(p, st.next.Sequence)
	p = binary.AppendUvarint(p, uint64(len(st.tenants)))
	for id, n := range st.tenants {
		p = appendString(p, id.String())
		p = binary.AppendUvarint(p, uint64(n))
	}
	p = slices.Grow(binary.AppendUvarint(p, uint64(st.refs.size)), st.refs.size*refBytes)
	for n := range st.refs.size {
		r := st.refs.find(series.Number(n))
		if r == nil || r.era == 0 || st.eras.all[r.era].round != st.round {
			continue
		}
		p = binary.AppendUvarint(p, uint64(n))
		p = binary.AppendUvarint(p, uint64(st.eras.all[r.era].tenant))
		p = binary.AppendUvarint(p, uint64(r.series))
		p = binary.LittleEndian.AppendUint64(p, r.last)
	}
	if err := w.write(frameStream, p, true); err != nil {
		return err
	}
	return writeLabels(w, st)
}

// writeLabels writes the stream's labels, as a record of one of its tenants.
func writeLabels(w *frameWriter, st *stream) error {
	var b series.Builder
	for id := range st.tenants {
		b.Reset(st.id, id)
		break
	}
	st.labels.each(st.round, b.Label)
	if b.Empty() {
		return nil
	}
	return w.write(frameRecord, b.AppendTo(nil), true)
}

// readStream is the reverse, for an epoch whose heads have the series of the snapshot.
func readStream(p []byte, e *epoch, of map[tenant.ID][]*head.Series) (*stream, error) {
	f := fields{p: p}
	st := &stream{id: series.StreamID{Distributor: f.uint64(), Generation: uint32(f.uvarint()), Partition: int32(uint32(f.uvarint()))}}
	st.begin(wal.Term{Epoch: e.number})
	st.next.Sequence = f.uvarint()
	st.tenants = map[tenant.ID]uint32{}
	all := make([][]*head.Series, f.count()) // by the tenant's number
	heads := make([]*head.Head, len(all))
	for range all {
		id, err := tenant.Parse(string(f.bytes()))
		n := f.uvarint()
		if err != nil || n >= uint64(len(all)) {
			return nil, fmt.Errorf("%w: stream's tenants", errSnapshot)
		}
		st.tenants[id], all[n], heads[n] = uint32(n), of[id], e.head(id)
	}
	size := f.uvarint()
	if size > maxNumber {
		return nil, fmt.Errorf("%w: a stream of %d numbers", errSnapshot, size)
	}
	st.refs.size = int(size)
	for len(f.p) > 0 {
		n, t, k, last := f.uvarint(), uint32(f.uvarint()), f.uvarint(), f.uint64()
		if f.bad || n >= size || int(t) >= len(all) || k >= uint64(len(all[t])) || all[t][k] == nil {
			return nil, fmt.Errorf("%w: stream", errSnapshot)
		}
		// An era begins with its first number: as long as it has none, another one may take its place.
		*st.refs.make(series.Number(n)) = ref{series: all[t][k].Ref(), era: st.era(t, heads[t]), last: last}
	}
	for at := range st.eras.all {
		if era := &st.eras.all[at]; era.head != nil {
			era.list = era.head.All()
		}
	}
	return st, f.err("stream")
}

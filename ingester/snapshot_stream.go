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
	return &stream{id: s.id, term: s.term, round: s.round, next: s.next, refs: s.refs.copy(), labels: learned{all: slices.Clone(s.labels.all)}, tenants: maps.Clone(s.tenants)}
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
		if r == nil || r.series == nil || r.round != st.round {
			continue
		}
		p = binary.AppendUvarint(p, uint64(n))
		p = binary.AppendUvarint(p, uint64(r.tenant))
		p = binary.AppendUvarint(p, uint64(r.series.Ref()))
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

// readStream is the reverse; the series are those of the snapshot.
func readStream(p []byte, term wal.Term, of map[tenant.ID][]*head.Series) (*stream, error) {
	f := fields{p: p}
	st := &stream{id: series.StreamID{Distributor: f.uint64(), Generation: uint32(f.uvarint()), Partition: int32(uint32(f.uvarint()))}}
	st.begin(term)
	st.next.Sequence = f.uvarint()
	tenants := map[uint32][]*head.Series{}
	st.tenants = map[tenant.ID]uint32{}
	for range f.count() {
		id, err := tenant.Parse(string(f.bytes()))
		if err != nil {
			return nil, fmt.Errorf("%w: stream: %w", errSnapshot, err)
		}
		n := uint32(f.uvarint())
		st.tenants[id], tenants[n] = n, of[id]
	}
	size := f.uvarint()
	if size > maxNumber {
		return nil, fmt.Errorf("%w: a stream of %d numbers", errSnapshot, size)
	}
	st.refs.size = int(size)
	for len(f.p) > 0 {
		n, t, k, last := f.uvarint(), uint32(f.uvarint()), f.uvarint(), f.uint64()
		if f.bad || n >= size || k >= uint64(len(tenants[t])) || tenants[t][k] == nil {
			return nil, fmt.Errorf("%w: stream", errSnapshot)
		}
		*st.refs.make(series.Number(n)) = ref{series: tenants[t][k], round: st.round, tenant: t, last: last}
	}
	return st, f.err("stream")
}

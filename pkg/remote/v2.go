package remote

import (
	"encoding/binary"
	"fmt"

	"github.com/prometheus/common/model"

	"github.com/varve-io/varve/pkg/series"
)

// maxSymbols bounds what a request's symbol table costs before its series are counted.
const maxSymbols = 1 << 18

// readSymbols finds the strings of a 2.0 request and hashes each once; a series' key is the hash of its labels'
// hashes, so that it doesn't depend on how this request numbers its symbols.
func (r *Request) readSymbols() error {
	w := fields{p: r.body}
	for w.next() {
		if !w.is(4, wireBytes) {
			continue
		}
		if len(r.symbols) == maxSymbols {
			return fmt.Errorf("%w: more than %d symbols", ErrMalformed, maxSymbols)
		}
		r.symbols = append(r.symbols, w.data)
		k := r.hasher.key(w.data)
		r.hashes = binary.LittleEndian.AppendUint64(r.hashes, k.Hi)
		r.hashes = binary.LittleEndian.AppendUint64(r.hashes, k.Lo)
	}
	if err := w.err("Request"); err != nil {
		return err
	}
	if len(r.symbols) > 0 && len(r.symbols[0]) != 0 {
		return fmt.Errorf("%w: the first symbol must be the empty string", ErrMalformed)
	}
	return nil
}

// readV2 reads an io.prometheus.write.v2.TimeSeries.
func (r *Request) readV2(p []byte) error {
	s := &r.Series
	s.Floats, s.Histograms, s.Exemplars = s.Floats[:0], s.Histograms[:0], 0
	r.rest, r.refs = p, r.refs[:0]
	w := fields{p: p}
	for w.next() {
		switch {
		case w.id == 1:
			r.refs = appendRefs(r.refs, &w)
		case w.is(2, wireBytes):
			if r.full() {
				return ErrTooMany
			}
			f, err := float(w.data)
			if err != nil {
				return err
			}
			s.Floats = append(s.Floats, f)
		case w.is(3, wireBytes):
			if r.full() {
				return ErrTooMany
			}
			h, err := nativeHistogram(w.data)
			if err != nil {
				return err
			}
			s.Histograms = append(s.Histograms, h)
		case w.is(4, wireBytes):
			s.Exemplars++
		}
	}
	if err := w.err("TimeSeries"); err != nil {
		return err
	}
	r.labels = r.refs
	return r.keyV2()
}

func (r *Request) keyV2() error {
	r.keys = r.keys[:0]
	for p := r.labels; len(p) > 0; p = p[4:] {
		ref := binary.LittleEndian.Uint32(p)
		if int64(ref) >= int64(len(r.symbols)) {
			return r.errRef(ref)
		}
		r.keys = append(r.keys, r.hashes[16*int(ref):16*int(ref)+16]...)
	}
	r.Series.Key = r.hasher.key(r.keys)
	return nil
}

func (r *Request) errRef(ref uint32) error {
	return fmt.Errorf("%w: label reference %d is outside the %d symbols", ErrMalformed, ref, len(r.symbols))
}

// appendRefs adds the references of the current field, packed or not, as fixed 32 bits. One beyond 32 bits becomes
// the greatest, which no table has.
func appendRefs(dst []byte, w *fields) []byte {
	if w.wire == wireVarint {
		return appendRef(dst, w.num)
	}
	in := fields{p: w.data}
	for len(in.p) > 0 {
		v, ok := in.varint()
		if !ok {
			w.fail()
			break
		}
		dst = appendRef(dst, v)
	}
	return dst
}

func appendRef(dst []byte, v uint64) []byte {
	return binary.LittleEndian.AppendUint32(dst, uint32(min(v, 1<<32-1)))
}

func (r *Request) labelsV2(refs []byte, add func(name, value []byte, n int) error) error {
	if len(refs)%8 != 0 {
		return fmt.Errorf("%w: an odd number of label references", ErrMalformed)
	}
	for n := 1; len(refs) > 0; n++ {
		name, value := binary.LittleEndian.Uint32(refs), binary.LittleEndian.Uint32(refs[4:])
		refs = refs[8:]
		if m := max(name, value); int64(m) >= int64(len(r.symbols)) {
			return r.errRef(m)
		}
		if err := add(r.symbols[name], r.symbols[value], n); err != nil {
			return err
		}
	}
	return nil
}

// SeriesMetadata is what a 2.0 request says of the current series' metric family; ok is false where it says
// nothing. The family's name is the caller's to fill in.
func (r *Request) SeriesMetadata() (m series.Metadata, ok bool, err error) {
	if r.protocol != WriteV2 {
		return m, false, nil
	}
	for w := (fields{p: r.rest}); w.next(); {
		if w.is(5, wireBytes) {
			m, err = r.metadata(w.data)
		}
	}
	return m, m.Type != "" && (m.Type != model.MetricTypeUnknown || m.Help != "" || m.Unit != ""), err
}

func (r *Request) metadata(p []byte) (m series.Metadata, err error) {
	m.Type = model.MetricTypeUnknown
	symbol := func(ref uint64) string {
		if ref >= uint64(len(r.symbols)) {
			err = r.errRef(uint32(min(ref, 1<<32-1)))
			return ""
		}
		return string(r.symbols[ref])
	}
	w := fields{p: p}
	for w.next() {
		switch {
		case w.is(1, wireVarint):
			m.Type = metricType(w.num)
		case w.is(3, wireVarint):
			m.Help = symbol(w.num)
		case w.is(4, wireVarint):
			m.Unit = symbol(w.num)
		}
	}
	if err == nil {
		err = w.err("Metadata")
	}
	return m, err
}

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
		r.symbols = append(r.symbols, w.data())
		r.hi = append(r.hi, r.hasher.half(w.data()))
	}
	if err := w.err("Request"); err != nil {
		return err
	}
	if len(r.symbols) > 0 && len(r.symbols[0]) != 0 {
		return fmt.Errorf("%w: the first symbol must be the empty string", ErrMalformed)
	}
	return nil
}

// readV2 reads an io.prometheus.write.v2.TimeSeries. As in readV1, 64 bits suffice to tell a guessed series.
func (r *Request) readV2(p []byte, g Guess) error {
	if err := r.samplesV2(p); err != nil {
		return err
	}
	s := &r.Series
	refs := r.spelled()
	hi, err := r.fold(refs, r.hi)
	if err != nil {
		return err
	}
	s.Front = 0
	s.Guessed = hi == g.Hi
	s.Key = Key{Hi: hi}
	if !s.Guessed {
		s.Key.Lo, err = r.fold(refs, r.lows())
	}
	return err
}

// plainV2 reads a series as nearly all are: references, one sample, and metadata that isn't long.
func (r *Request) plainV2(p []byte) bool {
	refs, p, ok := plainField(p, labelField)
	if !ok {
		return false
	}
	sample, p, ok := plainField(p, 2<<3|wireBytes)
	if !ok {
		return false
	}
	if _, p, ok = plainField(p, 5<<3|wireBytes); !ok || len(p) > 0 {
		return false
	}
	f, ok := plainFloat(sample)
	if ok {
		from := r.message.from + 2
		r.labels = span{from, from + len(refs)}
		r.Series.Floats = append(r.Series.Floats, f)
	}
	return ok
}

// plainField is the data of a field with this tag, less than 128 bytes, and what follows it.
func plainField(p []byte, tag byte) (data, rest []byte, ok bool) {
	if len(p) < 2 || p[0] != tag || p[1] >= 0x80 || int(p[1]) > len(p)-2 {
		return nil, p, false
	}
	n := 2 + int(p[1])
	return p[2:n], p[n:], true
}

// samplesV2 reads the samples, and finds the references.
func (r *Request) samplesV2(p []byte) (err error) {
	if r.plainV2(p) {
		return nil
	}
	r.labels, r.refs = span{}, r.refs[:0]
	w := fields{p: p}
	for w.next() {
		switch {
		case w.is(1, wireBytes) && r.labels == span{} && !r.gathered: // all of them, in all senders' encoding
			r.labels = span{r.message.from + w.in.from, r.message.from + w.in.to}
		case w.id == 1:
			if !r.gathered {
				r.refs = append(r.refs, r.spelled()...)
			}
			r.refs, r.gathered = appendRefs(r.refs, &w), true
		case w.is(2, wireBytes):
			err = r.addFloat(w.data())
		case w.is(3, wireBytes):
			err = r.addHistogram(w.data())
		case w.is(4, wireBytes):
			r.Series.Exemplars++
		}
		if err != nil {
			return err
		}
	}
	return w.err("TimeSeries")
}

// lows is the second half of the symbols' hashes.
func (r *Request) lows() []uint64 {
	for n := len(r.lo); n < len(r.symbols); n++ {
		r.lo = append(r.lo, r.hasher.otherHalf(r.symbols[n]))
	}
	return r.lo
}

// fold makes one hash of those of the symbols that are referred to: the sum of what each is mixed with its place to. So no
// multiplication waits for the one before. The symbols' hashes and what they are mixed with are secret.
func (r *Request) fold(refs []byte, hashes []uint64) (uint64, error) {
	sum, place, step, factor := uint64(0), r.hasher.secret[0], r.hasher.secret[1], r.hasher.secret[2]
	for i := 0; i < len(refs); {
		ref := uint64(refs[i])
		i++
		if ref >= 0x80 {
			if i < len(refs) && refs[i] < 0x80 {
				ref = ref&0x7f | uint64(refs[i])<<7
				i++
			} else {
				v, n := binary.Uvarint(refs[i-1:])
				if n <= 0 {
					return 0, errRefs
				}
				ref, i = v, i-1+n
			}
		}
		if ref >= uint64(len(hashes)) {
			return 0, r.errRef(ref)
		}
		place += step
		sum += multiply(hashes[ref]^place, factor)
	}
	return max(sum, 1), nil
}

var errRefs = fmt.Errorf("%w: label references are cut off", ErrMalformed)

func (r *Request) errRef(ref uint64) error {
	return fmt.Errorf("%w: label reference %d is outside the %d symbols", ErrMalformed, ref, len(r.symbols))
}

// appendRefs adds the references of the current field, packed or not, as varints.
func appendRefs(dst []byte, w *fields) []byte {
	if w.wire == wireBytes {
		return append(dst, w.data()...)
	}
	return binary.AppendUvarint(dst, w.num)
}

func (r *Request) labelsV2(refs []byte, to *labelList) error {
	for at := 0; at < len(refs); {
		name, n, err := r.symbol(refs[at:])
		if err != nil {
			return err
		}
		if at += n; at == len(refs) {
			return fmt.Errorf("%w: an odd number of label references", ErrMalformed)
		}
		value, n, err := r.symbol(refs[at:])
		if err != nil {
			return err
		}
		at += n
		if err := to.add(name, value); err != nil {
			return err
		}
	}
	return nil
}

// symbol is the symbol that the first of the references is of, and the reference's length.
func (r *Request) symbol(refs []byte) ([]byte, int, error) {
	ref, n := binary.Uvarint(refs)
	if n <= 0 {
		return nil, 0, errRefs
	}
	if ref >= uint64(len(r.symbols)) {
		return nil, 0, r.errRef(ref)
	}
	return r.symbols[ref], n, nil
}

// SeriesMetadata is what a 2.0 request says of the current series' metric family; ok is false where it says
// nothing. The family's name is the caller's to fill in.
func (r *Request) SeriesMetadata() (m series.Metadata, ok bool, err error) {
	if r.protocol != WriteV2 {
		return m, false, nil
	}
	for w := (fields{p: r.rest()}); w.next(); {
		if w.is(5, wireBytes) {
			m, err = r.metadata(w.data())
		}
	}
	return m, m.Type != "" && (m.Type != model.MetricTypeUnknown || m.Help != "" || m.Unit != ""), err
}

func (r *Request) metadata(p []byte) (m series.Metadata, err error) {
	m.Type = model.MetricTypeUnknown
	symbol := func(ref uint64) string {
		if ref >= uint64(len(r.symbols)) {
			err = r.errRef(ref)
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

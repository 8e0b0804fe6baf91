package remote

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/prompb"

	"github.com/varve-io/varve/pkg/series"
)

const labelField = 1<<3 | wireBytes

// readV1 reads a prometheus.TimeSeries. The bytes of its label fields, which stand together at the front in every
// sender's encoding, are the key; where they don't, they are gathered first.
//
// Bytes at the front that have the length and the hash of a guessed series' label fields are these fields, and needn't
// be walked over. 64 bits suffice for that: a series is compared with one other, not with all in the table, so that it is
// taken for another one with a chance of 2^-64, and a sender that doesn't know the secret can't better that; nor would
// it harm anybody's series but its own. Whatever follows the front is walked over in any case, so that a label field there is found.
func (r *Request) readV1(p []byte, g Guess) error {
	s := &r.Series
	front := int(g.Front)
	if front > 0 && front < len(p) && p[front] != labelField && r.hasher.half(p[:front]) == g.Hi {
		s.Guessed = true
	} else {
		front = frontV1(p)
	}
	scattered, err := r.samplesV1(p[front:])
	if err != nil {
		return err
	}
	r.labels = span{r.message.from, r.message.from + front}
	if scattered {
		r.gatherLabels(p)
		s.Guessed = false
	}
	spelled := r.spelled()
	s.Front = uint32(len(spelled))
	if s.Guessed {
		s.Key = Key{Hi: g.Hi}
	} else {
		s.Key = r.hasher.key(spelled)
	}
	return nil
}

// frontV1 is how many bytes the label fields at the front have. Where something is wrong it ends.
func frontV1(p []byte) int {
	n := 0
	for n+1 < len(p) && p[n] == labelField {
		size, width := uint64(p[n+1]), 1
		if size >= 0x80 {
			if size, width = binary.Uvarint(p[n+1:]); width <= 0 {
				return n
			}
		}
		at := n + 1 + width
		if size > uint64(len(p)-at) {
			return n
		}
		n = at + int(size)
	}
	return n
}

// samplesV1 reads what follows the label fields, and tells whether more of them do.
func (r *Request) samplesV1(p []byte) (scattered bool, err error) {
	s := &r.Series
	if len(p) > 2 && p[0] == 2<<3|wireBytes && int(p[1]) == len(p)-2 { // one sample and no more, as nearly always
		if f, ok := plainFloat(p[2:]); ok {
			s.Floats = append(s.Floats, f)
			return false, nil
		}
	}
	w := fields{p: p}
	for w.next() {
		switch {
		case w.is(1, wireBytes):
			scattered = true
		case w.is(2, wireBytes):
			err = r.addFloat(w.data())
		case w.is(3, wireBytes):
			s.Exemplars++
		case w.is(4, wireBytes):
			err = r.addHistogram(w.data())
		}
		if err != nil {
			return false, err
		}
	}
	return scattered, w.err("TimeSeries")
}

func (r *Request) addFloat(p []byte) error {
	if r.full() {
		return ErrTooMany
	}
	f, ok := plainFloat(p)
	if !ok {
		var err error
		if f, err = float(p); err != nil {
			return err
		}
	}
	r.Series.Floats = append(r.Series.Floats, f)
	return nil
}

func (r *Request) addHistogram(p []byte) error {
	if r.full() {
		return ErrTooMany
	}
	h, err := nativeHistogram(p)
	if err != nil {
		return err
	}
	r.Series.Histograms = append(r.Series.Histograms, h)
	return nil
}

func (r *Request) gatherLabels(p []byte) {
	r.refs, r.gathered = r.refs[:0], true
	for w := (fields{p: p}); w.next(); {
		if w.is(1, wireBytes) {
			r.refs = appendField(r.refs, w.data())
		}
	}
}

// plainFloat reads a Sample of either protocol as all senders encode it: the value in 64 bits, unless it is 0, then the
// time, in up to 9 bytes. Others are for float.
func plainFloat(p []byte) (f Float, ok bool) {
	if len(p) > 9 && p[0] == 1<<3|wireFixed64 {
		f.Value = math.Float64frombits(binary.LittleEndian.Uint64(p[1:]))
		p = p[9:]
	}
	if len(p) < 2 || len(p) > 10 || p[0] != 2<<3|wireVarint {
		return f, false
	}
	t, shift := uint64(0), 0
	for _, b := range p[1:] {
		t |= uint64(b&0x7f) << shift
		shift += 7
		if b < 0x80 {
			f.Time = int64(t)
			return f, shift == 7*(len(p)-1)
		}
	}
	return f, false
}

// float reads a Sample of either protocol.
func float(p []byte) (Float, error) {
	var f Float
	w := fields{p: p}
	for w.next() {
		switch {
		case w.is(1, wireFixed64):
			f.Value = w.float()
		case w.is(2, wireVarint):
			f.Time = int64(w.num)
		}
	}
	return f, w.err("Sample")
}

// nativeHistogram reads a Histogram, whose fields both protocols number alike.
func nativeHistogram(p []byte) (Histogram, error) {
	var m prompb.Histogram
	if err := m.Unmarshal(p); err != nil {
		return Histogram{}, fmt.Errorf("%w: protobuf message Histogram: %w", ErrMalformed, err)
	}
	if m.IsFloatHistogram() {
		return Histogram{Time: m.Timestamp, FH: m.ToFloatHistogram()}, nil
	}
	return Histogram{Time: m.Timestamp, H: m.ToIntHistogram()}, nil
}

func labelsV1(p []byte, to *labelList) error {
	w := fields{p: p}
	for w.next() {
		name, value, ok := plainLabel(w.data())
		if !ok {
			var err error
			if name, value, err = label(w.data()); err != nil {
				return err
			}
		}
		if err := to.add(name, value); err != nil {
			return err
		}
	}
	return w.err("TimeSeries")
}

// plainLabel reads a Label as all senders encode it, if it is short. Others are for label.
func plainLabel(p []byte) (name, value []byte, ok bool) {
	if name, p, ok = plainField(p, 1<<3|wireBytes); !ok {
		return nil, nil, false
	}
	value, p, ok = plainField(p, 2<<3|wireBytes)
	return name, value, ok && len(p) == 0
}

// label reads a Label.
func label(p []byte) (name, value []byte, err error) {
	w := fields{p: p}
	for w.next() {
		switch {
		case w.is(1, wireBytes):
			name = w.data()
		case w.is(2, wireBytes):
			value = w.data()
		}
	}
	return name, value, w.err("Label")
}

var metricTypes = [...]model.MetricType{
	model.MetricTypeUnknown, model.MetricTypeCounter, model.MetricTypeGauge, model.MetricTypeHistogram,
	model.MetricTypeGaugeHistogram, model.MetricTypeSummary, model.MetricTypeInfo, model.MetricTypeStateset,
}

func metricType(n uint64) model.MetricType {
	if n < uint64(len(metricTypes)) {
		return metricTypes[n]
	}
	return model.MetricTypeUnknown
}

// Metadata calls f for each metric family that a 1.0 request describes, which is f's to keep. It knows of those that
// Next has come past: call it after the last series.
func (r *Request) Metadata(f func(series.Metadata)) error {
	for _, p := range r.families {
		m := series.Metadata{}
		m.Type = model.MetricTypeUnknown
		w := fields{p: p}
		for w.next() {
			switch {
			case w.is(1, wireVarint):
				m.Type = metricType(w.num)
			case w.is(2, wireBytes):
				m.Family = string(w.data())
			case w.is(4, wireBytes):
				m.Help = string(w.data())
			case w.is(5, wireBytes):
				m.Unit = string(w.data())
			}
		}
		if err := w.err("MetricMetadata"); err != nil {
			return err
		}
		f(m)
	}
	return nil
}

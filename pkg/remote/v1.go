package remote

import (
	"fmt"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/prompb"

	"github.com/varve-io/varve/pkg/series"
)

// readV1 reads a prometheus.TimeSeries. The bytes of its label fields, which stand together at the front in every
// sender's encoding, are the key; where they don't, they are gathered first.
func (r *Request) readV1(p []byte) error {
	s := &r.Series
	s.Floats, s.Histograms, s.Exemplars = s.Floats[:0], s.Histograms[:0], 0
	r.rest = p
	front, start, scattered := 0, 0, false
	w := fields{p: p}
	for w.next() {
		end := len(p) - len(w.p)
		switch {
		case w.is(1, wireBytes):
			if start == front {
				front = end
			} else {
				scattered = true
			}
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
			s.Exemplars++
		case w.is(4, wireBytes):
			if r.full() {
				return ErrTooMany
			}
			h, err := nativeHistogram(w.data)
			if err != nil {
				return err
			}
			s.Histograms = append(s.Histograms, h)
		}
		start = end
	}
	r.labels = p[:front]
	if scattered {
		r.labels = r.gatherLabels(p)
	}
	s.Key = r.hasher.key(r.labels)
	return w.err("TimeSeries")
}

func (r *Request) gatherLabels(p []byte) []byte {
	r.refs = r.refs[:0]
	for w := (fields{p: p}); w.next(); {
		if w.is(1, wireBytes) {
			r.refs = appendField(r.refs, w.data)
		}
	}
	return r.refs
}

// float reads a Sample of either protocol.
func float(p []byte) (Float, error) {
	// Value (fixed 64 bits), then the time: this is how all senders encode a sample.
	if len(p) > 10 && p[0] == 1<<3|wireFixed64 && p[9] == 2<<3|wireVarint {
		w := fields{p: p[1:]}
		w.fixed(8)
		f := Float{Value: w.float()}
		w.p = w.p[1:]
		if t, ok := w.varint(); ok && len(w.p) == 0 {
			f.Time = int64(t)
			return f, nil
		}
	}
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

func labelsV1(p []byte, add func(name, value []byte, n int) error) error {
	w := fields{p: p}
	for n := 1; w.next(); n++ {
		var name, value []byte
		l := fields{p: w.data}
		for l.next() {
			switch {
			case l.is(1, wireBytes):
				name = l.data
			case l.is(2, wireBytes):
				value = l.data
			}
		}
		if err := l.err("Label"); err != nil {
			return err
		}
		if err := add(name, value, n); err != nil {
			return err
		}
	}
	return w.err("TimeSeries")
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
				m.Family = string(w.data)
			case w.is(4, wireBytes):
				m.Help = string(w.data)
			case w.is(5, wireBytes):
				m.Unit = string(w.data)
			}
		}
		if err := w.err("MetricMetadata"); err != nil {
			return err
		}
		f(m)
	}
	return nil
}

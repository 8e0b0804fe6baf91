package remote

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/influxdata/line-protocol/v2/lineprotocol"
	"github.com/prometheus/prometheus/model/labels"
)

// invalidLine is the reason for which a line is refused.
const invalidLine = "invalid_line"

// Precision is the unit of a request's times: what the URL's parameter precision says, of InfluxDB 1 or 2. Errors wrap
// ErrMalformed.
func Precision(s string) (time.Duration, error) {
	switch s {
	case "", "ns", "n":
		return time.Nanosecond, nil
	case "us", "u", "µ", "µs":
		return time.Microsecond, nil
	case "ms":
		return time.Millisecond, nil
	case "s":
		return time.Second, nil
	case "m":
		return time.Minute, nil
	case "h":
		return time.Hour, nil
	}
	return 0, fmt.Errorf("%w: precision %q, want ns, us, ms, s, m or h", ErrMalformed, s)
}

// Influx translates lines of InfluxDB's line protocol. A field becomes a series whose name is the measurement's and the
// field's, joined by "_"; of a field named "value" it is the measurement's alone. Tags become labels. What a name of
// PromQL can't have becomes "_". Truth values become 0 and 1; strings are counted in Skipped. A malformed line is left
// out and counted in Refused. Errors wrap ErrTooLarge or ErrTooMany, or are Bounds.Hold's. Format:
// https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol.
func (t *Translation) Influx(body []byte, precision time.Duration) error {
	l := line{t: t, decoder: lineprotocol.NewDecoderWithBytes(body), precision: precision, names: map[string]string{}}
	for l.decoder.Next() {
		if err := l.read(); err != nil {
			t.refuse(invalidLine, 1, func() string { return shortened(strings.TrimPrefix(err.Error(), "at ")) })
			if t.samples++; t.samples > t.bounds.Samples {
				return ErrTooMany
			}
			continue
		}
		if err := l.write(); err != nil {
			return err
		}
	}
	return nil
}

// line is one line of Influx: read as a whole before any of it is written.
type line struct {
	t           *Translation
	decoder     *lineprotocol.Decoder
	precision   time.Duration
	names       map[string]string // as they are, to as they may be
	measurement string
	tags        []labels.Label
	fields      []field
	skipped     int
	time        int64
}

type field struct {
	name  string
	value float64
}

func (l *line) read() error {
	measurement, err := l.decoder.Measurement()
	if err != nil {
		return err
	}
	l.measurement, l.tags, l.fields, l.skipped = l.name(measurement), l.tags[:0], l.fields[:0], 0
	for {
		key, value, err := l.decoder.NextTag()
		if err != nil {
			return err
		}
		if key == nil {
			break
		}
		l.tags = append(l.tags, labels.Label{Name: strings.ReplaceAll(l.name(key), ":", "_"), Value: string(value)})
	}
	for {
		key, value, err := l.decoder.NextField()
		if err != nil {
			return err
		}
		if key == nil {
			break
		}
		l.field(key, value)
	}
	return l.readTime()
}

func (l *line) field(key []byte, value lineprotocol.Value) {
	f := field{name: l.measurement}
	if string(key) != "value" {
		f.name += "_" + l.name(key)
	}
	switch value.Kind() {
	case lineprotocol.Float:
		f.value = value.FloatV()
	case lineprotocol.Int:
		f.value = float64(value.IntV())
	case lineprotocol.Uint:
		f.value = float64(value.UintV())
	case lineprotocol.Bool:
		if value.BoolV() {
			f.value = 1
		}
	default:
		l.skipped++
		return
	}
	l.fields = append(l.fields, f)
}

// readTime reads the line's time, in Unix milliseconds; a line without one is of now.
func (l *line) readTime() error {
	data, err := l.decoder.TimeBytes()
	if err != nil {
		return err
	}
	if data == nil {
		l.time = l.t.now
		return nil
	}
	n, err := strconv.ParseInt(string(data), 10, 64)
	if err != nil {
		return fmt.Errorf("time %q: %w", data, errors.Unwrap(err))
	}
	if l.precision < time.Millisecond {
		per := int64(time.Millisecond / l.precision)
		if l.time = n / per; n%per < 0 {
			l.time--
		}
		return nil
	}
	per := int64(l.precision / time.Millisecond)
	if l.time = n * per; l.time/per != n {
		return fmt.Errorf("time %q is out of range", data)
	}
	return nil
}

func (l *line) write() error {
	l.t.Skipped += l.skipped
	for _, f := range l.fields {
		b := &l.t.scratch
		b.Reset()
		b.Add(labels.MetricName, f.name)
		for _, tag := range l.tags {
			b.Add(tag.Name, tag.Value)
		}
		b.Sort()
		if err := l.t.add(b.Labels(), &sample{time: l.time, value: f.value}); err != nil {
			return err
		}
	}
	return nil
}

// maxNames bounds what is remembered of names.
const maxNames = 10_000

// name is a measurement's, tag's or field's name as it may stand in PromQL without quotes.
func (l *line) name(raw []byte) string {
	if name, ok := l.names[string(raw)]; ok {
		return name
	}
	name := strings.Map(func(r rune) rune {
		if alphanumeric(r) || r == ':' {
			return r
		}
		return '_'
	}, string(raw))
	if name != "" && name[0] >= '0' && name[0] <= '9' {
		name = "_" + name
	}
	if len(l.names) < maxNames {
		l.names[string(raw)] = name
	}
	return name
}

package remote

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/textparse"
)

// endOfText is the last line of OpenMetrics.
const endOfText = "# EOF"

// Text translates Prometheus' text format, or OpenMetrics if the text ends with "# EOF". Samples without a time are
// of now. A malformed line is left out and counted in Refused. Errors wrap ErrTooLarge or ErrTooMany, or are
// Bounds.Hold's. Formats: https://prometheus.io/docs/instrumenting/exposition_formats and
// https://prometheus.io/docs/specs/om/open_metrics_spec.
func (t *Translation) Text(body []byte) error {
	r := textReader{t: t, openMetrics: IsOpenMetrics(body)}
	err := r.read(body)
	if bad := (*lineError)(nil); !errors.As(err, &bad) {
		return err
	}
	// Somewhere it is malformed. The parser doesn't say where, nor does it go on: each line by itself, then.
	t.Reset(t.bounds, t.now, t.base)
	r = textReader{t: t, openMetrics: r.openMetrics}
	return r.lines(body)
}

// IsOpenMetrics tells whether a text is OpenMetrics, and whole.
func IsOpenMetrics(body []byte) bool {
	return bytes.HasSuffix(bytes.TrimRight(body, "\r\n"), []byte(endOfText))
}

// textReader reads text, whole or by line.
type textReader struct {
	t           *Translation
	openMetrics bool
	family      string // that comments described last
	meta        metadata.Metadata
}

// lineError is what the parser said of text that is malformed.
type lineError struct{ error }

func (r *textReader) read(text []byte) error {
	var p textparse.Parser
	if st := labels.NewSymbolTable(); r.openMetrics {
		p = textparse.NewOpenMetricsParser(text, st)
	} else {
		p = textparse.NewPromParser(text, st, false)
	}
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return &lineError{err}
		}
		switch entry {
		case textparse.EntrySeries:
			if err := r.sample(p); err != nil {
				return err
			}
		case textparse.EntryType:
			name, kind := p.Type()
			r.describe(name).Type = kind
		case textparse.EntryHelp:
			name, text := p.Help()
			r.describe(name).Help = string(text)
		case textparse.EntryUnit:
			name, unit := p.Unit()
			r.describe(name).Unit = string(unit)
		}
	}
}

// describe is what is known of a family, to be added to.
func (r *textReader) describe(name []byte) *metadata.Metadata {
	if r.family != string(name) {
		r.family, r.meta = string(name), metadata.Metadata{Type: model.MetricTypeUnknown}
	}
	return &r.meta
}

func (r *textReader) sample(p textparse.Parser) error {
	var ls labels.Labels
	p.Labels(&ls)
	_, at, v := p.Series()
	s := sample{time: r.t.now, value: v}
	if at != nil {
		s.time = *at
	}
	if r.describes(ls.Get(labels.MetricName)) {
		s.meta = r.meta
	}
	for e := (exemplar.Exemplar{}); p.Exemplar(&e); e = (exemplar.Exemplar{}) {
		s.exemplars = append(s.exemplars, e)
	}
	return r.t.add(ls, &s)
}

// describes tells whether a series is of the family that was described last.
func (r *textReader) describes(name string) bool {
	suffix, ok := strings.CutPrefix(name, r.family)
	if !ok || r.family == "" {
		return false
	}
	switch suffix {
	case "", "_bucket", "_sum", "_count", "_total", "_created", "_info", "_gsum", "_gcount":
		return true
	}
	return false
}

// lines reads each line by itself, and refuses those that are malformed.
func (r *textReader) lines(body []byte) error {
	var kind, alone []byte // the last line that says a type, since it says how labels are to be read; a text of one line
	for n := 1; len(body) > 0; n++ {
		var line []byte
		line, body, _ = bytes.Cut(body, []byte("\n"))
		line = bytes.TrimRight(line, " \t\r")
		comment := bytes.HasPrefix(line, []byte("#"))
		isType := bytes.HasPrefix(line, []byte("# TYPE "))
		if len(line) == 0 || comment && !isType && !bytes.HasPrefix(line, []byte("# HELP ")) && !bytes.HasPrefix(line, []byte("# UNIT ")) {
			continue
		}
		alone = alone[:0]
		if !comment && len(kind) > 0 {
			alone = append(append(alone, kind...), '\n')
		}
		alone = append(append(alone, line...), '\n')
		if r.openMetrics {
			alone = append(alone, endOfText...)
		}
		err := r.read(alone)
		if bad := (*lineError)(nil); errors.As(err, &bad) {
			r.t.refuse(invalidLine, 1, func() string { return fmt.Sprintf("line %d: %s", n, shortened(err.Error())) })
			if r.t.samples++; r.t.samples > r.t.bounds.Samples {
				return ErrTooMany
			}
		} else if err != nil {
			return err
		} else if isType {
			kind = append(kind[:0], line...)
		}
	}
	return nil
}

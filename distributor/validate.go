package distributor

import (
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"github.com/varve-io/varve/pkg/remote"
	"github.com/varve-io/varve/pkg/tenant"
)

// violation is why something is refused.
type violation struct {
	why  reason
	text string
}

func over(l tenant.LimitName, most any, format string, args ...any) *violation {
	return &violation{limitReason(l), (&tenant.LimitError{Limit: l, Max: most, Subject: fmt.Sprintf(format, args...)}).Error()}
}

func invalid(format string, args ...any) *violation {
	return &violation{invalidLabels, fmt.Sprintf(format, args...)}
}

// checkLabels is nil for the labels of a series that may be stored. They are sorted. What is known to be ASCII
// is valid UTF-8.
func checkLabels(ls []labels.Label, ascii bool, lim *tenant.Limits) *violation {
	if metricName(ls) == "" {
		return invalid("series %s has no metric name (__name__)", inWords(ls))
	}
	if n := len(ls); n > lim.MaxLabelsPerSeries {
		return over(tenant.MaxLabelsPerSeries, lim.MaxLabelsPerSeries, "series %s has %d labels", inWords(ls), n)
	}
	size, last := 0, ""
	for _, l := range ls {
		size += len(l.Name) + len(l.Value)
		if v := checkLabel(l, last, lim); v != nil {
			return v
		}
		if !ascii {
			if v := checkUTF8(l); v != nil {
				return v
			}
		}
		last = l.Name
	}
	if int64(size) > int64(lim.MaxLabelsSize) {
		return over(tenant.MaxLabelsSize, lim.MaxLabelsSize, "labels of series %s have %d bytes", inWords(ls), size)
	}
	return nil
}

// metricName is the value of __name__; empty if there is none.
func metricName(ls []labels.Label) string {
	for _, l := range ls {
		if l.Name == labels.MetricName {
			return l.Value
		}
	}
	return ""
}

func checkLabel(l labels.Label, last string, lim *tenant.Limits) *violation {
	switch {
	case l.Name == last:
		return invalid("label %q stands twice", shortened(l.Name))
	case len(l.Name) > lim.MaxLabelNameLength:
		return over(tenant.MaxLabelNameLength, lim.MaxLabelNameLength, "label name %q has %d bytes", shortened(l.Name), len(l.Name))
	case len(l.Value) > lim.MaxLabelValueLength:
		return over(tenant.MaxLabelValueLength, lim.MaxLabelValueLength, "value of label %q has %d bytes", l.Name, len(l.Value))
	}
	return nil
}

func checkUTF8(l labels.Label) *violation {
	switch {
	case !model.UTF8Validation.IsValidLabelName(l.Name):
		return invalid("label name %q is not valid UTF-8", shortened(l.Name))
	case !utf8.ValidString(l.Value):
		return invalid("value %q of label %q is not valid UTF-8", shortened(l.Value), l.Name)
	}
	return nil
}

// shortened keeps an error readable whatever a sender put into it.
func shortened(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}

// window is the span of times that samples may have.
type window struct {
	oldest, newest int64
	lim            *tenant.Limits
}

func newWindow(now time.Time, lim *tenant.Limits) window {
	ms := now.UnixMilli()
	return window{oldest: ms - time.Duration(lim.PastWindow).Milliseconds(), newest: ms + time.Duration(lim.FutureWindow).Milliseconds(), lim: lim}
}

func (w *window) check(t int64) *violation {
	switch {
	case t < w.oldest:
		return over(tenant.PastWindow, w.lim.PastWindow, "time %s is before %s", stamp(t), stamp(w.oldest))
	case t > w.newest:
		return over(tenant.FutureWindow, w.lim.FutureWindow, "time %s is after %s", stamp(t), stamp(w.newest))
	}
	return nil
}

// stamp writes a time as people and machines both read it.
func stamp(t int64) string {
	if t > math.MaxInt32*1000 || t < -math.MaxInt32*1000 {
		return fmt.Sprintf("%d ms", t)
	}
	return model.Time(t).Time().UTC().Format("2006-01-02T15:04:05.000Z")
}

// checkHistogram is nil for a histogram that a chunk can hold.
func checkHistogram(h *remote.Histogram, lim *tenant.Limits) *violation {
	buckets, spans, bounds, err := 0, 0, 0, error(nil)
	if h.H != nil {
		buckets, spans, bounds = len(h.H.PositiveBuckets)+len(h.H.NegativeBuckets), len(h.H.PositiveSpans)+len(h.H.NegativeSpans), len(h.H.CustomValues)
	} else {
		buckets, spans, bounds = len(h.FH.PositiveBuckets)+len(h.FH.NegativeBuckets), len(h.FH.PositiveSpans)+len(h.FH.NegativeSpans), len(h.FH.CustomValues)
	}
	buckets = max(buckets, spans, bounds) // empty spans and unused bounds take space, too
	if buckets > lim.MaxHistogramBuckets {
		return over(tenant.MaxHistogramBuckets, lim.MaxHistogramBuckets, "histogram has %d buckets", buckets)
	}
	switch {
	case h.H != nil && !value.IsStaleNaN(h.H.Sum):
		err = h.H.Validate()
	case h.FH != nil && !value.IsStaleNaN(h.FH.Sum):
		err = h.FH.Validate()
	}
	if err != nil {
		return &violation{invalidHistogram, err.Error()}
	}
	return nil
}

// exemplarValid tells whether an exemplar's labels are within what OpenMetrics allows (128 characters in all).
func exemplarValid(e *exemplar.Exemplar) bool {
	runes, ok := 0, true
	e.Labels.Range(func(l labels.Label) {
		runes += utf8.RuneCountInString(l.Name) + utf8.RuneCountInString(l.Value)
		ok = ok && utf8.ValidString(l.Name) && utf8.ValidString(l.Value)
	})
	return ok && runes <= exemplar.ExemplarMaxLabelSetLength
}

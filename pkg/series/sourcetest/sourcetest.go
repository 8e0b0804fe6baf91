// Package sourcetest owns the acceptance suite of series.Source: what the rest of Varve relies on, whichever place the
// series are in.
//
// It promises nothing about speed, and asks for no more than series.Source says: a source may answer with a series
// whose chunks reach into the range although none of its samples is in it, and with the label names of such series.
package sourcetest

import (
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// Tenant is whose series the suite asks for.
var Tenant = tenant.Anonymous

// Series is a series and its samples, in the order in which they come: not always in that of time. No time is there
// twice.
type Series struct {
	Labels  labels.Labels
	Samples []Sample
}

// Sample is a chunks.Sample without a start timestamp.
type Sample struct {
	t  int64
	v  float64
	h  *histogram.Histogram
	fh *histogram.FloatHistogram

	text string // String, where it is needed often
}

var _ chunks.Sample = Sample{}

// T implements chunks.Sample.
func (s Sample) T() int64 { return s.t }

// ST implements chunks.Sample.
func (Sample) ST() int64 { return 0 }

// F implements chunks.Sample.
func (s Sample) F() float64 { return s.v }

// H implements chunks.Sample. The histogram may be changed.
func (s Sample) H() *histogram.Histogram { return s.h.Copy() }

// FH implements chunks.Sample. The histogram may be changed.
func (s Sample) FH() *histogram.FloatHistogram { return s.fh.Copy() }

// Copy implements chunks.Sample.
func (s Sample) Copy() chunks.Sample { return s }

// Type implements chunks.Sample.
func (s Sample) Type() chunkenc.ValueType {
	switch {
	case s.h != nil:
		return chunkenc.ValHistogram
	case s.fh != nil:
		return chunkenc.ValFloatHistogram
	}
	return chunkenc.ValFloat
}

// Run checks the sources that make gives. Each must hold exactly the series it is told to, as those of Tenant, until
// the test ends.
func Run(t *testing.T, make func(t *testing.T, all []Series) series.Source) {
	t.Run("empty", func(t *testing.T) { testEmpty(t, make(t, nil)) })
	t.Run("labels", func(t *testing.T) {
		all := labelled()
		c := newChecker(make(t, all), all)
		t.Run("matchers", c.testMatchers)
		t.Run("limits", c.testLimits)
		t.Run("ranges", c.testRanges)
		t.Run("names", c.testNames)
	})
	t.Run("samples", func(t *testing.T) {
		all := sampled()
		c := newChecker(make(t, all), all)
		t.Run("all", c.testAll)
		t.Run("ranges", c.testSampleRanges)
		t.Run("kept", c.testKept)
		t.Run("closed early", c.testClosedEarly)
		t.Run("cancelled", c.testCancelled)
		t.Run("concurrent", c.testConcurrent)
	})
}

// checker compares what a source answers with what it must hold.
type checker struct {
	source series.Source
	all    []Series // with their samples in the order of time
}

package head_test

import (
	"testing"

	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/varve-io/varve/pkg/head"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/series/sourcetest"
)

func TestSource(t *testing.T) {
	t.Run("open", func(t *testing.T) {
		sourcetest.Run(t, func(t *testing.T, all []sourcetest.Series) series.Source { return fill(t, all) })
	})
	t.Run("sealed", func(t *testing.T) {
		sourcetest.Run(t, func(t *testing.T, all []sourcetest.Series) series.Source {
			h := fill(t, all)
			h.Seal()
			return h
		})
	})
}

func fill(t *testing.T, all []sourcetest.Series) *head.Head {
	t.Helper()
	h := head.New(head.Options{})
	t.Cleanup(h.Free)
	for _, x := range all {
		s, _, err := h.Series(x.Labels)
		if err != nil {
			t.Fatal(err)
		}
		for _, sample := range x.Samples {
			if o := add(s, sample); o != head.Stored {
				t.Fatalf("%s: %v: outcome %v", x.Labels, sample, o)
			}
		}
	}
	return h
}

func add(s *head.Series, x sourcetest.Sample) head.Outcome {
	switch x.Type() {
	case chunkenc.ValHistogram:
		return s.AppendHistogram(x.T(), x.H())
	case chunkenc.ValFloatHistogram:
		return s.AppendFloatHistogram(x.T(), x.FH())
	}
	return s.AppendFloat(x.T(), x.F())
}
